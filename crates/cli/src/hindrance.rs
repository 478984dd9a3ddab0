//! Who is in the way of a stop, read from `/proc` by ourselves: the daemon need not answer for it, and does not wait for
//! locks that a hanging process may hold.

use serde_json::{Value, json};
use verger_engine::life::PhaseKind;
use verger_engine::runs::Pid;
use verger_linux::plight::{Plight, kernel_stack_top};
use verger_linux::process;
use verger_wire::message::Service;

/// A command line is shown so far, characters.
const COMMAND_CHARS_MAX: usize = 120;

/// The process that a stop waits for.
pub(crate) struct Hindrance {
    pid: u32,
    /// Its command line; the name of its program where it has none (any more).
    command: String,
    plight: Plight,
    /// The kernel function it is in, where that may be known and says more.
    kernel: String,
}

impl Hindrance {
    /// Whoever is in the way of a service that is being stopped; `None` where nobody is, or nobody that can be seen.
    pub(crate) fn of(service: &Service) -> Option<Hindrance> {
        if !matches!(service.phase, PhaseKind::Stopping | PhaseKind::Stuck) {
            return None;
        }
        let pid = service.in_the_way.or(service.pid)?;
        Some(Hindrance::look(Pid(pid))).flatten()
    }

    fn look(pid: Pid) -> Option<Hindrance> {
        let plight = Plight::of(pid).ok()?;
        let mut buffer = [0; 4096];
        let command = process::command_line(pid, &mut buffer).map(shown).unwrap_or_default();
        let command = if command.is_empty() { shown(plight.stat.comm()) } else { command };
        let kernel = kernel_stack_top(pid, &mut buffer).unwrap_or_default().to_owned();
        let kernel = if kernel == plight.wait_channel() { String::new() } else { kernel };
        Some(Hindrance { pid: pid.0, command, plight, kernel })
    }

    /// `process 4711 (sleep 1000), sleeping in hrtimer_nanosleep`
    pub(crate) fn words(&self) -> String {
        let kernel = match self.kernel.as_str() {
            "" => String::new(),
            kernel => format!(" (kernel: {kernel})"),
        };
        format!("process {} ({}), {}{kernel}", self.pid, self.command, self.plight)
    }

    /// The same as JSON.
    pub(crate) fn json(&self) -> Value {
        let maybe = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
        json!({
            "pid": self.pid,
            "command": self.command,
            "state": char::from(self.plight.stat.state).to_string(),
            "state_words": self.plight.state(),
            "wait_channel": maybe(self.plight.wait_channel()),
            "kernel": maybe(&self.kernel),
            "tracer": (self.plight.tracer != 0).then_some(self.plight.tracer),
        })
    }
}

/// A command line as it may be shown: its arguments with blanks between, whatever moves a terminal's cursor escaped, no
/// longer than a line.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\0');
    let mut shown = String::new();
    for (nth, letter) in text.chars().enumerate() {
        match letter {
            _ if nth == COMMAND_CHARS_MAX => {
                shown.push('…');
                break;
            }
            '\0' => shown.push(' '),
            letter if letter.is_control() => shown.extend(letter.escape_default()),
            letter => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::samples::web;

    #[test]
    fn command_lines_do_no_harm() {
        assert_eq!(shown(b"/bin/sleep\x001000\0"), "/bin/sleep 1000");
        assert_eq!(shown(b"evil\x1b[2J\n\xff\0"), "evil\\u{1b}[2J\\n\u{fffd}");
        assert_eq!(shown(b""), "");
        let long = shown(&[b'x'; 4096]);
        assert_eq!((long.chars().count(), long.ends_with('…')), (COMMAND_CHARS_MAX + 1, true));
    }

    #[test]
    fn only_a_stop_has_somebody_in_its_way() {
        let own = std::process::id();
        let service = |phase| Service { pid: Some(own), ..web(phase) };
        assert!(Hindrance::of(&service(PhaseKind::Running)).is_none());
        let found = Hindrance::of(&service(PhaseKind::Stopping)).unwrap();
        assert_eq!(found.json()["pid"], json!(own));
        assert!(found.words().starts_with(&format!("process {own} (")), "{}", found.words());
        let another = Service { in_the_way: Some(u32::MAX), ..service(PhaseKind::Stuck) };
        assert!(Hindrance::of(&another).is_none());
    }
}
