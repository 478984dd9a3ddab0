//! `verger shutdown`: everything ends, and the daemon with it.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use verger_client::page::Liveness;
use verger_engine::time::Span;

use crate::reach;
use crate::seen;
use crate::setting::Setting;
use crate::trouble::Trouble;
use crate::waiting::Waiting;
use crate::words;

/// End everything in order, and then the daemon
///
/// Waits until it has ended, and says how long that took. Asked a second time it kills what has not ended yet; with `--budget`
/// it can only become faster.
#[derive(Debug, clap::Args)]
pub(super) struct Shutdown {
    /// Without patience: kill what does not end at once
    #[arg(long)]
    fast: bool,
    /// Within this time: 10s, 1m30s. What is left at the end is killed at once
    ///
    /// Where graces do not fit into it, a service whose own are longer than all the time there is has them cut to that; then
    /// those of all services are cut by one ratio, so that the longest chain of them fits.
    #[arg(long, value_name = "TIME", value_parser = super::orders::duration, conflicts_with = "fast")]
    budget: Option<Span>,
    /// Do not wait until the daemon has ended
    #[arg(long)]
    no_wait: bool,
}

impl Shutdown {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let mut connection = reach::connect(setting)?;
        // Opened first: the daemon takes the file along when it goes.
        let board = seen::open(setting)?;
        // So is this: once the daemon is gone its number may be another's. The page's number counts in the daemon's pid namespace,
        // the socket's in ours.
        let page_says = board.as_ref().ok().map(|board| board.reader().identity().pid);
        let daemon = connection.peer().filter(|pid| page_says == Some(*pid)).and_then(held);
        let begun = Instant::now();
        let asked = match self.budget {
            Some(Span::FOREVER) => connection.shutdown_within(Duration::MAX),
            Some(budget) => connection.shutdown_within(Duration::from_nanos(budget.0)),
            None => connection.shutdown(self.fast),
        };
        asked.map_err(|error| reach::trouble(setting, None, &error))?;
        if self.no_wait {
            return Ok(());
        }
        connection.set_patience(None);
        let watch = connection.watch(None).map_err(|error| reach::trouble(setting, None, &error))?;
        let waiting = Waiting::begin(setting, None);
        // Its end ends the connection.
        let _everything_that_happens = watch.count();
        // A daemon that is gone for us still has the lock of its instance until its process has ended.
        if let Some(daemon) = daemon {
            wait_for_its_end(&daemon);
        }
        drop(waiting);
        match board.map(|board| board.liveness()) {
            Ok(Liveness::Alive | Liveness::Stuck { .. }) => {
                Err(Trouble::new("the daemon has closed the connection and is still there").hint("`verger status`"))
            }
            Ok(Liveness::Died) => Err(Trouble::new("the daemon died while everything was being ended")),
            Ok(Liveness::Ended) | Err(_) => {
                let took = Span(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
                setting.terminal.say(&format!("everything ended in {}\n", words::brief(took)))
            }
        }
    }
}

/// A process by a descriptor that is readable once it has ended.
fn held(pid: u32) -> Option<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Waits until a process has ended, for as long as one that answers nothing is waited for.
fn wait_for_its_end(process: &OwnedFd) {
    let until = Instant::now() + reach::PATIENCE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return,
        }
    }
}
