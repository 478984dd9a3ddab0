//! `verger-bundle`: what a service with a bundle is run as; it becomes `crun`, in the same process.
//!
//! This is vergerd's program in a process of its own, an ordinary service that `crates/plan/src/bundles.rs` made of the key. What
//! it is for: a `crun` that was killed leaves its state, with which the same container is refused from then on, and the hooks that
//! belong to its end are not run. The state of a service's containers lies in a folder of its own, below the runtime folder of the
//! instance. A run begins when nothing is left of the one before it, so what is there then is of nobody who lives: `crun delete`
//! does what is still to be done for it, and the folder begins anew. No container of anybody else's is in it, whatever it is called.
//!
//! Status 127: there is no `crun`; 126: it cannot be executed; 1: the bundle is not there; 2: the words it was given are none. Any
//! other is crun's, which has that of the container.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use verger_engine::image::BUNDLE_RUNTIME as RUNTIME;
use verger_engine::names::check_name;
use verger_engine::runs::Pid;
use verger_linux::process::PidFd;
use verger_wire::place::BUNDLES_VARIABLE;

/// What the process is called until it is `crun`, and told by.
pub(crate) const NAME: &str = "verger-bundle";
/// Has it make no cgroup.
const NO_CGROUPS: &str = "--cgroup-manager=disabled";
const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET";
/// The path of a socket has at most 107 bytes (`unix(7)`), and crun binds one there, in the folder of the container's state.
const SOCKET_PATH_BYTES_MAX: usize = 107;
const SOCKET: &str = "notify/notify";
/// Whether there is room does not depend on which number a run happens to have.
const LONGEST_ID: &str = "verger-4194303";
/// How long crun, with the hooks of a container's end, may take for one that was left.
const DELETE_TIMEOUT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Becomes `crun`; gives the exit status where that cannot be.
pub(crate) fn main() -> u8 {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let ([name, bundle], Some(folder)) = (&words[..], std::env::var_os(BUNDLES_VARIABLE)) else {
        return refuse(NAME, "only a plan of this verger's own says what to run", 2);
    };
    let name = name.to_string_lossy();
    if check_name(&name).is_err() {
        return refuse(NAME, "its first word is no service's name", 2);
    }
    match becoming(&name, Path::new(bundle), Path::new(&folder)) {
        Ok(mut crun) => {
            let why = crun.exec();
            match why.kind() == io::ErrorKind::NotFound {
                true => refuse(&name, &format!("there is no `{RUNTIME}` on PATH"), 127),
                false => refuse(&name, &format!("`{RUNTIME}` cannot be executed: {}", in_words(&why)), 126),
            }
        }
        Err(why) => refuse(&name, &why, 1),
    }
}

/// Says why there is no `crun`; gives the exit status.
fn refuse(name: &str, words: &str, status: u8) -> u8 {
    say(name, words);
    status
}

/// One line, in one piece: others write there too.
fn say(name: &str, words: &str) {
    let _nobody_reads = io::stderr().write_all(format!("{name}: {words}\n").as_bytes());
}

fn in_words(error: &io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Makes everything ready, and says what is to be executed.
fn becoming(name: &str, bundle: &Path, folder: &Path) -> Result<Command, String> {
    let configuration = bundle.join("config.json");
    if let Err(why) = fs::metadata(&configuration) {
        return Err(format!("the bundle has no {}: {}", configuration.display(), in_words(&why)));
    }
    let root = folder.join(name);
    put_away(&root).map_err(|why| format!("cannot make {} anew: {}", root.display(), in_words(&why)))?;
    // Unique on the machine as long as it lives, as the number is; it is what `status` shows.
    let id = format!("verger-{}", std::process::id());
    let mut crun = runtime(&root);
    if let Some(socket) = std::env::var_os(NOTIFY_VARIABLE) {
        let longest = root.join(LONGEST_ID).join(SOCKET);
        if longest.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
            let words = format!("{} has more than {SOCKET_PATH_BYTES_MAX} bytes", longest.display());
            return Err(format!("no container can say it is ready: the path {words}; give the service a shorter name"));
        }
        let link = link_to(&socket, folder, name).map_err(|why| format!("cannot make a link: {}", in_words(&why)))?;
        crun.env(NOTIFY_VARIABLE, link);
    }
    crun.arg("run").arg("--bundle").arg(bundle).arg(id);
    Ok(crun)
}

/// Has crun do what is still to be done for containers whose crun was killed, and makes the folder anew.
fn put_away(root: &Path) -> io::Result<()> {
    let left = fs::read_dir(root).into_iter().flatten().flatten();
    for id in left.map(|entry| entry.file_name()) {
        let mut crun = runtime(root);
        crun.args(["delete", "--force"]).arg(&id).stdin(Stdio::null()).stdout(Stdio::null());
        for variable in [NOTIFY_VARIABLE, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
            crun.env_remove(variable);
        }
        if let Ok(mut child) = crun.spawn() {
            let held = PidFd::open(Pid(child.id()));
            let ends = held.map(|held| poll(&mut [PollFd::new(&held, PollFlags::IN)], Some(&DELETE_TIMEOUT)));
            if matches!(ends, Ok(Ok(0))) {
                let words =
                    format!("{}: `{RUNTIME} delete` took more than 10 s (a hook?), and was killed", id.display());
                say(NAME, &words);
                let _it_may_end_just_now = child.kill();
            }
            let _it_has_said_why_not = child.wait();
        }
    }
    match fs::remove_dir_all(root) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        Ok(()) | Err(_) => {}
    }
    DirBuilder::new().mode(0o700).recursive(true).create(root)
}

/// A name of the run's notify socket that is each time the same: crun makes a folder of that path in the container's root file
/// system, and one for each run would pile up in the bundle. No service is called so, with a `.` before its name.
fn link_to(socket: &OsString, folder: &Path, name: &str) -> io::Result<PathBuf> {
    let link = folder.join(format!(".{name}"));
    match fs::remove_file(&link) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        Ok(()) | Err(_) => symlink(socket, &link)?,
    }
    Ok(link)
}

fn runtime(root: &Path) -> Command {
    let mut crun = Command::new(RUNTIME);
    crun.arg("--root").arg(root).arg(NO_CGROUPS).env_remove(BUNDLES_VARIABLE);
    crun
}
