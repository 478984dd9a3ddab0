//! `vergerd`: keeps the services of a compiled plan in order.
//!
//! One loop ([`daemon`]) turns descriptors into events, tells them to the engine, and turns its effects into calls. Who leads
//! it hands it to another thread while he starts a program ([`starter`]), which may lie on a dead disk. [`begin`] makes
//! everything, [`leaving`] leaves nothing behind, [`mend`] says what happens when the daemon itself breaks.

#![forbid(unsafe_code)]

mod adopting;
mod begin;
mod brains;
mod budget;
mod bundle;
mod calls;
mod change;
mod control;
mod daemon;
mod door;
mod environment;
mod file_id;
mod folder;
mod handles;
mod holding;
mod inheritance;
mod keeper;
mod keeping;
mod label;
mod leaving;
mod leftovers;
mod limits;
mod listening;
mod log;
mod looks;
mod mend;
mod notify;
mod options;
mod page;
mod pids;
mod poll;
mod pressure;
mod probe;
mod proxy;
mod receipts;
mod recipe;
mod recording;
mod reexec;
mod shim;
mod shims;
mod starter;
mod telling;
mod trouble;
mod words;
mod world;

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use options::{Asked, Options};
use trouble::Trouble;
use verger_engine::image::MAGIC;
use verger_linux::machine::{self, Init};

/// Counts, for the tests of what must not allocate.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: verger_linux::allocator::Counting = verger_linux::allocator::Counting;

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    if std::path::Path::new(&name).file_name().is_some_and(|name| name == proxy::NAME) {
        return ExitCode::from(proxy::main());
    }
    // A condition of a service: by the whole name, which is not what a file is called.
    if name == probe::NAME {
        return ExitCode::from(probe::main());
    }
    // A service that is a bundle: the same.
    if name == bundle::NAME {
        return ExitCode::from(bundle::main());
    }
    let options = match options::read(std::env::args_os().skip(1)) {
        Ok(Asked::Run(options)) => options,
        Ok(Asked::Help) => return say(options::HELP),
        Ok(Asked::Forms) => return say(&reexec::forms()),
        Ok(Asked::Version) => return say(concat!("vergerd ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(words) => {
            let _nobody_reads = writeln!(std::io::stderr(), "Error: {words}\nHint: vergerd --help");
            return ExitCode::from(2);
        }
    };
    // The first process of a machine must not end: it comes up empty.
    if options.lacks_a_plan() && machine::init() != Init::OfMachine {
        let trouble = Trouble::new("`--plan FILE` or `--image-fd N` is needed")
            .hint("`verger run FILE` compiles a plan and starts vergerd with it; `--empty` begins without one");
        let _nobody_reads = writeln!(std::io::stderr(), "{trouble}");
        return ExitCode::from(2);
    }
    ExitCode::from(serve(&options))
}

fn say(words: &str) -> ExitCode {
    let written = std::io::stdout().write_all(words.as_bytes());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn serve(options: &Options) -> u8 {
    let begin::Ready { mut daemon, worker, is_hopeless } = match begin::begin(options) {
        Ok(ready) => ready,
        Err(trouble) => {
            let trouble = match options.plan.as_deref().and_then(text_for) {
                Some(hint) => trouble.hint(hint),
                None => trouble,
            };
            let _nobody_reads = writeln!(std::io::stderr(), "{trouble}");
            return 1;
        }
    };
    if is_hopeless {
        let status = mend::last_stand(&mut daemon);
        return daemon.leave(status);
    }
    if let Some(status) = daemon.settle() {
        return daemon.leave(status);
    }
    let (daemon, status) = worker.work(Some(Box::new(daemon)));
    daemon.leave(status)
}

/// What to do with a plan that is not compiled; `None` of one that is, or that cannot be read at all.
fn text_for(plan: &Path) -> Option<String> {
    let mut begin = [0; MAGIC.len()];
    let mut file = File::open(plan).ok().filter(|file| file.metadata().is_ok_and(|it| it.is_file()))?;
    let is_compiled = file.read_exact(&mut begin).is_ok() && begin == MAGIC;
    let plan = plan.display();
    (!is_compiled).then(|| {
        format!(
            "a plan's text is compiled first: `verger compile {plan} -o FILE`; `verger run {plan}` does both, and becomes \
             vergerd"
        )
    })
}
