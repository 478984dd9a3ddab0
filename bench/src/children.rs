//! What the started children say: who they are and when they began to run, in a pipe they inherit.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// One child's word: 16 bytes, written at once.
#[derive(Clone, Copy)]
pub(crate) struct Started {
    pub(crate) pid: u32,
    /// Nanoseconds of the monotonic clock.
    pub(crate) at: u64,
}

/// The reading end.
pub(crate) struct Children(File);

impl Children {
    /// A pipe that holds the words of all, so that nobody has to read while it is measured.
    pub(crate) fn new() -> Result<(Children, OwnedFd), String> {
        let (read, write) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|why| format!("pipe: {why}"))?;
        let _grown = rustix::pipe::fcntl_setpipe_size(&read, 1 << 20);
        Ok((Children(File::from(read)), write))
    }

    /// The next one, as soon as there is one.
    pub(crate) fn next(&mut self) -> Result<Started, String> {
        let mut word = [0; 16];
        self.0.read_exact(&mut word).map_err(|why| format!("the children's words: {why}"))?;
        let (pid, at) = word.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        Ok(Started { pid: u32::try_from(number(pid)).unwrap_or(0), at: number(at) })
    }

    /// Waits until so many bytes have come, and takes none.
    pub(crate) fn wait_bytes(&self, count: usize) -> Result<(), String> {
        let begun = Instant::now();
        let enough = u64::try_from(count).unwrap_or(u64::MAX);
        while rustix::io::ioctl_fionread(&self.0).map_err(|why| format!("pipe: {why}"))? < enough {
            if begun.elapsed() > Duration::from_secs(60) {
                return Err("not all children were started".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5)); // sleep: a look costs what is measured, so looks are rare
        }
        Ok(())
    }

    /// So many, without looking at each as it comes: whoever looks takes time from those who are measured.
    pub(crate) fn all(&mut self, count: usize) -> Result<Vec<Started>, String> {
        self.wait_bytes(count * 16)?;
        (0..count).map(|_| self.next()).collect()
    }
}

/// Now, on the children's clock.
pub(crate) fn now() -> u64 {
    verger_client::now().0
}
