//! The command line of `vergerd`. `verger` writes it; a person may.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::ValueExt;
use verger_engine::duration::read_duration;
use verger_engine::time::Span;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Run(Box<Options>),
    Help,
    Version,
    /// In which forms it takes over from a daemon that executes it.
    Forms,
}

/// How this daemon is to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// A compiled plan in a file.
    pub(crate) plan: Option<PathBuf>,
    /// A compiled plan in an inherited descriptor (a sealed memory file).
    pub(crate) image_fd: Option<i32>,
    /// Begin without a plan: there is nothing to do but to answer.
    pub(crate) empty: bool,
    /// Which instance this is.
    pub(crate) instance: String,
    /// Say only what goes wrong: somebody else tells what happens.
    pub(crate) quiet: bool,
    /// We were this process before, and broke: take up what the board shows.
    pub(crate) resume: bool,
    /// Then: we did not break, but were to become another program.
    pub(crate) in_order: bool,
    /// Then: the list of what our former life passed on, in a descriptor.
    pub(crate) passed_fd: Option<i32>,
    /// Offer `io.verger.Debug`, for tests.
    pub(crate) debug: bool,
    /// An inherited control connection: whoever started us talks to us from the first moment.
    pub(crate) control_fd: Option<i32>,
    /// When that connection ends, so does everything: whoever started us is gone.
    pub(crate) end_with_caller: bool,
    /// How long the end of everything may take.
    pub(crate) budget: Option<Span>,
    /// The same after we broke: the connection is lost, but whoever started us is still our parent, of this number.
    pub(crate) end_with_parent: Option<u32>,
}

pub(crate) const HELP: &str = "\
Usage: vergerd {--plan FILE|--image-fd N|--empty} [OPTIONS]

Runs the services of a compiled plan until it is told to end them (SIGTERM or SIGINT; a second one: faster).
It is usually started by `verger run` or `verger up`, which compile the plan.

When it is killed, its keeper, a second process, ends every service with all it started, but for those that
are to survive. Those it holds, with their pipes, until another vergerd of the same instance takes them over.
A SIGTERM to the keeper kills them at once, with all they started: without their stop signals, without graces, in
no order; then it goes. While there is a vergerd the keeper does not heed it. `verger reexec` replaces the
program of vergerd in place.

It keeps no logs of services: they write where the plan says (`stdout = 'file:/var/log/NAME'`). What becomes of them
it tells on descriptor 2, and to `verger events`.

  --plan FILE       take the compiled plan in FILE (`verger compile`)
  --image-fd N      take the compiled plan in descriptor N, a sealed memory file
  --empty           begin without a plan, to be asked what this machine allows (`verger doctor`)
  --instance NAME   be the instance NAME (default: default)
  --control-fd N    talk varlink on descriptor N too, with all rights
  --end-with-caller end everything when that connection ends
  --budget TIME     end everything within TIME (10s, 1m30s, forever) when it is to end
  --quiet           say only what goes wrong
  --debug           offer the interface io.verger.Debug, for tests
  --version, --help

Environment: VERGER_RUNTIME_DIR (where sockets go), VERGER_SPAWN=fork (do not use clone3),
VERGER_SHUTDOWN_BUDGET (as --budget, which goes before it; then the plan's shutdown_budget; then, as a container's first
process, 9s: Docker and Podman kill after 10s. Kubernetes after 30s: there, set it to 29s),
VERGER_CONTAINMENT=shim or group (what holds services that ask for nothing, instead of the best there is),
NOTIFY_SOCKET, WATCHDOG_USEC (whoever started us is told as sd_notify(3) says).
Exit status: 0 everything ended as asked, 1 it could not begin, 2 wrong usage, else that of the essential service.
";

/// Reads the command line, program name left out.
pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Asked, String> {
    let mut options = Options { instance: verger_wire::place::DEFAULT_INSTANCE.to_string(), ..Options::default() };
    let mut parser = lexopt::Parser::from_args(words);
    let mut read = || -> Result<Asked, lexopt::Error> {
        while let Some(word) = parser.next()? {
            match word {
                lexopt::Arg::Long("plan") => options.plan = Some(parser.value()?.into()),
                lexopt::Arg::Long("image-fd") => options.image_fd = Some(parser.value()?.parse()?),
                lexopt::Arg::Long("empty") => options.empty = true,
                lexopt::Arg::Long("instance") => options.instance = parser.value()?.string()?,
                lexopt::Arg::Long("quiet") => options.quiet = true,
                lexopt::Arg::Long("resume") => options.resume = true,
                lexopt::Arg::Long("forms") => return Ok(Asked::Forms),
                lexopt::Arg::Long("in-order") => options.in_order = true,
                lexopt::Arg::Long("passed-fd") => options.passed_fd = Some(parser.value()?.parse()?),
                lexopt::Arg::Long("debug") => options.debug = true,
                lexopt::Arg::Long("control-fd") => options.control_fd = Some(parser.value()?.parse()?),
                lexopt::Arg::Long("end-with-caller") => options.end_with_caller = true,
                lexopt::Arg::Long("budget") => {
                    let text = parser.value()?.string()?;
                    let span = read_duration(&text).map_err(|why| format!("--budget `{text}`: {why}"))?;
                    options.budget = Some(span);
                }
                lexopt::Arg::Long("end-with-parent") => options.end_with_parent = Some(parser.value()?.parse()?),
                lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(Asked::Help),
                lexopt::Arg::Long("version") | lexopt::Arg::Short('V') => return Ok(Asked::Version),
                lexopt::Arg::Long(_) | lexopt::Arg::Short(_) | lexopt::Arg::Value(_) => {
                    return Err(word.unexpected());
                }
            }
        }
        Ok(Asked::Run(Box::new(std::mem::take(&mut options))))
    };
    let asked = read().map_err(|error| error.to_string())?;
    if let Asked::Run(options) = &asked {
        if let Err(flaw) = verger_engine::names::check_name(&options.instance) {
            return Err(format!("`{}` is not a name for an instance: {flaw}", options.instance));
        }
        if options.plan.is_some() && options.image_fd.is_some() {
            return Err("--plan and --image-fd exclude each other".to_string());
        }
        if options.empty && (options.plan.is_some() || options.image_fd.is_some()) {
            return Err("--empty and a plan exclude each other".to_string());
        }
        // Those three are everybody's, and opened where they are missing.
        if [options.image_fd, options.control_fd].iter().flatten().any(|number| *number <= 2) {
            return Err("--image-fd and --control-fd take a descriptor from 3 on".to_string());
        }
        if options.end_with_caller && options.control_fd.is_none() {
            return Err("--end-with-caller needs --control-fd".to_string());
        }
    }
    Ok(asked)
}

impl Options {
    /// Whether nobody has said what is to run, nor that nothing is. Who takes over from its former life has what that had.
    pub(crate) fn lacks_a_plan(&self) -> bool {
        self.plan.is_none() && self.image_fd.is_none() && !self.empty && !self.resume
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, String> {
        read(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_command_line_is_read() {
        let Ok(Asked::Run(options)) = asked("--image-fd 7 --instance car --quiet") else { panic!() };
        let expected = Options { image_fd: Some(7), instance: "car".into(), quiet: true, ..Options::default() };
        assert_eq!(*options, expected);
        assert_eq!(asked("--plan x --help"), Ok(Asked::Help));
        assert_eq!(asked("--image-fd 3 --plan x"), Err("--plan and --image-fd exclude each other".into()));
        assert!(asked("--image-fd x").is_err());
        assert!(asked("--image-fd 2").is_err(), "it would have begun without a plan");
        assert!(asked("--control-fd 0").is_err());
        assert!(asked("--instance a/b").is_err());
        let Ok(Asked::Run(options)) = asked("--resume --end-with-parent 7") else { panic!() };
        assert_eq!((options.resume, options.end_with_parent), (true, Some(7)));
        let Ok(Asked::Run(options)) = asked("--budget 1m30s") else { panic!() };
        assert_eq!(options.budget, Some(Span::from_secs(90)));
        assert_eq!(asked("--budget 10"), Err("--budget `10`: a number needs its unit: \"10s\", \"10ms\"".into()));
        assert!(asked("serve").is_err());
    }

    #[test]
    fn what_is_to_run_is_said() {
        for (line, lacks) in [
            ("", true),
            ("--quiet", true),
            ("--plan x", false),
            ("--image-fd 3", false),
            ("--empty", false),
            ("--resume", false),
        ] {
            let Ok(Asked::Run(options)) = asked(line) else { panic!("{line}") };
            assert_eq!(options.lacks_a_plan(), lacks, "{line}");
        }
        assert_eq!(asked("--empty --plan x"), Err("--empty and a plan exclude each other".into()));
        assert!(asked("--empty --image-fd 3").is_err());
    }
}
