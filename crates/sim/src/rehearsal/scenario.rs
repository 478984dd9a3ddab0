//! The language of scenarios: what happens to a plan, line by line, and what is expected to come of it.
//!
//! One statement a line, words apart by blanks, `#` begins a comment. All names are looked up in the plan while the text is
//! read, so a scenario that can be read can be played.

use verger_engine::duration;
use verger_engine::image::{Image, Ready};
use verger_engine::life::{PhaseKind, Verb};
use verger_engine::runs::signal_number;
use verger_engine::time::Span;

use super::probe::is_probe;

/// What a scenario says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// In the order of their lines.
    pub statements: Vec<Statement>,
    /// How long it is played, if it says so.
    pub until: Option<Span>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its number, from 1.
    pub line: u32,
    /// What is done, as it was typed.
    pub words: String,
    /// When.
    pub when: When,
    /// What.
    pub action: Action,
}

/// When a statement takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It says nothing: a manner holds from the beginning, SIGTERM comes when all else is done, an expectation is looked at when
    /// all has been played.
    Unsaid,
    /// Once, so long after the beginning.
    At(Span),
    /// Again and again.
    Every {
        /// The time between two.
        period: Span,
        /// The first.
        from: Span,
        /// None after it.
        until: Option<Span>,
    },
}

/// What a statement does. Services, groups and targets are numbers in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The main process ends by itself.
    End {
        /// The service.
        service: u32,
        /// How.
        how: End,
    },
    /// From now on runs of a service behave like this.
    Manner {
        /// The service.
        service: u32,
        /// How.
        manner: Manner,
    },
    /// An operator's command.
    Ask {
        /// Which.
        verb: Verb,
        /// About which service.
        service: u32,
    },
    /// An operator wants another target.
    Switch {
        /// The group.
        group: u32,
        /// The number of the target in it.
        target: u32,
    },
    /// The daemon gets SIGTERM.
    Term {
        /// How long the end may take; `None`: as the plan says.
        budget: Option<Span>,
    },
    /// Something must be so.
    Expect {
        /// What.
        what: Expectation,
        /// It may become so within this time.
        within: Option<Span>,
    },
}

/// How a main process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a status.
    Status(u8),
    /// By a signal.
    Signal(u8),
}

/// How the runs of a service behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It never says that it is ready; a one-shot never ends; what a condition looks at is not so.
    NeverReady,
    /// It says so this long after its program was executed; a one-shot ends then; what a condition looks at is so from then on.
    ReadyAfter(Span),
    /// Its program is executed this long after it was ordered.
    SlowStart(Span),
    /// It ends this long after a signal that asks it to.
    SlowStop(Span),
    /// Its program is not there, or there again.
    Missing(bool),
    /// It ends by itself.
    Exits {
        /// With this status.
        status: u8,
        /// This long after its program was executed.
        after: Span,
    },
}

/// What must be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// A service is in a phase.
    Phase {
        /// The service.
        service: u32,
        /// The phase.
        phase: PhaseKind,
    },
    /// A service has been restarted unasked so often.
    Restarts {
        /// The service.
        service: u32,
        /// How often.
        count: u32,
    },
    /// One service was ready before another one, both for the first time.
    Order {
        /// The first.
        first: u32,
        /// The second.
        second: u32,
    },
    /// A group is at a target, all of it.
    Target {
        /// The group.
        group: u32,
        /// The number of the target in it.
        target: u32,
    },
    /// Everything has ended with this exit status.
    Ended(u8),
    /// Everything has ended, and the machine starts again.
    Reboot,
}

/// What is wrong with a scenario's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// Where in the text.
    pub span: std::ops::Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What was expected instead.
    pub expected: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The words a statement can begin with, apart from a service's name.
const VERBS: [&str; 19] = [
    "at",
    "every",
    "repeat",
    "until",
    "crash",
    "exit",
    "kill",
    "slow-stop",
    "slow-start",
    "start",
    "stop",
    "restart",
    "set",
    "clear",
    "ignore",
    "heed",
    "switch",
    "TERM",
    "expect",
];

/// Finds the one of some names that was probably meant by a word.
pub type Near = for<'n> fn(&str, &[&'n str]) -> Option<&'n str>;

/// Reads a scenario for a plan; `near` helps where a name is not known.
///
/// # Errors
/// What is wrong with it, in the order of its lines: of each the first thing.
pub fn read(text: &str, image: &Image, near: Near) -> Result<Scenario, Vec<Flaw>> {
    let mut scenario = Scenario { statements: Vec::new(), until: None };
    let mut flaws = Vec::new();
    let (mut start, mut says_until) = (0, false);
    // What is missing is missing at its end.
    let mut endless: Option<Line<'_>> = None;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let mut reader =
            Line { image, near, text, number, words: words_of(line, start), at: 0, end: start + content(line) };
        start += line.len();
        if reader.words.is_empty() {
            continue;
        }
        if reader.take("until") {
            says_until = true;
            flaws.extend(reader.until(&mut scenario.until).err());
            continue;
        }
        match reader.statement() {
            Ok(statement) => {
                if matches!(statement.when, When::Every { until: None, .. }) {
                    endless.get_or_insert(reader);
                }
                scenario.statements.push(statement);
            }
            Err(flaw) => flaws.push(flaw),
        }
    }
    if let Some(line) = endless.filter(|_| !says_until) {
        let flaw = line.flaw("it is repeated without an end", "an end");
        flaws.push(flaw.hint("`until 60s` at the end of this line, or on a line of its own for the whole scenario"));
        flaws.sort_by_key(|flaw| flaw.line);
    }
    if flaws.is_empty() { Ok(scenario) } else { Err(flaws) }
}

/// The length of a line without its comment and what is blank at its end.
fn content(line: &str) -> usize {
    line.split('#').next().unwrap_or_default().trim_end().len()
}

/// The words of a line, each with where it begins in the text.
fn words_of(line: &str, start: usize) -> Vec<(usize, &str)> {
    let line = line.get(..content(line)).unwrap_or_default();
    let words = line.split(|c: char| c.is_whitespace()).scan(0, |at, word| {
        let here = *at;
        // Whatever parts words is one character; blanks that are longer are looked at below.
        *at = here
            + word.len()
            + line.get(here + word.len()..).and_then(|it| it.chars().next()).map_or(0, char::len_utf8);
        Some((start + here, word))
    });
    words.filter(|(_, word)| !word.is_empty()).collect()
}

struct Line<'t> {
    image: &'t Image,
    near: Near,
    text: &'t str,
    /// The line's, from 1.
    number: u32,
    words: Vec<(usize, &'t str)>,
    at: usize,
    /// Where its last word ends.
    end: usize,
}

impl Flaw {
    fn hint(mut self, hint: impl Into<String>) -> Flaw {
        self.hint = Some(hint.into());
        self
    }
}

impl<'t> Line<'t> {
    fn peek(&self) -> Option<&'t str> {
        self.words.get(self.at).map(|(_, word)| *word)
    }

    /// Takes the next word if it is this one.
    fn take(&mut self, word: &str) -> bool {
        let is = self.peek() == Some(word);
        self.at += usize::from(is);
        is
    }

    fn next(&mut self, expected: &str) -> Result<&'t str, Flaw> {
        let Some(word) = self.peek() else {
            return Err(self.flaw("the line ends here", expected));
        };
        self.at += 1;
        Ok(word)
    }

    /// The word before is what is complained about.
    fn back(&mut self) -> &Self {
        self.at = self.at.saturating_sub(1);
        self
    }

    /// A complaint about the next word.
    fn flaw(&self, message: impl Into<String>, expected: impl Into<String>) -> Flaw {
        let span = match self.words.get(self.at) {
            Some((start, word)) => *start..start + word.len(),
            None => self.end..self.end,
        };
        let before = self.text.get(..span.start).unwrap_or_default();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u32 + 1;
        let (message, expected) = (message.into(), expected.into());
        Flaw { line: self.number, column, span, message, expected, hint: None }
    }

    fn expect(&mut self, word: &str) -> Result<(), Flaw> {
        let expected = format!("`{word}`");
        let found = self.next(&expected)?;
        if found == word {
            return Ok(());
        }
        Err(self.back().flaw(format!("`{found}` does not belong here"), expected))
    }

    fn nothing_more(&self) -> Result<(), Flaw> {
        match self.peek() {
            None => Ok(()),
            Some(word) => Err(self.flaw(format!("`{word}` is too much"), "the end of the line")),
        }
    }

    fn time(&mut self) -> Result<Span, Flaw> {
        let word = self.next(TIME)?;
        match duration::parse(word) {
            Ok(Span::FOREVER) => Err(self.back().flaw("`forever` does not come", TIME)),
            Ok(span) if span > LONGEST => Err(self.back().flaw(format!("`{word}` is too long"), "at most 365d")),
            Ok(span) => Ok(span),
            Err(flaw) => {
                let told = self.back().flaw(format!("`{word}` is not a length of time"), TIME);
                Err(Flaw { hint: flaw.hint(word), ..told })
            }
        }
    }

    fn number<N: std::str::FromStr>(&mut self, expected: &str) -> Result<N, Flaw> {
        let word = self.next(expected)?;
        word.parse().map_err(|_| self.back().flaw(format!("`{word}` is not {expected}"), expected))
    }

    fn service(&mut self) -> Result<u32, Flaw> {
        let word = self.next("a service of the plan")?;
        let Some(service) = self.image.find(word) else {
            let names: Vec<&str> = self.image.services().map(|it| it.name()).collect();
            let hint = self.near_or_all(word, &names);
            let flaw = self.back().flaw(format!("the plan has no service `{word}`"), "a service of the plan");
            return Err(Flaw { hint, ..flaw });
        };
        Ok(service)
    }

    /// Which of some names was meant by a word, or which there are; of many the first.
    fn near_or_all(&self, word: &str, names: &[&str]) -> Option<String> {
        const SHOWN_MAX: usize = 8;
        if let Some(near) = (self.near)(word, names) {
            return Some(format!("did you mean `{near}`?"));
        }
        let more = if names.len() > SHOWN_MAX { ", …" } else { "" };
        let shown = names.get(..SHOWN_MAX).unwrap_or(names).join(", ");
        (!names.is_empty()).then(|| format!("there are: {shown}{more}"))
    }

    fn target(&mut self) -> Result<(u32, u32), Flaw> {
        let expected = "a target of the plan: TARGET or GROUP/TARGET";
        let word = self.next(expected)?;
        let (group, target) = word.rsplit_once('/').unwrap_or(("", word));
        let Some(at) = self.image.find_group(group) else {
            let message = match group {
                "" => "the plan has no targets of its own".to_owned(),
                group => format!("the plan has no group `{group}`"),
            };
            let groups = || (0..self.image.group_count()).map(|at| self.image.group(at));
            let names: Vec<&str> = groups().map(|view| view.name()).collect();
            let near = (self.near)(group, &names).map(|near| format!("did you mean `{near}/{target}`?"));
            let written: Vec<String> = groups()
                .flat_map(|view| (0..view.target_count()).map(move |at| (view.name(), view.target(at).name())))
                .map(|(group, target)| if group.is_empty() { target.to_owned() } else { format!("{group}/{target}") })
                .collect();
            let written: Vec<&str> = written.iter().map(String::as_str).collect();
            let hint = near.or_else(|| self.near_or_all(word, &written));
            return Err(Flaw { hint, ..self.back().flaw(message, expected) });
        };
        let view = self.image.group(at);
        let Some(number) = view.find_target(target) else {
            let names: Vec<&str> = (0..view.target_count()).map(|at| view.target(at).name()).collect();
            let hint = self.near_or_all(target, &names);
            return Err(Flaw { hint, ..self.back().flaw(format!("there is no target `{word}`"), expected) });
        };
        Ok((at, number))
    }

    fn phase(&mut self) -> Result<PhaseKind, Flaw> {
        let word = self.next("a phase")?;
        PhaseKind::from_word(word).ok_or_else(|| {
            let words: Vec<&str> = PhaseKind::ALL.iter().map(|phase| phase.word()).collect();
            let near = (self.near)(word, &words).map(|near| format!("did you mean `{near}`?"));
            let flaw = self.back().flaw(format!("`{word}` is no phase"), format!("one of {}", words.join(", ")));
            Flaw { hint: near, ..flaw }
        })
    }

    /// How long the scenario is played: said once.
    fn until(&mut self, so_far: &mut Option<Span>) -> Result<(), Flaw> {
        let until = self.time()?;
        self.nothing_more()?;
        match so_far.replace(until) {
            None => Ok(()),
            Some(_) => Err(self.back().flaw("`until` stands here a second time", "one `until`")),
        }
    }

    fn statement(&mut self) -> Result<Statement, Flaw> {
        let mut when = if self.take("at") {
            When::At(self.time()?)
        } else if self.take("every") {
            let period = self.period()?;
            When::Every { period, from: period, until: None }
        } else if self.take("repeat") {
            let period = if self.take("every") { self.period()? } else { self.rate()? };
            When::Every { period, from: period, until: None }
        } else {
            When::Unsaid
        };
        self.stretch(&mut when)?;
        let first = self.at;
        let action = self.action()?;
        let words: Vec<&str> = self.words[first..self.at].iter().map(|(_, word)| *word).collect();
        self.stretch(&mut when)?;
        self.nothing_more()?;
        let is_event = !matches!(action, Action::Manner { .. } | Action::Expect { .. } | Action::Term { .. });
        if is_event && when == When::Unsaid {
            self.at = first;
            let (message, expected) = ("it does not say when", "`at TIME`, `every TIME` or `repeat N/min` before it");
            return Err(self.flaw(message, expected).hint(format!("`at 2s {}`", words.join(" "))));
        }
        Ok(Statement { line: self.number, words: words.join(" "), when, action })
    }

    /// `from 10s until 60s`: where something is repeated this can stand before what it is, and behind.
    fn stretch(&mut self, when: &mut When) -> Result<(), Flaw> {
        let When::Every { from, until, .. } = when else { return Ok(()) };
        if self.take("from") {
            *from = self.time()?;
        }
        if self.take("until") {
            let end = self.time()?;
            if end < *from {
                let (message, expected) = ("it would end before it begins", "a later time");
                return Err(self.back().flaw(message, expected).hint("both count from the beginning of the scenario"));
            }
            *until = Some(end);
        }
        Ok(())
    }

    fn period(&mut self) -> Result<Span, Flaw> {
        match self.time()? {
            Span::ZERO => Err(self.back().flaw("nothing can be repeated without time between", "more than 0s")),
            period => Ok(period),
        }
    }

    /// `4/min`.
    fn rate(&mut self) -> Result<Span, Flaw> {
        let expected = "how often: N/s, N/min or N/h";
        let word = self.next(expected)?;
        let rate = word.split_once('/').and_then(|(count, unit)| {
            let unit = match unit {
                "s" => 1,
                "min" => 60,
                "h" => 3600,
                _ => return None,
            };
            let count = count.parse::<u64>().ok().filter(|count| (1..=1_000_000).contains(count))?;
            Some(Span(unit * 1_000_000_000 / count))
        });
        rate.ok_or_else(|| self.back().flaw(format!("`{word}` is no rate"), expected).hint("`4/min` is every 15s"))
    }

    fn action(&mut self) -> Result<Action, Flaw> {
        let ask = |this: &mut Self, verb| this.service().map(|service| Action::Ask { verb, service });
        let first = self.next("what happens")?;
        match first {
            "crash" => Ok(Action::End { service: self.service()?, how: End::Signal(SIGSEGV) }),
            "exit" => {
                let service = self.service()?;
                if let Some(name) = self.condition(service) {
                    return Err(self.back().ends_by_what_it_sees(name));
                }
                Ok(Action::End { service, how: End::Status(self.number("an exit status, 0 to 255")?) })
            }
            "kill" => {
                let service = self.service()?;
                let signal = if self.peek().is_some_and(|word| word != "from" && word != "until") {
                    self.signal()?
                } else {
                    SIGKILL
                };
                Ok(Action::End { service, how: End::Signal(signal) })
            }
            "slow-stop" => self.slow(Manner::SlowStop),
            "slow-start" => self.slow(Manner::SlowStart),
            "start" => ask(self, Verb::Start),
            "stop" => ask(self, Verb::Stop),
            "restart" => ask(self, Verb::Restart),
            "set" => ask(self, Verb::Set),
            "clear" => ask(self, Verb::Clear),
            "ignore" => ask(self, Verb::Ignore),
            "heed" => ask(self, Verb::Heed),
            "switch" => self.target().map(|(group, target)| Action::Switch { group, target }),
            "TERM" => {
                let budget = if self.take("budget") { Some(self.time()?) } else { None };
                Ok(Action::Term { budget })
            }
            "expect" => self.expectation(),
            word if self.image.find(word).is_some() => {
                self.back();
                let service = self.service()?;
                Ok(Action::Manner { service, manner: self.manner(service)? })
            }
            word @ ("at" | "every" | "repeat") => {
                let flaw = self
                    .back()
                    .flaw(format!("`{word}` does not belong here"), "what happens, or how a service behaves");
                Err(flaw.hint("when is said once: `at 2s crash NAME`, or `repeat 4/min from 2s until 60s crash NAME`"))
            }
            word => {
                let names: Vec<&str> = self.image.services().map(|it| it.name()).chain(VERBS).collect();
                let near = (self.near)(word, &names).map(|near| format!("did you mean `{near}`?"));
                let expected = "a statement, or a service of the plan and how it behaves";
                let flaw = self.back().flaw(format!("`{word}` is neither a statement nor a service"), expected);
                Err(Flaw { hint: near.or_else(|| Some(format!("statements begin with {}", VERBS.join(", ")))), ..flaw })
            }
        }
    }

    fn slow(&mut self, manner: fn(Span) -> Manner) -> Result<Action, Flaw> {
        let service = self.service()?;
        Ok(Action::Manner { service, manner: manner(self.time()?) })
    }

    fn signal(&mut self) -> Result<u8, Flaw> {
        let expected = "a signal that ends a process: 9, KILL, SEGV";
        let word = self.next(expected)?;
        signal_number(word).ok_or_else(|| self.back().flaw(format!("`{word}` is no signal"), expected))
    }

    /// The name of a service that is a condition which is looked at.
    fn condition(&self, service: u32) -> Option<&'t str> {
        let service = self.image.service(service);
        is_probe(&service).then(|| service.name())
    }

    /// A complaint about an end that a condition never has: its plan says what follows from those that it has.
    fn ends_by_what_it_sees(&self, name: &str) -> Flaw {
        let flaw = self.flaw(format!("`{name}` is a condition: it ends by what it sees"), OF_CONDITION);
        flaw.hint(format!("write `{name} false` for one that does not come true"))
    }

    /// The condition of a service that was probably meant where this word stands after the service's name.
    fn condition_meant(&self, service: &str, word: &str) -> Option<String> {
        let of_service = |name: &&str| name.strip_prefix(service).is_some_and(|rest| rest.starts_with(':'));
        let mut conditions = self.image.services().filter(is_probe).map(|it| it.name()).filter(of_service);
        let meant = match word {
            "true" | "false" => conditions.next().map(|name| format!("{name} {word}")),
            kind => conditions.find(|name| name.strip_prefix(service) == Some(&format!(":{kind}"))).map(str::to_owned),
        };
        meant.map(|meant| format!("did you mean `{meant}`?"))
    }

    fn manner(&mut self, service: u32) -> Result<Manner, Flaw> {
        if let Some(name) = self.condition(service) {
            return self.manner_of_condition(name);
        }
        let (ready, name) = (self.image.service(service).ready(), self.image.service(service).name());
        let first = self.next(OF_SERVICE)?;
        let at = self.at - 1;
        if matches!(ready, Ready::Set | Ready::Needs) {
            let message = format!("`{name}` is a condition that somebody sets: it has no program that gets ready");
            return Err(self.back().flaw(message, "a service with a program").hint("write at TIME set NAME"));
        }
        let manner = match first {
            "never" => {
                self.expect("ready")?;
                Manner::NeverReady
            }
            "ready" => {
                self.expect("after")?;
                Manner::ReadyAfter(self.time()?)
            }
            "missing" => return Ok(Manner::Missing(true)),
            "present" => return Ok(Manner::Missing(false)),
            "exits" => {
                let status = self.number("an exit status, 0 to 255")?;
                let after = if self.take("after") { self.time()? } else { Span::from_millis(1) };
                return Ok(Manner::Exits { status, after });
            }
            word => {
                let flaw = self.back().flaw(format!("`{word}` is no manner of a service"), OF_SERVICE);
                return Err(Flaw { hint: self.condition_meant(name, word), ..flaw });
            }
        };
        if matches!(ready, Ready::Started | Ready::AliveFor(_)) {
            self.at = at;
            let message = format!("`{name}` does not say itself when it is ready");
            let flaw = self.flaw(message, "`slow-start`, `missing` or `exits`");
            return Err(flaw.hint("its `ready` in the plan has to be \"notify\", \"fd\" or \"exit\" for that"));
        }
        Ok(manner)
    }

    /// What a condition that is looked at sees.
    fn manner_of_condition(&mut self, name: &str) -> Result<Manner, Flaw> {
        match self.next(OF_CONDITION)? {
            "true" => Ok(Manner::ReadyAfter(Span::ZERO)),
            "false" => Ok(Manner::NeverReady),
            "never" => self.expect("ready").map(|()| Manner::NeverReady),
            "ready" => {
                self.expect("after")?;
                self.time().map(Manner::ReadyAfter)
            }
            "missing" | "present" | "exits" => Err(self.back().ends_by_what_it_sees(name)),
            word => Err(self.back().flaw(format!("`{word}` is no manner of a condition"), OF_CONDITION)),
        }
    }

    fn expectation(&mut self) -> Result<Action, Flaw> {
        let within = if self.take("within") { Some(self.time()?) } else { None };
        let what = if self.take("order") {
            let first = self.service()?;
            self.expect("before")?;
            Expectation::Order { first, second: self.service()? }
        } else if self.take("ended") {
            Expectation::Ended(self.number("an exit status, 0 to 255")?)
        } else if self.at + 1 == self.words.len() && self.take("reboot") {
            // Before a phase it is a service's name.
            Expectation::Reboot
        } else if self.take("target") {
            let (group, target) = self.target()?;
            Expectation::Target { group, target }
        } else {
            let service = self.service()?;
            if self.take("before") {
                Expectation::Order { first: service, second: self.service()? }
            } else if self.take("restarts") {
                Expectation::Restarts { service, count: self.number("a number of restarts")? }
            } else {
                self.take("phase");
                Expectation::Phase { service, phase: self.phase()? }
            }
        };
        Ok(Action::Expect { what, within })
    }
}

const OF_SERVICE: &str = "`never ready`, `ready after TIME`, `missing`, `present`, or `exits STATUS after TIME`";
const OF_CONDITION: &str = "`true`, `false`, `never ready` or `ready after TIME`";
const TIME: &str = "a length of time like 200ms, 1.5s or 1h30m";
const SIGKILL: u8 = 9;
const SIGSEGV: u8 = 11;
/// Moments stay far from the end of their numbers.
const LONGEST: Span = Span::from_secs(365 * 24 * 3600);
