//! The command line of `daemonproxy`: from left to right, some of it acts at once.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use verger_engine::proxy::Pool;

/// How it is to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) config: Option<Vec<u8>>,
    pub(super) interactive: bool,
    pub(super) socket: Option<Vec<u8>>,
    pub(super) daemonize: bool,
    pub(super) guard: i64,
    pub(super) exit_exec: Vec<u8>,
    pub(super) handles: Option<HandlePool>,
    pub(super) services: Option<Pool>,
    pub(super) lock_memory: bool,
    /// By how much the log says less.
    pub(super) quiet: i32,
    /// Values that were put right, to be told.
    pub(super) adjusted: Vec<String>,
}

/// A fixed number of handles, each with so much room for what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HandlePool {
    pub(super) handles: usize,
    pub(super) bytes: usize,
}

/// What ends the reading before its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Help,
    Version,
    /// It is wrong, and how.
    Wrong(String),
}

/// Reads the words after the program's name into `options`, which hold what stood to the left whatever comes of it.
///
/// # Errors
/// What acts at once, and what is wrong.
pub(super) fn read<'w>(options: &mut Options, words: impl Iterator<Item = &'w OsStr>) -> Result<(), Stop> {
    let mut words = words.map(OsStr::as_bytes);
    while let Some(word) = words.next() {
        if word == b"-" {
            continue;
        }
        if let Some(long) = word.strip_prefix(b"--") {
            let short = match long {
                b"config" => 'c',
                b"interactive" => 'i',
                b"socket" => 'S',
                b"daemonize" => 'D',
                b"exit-guard" => 'G',
                b"exit-exec" => 'E',
                b"fd-pool" => 'F',
                b"service-pool" => 'P',
                b"mlockall" => 'M',
                b"verbose" => 'v',
                b"quiet" => 'q',
                b"help" => 'h',
                b"version" => 'V',
                _ => return Err(Stop::Wrong(format!("Unknown option '{}'", word.escape_ascii()))),
            };
            options.take(short, &String::from_utf8_lossy(word), &mut words)?;
        } else if let Some(shorts) = word.strip_prefix(b"-") {
            for short in shorts {
                if !b"ciSDEMvqh".contains(short) {
                    return Err(Stop::Wrong(format!("Unknown option '-{}'", [*short].escape_ascii())));
                }
                options.take(char::from(*short), &format!("-{}", char::from(*short)), &mut words)?;
            }
        } else {
            return Err(Stop::Wrong(format!("Unexpected argument '{}'", word.escape_ascii())));
        }
    }
    if !options.interactive && options.config.is_none() && options.socket.is_none() {
        return Err(Stop::Wrong("One of --interactive, --config and --socket is required".into()));
    }
    Ok(())
}

impl Options {
    fn take<'w>(&mut self, short: char, name: &str, words: &mut impl Iterator<Item = &'w [u8]>) -> Result<(), Stop> {
        let mut value = || words.next().ok_or_else(|| Stop::Wrong(format!("Missing argument for {name}")));
        match short {
            'c' => {
                let path = value()?;
                if path != b"-"
                    && let Err(errno) = rustix::fs::stat(path)
                {
                    return Err(Stop::Wrong(format!("Cannot find config file '{}': {errno}", path.escape_ascii())));
                }
                self.config = Some(path.to_vec());
            }
            'i' => self.interactive = true,
            'S' => self.socket = Some(value()?.to_vec()),
            'D' => self.daemonize = true,
            'G' => {
                let text = value()?;
                let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                let wrong =
                    || Stop::Wrong(format!("Invalid guard code '{}': a number is expected", text.escape_ascii()));
                self.guard = number.ok_or_else(wrong)?;
            }
            'E' => {
                let text = value()?;
                if text.len() > EXIT_EXEC_BYTES || text.contains(&0) {
                    return Err(Stop::Wrong(format!("{name}: at most {EXIT_EXEC_BYTES} bytes are expected")));
                }
                self.exit_exec = text.to_vec();
            }
            'F' => {
                let (count, bytes) = size(name, value()?)?;
                let handles = self.adjust(name, count, HANDLES_MIN, 1024) as usize;
                let bytes = self.adjust(name, bytes.unwrap_or(96), 32, 4096) as usize;
                self.handles = Some(HandlePool { handles, bytes });
            }
            'P' => {
                let (count, bytes) = size(name, value()?)?;
                let services = self.adjust(name, count, 1, 65535) as u32;
                let bytes = self.adjust(name, bytes.unwrap_or(512), 64, u64::MAX) as usize;
                self.services = Some(Pool { services, bytes });
            }
            'M' => self.lock_memory = true,
            'v' => self.quiet -= 1,
            'q' => self.quiet += 1,
            'h' => return Err(Stop::Help),
            _ => return Err(Stop::Version),
        }
        Ok(())
    }

    fn adjust(&mut self, name: &str, value: u64, least: u64, most: u64) -> u64 {
        if value < least {
            self.adjusted.push(format!("{name}: {value} is less than the minimum, {least} is used"));
        } else if value > most {
            self.adjusted.push(format!("{name}: {value} is more than the maximum, {most} is used"));
        }
        value.clamp(least, most)
    }
}

/// The longest list of arguments for what is executed at the end.
const EXIT_EXEC_BYTES: usize = 255;
/// Those that are always there.
pub(super) const HANDLES_MIN: u64 = 7;

/// `N` or `NxM`; `M` with a unit.
fn size(name: &str, text: &[u8]) -> Result<(u64, Option<u64>), Stop> {
    let wrong = || {
        let text = text.escape_ascii();
        Stop::Wrong(format!("{name}: invalid size '{text}': N or NxM is expected, M with K, M, G, T or KB, MB, …"))
    };
    let text = std::str::from_utf8(text).map_err(|_| wrong())?;
    let (count, bytes) = match text.split_once('x') {
        Some((count, bytes)) => (count, Some(bytes)),
        None => (text, None),
    };
    let whole = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let count = whole(count).ok_or_else(wrong)?;
    let Some(bytes) = bytes else { return Ok((count, None)) };
    let digits = bytes.bytes().take_while(u8::is_ascii_digit).count();
    let number = whole(&bytes[..digits]).ok_or_else(wrong)?;
    let unit = bytes[digits..].to_ascii_lowercase();
    let power = |letter: char| "kmgt".find(letter).map(|at| at as u32 + 1);
    let mut letters = unit.chars();
    let factor = match (letters.next(), letters.as_str()) {
        (None, _) | (Some('b'), "") => Some(1),
        (Some(letter), "" | "ib") => power(letter).map(|power| 1024u64.pow(power)),
        (Some(letter), "b") => power(letter).map(|power| 1000u64.pow(power)),
        _ => None,
    };
    let bytes = factor.and_then(|factor| number.checked_mul(factor)).ok_or_else(wrong)?;
    Ok((count, Some(bytes)))
}

pub(super) const HELP: &str = "\
Usage: daemonproxy [options]

Starts programs, holds descriptors and tells what happens, as controllers say by lines of text; see daemonproxy(1).

  -c, --config FILENAME      take commands from a file; `-` is standard input
  -i, --interactive          take commands from descriptor 0, tell events on descriptor 1
  -S, --socket PATH          listen for controllers at a Unix socket
  -D, --daemonize            go into the background
      --exit-guard INTEGER   `terminate` needs this code
  -E, --exit-exec TSV_ARGS   execute this instead of ending; arguments are between tabs
      --fd-pool N[xM]        take memory for N handles, of M bytes each, at the start, and no more later
      --service-pool N[xM]   the same for services
  -M, --mlockall             keep all memory in RAM
  -v, --verbose              log more; can be repeated
  -q, --quiet                log less; can be repeated
  -h, --help                 print this, exit with 1
      --version              print the version, exit with 1
";

pub(super) const VERSION: &str = concat!(
    "daemonproxy version 1.1.0 (spoken by vergerd ",
    env!("CARGO_PKG_VERSION"),
    ")\n",
    "build timestamp: not kept, so that builds can be repeated\n",
    "git HEAD: not kept, so that builds can be repeated\n",
    "Copyright 2026-2026 the verger authors\n",
    "See the file LICENSE-MIT or LICENSE-APACHE\n",
);

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> (Options, Result<(), Stop>) {
        let mut options = Options::default();
        let result = read(&mut options, words.iter().map(|word| OsStr::new(*word)));
        (options, result)
    }

    fn wrong(words: &[&str]) -> String {
        match options(words).1 {
            Err(Stop::Wrong(words)) => words,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn short_options_can_be_bundled_and_take_the_next_word() {
        let (read, result) = options(&["-vvqic", "/dev/null", "-"]);
        assert_eq!(result, Ok(()));
        assert_eq!((read.interactive, read.quiet, read.config.as_deref()), (true, -1, Some(&b"/dev/null"[..])));
        for bad in [&["--"][..], &["--config=/dev/null"], &["-c/dev/null"], &["-i", "word"], &["-ic"], &["-ix"], &[]] {
            wrong(bad);
        }
        assert!(wrong(&["-i", "-c", "/no/such/file"]).contains("No such file"));
    }

    #[test]
    fn what_stands_to_the_left_holds() {
        let (read, result) = options(&["--exit-exec", "sh\t-c\texit 42", "--version", "--nonsense"]);
        assert_eq!((read.exit_exec, result), (b"sh\t-c\texit 42".to_vec(), Err(Stop::Version)));
        let (read, result) = options(&["-h", "--exit-exec", "x"]);
        assert_eq!((read.exit_exec, result), (vec![], Err(Stop::Help)));
        wrong(&["-i", "-E", &"x".repeat(256)]);
        wrong(&["-i", "--exit-guard", "x"]);
    }

    #[test]
    fn sizes_have_units_and_are_put_right() {
        let pool = |text| options(&["-i", "--service-pool", text]).0.services.map(|it| (it.services, it.bytes));
        assert_eq!(pool("20x1K"), Some((20, 1024)));
        assert_eq!(pool("20"), Some((20, 512)));
        assert_eq!(pool("5x1KB"), Some((5, 1000)));
        assert_eq!(pool("5x2MiB"), Some((5, 2 << 20)));
        assert_eq!(pool("5x64b"), Some((5, 64)));
        assert_eq!(pool("0x1"), Some((1, 64)));
        let (read, _) = options(&["-i", "--fd-pool", "5x50M", "--fd-pool", "1"]);
        assert_eq!(read.handles, Some(HandlePool { handles: 7, bytes: 96 }));
        assert!(read.adjusted[0].contains("minimum") && read.adjusted[1].contains("maximum"), "{:?}", read.adjusted);
        for bad in ["", "x", "5x", "x5", "5xK", "5x1Q", "5x1KK", "-1", "5x99999999T", "5x1 K", "+5"] {
            wrong(&["-i", "--fd-pool", bad]);
        }
    }
}
