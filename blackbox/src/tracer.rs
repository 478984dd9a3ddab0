//! Somebody who holds a process so that it cannot be reaped.

use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::{Output, PATIENCE, Process};

/// Takes hold of the process and does not let go: killed, it stays a zombie that only its tracer could reap.
const PROGRAM: &str = "
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE = 0x4206
if libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
print('traces', flush=True)
signal.pause()
";

/// A tracer that does nothing.
#[derive(Debug)]
pub struct Tracer(Child);

impl Tracer {
    /// Traces a process from here on, until it goes out of scope.
    pub fn of(process: Process) -> Tracer {
        let mut tracer = Command::new("python3");
        tracer.args(["-c", PROGRAM, &process.0.to_string()]).stdout(Stdio::piped());
        let mut tracer = tracer.spawn().expect("it can be started");
        let output = Output::of(tracer.stdout.take().expect("it was asked for"));
        output.wait("traces", PATIENCE);
        Tracer(tracer)
    }

    /// Its process.
    pub fn process(&self) -> Process {
        Process(self.0.id())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.process().signal(Signal::KILL);
        let _reaped = self.0.wait();
    }
}
