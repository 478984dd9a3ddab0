//! `verger doctor`: what this machine gives, and what to do where something is missing.

use std::os::unix::ffi::OsStringExt;

use rustix::process::{Resource, getrlimit};
use serde_json::json;
use verger_client::{Absence, ClientError, Connection, Surroundings};
use verger_engine::image::BUNDLE_RUNTIME;
use verger_linux::reap;
use verger_linux::spawn::{PATH_BYTES_MAX, resolve};
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
        findings.extend([open_files(), processes(), containers()]);
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
    let Started { pid, mut connection } = launch::start_daemon(None, &instance, None, |it| it)?;
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

/// Where hierarchies of cgroups are mounted, of both versions where a machine has both.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Where the one of version 2 is beside those of version 1.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// What services need that are a container (`bundle`).
fn containers() -> Finding {
    let path = std::env::var_os("PATH").map(OsStringExt::into_vec);
    let mut buffer = [0; PATH_BYTES_MAX];
    let program = resolve(BUNDLE_RUNTIME.as_bytes(), path.as_deref(), &mut buffer).ok();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let controllers = std::fs::read_to_string(format!("{UNIFIED}/cgroup.controllers")).unwrap_or_default();
    let program = program.map(|path| path.to_string_lossy().into_owned());
    container_runtime(program.as_deref(), has_both_versions(&mounts) && !controllers.trim().is_empty())
}

fn container_runtime(program: Option<&str>, is_refused: bool) -> Finding {
    let of = |level, text, hint| finding("containers", level, text, hint);
    match program {
        None => {
            let text = format!("there is no `{BUNDLE_RUNTIME}` on PATH: services with a `bundle` cannot start");
            of(Level::Note, text, Some("nothing else needs it; where there are to be some, install it"))
        }
        Some(path) if is_refused => {
            let text = format!(
                "{path} is there, and refuses this machine: cgroups of version 1 are mounted beside version 2, which has controllers"
            );
            of(Level::Note, text, Some("with version 2 alone below /sys/fs/cgroup services with a `bundle` can start"))
        }
        Some(path) => of(Level::Good, format!("services with a `bundle` are run by {path}"), None),
    }
}

/// Whether hierarchies of both versions are mounted, by a text as `/proc/self/mounts` has it.
fn has_both_versions(mounts: &str) -> bool {
    let mounted = |kind: &str, place: &dyn Fn(&str) -> bool| {
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        mounts.any(|words| matches!(words[..], [_, at, is, ..] if is == kind && place(at)))
    };
    mounted("cgroup", &|at| at.starts_with(CGROUPS)) && mounted("cgroup2", &|at| at == UNIFIED)
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
    fn containers_need_their_program_and_one_version_of_cgroups() {
        let one = "cgroup2 /sys/fs/cgroup cgroup2 rw,relatime 0 0\n";
        let both = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                    cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        let old = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n";
        assert_eq!([one, both, old, ""].map(has_both_versions), [false, true, false, false]);
        let said = |program, is_refused| {
            let finding = container_runtime(program, is_refused);
            (finding.level, finding.text.split(':').next().unwrap_or_default().to_owned())
        };
        assert_eq!(said(None, true), (Level::Note, "there is no `crun` on PATH".to_owned()));
        let refused = (Level::Note, "/bin/crun is there, and refuses this machine".to_owned());
        assert_eq!(said(Some("/bin/crun"), true), refused);
        let good = (Level::Good, "services with a `bundle` are run by /bin/crun".to_owned());
        assert_eq!(said(Some("/bin/crun"), false), good);
    }

    #[test]
    fn this_machine_is_described() {
        for finding in [kernel(), open_files(), processes(), runtime_folder(), containers()] {
            assert!(!finding.text.is_empty(), "{}", finding.topic);
        }
        assert!(kernel().text.starts_with("Linux "));
    }
}
