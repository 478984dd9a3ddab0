//! What keeps a process from ending, as far as the kernel shows it without being waited for.
//!
//! *Not here:* its command line and its kernel stack. The kernel takes locks for both that a process may hold for as long as it
//! hangs; who can afford to wait asks [`crate::process::command_line`] and [`kernel_stack_top`].

use core::fmt;

use verger_engine::runs::Pid;

use crate::process::{self, Stat};
use crate::{Errno, files, path};

/// The longest name of a kernel function that is shown, bytes.
const CHANNEL_BYTES_MAX: usize = 64;

/// How a process stands.
#[derive(Clone, Copy, Debug)]
pub struct Plight {
    /// What the kernel says of it.
    pub stat: Stat,
    /// Who traces it; 0: nobody, or nobody here.
    pub tracer: u32,
    channel: [u8; CHANNEL_BYTES_MAX],
    channel_length: u8,
}

impl Plight {
    /// Looks at a process.
    ///
    /// # Errors
    /// `ENOENT`, `ESRCH`: there is none with this number.
    pub fn of(pid: Pid) -> Result<Plight, Errno> {
        let stat = process::stat(pid)?;
        let mut buffer = [0; 4096];
        let tracer = process::tracer(pid, &mut buffer).unwrap_or(0);
        let text = process::wait_channel(pid, &mut buffer).unwrap_or_default().trim_ascii();
        let text = if text == b"0" { &[] } else { text };
        let length = text.len().min(CHANNEL_BYTES_MAX);
        let mut channel = [0; CHANNEL_BYTES_MAX];
        channel[..length].copy_from_slice(&text[..length]);
        Ok(Plight { stat, tracer, channel, channel_length: length as u8 })
    }

    /// The kernel function it sleeps in; empty when it does not sleep, or we may not know.
    pub fn wait_channel(&self) -> &str {
        let text = self.channel.get(..usize::from(self.channel_length)).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }

    /// Its state in words, without what it waits for.
    pub fn state(&self) -> &'static str {
        match self.stat.state {
            b'R' => "running",
            b'S' => "sleeping",
            b'D' => "in a sleep that no signal ends",
            b'T' => "stopped",
            b't' => "stopped by its tracer",
            b'Z' => "dead and not reaped",
            b'X' | b'x' => "dead",
            b'I' => "idle",
            b'P' => "parked",
            _ => "in a state that is not known",
        }
    }
}

/// `sleeping in hrtimer_nanosleep`, `dead and not reaped, traced by process 99`.
impl fmt::Display for Plight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.state())?;
        if !self.wait_channel().is_empty() && matches!(self.stat.state, b'S' | b'D') {
            write!(f, " in {}", self.wait_channel())?;
        }
        match self.tracer {
            0 if self.stat.state == b'Z' => write!(f, " by its parent, process {}", self.stat.parent),
            0 => Ok(()),
            tracer => write!(f, ", traced by process {tracer}"),
        }
    }
}

/// The kernel function a process is in, innermost first of `/proc/PID/stack`; empty when it is in none, or we may not know
/// (root only). May block while the process executes a program.
///
/// # Errors
/// `ENOENT`, `ESRCH`: no such process; `EACCES`, `EPERM`: we may not look.
pub fn kernel_stack_top(pid: Pid, buffer: &mut [u8]) -> Result<&str, Errno> {
    let text = process::kernel_stack(pid, buffer)?;
    let line = files::lines(text).next().unwrap_or_default();
    // `[<0>] hrtimer_nanosleep+0xa1/0x1a0`
    let name = line.splitn(2, |byte| *byte == b' ').nth(1).unwrap_or_default();
    let name = name.split(|byte| *byte == b'+').next().unwrap_or_default();
    Ok(core::str::from_utf8(name).unwrap_or_default())
}

/// The number behind `TracerPid:` in the text of a `/proc/PID/status`.
pub(crate) fn tracer_in(text: &[u8]) -> Option<u32> {
    let number = files::lines(text).find_map(|line| line.strip_prefix(b"TracerPid:"))?;
    path::pid(number.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_plight() {
        let own = Plight::of(Pid(std::process::id())).unwrap();
        assert_eq!(own.stat.pid.0, std::process::id());
        assert!(own.to_string().starts_with(own.state()), "{own}");
        assert_eq!(Plight::of(Pid(0)).map(|_| ()), Err(Errno::NOENT));
    }

    #[test]
    fn a_child_that_sleeps_and_one_that_is_not_reaped() {
        let mut sleeper = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid(sleeper.id());
        let sleeps = || Plight::of(pid).unwrap();
        while !sleeps().to_string().starts_with("sleeping") {
            std::thread::yield_now();
        }
        sleeper.kill().unwrap();
        while sleeps().stat.state != b'Z' {
            std::thread::yield_now();
        }
        let parent = std::process::id();
        assert_eq!(sleeps().to_string(), format!("dead and not reaped by its parent, process {parent}"));
        sleeper.wait().unwrap();
    }

    #[test]
    fn tracers_are_found() {
        assert_eq!(tracer_in(b"Name:\tx\nTgid:\t5\nTracerPid:\t99\n"), Some(99));
        assert_eq!(tracer_in(b"Name:\tx\nTracerPid:\t0\n"), None);
        assert_eq!(tracer_in(b""), None);
    }
}
