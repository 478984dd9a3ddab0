//! The command line of both programs.

use crate::address::Address;
use crate::complain;
use crate::watch::{Crash, Misdeeds};
use lexopt::{Arg, Parser};
use signal_hook::consts::signal;
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;
use std::time::Duration;

/// The options that both programs take, for their `--help`.
pub const HELP: &str = "  --socket ADDR         where to meet: a path, or @name for an abstract address (required)
  --crash-after TIME    end by itself after TIME (300ms, 2s, 1m)
  --crash-with HOW      how to: an exit status (0-255) or a signal's name (SEGV, KILL, ...); default: 1
  --hang-after TIME     after TIME do nothing more but stay alive; only SIGKILL helps then
  --ignore-term         do not end on SIGTERM and SIGINT
  --help                print this";

/// What both programs were told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the two meet.
    pub socket: Address,
    /// What is to go wrong.
    pub misdeeds: Misdeeds,
}

/// What the command line comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `--help`.
    Help,
    /// The work.
    Run(Options),
}

/// Reads a command line. An option that both programs do not share goes to `own`, by its name (without the dashes)
/// and with a way to get its value.
///
/// # Errors
/// One sentence for the person who typed it.
pub fn read(
    args: impl IntoIterator<Item = OsString>,
    mut own: impl FnMut(&str, &mut dyn FnMut() -> Result<OsString, String>) -> Result<bool, String>,
) -> Result<Asked, String> {
    let mut parser = Parser::from_args(args);
    let mut socket = None;
    let mut misdeeds = Misdeeds::default();
    while let Some(arg) = parser.next().map_err(|it| it.to_string())? {
        let name = match arg {
            Arg::Long(name) => name.to_owned(),
            Arg::Short(_) | Arg::Value(_) => return Err(arg.unexpected().to_string()),
        };
        let mut value = || parser.value().map_err(|it| it.to_string());
        match name.as_str() {
            "help" => return Ok(Asked::Help),
            "socket" => socket = Some(Address::parse(&value()?)?),
            "crash-after" => misdeeds.crash_after = Some(duration(&value()?)?),
            "crash-with" => misdeeds.crash = crash(&value()?)?,
            "hang-after" => misdeeds.hang_after = Some(duration(&value()?)?),
            "ignore-term" => misdeeds.ignore_term = true,
            _ if own(&name, &mut value)? => {}
            _ => return Err(Arg::Long(&name).unexpected().to_string()),
        }
    }
    let socket = socket.ok_or("no address: --socket ADDR is needed")?;
    Ok(Asked::Run(Options { socket, misdeeds }))
}

/// Complains about a command line; the exit status is 2.
pub fn misused(program: &str, why: &str) -> ExitCode {
    complain(format_args!("{program}: {why}\nHint: {program} --help"));
    ExitCode::from(2)
}

/// Reads `300ms`, `2s`, `1.5m`, `1h`. The unit must be there: a bare 3 is three of what?
///
/// # Errors
/// One sentence.
pub fn duration(text: &OsStr) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 5] = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let complaint = || format!("`{}` is no duration: 300ms, 2s, 1.5m or 1h was expected", text.display());
    let text = text.to_str().ok_or_else(complaint)?;
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(complaint)?;
    let (number, unit) = text.split_at(split);
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(complaint)?;
    let number: f64 = number.parse().map_err(|_| complaint())?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| complaint())
}

/// Reads an exit status or the name of a signal that ends a program.
///
/// # Errors
/// One sentence.
pub fn crash(text: &OsStr) -> Result<Crash, String> {
    const SIGNALS: [(&str, i32); 16] = [
        ("ABRT", signal::SIGABRT),
        ("ALRM", signal::SIGALRM),
        ("BUS", signal::SIGBUS),
        ("FPE", signal::SIGFPE),
        ("HUP", signal::SIGHUP),
        ("ILL", signal::SIGILL),
        ("INT", signal::SIGINT),
        ("KILL", signal::SIGKILL),
        ("PIPE", signal::SIGPIPE),
        ("QUIT", signal::SIGQUIT),
        ("SEGV", signal::SIGSEGV),
        ("SYS", signal::SIGSYS),
        ("TERM", signal::SIGTERM),
        ("TRAP", signal::SIGTRAP),
        ("USR1", signal::SIGUSR1),
        ("USR2", signal::SIGUSR2),
    ];
    if let Some(status) = text.to_str().and_then(|it| it.parse().ok()) {
        return Ok(Crash::Status(status));
    }
    let name = text.to_string_lossy().to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    match SIGNALS.iter().find(|(known, _)| *known == name) {
        Some((_, number)) => Ok(Crash::Signal(*number)),
        None => Err(format!("`{}` is neither a status (0-255) nor a signal that ends a program", text.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_shared(line: &str) -> Result<Asked, String> {
        read(line.split_whitespace().map(OsString::from), |_, _| Ok(false))
    }

    #[test]
    fn a_whole_command_line() {
        let line = "--socket @x --crash-after 1.5s --crash-with sigsegv --hang-after=1m --ignore-term";
        let Ok(Asked::Run(options)) = read_shared(line) else { panic!("not taken") };
        assert_eq!(options.socket, Address::Abstract(b"x".to_vec()));
        assert_eq!(options.misdeeds.crash_after, Some(Duration::from_millis(1500)));
        assert_eq!(options.misdeeds.crash, Crash::Signal(signal::SIGSEGV));
        assert_eq!(options.misdeeds.hang_after, Some(Duration::from_secs(60)));
        assert!(options.misdeeds.ignore_term);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, word) in [
            ("", "--socket"),
            ("--socket", "missing"),
            ("--socket @x --bogus", "--bogus"),
            ("--socket @x stray", "stray"),
            ("--socket @x --crash-after 3", "`3`"),
            ("--socket @x --crash-after -1s", "`-1s`"),
            ("--socket @x --crash-after 1e99h", "`1e99h`"),
            ("--socket @x --crash-after 3d", "`3d`"),
            ("--socket @x --crash-with 256", "`256`"),
            ("--socket @x --crash-with CONT", "`CONT`"),
        ] {
            let error = read_shared(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }

    #[test]
    fn help_wins() {
        assert_eq!(read_shared("--help --bogus"), Ok(Asked::Help));
    }
}
