//! Whom a stop took along: what requires a service ends before it, what was up for its sake alone ends after it.
//!
//! The daemon answers for the one that was named. Who else it came to is in what each says of its want: the same command.

use serde_json::{Value, json};
use verger_client::{ClientError, Connection};
use verger_engine::life::{PhaseKind, Verb, Want};
use verger_wire::message::{Call, CauseKind, OriginKind, Receipt, ReceiptReply, Service, Why};

/// One that was stopped with one that was named.
#[derive(Debug)]
pub(super) struct StoppedWith {
    pub(super) name: String,
    /// The one that was named.
    of: String,
    link: Link,
    /// The run that ended; `None` where it had none.
    run: Option<u64>,
    pub(super) receipt: Option<Receipt>,
}

/// What the two have to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// It requires the other, itself or through others.
    Requires,
    /// It was up because others required it, and none does any more.
    Unneeded,
}

/// Those of the services that were up before, were not named, and are to be down now because of one that was.
pub(super) fn find(
    connection: &mut Connection,
    before: &[Service],
    named: &[String],
) -> Result<Vec<StoppedWith>, ClientError> {
    let now = connection.list(None)?;
    let is_down = |name: &str| now.iter().any(|service| service.name == name && service.want == Want::Down);
    let was_up = |service: &Service| {
        let would_run = service.phase.is_live() || matches!(service.phase, PhaseKind::Waiting | PhaseKind::Resting);
        would_run && service.want != Want::Down
    };
    let may_be = |service: &&Service| was_up(service) && !named.contains(&service.name) && is_down(&service.name);
    let candidates: Vec<&Service> = before.iter().filter(may_be).collect();
    let calls: Vec<Call> = candidates.iter().map(|service| Call::Why { name: service.name.clone() }).collect();
    let told = connection.pipeline::<Why>(&calls)?;
    let found = candidates.into_iter().zip(told).filter_map(|(was, why)| led_by(was, &why.ok()?, named));
    Ok(found.collect())
}

/// Whether a service is down because one of those that were named was stopped.
fn led_by(was: &Service, why: &Why, named: &[String]) -> Option<StoppedWith> {
    let wanted = why.wanted.as_ref()?;
    let link = match wanted.cause.kind {
        CauseKind::DownWith => Link::Requires,
        CauseKind::Unneeded => Link::Unneeded,
        CauseKind::Asked
        | CauseKind::Needed
        | CauseKind::RestartedWith
        | CauseKind::Awaits
        | CauseKind::Arrived
        | CauseKind::OutOfReach
        | CauseKind::WithinReach
        | CauseKind::HeldBy
        | CauseKind::LetGo
        | CauseKind::Ready
        | CauseKind::Exited
        | CauseKind::Ended
        | CauseKind::StartFailed
        | CauseKind::NotReadyInTime
        | CauseKind::Rested
        | CauseKind::Stuck
        | CauseKind::Removed
        | CauseKind::Fault
        | CauseKind::Found
        | CauseKind::Conflicts
        | CauseKind::Fallback
        | CauseKind::Redescribed
        | CauseKind::AwaitsTurn
        | CauseKind::Unset
        | CauseKind::Follows
        | CauseKind::UnderPressure
        | CauseKind::Turn
        | CauseKind::WaitedOut
        | CauseKind::Recovery
        | CauseKind::LastResort
        | CauseKind::OutOfTime => return None,
    };
    let root = &wanted.root.what;
    let is_stop = root.kind == OriginKind::Command && root.verb == Some(Verb::Stop);
    let of = root.service.clone().filter(|of| is_stop && named.contains(of))?;
    let run = was.phase.is_live().then_some(was.run);
    Some(StoppedWith { name: was.name.clone(), of, link, run, receipt: None })
}

/// Adds to each how its stop went. One that had no run, or has not begun to end, has nothing to tell of.
pub(super) fn add_receipts(connection: &mut Connection, stopped: &mut [StoppedWith]) -> Result<(), ClientError> {
    let calls: Vec<Call> = stopped.iter().map(|it| Call::Receipt { name: it.name.clone(), run: it.run }).collect();
    let told = connection.pipeline::<ReceiptReply>(&calls)?;
    for (it, told) in stopped.iter_mut().zip(told) {
        it.receipt = told.ok().map(|reply| reply.receipt).filter(|_| it.run.is_some());
    }
    Ok(())
}

/// Those that were stopped with this one.
pub(super) fn with<'s>(stopped: &'s [StoppedWith], named: &str) -> impl Iterator<Item = &'s StoppedWith> {
    stopped.iter().filter(move |it| it.of == named)
}

/// The end of the line about the one that was named: `, with api and web, which require it`.
pub(super) fn in_words(stopped: &[StoppedWith], named: &str) -> String {
    let of_link = |link: Link| -> Vec<&str> {
        with(stopped, named).filter(|it| it.link == link).map(|it| it.name.as_str()).collect()
    };
    let mut text = String::new();
    let require = of_link(Link::Requires);
    if !require.is_empty() {
        let verb = if require.len() == 1 { "requires" } else { "require" };
        text.push_str(&format!(", with {}, which {verb} it", listed(&require)));
    }
    let unneeded = of_link(Link::Unneeded);
    if !unneeded.is_empty() {
        text.push_str(&format!(", and with it {}, which nobody needs any more", listed(&unneeded)));
    }
    text
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

/// The same for the entry of the one that was named; with receipts where they were asked for.
pub(super) fn as_json(stopped: &[StoppedWith], named: &str, receipts: bool) -> Value {
    let entry = |it: &StoppedWith| {
        let link = match it.link {
            Link::Requires => "requires",
            Link::Unneeded => "unneeded",
        };
        let mut value = json!({ "name": it.name, "because": link, "run": it.run });
        if let Some(fields) = value.as_object_mut().filter(|_| receipts) {
            fields.insert("receipt".to_owned(), json!(it.receipt));
        }
        value
    };
    Value::Array(with(stopped, named).map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_stopped_with_one_is_named() {
        let one = |name: &str, of: &str, link| StoppedWith {
            name: name.into(),
            of: of.into(),
            link,
            run: Some(1),
            receipt: None,
        };
        let stopped = [
            one("api", "db", Link::Requires),
            one("cache", "db", Link::Unneeded),
            one("web", "db", Link::Requires),
            one("ui", "mq", Link::Requires),
            one("x", "db", Link::Requires),
        ];
        let words = ", with api, web and x, which require it, and with it cache, which nobody needs any more";
        assert_eq!(in_words(&stopped, "db"), words);
        assert_eq!(in_words(&stopped, "mq"), ", with ui, which requires it");
        assert_eq!(in_words(&stopped, "ui"), "");
    }
}
