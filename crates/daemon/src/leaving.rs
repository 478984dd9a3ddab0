//! The last act: everything has ended, and nothing is left behind.

use std::io::Write;

use rustix::io::Errno;
use verger_linux::machine::{self, End, Init};

use crate::daemon::Daemon;

impl Daemon {
    /// Leaves nothing behind; the exit status.
    pub(crate) fn leave(mut self, status: u8) -> u8 {
        self.say_last_words();
        let is_in_shims = self.world.is_any_in_a_shim();
        match is_in_shims {
            true => self.log.warn(format_args!("everything has ended but what is stuck; the next daemon waits for it")),
            false => self.log.tell(format_args!("everything has ended")),
        }
        let reboots = self.reboots;
        if reboots && machine::init() != Init::OfMachine {
            self.log.warn(format_args!("a reboot is asked for, and only the machine's first process does that"));
        }
        self.log.flush_last();
        self.page.let_go();
        self.world.remove_socket_files();
        // Callers may have all descriptors that there are, and what follows needs one.
        drop(self.control);
        let tree = self.world.starter.ground().tree.as_ref();
        let leftovers = tree.is_some_and(|tree| tree.dismantle() == Err(Errno::BUSY));
        let kept = leftovers && self.world.holding.keepers().iter().any(Option::is_some);
        let Daemon { world, folder, .. } = self;
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
}
