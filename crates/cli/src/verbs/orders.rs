//! `verger start`, `stop`, `restart`: what is wanted of services, and waiting until it is so.

use std::time::Duration;

use serde_json::{Value, json};
use verger_client::{ClientError, Connection};
use verger_engine::life::{self, PhaseKind, Want};
use verger_engine::time::Span;
use verger_wire::message::{Call, Done, Error, Order, Receipt, ReceiptReply, Service, WrongState};

use super::receipt::drawn;
use super::stopped_with::{self, StoppedWith};
use crate::names;
use crate::reach;
use crate::setting::Setting;
use crate::trouble::{FAILED, Trouble};
use crate::waiting::Waiting;
use crate::words::{self, Clock};

/// Start services and what they require, and wait until they are ready
///
/// A service that runs already is left alone; one that rests is started at once; one that is being stopped is started again
/// afterwards. The wait may be cut short (Ctrl-C, `--timeout`): the work goes on.
#[derive(Debug, clap::Args)]
pub(super) struct Start {
    #[command(flatten)]
    targets: Targets,
}

/// Stop services and what requires them, and wait until nothing of them is left
///
/// Whoever was stopped with a service, because it requires it or was up for its sake alone, is told. A service that rests or
/// waits is stopped too: it does not come up by itself any more. The wait may be cut short (Ctrl-C, `--timeout`): the work
/// goes on.
#[derive(Debug, clap::Args)]
pub(super) struct Stop {
    #[command(flatten)]
    targets: Targets,
    /// Show how each stop went, also of those that were stopped with it: what was done when, who was seen, how each ended
    #[arg(long)]
    receipt: bool,
}

/// Give services another run, and wait until that is ready
///
/// What requires them is restarted with them; the wait is not for those, and whoever of them is still on its way is told. One
/// that is down is started. The wait may be cut short (Ctrl-C, `--timeout`):
/// the work goes on.
#[derive(Debug, clap::Args)]
pub(super) struct Restart {
    #[command(flatten)]
    targets: Targets,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("whom").required(true).args(["names", "all"]))]
struct Targets {
    /// Services, by name or pattern (`cam-*`; `cam@*` means all instances of a template). A pattern without a `:` leaves out
    /// what services have beside them: conditions and commands
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// All: to start, those that the plan starts by itself; to restart, those that are wanted up; to stop, every one
    #[arg(long)]
    all: bool,
    /// Wait no longer than this, for example 10s or 1m30s
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Span>,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn duration(text: &str) -> Result<Span, String> {
    verger_plan::read_duration(text)
}

impl Start {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        self.targets.carry_out(setting, life::Verb::Start, |service| service.autostart)
    }
}

impl Stop {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let mut asked = self.targets.ask(setting, life::Verb::Stop, |_| true)?;
        let mut told = Told::default();
        let failed = |error: ClientError| reach::trouble(setting, None, &error);
        if self.receipt {
            told.receipts = asked.receipts().map_err(failed)?;
        }
        // It is a word more, and the stop has been done whether or not it can be said.
        told.with = stopped_with::find(&mut asked.connection, &asked.before, &asked.names).unwrap_or_default();
        if self.receipt {
            stopped_with::add_receipts(&mut asked.connection, &mut told.with).map_err(failed)?;
        }
        report(setting, life::Verb::Stop, &asked.names, &asked.answers, &told, self.targets.json)
    }
}

impl Restart {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let mut asked = self.targets.ask(setting, life::Verb::Restart, |service| service.want != Want::Down)?;
        let told = Told::default();
        let reported = report(setting, life::Verb::Restart, &asked.names, &asked.answers, &told, self.targets.json);
        if asked.answers.iter().any(Result::is_ok) {
            tell_who_follows(setting, &mut asked.connection, &asked.names);
        }
        reported
    }
}

impl Targets {
    fn carry_out(&self, setting: &Setting, verb: life::Verb, all: impl Fn(&Service) -> bool) -> Result<(), Trouble> {
        let asked = self.ask(setting, verb, all)?;
        report(setting, verb, &asked.names, &asked.answers, &Told::default(), self.json)
    }

    /// Asks it of those that are meant, and waits for what comes of it.
    fn ask(&self, setting: &Setting, verb: life::Verb, all: impl Fn(&Service) -> bool) -> Result<Asked, Trouble> {
        let mut connection = reach::connect(setting)?;
        let names = named(setting, &mut connection, &self.names, self.all, all)?;
        // To say afterwards whom a stop took along.
        let before = match verb {
            life::Verb::Stop => connection.list(None).unwrap_or_default(),
            life::Verb::Start
            | life::Verb::Restart
            | life::Verb::Signal
            | life::Verb::Ignore
            | life::Verb::Heed
            | life::Verb::Set
            | life::Verb::Clear => Vec::new(),
        };
        let timeout_ms = self.timeout.filter(|timeout| *timeout != Span::FOREVER).map(Span::as_millis);
        // The daemon answers in time by itself; whoever waits without end waits as long as it takes.
        connection.set_patience(timeout_ms.map(|limit| Duration::from_millis(limit) + reach::PATIENCE));
        let _waiting = Waiting::begin(setting, Some(&names));
        let answers = call_all(&mut connection, verb, &names, timeout_ms)
            .map_err(|error| reach::trouble(setting, Some(verb), &error))?;
        Ok(Asked { connection, names, answers, before })
    }
}

/// What was asked of whom, and what came of each.
struct Asked {
    connection: Connection,
    names: Vec<String>,
    answers: Answers,
    /// Of a stop: the services as they were.
    before: Vec<Service>,
}

impl Asked {
    /// How each stop went; of one that is not over, how it goes.
    fn receipts(&mut self) -> Result<Receipts, ClientError> {
        let call = |(name, answer): (&String, &Result<Done, Error>)| {
            let run = answer.as_ref().ok().and_then(|done| done.run);
            Call::Receipt { name: name.clone(), run }
        };
        let calls: Vec<Call> = self.names.iter().zip(&self.answers).map(call).collect();
        let answers = self.connection.pipeline::<ReceiptReply>(&calls)?;
        Ok(answers.into_iter().map(|answer| answer.map(|reply| reply.receipt)).collect())
    }
}

/// Of services that are restarted because of those that were named, the answer says nothing: they may still be on their way.
fn tell_who_follows(setting: &Setting, connection: &mut Connection, named: &[String]) {
    // It is a word more, and the restart has been done whether or not it can be said.
    let Ok(services) = connection.list(None) else { return };
    let follows = |service: &&Service| {
        let on_its_way = match service.phase {
            PhaseKind::Waiting | PhaseKind::Starting | PhaseKind::Held | PhaseKind::Stopping => true,
            PhaseKind::Down
            | PhaseKind::Blocked
            | PhaseKind::Running
            | PhaseKind::Stuck
            | PhaseKind::Resting
            | PhaseKind::Done
            | PhaseKind::Failed => false,
        };
        on_its_way && service.want != Want::Down && !named.contains(&service.name)
    };
    let names: Vec<String> = services.iter().filter(follows).map(|service| service.name.clone()).collect();
    if !names.is_empty() {
        setting.terminal.tell(&format!("still on their way: {}", names.join(", ")));
    }
}

/// The receipt of each, or why there is none.
pub(super) type Receipts = Vec<Result<Receipt, Error>>;

/// What is told beyond the answers.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Where they were asked for.
    receipts: Receipts,
    /// Of a stop: who was stopped with those that were named.
    with: Vec<StoppedWith>,
}

/// The services that are meant; all that `all` picks, if all are.
pub(super) fn named(
    setting: &Setting,
    connection: &mut Connection,
    typed: &[String],
    is_all: bool,
    all: impl Fn(&Service) -> bool,
) -> Result<Vec<String>, Trouble> {
    if !is_all {
        return names::expand(setting, connection, typed);
    }
    let services = connection.list(None).map_err(|error| reach::trouble(setting, None, &error))?;
    Ok(services.into_iter().filter(all).map(|service| service.name).collect())
}

/// What the daemon answered to each.
type Answers = Vec<Result<Done, Error>>;

fn call_all(
    connection: &mut Connection,
    verb: life::Verb,
    names: &[String],
    timeout_ms: Option<u64>,
) -> Result<Answers, ClientError> {
    let call = |name: &String| {
        let order = Order { timeout_ms, ..Order::new(name) };
        match verb {
            life::Verb::Start => Call::Start(order),
            life::Verb::Stop => Call::Stop(order),
            life::Verb::Restart => Call::Restart(order),
            life::Verb::Signal => Call::Signal { name: name.clone(), signal: 0 },
            life::Verb::Ignore => Call::Ignore(order),
            life::Verb::Heed => Call::Heed(order),
            life::Verb::Set => Call::Set(order),
            life::Verb::Clear => Call::Clear(order),
        }
    };
    connection.pipeline(&names.iter().map(call).collect::<Vec<Call>>())
}

/// Says what came of each, who was stopped with it, and how each stop went where that was asked for; fails if one did.
pub(super) fn report(
    setting: &Setting,
    verb: life::Verb,
    names: &[String],
    answers: &[Result<Done, Error>],
    more: &Told,
    as_json: bool,
) -> Result<(), Trouble> {
    let done = match verb {
        life::Verb::Start => "started",
        life::Verb::Stop => "stopped",
        life::Verb::Restart => "restarted",
        life::Verb::Signal => "signalled",
        life::Verb::Ignore => "is ignored from now on",
        life::Verb::Heed => "is supervised again",
        life::Verb::Set => "is set",
        life::Verb::Clear => "is cleared",
    };
    let mut told: Vec<Value> = Vec::new();
    let clock = Clock::here();
    let receipts = &more.receipts;
    let draw = |receipt: &Receipt| setting.terminal.say(&drawn(receipt, &clock, setting.terminal.out));
    for (at, (name, answer)) in names.iter().zip(answers).enumerate() {
        match answer {
            _ if as_json => {
                let mut entry = entry(name, answer, receipts.get(at));
                if let Some(fields) = entry.as_object_mut().filter(|_| verb == life::Verb::Stop) {
                    let with = stopped_with::as_json(&more.with, name, !receipts.is_empty());
                    fields.insert("with".to_owned(), with);
                }
                told.push(entry);
            }
            Ok(_) => setting.terminal.say(&format!("{name} {done}{}\n", stopped_with::in_words(&more.with, name)))?,
            Err(error) => setting.terminal.complain(&refused(setting, verb, error)),
        }
        match receipts.get(at) {
            Some(Ok(receipt)) if !as_json => {
                draw(receipt)?;
                let mut with = stopped_with::with(&more.with, name).filter_map(|it| it.receipt.as_ref());
                with.try_for_each(draw)?;
            }
            // Whoever was not stopped has none, and that was told.
            Some(Err(error)) if answer.is_ok() => setting.terminal.complain(&words::no_receipt(name, error)),
            Some(_) | None => {}
        }
    }
    if as_json {
        setting.terminal.say_json(&json!({ "services": told }))?;
    } else if names.is_empty() {
        setting.terminal.tell(&nothing_to_do(setting, verb));
    }
    let all_told = receipts.iter().all(Result::is_ok);
    if all_told && answers.iter().all(Result::is_ok) { Ok(()) } else { Err(Trouble::said(FAILED)) }
}

/// That none of all was meant (`--all`): who that would have been.
fn nothing_to_do(setting: &Setting, verb: life::Verb) -> String {
    let has_targets =
        || reach::connect(setting).ok().and_then(|mut it| it.groups().ok()).is_some_and(|groups| !groups.is_empty());
    let whom = match verb {
        life::Verb::Start if has_targets() => {
            "the plan starts no service by itself (`verger switch` brings back what a target lists)"
        }
        life::Verb::Start => "the plan starts no service by itself",
        life::Verb::Restart => "no service is wanted up",
        life::Verb::Heed => "no service is ignored",
        life::Verb::Stop | life::Verb::Signal | life::Verb::Ignore | life::Verb::Set | life::Verb::Clear => {
            "there is no service"
        }
    };
    format!("nothing was to be done: {whom}")
}

/// What came of one, as JSON.
fn entry(name: &str, answer: &Result<Done, Error>, receipt: Option<&Result<Receipt, Error>>) -> Value {
    let mut value = match answer {
        Ok(Done { run }) => json!({ "run": run }),
        Err(error) => serde_json::to_value(error).unwrap_or_default(),
    };
    if let Some(fields) = value.as_object_mut() {
        fields.insert("name".to_owned(), json!(name));
        fields.insert("done".to_owned(), json!(answer.is_ok()));
        if let Some(receipt) = receipt {
            fields.insert("receipt".to_owned(), json!(receipt.as_ref().ok()));
        }
    }
    value
}

/// What was refused, with a name that may have been meant, who would do beside the one that is in the way, or how that one has ended.
fn refused(setting: &Setting, verb: life::Verb, error: &Error) -> Trouble {
    let list = |names| reach::connect(setting).ok()?.list(names).ok();
    if let Error::NotFound { name } = error
        && let Some(services) = list(None)
    {
        let is_of_conditions = matches!(verb, life::Verb::Set | life::Verb::Clear);
        let unknown = if is_of_conditions { names::unknown_condition } else { names::unknown };
        return unknown(name, &services);
    }
    let lacks_one_of = |name: &str| words::lacks_one_of(&reach::connect(setting).ok()?.why(name).ok()?);
    if let Error::Timeout { name, waits_for: Some(_), .. } = error
        && let Some(what) = lacks_one_of(name)
    {
        return Trouble::new(format!("cannot {verb} `{name}`: the time is over, and it still {what}"))
            .hint(format!("the work goes on; `verger why {name}` tells more"));
    }
    if let Error::WrongState(WrongState { name, blocked_by: Some(_), .. }) = error
        && let Some(what) = lacks_one_of(name)
    {
        return Trouble::new(format!("cannot {verb} `{name}`: it {what}"))
            .hint(format!("`verger why {name}` tells more"));
    }
    if let Error::WrongState(WrongState { name, blocked_by: Some(on), .. }) = error
        && list(Some(&[on.as_str()])).is_some_and(|found| found.iter().any(|it| it.phase == PhaseKind::Done))
    {
        let what = words::ended_otherwise_than_asked(on);
        return Trouble::new(format!("cannot {verb} `{name}`: it {what}"))
            .hint(format!("`verger why {name}` tells more"));
    }
    words::refusal(Some(verb), error)
}
