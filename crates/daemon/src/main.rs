//! `vergerd`: keeps the services of a compiled plan in order.
//!
//! One loop ([`daemon`]) turns descriptors into events, tells them to the engine, and turns its effects into calls. Who leads
//! it hands it to another thread while he starts a program ([`starter`]), which may lie on a dead disk. [`begin`] makes
//! everything, [`mend`] says what happens when the daemon itself breaks.

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

use daemon::Daemon;
use options::{Asked, Options};
use rustix::io::Errno;
use trouble::Trouble;
use verger_engine::image::MAGIC;
use verger_linux::machine::{self, End, Init};

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
        return end(daemon, status);
    }
    if let Some(status) = daemon.settle() {
        return end(daemon, status);
    }
    let (daemon, status) = worker.work(Some(Box::new(daemon)));
    end(*daemon, status)
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

/// Everything has ended: leaves nothing behind.
fn end(mut daemon: Daemon, status: u8) -> u8 {
    daemon.say_last_words();
    let is_in_shims = daemon.world.is_any_in_a_shim();
    match is_in_shims {
        true => daemon.log.warn(format_args!("everything has ended but what is stuck; the next daemon waits for it")),
        false => daemon.log.tell(format_args!("everything has ended")),
    }
    let reboots = daemon.reboots;
    if reboots && machine::init() != Init::OfMachine {
        daemon.log.warn(format_args!("a reboot is asked for, and only the machine's first process does that"));
    }
    daemon.log.flush_last();
    daemon.page.let_go();
    daemon.world.remove_socket_files();
    // Callers may have all descriptors that there are, and what follows needs one.
    drop(daemon.control);
    let tree = daemon.world.starter.ground().tree.as_ref();
    let leftovers = tree.is_some_and(|tree| tree.dismantle() == Err(Errno::BUSY));
    let kept = leftovers && daemon.world.holding.keepers().iter().any(Option::is_some);
    let Daemon { world, folder, .. } = daemon;
    if !leftovers {
        world.holding.dismiss();
    }
    folder.clear(kept || is_in_shims);
    if machine::init() == Init::OfMachine {
        rustix::fs::sync();
        // An exit of pid 1 would be a kernel panic.
        let (how, words) = if reboots { (End::Restart, "restart") } else { (End::PowerOff, "power off") };
        let errno = machine::end(how);
        let _nobody_reads = writeln!(std::io::stderr(), "verger: cannot {words}: {errno}");
    }
    status
}
