//! `verger doctor`: what this machine gives, and what to do where something is missing.

use rustix::process::{Resource, getrlimit};
use serde_json::json;
use verger_client::{Absence, ClientError, Connection, Surroundings};
use verger_linux::reap;
use verger_wire::message::{Description, Finding, Level};

use crate::launch::{self, Started};
use crate::reach;
use crate::setting::Setting;
use crate::terminal::Paint;
use crate::trouble::{FAILED, Trouble};
use crate::words::Tone;

/// Tell what the kernel and this machine give, and what to do where something is missing
///
/// A daemon finds out by trying when it starts; the one of the instance is asked, or, where none runs, one is started without
/// services and ended again. Exit status: 0 nothing is wrong, 1 there is a problem.
#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let (description, whose) = ask(setting)?;
        let mut findings = vec![kernel(), daemon(setting, &description, whose), runtime_folder()];
        findings.extend(description.findings.iter().cloned());
        findings.extend([open_files(), processes()]);
        if self.json {
            setting.terminal.say_json(&json!({
                "findings": findings, "spawn": description.spawn, "containment": description.containment.word(),
                "version": description.version,
            }))?;
        } else {
            setting.terminal.say(&told(&findings, setting.terminal.out))?;
        }
        let problem = findings.iter().any(|finding| finding.level == Level::Problem);
        if problem { Err(Trouble::said(FAILED)) } else { Ok(()) }
    }
}

/// Whose description it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    TheInstances,
    OneForThis,
}

fn ask(setting: &Setting) -> Result<(Description, Whose), Trouble> {
    let failed = |error: ClientError| reach::trouble(setting, None, &error);
    match Connection::open(&reach::address(setting)?) {
        Ok(mut connection) => {
            connection.set_patience(Some(reach::PATIENCE));
            Ok((connection.describe().map_err(failed)?, Whose::TheInstances))
        }
        Err(ClientError::NotThere { why: Absence::NoInstance | Absence::NobodyListens, .. }) => {
            Ok((try_out(setting)?, Whose::OneForThis))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Starts a daemon without services, asks it, and ends it.
fn try_out(setting: &Setting) -> Result<Description, Trouble> {
    let instance = format!("doctor-{}", std::process::id());
    let Started { pid, mut connection } = launch::start_daemon(None, &instance, None)?;
    connection.set_patience(Some(reach::PATIENCE));
    let described = connection.describe().map_err(|error| reach::trouble(setting, None, &error));
    let _ends_with_us_anyway = connection.shutdown(true);
    drop(connection);
    let _ended = reap::wait_pid(pid);
    described
}

fn finding(topic: &str, level: Level, text: String, hint: Option<&str>) -> Finding {
    Finding { topic: topic.to_owned(), level, text, hint: hint.map(str::to_owned) }
}

/// The oldest kernel with `clone3`'s `CLONE_INTO_CGROUP`, pidfds and `cgroup.kill`.
const KERNEL: (u32, u32) = (5, 14);

fn kernel() -> Finding {
    let names = rustix::system::uname();
    let release = names.release().to_string_lossy().into_owned();
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok()).unwrap_or(0);
    let mut parts = release.split(['.', '-', '+']);
    let version = (number(parts.next()), number(parts.next()));
    let machine = names.machine().to_string_lossy().into_owned();
    if version >= KERNEL {
        return finding("kernel", Level::Good, format!("Linux {release} on {machine}"), None);
    }
    let text = format!(
        "Linux {release} on {machine}: older than {}.{}, the first that has all that is used",
        KERNEL.0, KERNEL.1
    );
    finding("kernel", Level::Note, text, Some("what is missing is done in other ways, or not at all: see below"))
}

fn daemon(setting: &Setting, description: &Description, whose: Whose) -> Finding {
    let (ours, theirs) = (env!("CARGO_PKG_VERSION"), &description.version);
    if ours != theirs {
        let text = format!("vergerd is of version {theirs}, this is verger {ours}");
        return finding("daemon", Level::Problem, text, Some("install both from the same release"));
    }
    let instance = &setting.instance;
    let text = match whose {
        Whose::TheInstances => format!("vergerd {theirs} runs as instance `{instance}` (pid {})", description.pid),
        Whose::OneForThis => format!("vergerd {theirs} starts; none runs as instance `{instance}` now"),
    };
    finding("daemon", Level::Good, text, None)
}

fn runtime_folder() -> Finding {
    let path = Surroundings::here().runtime_dir();
    finding("runtime folder", Level::Good, path.display().to_string(), None)
}

fn open_files() -> Finding {
    let limit = getrlimit(Resource::Nofile);
    let shown = |number: Option<u64>| number.map_or_else(|| "no limit".to_owned(), |number| number.to_string());
    let text = format!(
        "{} descriptors, {} at most; the daemon takes what it may, services get what is set here",
        shown(limit.current),
        shown(limit.maximum)
    );
    // One for each run, some for the daemon itself.
    match limit.maximum {
        Some(most) if most < 1024 => {
            finding("open files", Level::Note, text, Some("each running service may take one: raise RLIMIT_NOFILE"))
        }
        Some(_) | None => finding("open files", Level::Good, text, None),
    }
}

/// Fewer than so many processes are soon used up.
const PROCESSES: u64 = 1_000;

fn processes() -> Finding {
    let number = |path: &str| std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let numbers = number("/proc/sys/kernel/pid_max");
    // Root is not bound by it (RLIMIT_NPROC, getrlimit(2)).
    let own = getrlimit(Resource::Nproc).current.filter(|_| !rustix::process::geteuid().is_root());
    let bounds = [("process numbers on this machine", numbers), ("processes of this user", own)];
    let known: Vec<(&str, u64)> = bounds.into_iter().filter_map(|(what, bound)| Some((what, bound?))).collect();
    let shown: Vec<String> = known.iter().map(|(what, bound)| format!("{bound} {what}")).collect();
    let text = if shown.is_empty() { "no limit is known".to_owned() } else { shown.join(", ") };
    match known.iter().any(|(_, bound)| *bound < PROCESSES) {
        true => finding("processes", Level::Note, text, Some("starts that fail for want of processes are tried again")),
        false => finding("processes", Level::Good, text, None),
    }
}

fn told(findings: &[Finding], paint: Paint) -> String {
    let wide = |finding: &Finding| finding.topic.chars().count();
    let width = findings.iter().map(wide).max().unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let (mark, tone) = match finding.level {
            Level::Good => ("good   ", Tone::Good),
            Level::Note => ("note   ", Tone::Uneasy),
            Level::Problem => ("problem", Tone::Bad),
        };
        text.push_str(&format!("{}  {:<width$}  {}\n", paint.tone(tone, mark), finding.topic, finding.text));
        if let Some(hint) = &finding.hint {
            text.push_str(&format!("{:9}{:<width$}  {} {hint}\n", "", "", paint.hint("Hint:")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_stand_in_columns_with_what_to_do_below() {
        let findings = [
            finding("spawn", Level::Good, "clone3".to_owned(), None),
            finding("open files", Level::Problem, "three".to_owned(), Some("more")),
        ];
        let expected = "good     spawn       clone3\nproblem  open files  three\n                     Hint: more\n";
        assert_eq!(told(&findings, Paint::PLAIN), expected);
    }

    #[test]
    fn this_machine_is_described() {
        for finding in [kernel(), open_files(), processes(), runtime_folder()] {
            assert!(!finding.text.is_empty(), "{}", finding.topic);
        }
        assert!(kernel().text.starts_with("Linux "));
    }
}
