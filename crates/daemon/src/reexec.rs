//! Becoming another program in the same process: `verger reexec`, after an update.
//!
//! The new program is asked first, on a thread of its own, in which forms it takes what we leave it (`--forms`): the board, the
//! compiled plan, the list of what is passed on. Only one that says the same as we do is executed; anything else is refused, and
//! nothing has changed. Starts that are on their way are waited for a moment: one that was never reported is begun anew.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use verger_engine::life::CommandId;
use verger_engine::runs::Pid;
use verger_engine::time::{Moment, Span};
use verger_linux::process::PidFd;
use verger_wire::message::{Error, Replaced};

use crate::daemon::Daemon;
use crate::poll::Token;

/// How long a program may take to say in which forms it takes things.
const ANSWER: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
/// How long starts that are on their way are waited for.
const STARTS: Span = Span::from_secs(2);
const SIGKILL: u8 = 9;

/// What this program takes over, and leaves.
pub(crate) fn forms() -> String {
    let (board, image, label) = (verger_wire::board::VERSION, verger_engine::image::VERSION, crate::label::FORM);
    format!("verger-forms board={board} plan={image} passed={label}\n")
}

/// A program that is being asked.
pub(crate) struct Asking {
    pub(crate) path: PathBuf,
    /// Who waits for the answer.
    pub(crate) command: CommandId,
    wake: Arc<OwnedFd>,
    answer: Arc<Mutex<Option<Result<(), String>>>>,
}

/// One that is about to be executed.
pub(crate) struct Next {
    pub(crate) path: CString,
    /// Not later than then.
    pub(crate) by: Moment,
}

impl Asking {
    /// Asks a program; the descriptor becomes readable when it has answered.
    ///
    /// # Errors
    /// `EMFILE`, `EAGAIN`.
    pub(crate) fn begin(path: PathBuf, command: CommandId) -> Result<Asking, Errno> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let answer = Arc::new(Mutex::new(None));
        let (program, place, tell) = (path.clone(), Arc::clone(&answer), Arc::clone(&wake));
        let ask = move || {
            let said = ask(&program);
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
            let _never_full = rustix::io::write(&*tell, &1u64.to_ne_bytes());
        };
        let thread = std::thread::Builder::new().name("reexec".to_owned()).spawn(ask);
        thread.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        Ok(Asking { path, command, wake, answer })
    }

    /// What it answered; `None`: nothing yet.
    pub(crate) fn answer(&self) -> Option<Result<(), String>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl AsFd for Asking {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// Asks it. Its end is nobody's business here: the loop reaps whoever it does not know.
fn ask(path: &Path) -> Result<(), String> {
    let mut command = Command::new(path);
    command.arg("--forms").env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("it cannot be executed: {error}"))?;
    let held = PidFd::open(Pid(child.id()));
    let Some(mut out) = child.stdout.take() else { return Err("it cannot be asked".to_owned()) };
    let mut said = Vec::new();
    let mut buffer = [0; 256];
    while said.len() < 4096 {
        let mut asked = [PollFd::new(&out, PollFlags::IN)];
        if poll(&mut asked, Some(&ANSWER)) == Ok(0) {
            if let Ok(held) = held {
                let _gone = held.signal(SIGKILL);
            }
            return Err(format!("it does not say within {} s what it takes over", ANSWER.tv_sec));
        }
        match out.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => said.extend_from_slice(&buffer[..count]),
        }
    }
    let (said, ours) = (String::from_utf8_lossy(&said).into_owned(), forms());
    match said == ours {
        true => Ok(()),
        false if said.starts_with("verger-forms ") => {
            Err(format!("it takes over {}, and this daemon would leave it {}", said.trim_end(), ours.trim_end()))
        }
        false => Err("it is no vergerd that takes over from this one".to_owned()),
    }
}

/// Where the present program was executed from: by an update there may lie another one now.
pub(crate) fn own_path() -> Option<PathBuf> {
    let link = std::fs::read_link("/proc/self/exe").ok()?;
    let bytes = link.as_os_str().as_bytes();
    let path = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(path)))
}

impl Daemon {
    /// Asks the program that is to take our place whether it can. The answer comes later.
    pub(crate) fn reexec(&mut self, at: u32, program: Option<&str>, oneway: bool) -> Result<(), Error> {
        if self.asking.is_some() || self.next.is_some() || self.world.awaits_adoption() {
            return Err(Error::Busy);
        }
        // The next life begins with the plan that is kept: whoever tries another one says first what becomes of it.
        if self.engine.trial().is_some() {
            return Err(Error::Trial { on_trial: true, last: None });
        }
        let invalid = |expected: String| Error::Invalid { field: "program".into(), expected };
        let path = program.map(PathBuf::from).or_else(own_path);
        let path = path.ok_or_else(|| invalid("a path: where this program lies is not known".into()))?;
        let command = self.control.promise(at, "", None, oneway);
        let asked = Asking::begin(path, command).and_then(|asking| {
            self.poll.add(&asking, Token::Asked)?;
            Ok(asking)
        });
        match asked {
            Ok(asking) => self.asking = Some(asking),
            Err(errno) => {
                let mut bytes = Vec::new();
                let error = Error::Internal { text: format!("the program cannot be asked: {errno}") };
                verger_wire::frame::write_error(&mut bytes, &error);
                self.control.keep_promise(command, bytes);
            }
        }
        Ok(())
    }

    /// The program has answered.
    pub(crate) fn hear_answer(&mut self) {
        let Some(answer) = self.asking.as_ref().and_then(Asking::answer) else { return };
        let Some(asking) = self.asking.take() else { return };
        self.poll.remove(&asking);
        let mut bytes = Vec::new();
        let path = asking.path.display().to_string();
        let c_path = CString::new(asking.path.as_os_str().as_bytes());
        match (answer, c_path) {
            (Ok(()), Ok(c_path)) => {
                self.log.tell(format_args!("becoming {path}, in the same process"));
                let reply = Replaced { program: path, version: env!("CARGO_PKG_VERSION").into() };
                verger_wire::frame::write_reply(&mut bytes, &reply, false);
                self.next = Some(Next { path: c_path, by: self.now + STARTS });
            }
            (why, _) => {
                let why = why.err().unwrap_or_default();
                let expected = format!("a vergerd that takes over from this one ({path}: {why})");
                verger_wire::frame::write_error(&mut bytes, &Error::Invalid { field: "program".into(), expected });
            }
        }
        self.control.keep_promise(asking.command, bytes);
    }

    /// Becomes the next program, once no start is on its way. Comes back if it cannot be executed after all.
    pub(crate) fn become_next(&mut self) {
        let Some(next) = self.next.take_if(|next| next.by <= self.now || self.world.starter.is_idle()) else { return };
        self.hear_world();
        // The next program goes by the board, and not all that is asked for has moved somebody.
        self.page.put_all(&self.engine);
        self.send();
        self.recording.flush();
        self.log.flush_last();
        let errno = self.again.become_program(&next.path);
        self.log.warn(format_args!("cannot become another program: {errno}; everything goes on as it was"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_that_says_the_same_is_taken() {
        let folder = std::env::temp_dir().join(format!("verger-reexec-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let program = |text: &str| {
            let path = folder.join("program");
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            ask(&path)
        };
        assert_eq!(program(&format!("echo '{}'", forms().trim_end())), Ok(()));
        assert!(program("echo verger-forms board=0").unwrap_err().contains("board=0"));
        assert!(program("exit 0").is_err() && program("cat /dev/zero").is_err());
        assert!(ask(&folder.join("nothing")).unwrap_err().contains("cannot be executed"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
