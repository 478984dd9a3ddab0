//! A `vergerd` of our own: a plan in, a process that is looked at from outside.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use verger_client::{Address, Board, Connection, Mapped};

/// One daemon; what is left of it ends with this.
pub(crate) struct Daemon {
    child: Child,
    folder: PathBuf,
    address: Address,
    /// When it was started, on the children's clock.
    pub(crate) begun: u64,
}

thread_local! {
    /// The plans compiled last: rounds take turns with few, and a large one takes as long to compile as to run.
    static COMPILED: RefCell<VecDeque<(String, Vec<u8>)>> = const { RefCell::new(VecDeque::new()) };
}

/// Somebody who compiles plans.
pub(crate) fn compile(plan: &str) -> Result<Vec<u8>, String> {
    let known = COMPILED.with_borrow(|all| all.iter().find(|(text, _)| text == plan).map(|(_, image)| image.clone()));
    if let Some(image) = known {
        return Ok(image);
    }
    let image = compile_anew(plan)?;
    COMPILED.with_borrow_mut(|all| {
        all.truncate(3);
        all.push_front((plan.to_owned(), image.clone()));
    });
    Ok(image)
}

fn compile_anew(plan: &str) -> Result<Vec<u8>, String> {
    let reading = verger_plan::read_bytes("bench.toml", plan.as_bytes(), &verger_plan::NoFiles);
    if let Some(complaint) = reading.complaints.first() {
        return Err(format!("the plan: {complaint}"));
    }
    let plan = reading.plan.ok_or("the plan has no services")?;
    verger_plan::compile(&plan).map_err(|why| format!("the plan: {why:?}"))
}

impl Daemon {
    /// Starts one; its children inherit `output`. `prepare` is told its command before.
    pub(crate) fn start(
        programs: &Path,
        plan: &str,
        output: OwnedFd,
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Daemon, String> {
        let folder = std::env::temp_dir().join(format!("verger-bench-run-{}", std::process::id()));
        let _former = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        let file = folder.join("plan.image");
        std::fs::write(&file, compile(plan)?).map_err(|why| format!("{}: {why}", file.display()))?;
        let mut command = Command::new(programs.join("vergerd"));
        command.arg("--plan").arg(&file).args(["--instance", "bench", "--quiet"]);
        command.env("VERGER_RUNTIME_DIR", &folder).stdin(Stdio::null()).stdout(output).process_group(0);
        prepare(&mut command);
        let begun = crate::children::now();
        let child = command.spawn().map_err(|why| format!("vergerd: {why}"))?;
        let address = Address::of_directory(folder.join("bench"));
        Ok(Daemon { child, folder, address, begun })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its sockets and pages are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its status page, once it is there.
    pub(crate) fn board(&self) -> Result<Board<Mapped>, String> {
        let begun = Instant::now();
        loop {
            match Board::open(&self.address.board()) {
                Ok(board) => return Ok(board),
                Err(why) if begun.elapsed() > Duration::from_secs(10) => return Err(format!("the board: {why}")),
                Err(_) => std::thread::sleep(Duration::from_millis(1)), // sleep: it is just starting
            }
        }
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> Result<Connection, String> {
        Connection::open(&self.address).map_err(|why| format!("connect: {why}"))
    }

    /// Waits until the board says so of all services.
    pub(crate) fn wait_until(
        &self,
        count: usize,
        is_so: impl Fn(&verger_client::page::Record) -> bool,
    ) -> Result<(), String> {
        let board = self.board()?;
        let begun = Instant::now();
        loop {
            let entries = board.all().map_err(|why| format!("the board: {why}"))?;
            if entries.iter().filter(|entry| is_so(&entry.record)).count() >= count {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(60) {
                return Err("the services did not come that far".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5)); // sleep: a look costs what is measured, so looks are rare
        }
    }

    /// Ends everything; how long that took, in nanoseconds, until the daemon itself was gone.
    pub(crate) fn stop(mut self) -> Result<u64, String> {
        let begun = crate::children::now();
        signal(self.pid(), Signal::TERM)?;
        let status = self.child.wait().map_err(|why| format!("vergerd: {why}"))?;
        let took = crate::children::now() - begun;
        if status.success() { Ok(took) } else { Err(format!("vergerd: {status}")) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After an error, or it is gone already.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _asked = signal(self.pid(), Signal::TERM);
            let _ended = self.child.wait();
        }
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

/// Sends a signal.
pub(crate) fn signal(pid: u32, signal: Signal) -> Result<(), String> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("no process id")?;
    kill_process(number, signal).map_err(|why| format!("kill {pid}: {why}"))
}
