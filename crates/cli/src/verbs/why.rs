//! `verger why`: the chain from what is seen to its root, in words, with times.
//!
//! Where the daemon died or hangs, its recording is replayed and answers instead.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use verger_client::{Absence, ClientError, Connection};
use verger_engine::life::PhaseKind;
use verger_wire::message::{
    CauseKind, Error, Group, LastLook, Receipt, Service, Target, Transition, Wanted, Why as Answer,
};
use verger_wire::view;

use super::receipt::drawn;
use crate::aftermath::{self, Aftermath, Fate};
use crate::names;
use crate::reach;
use crate::setting::Setting;
use crate::tape;
use crate::terminal::Paint;
use crate::trouble::Trouble;
use crate::words::{self, Clock, Tone};

/// Tell why a service is as it is, back to the outside event it all goes back to
///
/// Of a group, or a target (GROUP/TARGET): which target is active or is switched to, and why.
#[derive(Debug, clap::Args)]
pub(super) struct Why {
    /// The service, group or target
    name: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Why {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let story = match ask(setting, &self.name)? {
            Ok(Found::Service(story)) => *story,
            Ok(Found::Group(group, absent)) => return self.tell_of_group(setting, &group, &absent),
            Err(silence) => remember(setting, &self.name, silence)?,
        };
        if self.json {
            return setting.terminal.say_json(&story.json());
        }
        setting.terminal.say(&story.told(setting.terminal.out))?;
        if let Some(receipt) = story.receipt() {
            setting.terminal.say(&format!("\n{}", drawn(receipt, &story.clock, setting.terminal.out)))?;
        }
        for hint in words::hints(&story.why) {
            setting.terminal.say(&format!("{} {hint}\n", setting.terminal.out.hint("Hint:")))?;
        }
        Ok(())
    }

    /// Which target a group has, and why.
    fn tell_of_group(&self, setting: &Setting, group: &Group, absent: &[String]) -> Result<(), Trouble> {
        if self.json {
            return setting.terminal.say_json(&json!({ "group": group }));
        }
        let paint = setting.terminal.out;
        let (text, hint) = group_told(group, absent, &self.name, &Clock::here(), paint);
        setting.terminal.say(&text)?;
        hint.map_or(Ok(()), |hint| setting.terminal.say(&format!("{} {hint}\n", paint.hint("Hint:"))))
    }
}

/// Of so many that are not there it is told why; the others are named.
const ABSENT_MAX: usize = 8;

/// Why those are not there that a group's target lacks, a sentence each.
pub(super) fn absent(connection: &mut Connection, group: &Group, clock: &Clock) -> Vec<String> {
    let first = group.lacks.iter().take(ABSENT_MAX);
    first.filter_map(|name| Some(words::headline(&connection.why(name).ok()?, clock))).collect()
}

/// What a group is about, in words, and what to ask next; it was asked about by its name, or by that of a target. `absent`: why those
/// are not there that its target lacks.
fn group_told(group: &Group, absent: &[String], asked: &str, clock: &Clock, paint: Paint) -> (String, Option<String>) {
    let active = view::target_name(&group.name, &group.target);
    // Since when it is active is told; who is not there now was there, or not, at another time.
    let (tone, words) = words::group_moved(&Group { lacks: Vec::new(), ..group.clone() });
    let of_another = if asked == active || asked == group.name { "" } else { &format!("{asked} is not active: ") };
    let headline = paint.tone(tone, format!("{of_another}{active} {words}"));
    let mut text = format!("{headline}, {}\n", clock.ago(group.since_us));
    if !group.lacks.is_empty() {
        let now = format!("now{}", view::without(&group.lacks).trim_start_matches(','));
        text.push_str(&format!("{}\n", paint.tone(Tone::Uneasy, now)));
        absent.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    if let Some(root) = &group.root {
        let origin = words::origin(&root.what, None);
        text.push_str(&format!("\n{} {origin}, {}\n", paint.strong("root:"), clock.ago(root.at_us)));
    }
    let of_root = group.root.as_ref().and_then(|root| root.what.service.as_deref());
    let about = group.lacks.first().map(String::as_str).or(of_root).or(group.waits_for.as_deref());
    (text, about.map(|service| format!("`verger why {service}` tells about {service}")))
}

/// What was asked about.
enum Found {
    Service(Box<Story>),
    /// And why those are not there that its target lacks.
    Group(Box<Group>, Vec<String>),
}

/// An answer, and what is needed to tell it.
struct Story {
    why: Answer,
    /// The other services on the chain, as they are.
    others: Vec<Service>,
    /// A condition of its own that it waits for, or is blocked by, and what that one's last look saw.
    looked: Option<(String, LastLook)>,
    /// Beyond the chain: who is wanted down because of whom.
    wants: Vec<Led>,
    /// What is left of the daemon, if that died.
    left: Option<Aftermath>,
    clock: Clock,
}

/// Why a service is wanted as it is: because of another one.
struct Led {
    at_us: u64,
    service: String,
    words: String,
}

/// What is said where a daemon has found things as they are.
const NOT_KEPT: &str =
    "what led there before the daemon took over is not kept: it is told how things are, not how they came to be so";

/// So many wants are followed at most.
const WANTS_MAX: usize = 16;

/// Follows the wants from where the chain ends to the service that its root is about. One that has to wait before it may go
/// down is held by those it waits for, and so the chain ends there: why it is to go down is in its want.
fn wants(why: &Answer, ask: &mut dyn FnMut(&str) -> Option<Answer>) -> Vec<Led> {
    let mut led = Vec::new();
    let Some(last) = why.chain.last().filter(|link| link.cause.kind == CauseKind::HeldBy) else { return led };
    let mut name = last.service.clone();
    while led.len() < WANTS_MAX && last.root.what.service.as_ref() != Some(&name) {
        let Some(wanted) = ask(&name).and_then(|why| why.wanted) else { break };
        let Some((words, other)) = words::led_to_want(&wanted) else { break };
        led.push(Led { at_us: wanted.root.at_us, service: name, words });
        name = other.to_owned();
    }
    led
}

/// The names of the other services on a chain.
fn others(why: &Answer) -> Vec<&str> {
    let names: BTreeSet<&str> = why.chain.iter().map(|link| link.service.as_str()).collect();
    names.into_iter().filter(|name| *name != why.service.name).collect()
}

/// What the last look saw of the condition of its own that a service waits for, or is blocked by.
fn looked(why: &Answer, ask: impl FnOnce(&str) -> Option<Answer>) -> Option<(String, LastLook)> {
    let condition = why.service.waits_for.as_deref()?;
    let is_own = condition.strip_prefix(&why.service.name).is_some_and(|rest| rest.starts_with(':'));
    if !is_own {
        return None;
    }
    Some((condition.to_owned(), *ask(condition)?.last_look?))
}

/// Why a daemon does not answer, though its recording may.
#[derive(Clone, Copy, Debug)]
enum Silence {
    Died,
    Hangs,
}

/// Asks the daemon.
fn ask(setting: &Setting, name: &str) -> Result<Result<Found, Silence>, Trouble> {
    let mut connection = match Connection::open(&reach::address(setting)?) {
        Ok(connection) => connection,
        Err(ClientError::NotThere { why: Absence::NobodyListens, .. }) => {
            return Ok(Err(Silence::Died));
        }
        Err(error) => return Err(reach::trouble(setting, None, &error)),
    };
    connection.set_patience(Some(reach::PATIENCE));
    match connection.why(name) {
        Ok(why) => {
            // One of them may be no more: then its line says a little less.
            let others = connection.list(Some(&others(&why)[..])).unwrap_or_default();
            let wants = wants(&why, &mut |name| connection.why(name).ok());
            let looked = looked(&why, |name| connection.why(name).ok());
            let story = Story { why, others, looked, wants, left: None, clock: Clock::here() };
            Ok(Ok(Found::Service(Box::new(story))))
        }
        // No service is called as GROUP/TARGET is.
        Err(ClientError::Remote(answer @ (Error::NotFound { .. } | Error::Invalid { .. }))) => {
            let groups = connection.groups().map_err(|error| reach::trouble(setting, None, &error))?;
            let is_target = |group: &Group| {
                let of_group = |target: &Target| view::target_name(&group.name, &target.name) == name;
                group.name == name || group.targets.iter().any(of_group)
            };
            if let Some(group) = groups.into_iter().find(is_target) {
                let absent = absent(&mut connection, &group, &Clock::here());
                return Ok(Ok(Found::Group(Box::new(group), absent)));
            }
            if let Error::Invalid { .. } = answer {
                return Err(reach::trouble(setting, None, &ClientError::Remote(answer)));
            }
            let services = connection.list(None).map_err(|error| reach::trouble(setting, None, &error))?;
            Err(names::unknown(name, &services))
        }
        Err(ClientError::TimedOut { .. }) => Ok(Err(Silence::Hangs)),
        Err(error) => Err(reach::trouble(setting, None, &error)),
    }
}

/// What the recording of a daemon says that does not.
fn remember(setting: &Setting, name: &str, silence: Silence) -> Result<Story, Trouble> {
    let tape = tape::of_instance(setting)?;
    let (engine, at) = tape.engine_at_end()?;
    let label = setting.terminal.err.tone(Tone::Uneasy, "Warning:");
    let (silence, left) = match silence {
        Silence::Died => ("died", aftermath::of_instance(setting)),
        Silence::Hangs => ("does not answer", None),
    };
    let words =
        format!("{label} the daemon of instance `{}` {silence}; this is what its recording says", setting.instance);
    setting.terminal.tell(&words);
    let why = |name: &str| engine.find(name).and_then(|service| view::why(&engine, service.slot));
    let shown = |name: &str| engine.find(name).and_then(|service| view::service(&engine, service.slot));
    match why(name) {
        Some(mut answer) => {
            let others = others(&answer).into_iter().filter_map(shown).collect();
            let wants = wants(&answer, &mut |name| why(name));
            let lives_on = left.as_ref().is_some_and(|left| left.fate(name).is_some_and(Fate::lives));
            let clock = match lives_on {
                true => Clock::here(),
                // What is over is told as of the end of the recording.
                false => Clock::of(view::micros(at), Clock::here().offset_us()),
            };
            left.iter().for_each(|left| left.correct(&mut answer.service));
            Ok(Story { why: answer, others, looked: None, wants, left, clock })
        }
        None => Err(Trouble::new(format!("there is no service `{name}` in the recording"))),
    }
}

impl Story {
    /// The answer as JSON; of a daemon that died also what became of the service, and who holds what lives on.
    fn json(&self) -> Value {
        let mut value = serde_json::to_value(&self.why).unwrap_or_default();
        if let Some(left) = &self.left {
            value["keeper"] = json!(left.keeper);
            if let Some(fate) = left.fate(&self.why.service.name) {
                value["service"]["fate"] = json!(fate.word());
            }
        }
        value
    }

    /// The whole answer.
    fn told(&self, paint: Paint) -> String {
        let Story { why, clock, .. } = self;
        let headline = words::headline(why, clock);
        let headline = match &self.left {
            Some(left) => left.headline(&why.service.name, headline),
            None => headline,
        };
        let mut text = format!("{}\n", paint.tone(words::tone(why.service.phase), headline));
        if !why.service.description.is_empty() {
            text.push_str(&format!("  {}\n", why.service.description));
        }
        if let Some(look) = &why.last_look {
            text.push_str(&format!("  {}\n", words::last_look(look, clock)));
        }
        if let Some((condition, look)) = &self.looked {
            text.push_str(&format!("  {condition}: {}\n", words::last_look(look, clock)));
        }
        if let Some(root) = why.chain.last().map(|link| &link.root) {
            let origin = words::origin(&root.what, None);
            text.push('\n');
            text.push_str(&self.chain(paint));
            text.push_str(&format!("{} {origin}, {}\n", paint.strong("root:"), clock.ago(root.at_us)));
            if !why.about.is_empty() {
                text.push_str(&format!("      about {}\n", why.about.join(", ")));
            }
        }
        let before = before(why);
        if !before.is_empty() {
            text.push_str("\nbefore that:\n");
            text.push_str(&self.links(&before, paint));
        }
        if why.history.last().is_some_and(|first| first.cause.kind == CauseKind::Found) {
            text.push_str(&format!("\n{NOT_KEPT}\n"));
        }
        if let Some(wanted) = &why.wanted {
            let wanted = words::wanted(&why.service, wanted, followed_at(why, wanted), clock);
            text.push_str(&format!("\n{wanted}\n"));
        }
        for line in &why.limits {
            text.push_str(&format!("\n{line}\n"));
        }
        if let Some(ending) = &why.ending {
            text.push_str(&format!("{}\n", words::ending(ending, clock)));
        }
        text
    }

    /// How its last stop went or goes, where there is no later run of which to tell.
    fn receipt(&self) -> Option<&Receipt> {
        let receipt = self.why.receipt.as_deref()?;
        let is_last = receipt.run == self.why.service.run;
        is_last.then_some(receipt)
    }

    /// What a change was, in words.
    fn words(&self, link: &Transition, paint: Paint) -> String {
        let service = self.others.iter().chain([&self.why.service]).find(|service| service.name == link.service);
        if link.service == self.why.service.name
            && link.to == PhaseKind::Blocked
            && self.why.service.phase == PhaseKind::Blocked
            && let Some(what) = words::blocked_by(&self.why)
        {
            return paint.tone(words::tone(link.to), format!("blocked: it {what}"));
        }
        paint.tone(words::tone(link.to), words::moved(link, service))
    }

    /// Changes, one a line, in columns.
    fn links(&self, links: &[&Transition], paint: Paint) -> String {
        let changes = links.iter().map(|link| (link.at_us, link.service.as_str(), self.words(link, paint)));
        self.columns(&changes.collect::<Vec<_>>(), paint)
    }

    /// The chain, and the wants beyond its end.
    fn chain(&self, paint: Paint) -> String {
        let links = self.why.chain.iter().map(|link| (link.at_us, link.service.as_str(), self.words(link, paint)));
        let wants = self.wants.iter().map(|led| (led.at_us, led.service.as_str(), led.words.clone()));
        self.columns(&links.chain(wants).collect::<Vec<_>>(), paint)
    }

    fn columns(&self, lines: &[(u64, &str, String)], paint: Paint) -> String {
        let width = lines.iter().map(|(_, service, _)| service.chars().count()).max().unwrap_or(0);
        let times: Vec<String> = lines.iter().map(|(at_us, _, _)| self.clock.ago(*at_us)).collect();
        let room = times.iter().map(|time| time.chars().count()).max().unwrap_or(0);
        let line = |((_, service, words), time): (&(u64, &str, String), &String)| {
            format!("  {}  {service:<width$}  {words}\n", paint.faint(format!("{time:>room$}")))
        };
        lines.iter().zip(&times).map(line).collect()
    }
}

/// When a condition came true, or had not in time, that a service is wanted because of: long after what that goes back to.
fn followed_at(why: &Answer, wanted: &Wanted) -> Option<u64> {
    let cause = Some(&wanted.cause).filter(|cause| cause.kind == CauseKind::Follows)?;
    let led = |link: &&Transition| cause.service.as_ref() == Some(&link.service) && cause.number == Some(link.number);
    why.chain.iter().find(led).map(|link| link.at_us)
}

/// What led there, where the service's own past is part of the answer: how often it tried, how it ended each time.
fn before(why: &Answer) -> Vec<&Transition> {
    match why.service.phase {
        PhaseKind::Resting | PhaseKind::Failed | PhaseKind::Stuck | PhaseKind::Starting => {}
        PhaseKind::Down
        | PhaseKind::Waiting
        | PhaseKind::Blocked
        | PhaseKind::Running
        | PhaseKind::Held
        | PhaseKind::Stopping
        | PhaseKind::Done => return Vec::new(),
    }
    let in_chain =
        |it: &Transition| why.chain.iter().any(|link| link.service == it.service && link.number == it.number);
    why.history.iter().filter(|transition| !in_chain(transition)).collect()
}
