//! What to do about how a service is, where there is something to do.

use verger_engine::life::{PhaseKind, Want};
use verger_wire::message::{FailureKind, OriginKind, Service, Transition, Why};

use super::ends::start_hint;
use super::note::is_waiter;

/// What to do, from the service and its chain. Each stands after `Hint: `.
pub(crate) fn hints(why: &Why) -> Vec<String> {
    let memory = why.service.last_exit.as_ref().filter(|exit| exit.out_of_memory).and(why.memory_max);
    let memory = memory.map(|bytes| format!("`memory_max` lets it have {} of memory", size(bytes)));
    memory.into_iter().chain(hints_of_phase(why)).collect()
}

/// `64M`, or bytes where no unit says it exactly.
fn size(bytes: u64) -> String {
    let unit = [("G", 30), ("M", 20), ("K", 10)].into_iter().find(|(_, shift)| bytes.trailing_zeros() >= *shift);
    unit.map_or_else(|| format!("{bytes} bytes"), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

fn hints_of_phase(why: &Why) -> Vec<String> {
    let service = &why.service;
    let name = &service.name;
    match service.phase {
        PhaseKind::Failed => failed(service),
        PhaseKind::Blocked | PhaseKind::Waiting => match last_other(why) {
            Some(other) => {
                let mut hints: Vec<String> =
                    why.chain.last().and_then(start_refused).map(str::to_owned).into_iter().collect();
                hints.push(format!("`verger why {other}` tells about {other}"));
                if service.phase == PhaseKind::Blocked {
                    hints.push(format!("once that is mended, `verger start {name}` tries both again"));
                }
                hints
            }
            None => Vec::new(),
        },
        PhaseKind::Resting => vec![format!("`verger start {name}` starts it at once")],
        PhaseKind::Held => match &service.waits_for {
            Some(other) => vec![format!("`verger why {other}` tells what keeps {other}")],
            None => Vec::new(),
        },
        PhaseKind::Stuck => run_is_stuck(service.in_the_way),
        PhaseKind::Down if service.want == Want::Down && !is_ending(why) => {
            let starts = match why.chain.last().and_then(|link| link.root.what.service.as_deref()) {
                Some(other) if other != name && is_command(why) => format!("`verger start {name}` starts {other} too"),
                Some(_) | None => format!("`verger start {name}` starts it"),
            };
            vec![starts]
        }
        // Where what it saw last is not known, that stays with it until then.
        PhaseKind::Starting
            if let Some(owner) = looks_for(service)
                && why.last_look.is_none() =>
        {
            vec![format!("once its time is over it says where the standard error of {owner} goes what was not so")]
        }
        PhaseKind::Down | PhaseKind::Starting | PhaseKind::Running | PhaseKind::Stopping | PhaseKind::Done => {
            Vec::new()
        }
    }
}

/// For whom this one looks, if it is a condition that is looked at. Somebody's own service can be called like one, but is not described so.
fn looks_for(service: &Service) -> Option<&str> {
    let (owner, _) = service.name.split_once(':')?;
    let (named, _) = service.description.strip_prefix("condition of ")?.split_once(": ")?;
    (named == owner).then_some(owner)
}

/// What to do about processes that were killed and are still there.
pub(crate) fn run_is_stuck(in_the_way: Option<u32>) -> Vec<String> {
    let what = "a process that survives SIGKILL waits inside the kernel, or is held by a debugger";
    let look =
        in_the_way.map(|pid| format!("`cat /proc/{pid}/wchan` and `grep TracerPid /proc/{pid}/status` tell which"));
    std::iter::once(what.to_owned()).chain(look).collect()
}

fn failed(service: &Service) -> Vec<String> {
    let name = &service.name;
    let again = format!("once that is mended: `verger start {name}`");
    if service.ignored {
        // Whatever its plan says of an end, it is not done while it is left alone.
        return vec![format!(
            "it is left alone (`verger ignore`): `verger heed {name}` starts it and supervises it again"
        )];
    }
    let Some(failure) = &service.failure else { return vec![again] };
    let first = match failure.kind {
        FailureKind::Start => {
            failure.step.and_then(|step| start_hint(step, failure.errno.unwrap_or(0))).map(str::to_owned)
        }
        FailureKind::NotReady if is_waiter(name, service.run) => Some(
            "`within` in the plan says how long it waits for its condition, `verger condition set` says that that is so"
                .to_owned(),
        ),
        FailureKind::NotReady => {
            Some("`ready` in the plan says how it tells, `start_timeout` how long it may take".to_owned())
        }
        FailureKind::Exited => match looks_for(service) {
            Some(owner) => Some(format!("what was not so it said where the standard error of {owner} goes")),
            // A step has no keys of its own.
            None if service.description.starts_with("step of recovery: ") => None,
            None => Some("`restart` in the plan says whether it is started again after such an end".to_owned()),
        },
        FailureKind::Internal => {
            Some("this is a bug of verger: `verger record FILE` keeps what is needed to find it".to_owned())
        }
        FailureKind::GaveUp => None,
    };
    first.into_iter().chain([again]).collect()
}

/// The last service on the chain that is not the one that was asked about.
fn last_other(why: &Why) -> Option<&str> {
    let other = why.chain.iter().rev().map(|link| link.service.as_str()).find(|name| *name != why.service.name);
    other.or(why.service.waits_for.as_deref())
}

/// What to do about the start that failed at the end of the chain, if that is what it comes to.
fn start_refused(link: &Transition) -> Option<&'static str> {
    start_hint(link.cause.step?, link.cause.errno.unwrap_or(0))
}

fn is_command(why: &Why) -> bool {
    why.chain.last().is_some_and(|link| link.root.what.kind == OriginKind::Command)
}

fn is_ending(why: &Why) -> bool {
    why.wanted.as_ref().is_some_and(|wanted| wanted.root.what.kind == OriginKind::Shutdown)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{by_command, moving, pointing, web, why};
    use super::*;
    use verger_engine::life::Verb;
    use verger_engine::runs::Step;
    use verger_wire::message::{CauseKind, Exit, Failure, LastLook, LookKind};

    fn link(service: &str, kind: CauseKind, to: &str) -> Transition {
        let link = moving(PhaseKind::Running, PhaseKind::Down, pointing(kind, to), by_command(Verb::Stop, "db"));
        Transition { service: service.to_owned(), ..link }
    }

    #[test]
    fn who_ended_for_want_of_memory_has_a_limit() {
        let exit = Exit { code: None, signal: Some("SIGKILL".to_owned()), core_dumped: false, out_of_memory: true };
        let service = Service { last_exit: Some(exit), ..web(PhaseKind::Running) };
        let mut why = Why { memory_max: Some(64 << 20), ..why(service, vec![]) };
        assert_eq!(hints(&why), ["`memory_max` lets it have 64M of memory"]);
        why.memory_max = Some(5000);
        assert_eq!(hints(&why), ["`memory_max` lets it have 5000 bytes of memory"]);
        why.memory_max = None;
        assert_eq!(hints(&why), [] as [String; 0], "it was the machine's");
    }

    #[test]
    fn there_is_a_hint_where_there_is_something_to_do() {
        let plain = |kind| Failure { kind, restarts: None, step: None, errno: None, fault: None };
        let failed = |failure| Service { failure: Some(failure), ..web(PhaseKind::Failed) };
        let looking = |name: &str, service| {
            let (name, description) = (name.to_owned(), "condition of web: tcp [::1]:80, within 1m".to_owned());
            Service { name, description, ..service }
        };
        let refused = Failure { step: Some(Step::Exec), errno: Some(13), ..plain(FailureKind::Start) };
        let down = Service { want: Want::Down, ..web(PhaseKind::Down) };
        let chain = || {
            vec![
                link("web", CauseKind::Awaits, "api"),
                link("api", CauseKind::Awaits, "db"),
                link("db", CauseKind::Rested, ""),
            ]
        };
        for (service, chain, words) in [
            (failed(plain(FailureKind::GaveUp)), vec![], "once that is mended: `verger start web`"),
            (
                looking("web:tcp", failed(plain(FailureKind::Exited))),
                vec![],
                "what was not so it said where the standard error of web goes\nonce that is mended: `verger start web:tcp`",
            ),
            (
                Service { name: "web:tcp".to_owned(), ..failed(plain(FailureKind::Exited)) },
                vec![],
                "`restart` in the plan says whether it is started again after such an end\n\
                 once that is mended: `verger start web:tcp`",
            ),
            (
                Service {
                    name: "web:recovery".to_owned(),
                    description: "step of recovery: mend web".to_owned(),
                    ..failed(plain(FailureKind::Exited))
                },
                vec![],
                "once that is mended: `verger start web:recovery`",
            ),
            (
                Service { ignored: true, ..failed(plain(FailureKind::Exited)) },
                vec![],
                "it is left alone (`verger ignore`): `verger heed web` starts it and supervises it again",
            ),
            (
                Service { name: "web:set".to_owned(), ..failed(plain(FailureKind::NotReady)) },
                vec![],
                "`ready` in the plan says how it tells, `start_timeout` how long it may take\n\
                 once that is mended: `verger start web:set`",
            ),
            (
                Service { name: "web:set".to_owned(), run: 0, ..failed(plain(FailureKind::NotReady)) },
                vec![],
                "`within` in the plan says how long it waits for its condition, `verger condition set` says that that is so\n\
                 once that is mended: `verger start web:set`",
            ),
            (
                failed(refused),
                vec![],
                "make the program executable (`chmod +x`) and its folders open to the service's user\n\
                 once that is mended: `verger start web`",
            ),
            (
                web(PhaseKind::Blocked),
                chain(),
                "`verger why db` tells about db\nonce that is mended, `verger start web` tries both again",
            ),
            (web(PhaseKind::Waiting), chain(), "`verger why db` tells about db"),
            (web(PhaseKind::Waiting), vec![], ""),
            (web(PhaseKind::Resting), vec![], "`verger start web` starts it at once"),
            (
                Service { waits_for: Some("api".to_owned()), ..web(PhaseKind::Held) },
                vec![],
                "`verger why api` tells what keeps api",
            ),
            (down.clone(), vec![link("web", CauseKind::DownWith, "db")], "`verger start web` starts db too"),
            (down, vec![], "`verger start web` starts it"),
            (web(PhaseKind::Running), vec![], ""),
            (web(PhaseKind::Starting), vec![], ""),
            (Service { name: "web:path".to_owned(), ..web(PhaseKind::Starting) }, vec![], ""),
            (
                looking("web:http.2", web(PhaseKind::Starting)),
                vec![],
                "once its time is over it says where the standard error of web goes what was not so",
            ),
            (
                Service { in_the_way: Some(9), ..web(PhaseKind::Stuck) },
                vec![],
                "a process that survives SIGKILL waits inside the kernel, or is held by a debugger\n\
                 `cat /proc/9/wchan` and `grep TracerPid /proc/9/status` tell which",
            ),
        ] {
            let why = why(service, chain);
            assert_eq!(hints(&why).join("\n"), words);
        }
    }

    #[test]
    fn what_the_last_look_saw_need_not_be_looked_up() {
        let description = "condition of web: http://[::1]/, within 1m".to_owned();
        let probe = Service { name: "web:http".to_owned(), description, ..web(PhaseKind::Starting) };
        let look = LastLook {
            at_us: 1,
            kind: LookKind::Refused,
            errno: Some(111),
            status: None,
            signal: None,
            after_ms: None,
        };
        let why = Why { last_look: Some(Box::new(look)), ..why(probe, vec![]) };
        assert_eq!(hints(&why), Vec::<String>::new());
        assert_eq!(hints(&Why { last_look: None, ..why }).len(), 1);
    }
}
