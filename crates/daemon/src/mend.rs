//! When the daemon itself breaks: it executes itself again, in the same process, with the same children.
//!
//! A panic or a fault writes one line and executes `vergerd --resume`, which takes up what the board shows: nothing is lost but
//! the connections. What it had open that it must not lose it passes on directly. (Where a parent-death signal is the last belt
//! of a run, because there is no keeper, the kernel sends it now, unless it was this very thread that started the run: all others are
//! gone. Such a run is begun anew.) A daemon that breaks three times within a minute would break for ever: then it leaves its children
//! running, restarts nothing, gives no more signs of life, and waits for SIGTERM. Breaking while it takes things up counts too.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::io::Errno;
use verger_engine::runs::Pid;
use verger_linux::contain::Group;
use verger_linux::exec::{Image, Passed, Replacement};
use verger_linux::{clock, process, reap, signals};

use crate::daemon::Daemon;
use crate::folder::{Folder, note_breakage};
use crate::inheritance::Inheritance;
use crate::leftovers::{Delay, Doomed, Vigil};
use crate::log::last_words;
use crate::options::Options;

/// So many breakages within a minute are too many.
const TOO_MANY: usize = 3;
const SIGKILL: u8 = 9;
const SIGTERM: u8 = 15;
const SIGINT: u8 = 2;

/// How this process is executed again: everything but which program.
pub(crate) struct Again {
    argv: Vec<CString>,
    envp: Vec<CString>,
    plan: Option<&'static OwnedFd>,
    passed: &'static Passed,
}

impl Again {
    /// Puts it down, while all is well. `plan` is the sealed plan, which stays open.
    pub(crate) fn new(options: &Options, plan: Option<&'static OwnedFd>, passed: &'static Passed) -> Again {
        let mut argv = vec![text("vergerd"), text("--resume"), text("--instance"), text(&options.instance)];
        argv.extend([text("--passed-fd"), text(&passed.file().as_raw_fd().to_string())]);
        if let Some(plan) = plan {
            argv.extend([text("--image-fd"), text(&plan.as_raw_fd().to_string())]);
        }
        for (asked, word) in [(options.quiet, "--quiet"), (options.debug, "--debug")] {
            argv.extend(asked.then(|| text(word)));
        }
        if let Some(budget) = options.budget {
            argv.extend([text("--budget"), text(&budget.to_string())]);
        }
        let parent = options.end_with_caller.then(std::os::unix::process::parent_id).or(options.end_with_parent);
        if let Some(parent) = parent {
            argv.extend([text("--end-with-parent"), text(&parent.to_string())]);
        }
        let envp = std::env::vars_os()
            .filter_map(|(name, value)| CString::new([name.into_vec(), b"=".to_vec(), value.into_vec()].concat()).ok());
        Again { argv, envp: envp.collect(), plan, passed }
    }

    /// From now on it is this plan that we come back with. The file takes the place of the one before, under the same number.
    ///
    /// # Errors
    /// `EMFILE`; what was, stays.
    pub(crate) fn take_plan(&mut self, plan: OwnedFd) -> Result<(), Errno> {
        match self.plan {
            Some(before) => verger_linux::put_over(&plan, before),
            None => {
                let plan: &'static OwnedFd = Box::leak(Box::new(plan));
                self.argv.extend([text("--image-fd"), text(&plan.as_raw_fd().to_string())]);
                self.plan = Some(plan);
                prepare(self);
                Ok(())
            }
        }
    }

    fn replacement(&self, image: Image, more: Option<&CStr>) -> Replacement {
        let argv: Vec<&CStr> = self.argv.iter().map(CString::as_c_str).chain(more).collect();
        let envp: Vec<&CStr> = self.envp.iter().map(CString::as_c_str).collect();
        let keep: Vec<BorrowedFd<'_>> = [self.passed.file()].into_iter().chain(self.plan.map(AsFd::as_fd)).collect();
        Replacement::new(image, &argv, &envp, &keep).passing(self.passed)
    }

    /// Becomes the program at this path, in order; comes back only with what prevented it.
    pub(crate) fn become_program(&self, path: &CStr) -> Errno {
        self.replacement(Image::Path(path.to_owned()), Some(c"--in-order")).execute()
    }
}

fn text(words: &str) -> CString {
    CString::new(words).unwrap_or_default()
}

/// Prepares for a panic or a fault, while all is well: nothing may be made then.
pub(crate) fn prepare(again: &Again) {
    // By the name the kernel has for it: the file may have been replaced by an update meanwhile.
    let image = Image::Path(c"/proc/self/exe".to_owned());
    let replacement: &'static Replacement = Box::leak(Box::new(again.replacement(image, None)));
    let own = std::process::id();
    if let Err(errno) = signals::replace_on_fault(replacement) {
        last_words(format_args!("verger: warning: a fault of the daemon will end it: {errno}"));
    }
    std::panic::set_hook(Box::new(move |panic| {
        // A companion that was split off from us has this hook too, and must not become us.
        if std::process::id() != own {
            std::process::abort();
        }
        // Not `eprintln`: it waits for a reader, and panics when there is none.
        last_words(format_args!("verger: {panic}; executing again"));
        crate::recording::flush_last();
        let errno = replacement.execute();
        last_words(format_args!("verger: cannot execute again: {errno}"));
        std::process::abort();
    }));
}

/// Notes that this daemon broke; whether it has done so too often to be tried again.
pub(crate) fn is_hopeless(folder: &Folder) -> bool {
    note_breakage(folder, clock::now()) >= TOO_MANY
}

/// Keeps the children and does nothing else, until it is told to end them.
pub(crate) fn last_stand(daemon: &mut Daemon) -> u8 {
    let left = children(daemon).len();
    daemon.log.warn(format_args!(
        "broken {TOO_MANY} times within a minute: nothing is restarted any more; {left} processes are left running"
    ));
    daemon.log.warn(format_args!("SIGTERM ends them, and this daemon"));
    daemon.log.flush_last();
    loop {
        while let Ok(Some(received)) = daemon.signals.take() {
            if matches!(received.signal, SIGTERM | SIGINT) {
                end_all(daemon);
                return 1;
            }
        }
        // After the signals: who ends from here on sends another one.
        while reap::peek().is_some_and(|child| reap::take(child).is_ok()) {}
        let mut asked = [rustix::event::PollFd::new(&daemon.signals, rustix::event::PollFlags::IN)];
        let _signal = rustix::event::poll(&mut asked, None);
    }
}

/// What still runs, as far as it is our child; without a keeper, which goes by itself when we do.
fn children(daemon: &Daemon) -> Vec<Pid> {
    let keepers = daemon.world.holding.keepers();
    let mut children = Vec::new();
    process::each_child(|child| {
        if !keepers.contains(&Some(child)) && process::stat(child).is_ok_and(|stat| !stat.is_dead()) {
            children.push(child);
        }
    });
    children
}

/// Ends what still runs.
fn end_all(daemon: &mut Daemon) {
    // A shim whose socket hangs up ends all it holds, and itself; killed, it would let go of that.
    daemon.world.inheritance = Inheritance::default();
    let tie = &daemon.world.starter.ground().tie;
    let is_shim = |child: &Pid| tie.is_held_by(*child).unwrap_or(true);
    let shims: Vec<Doomed> = children(daemon).into_iter().filter(is_shim).filter_map(Doomed::hold).collect();
    let mut delay = Delay::begin();
    Vigil::begin(&mut daemon.log, &mut daemon.upward, &mut delay).see_off_each(&shims);
    let is_at_it = |child: Pid| shims.iter().any(|shim| shim.pid() == child && !shim.has_ended());
    for child in children(daemon).into_iter().filter(|child| !is_at_it(*child)) {
        let _gone = process::signal(child, SIGKILL);
        let _no_group = Group(child).kill();
    }
    if let Some(tree) = &daemon.world.starter.ground().tree {
        Vigil::begin(&mut daemon.log, &mut daemon.upward, &mut delay).end_runs(tree, |_| true);
    }
}
