//! A folder that goes with its owner.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{CWD, FileType, Mode, mknodat};

/// A folder for one test, readable by everybody; removed with everything in it.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one, and the name it has in common with nothing else on the machine.
    pub fn new() -> (Folder, String) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bb-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(&name);
        std::fs::create_dir(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let folder = Folder(path);
        folder.open_to(0o755);
        (folder, name)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A place in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, content).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        path
    }

    /// Writes a shell script that can be executed.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.write(name, format!("#!/bin/sh\n{text}\n"));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    /// Makes a named pipe.
    pub fn fifo(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &path, FileType::Fifo, mode, 0).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        path
    }

    /// What a file in it holds; nothing when it is not there.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.join(name)).unwrap_or_default()).into_owned()
    }

    /// Lets everybody in, or not.
    pub fn open_to(&self, mode: u32) {
        std::fs::set_permissions(&self.0, PermissionsExt::from_mode(mode)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir_all(&self.0);
        if !std::thread::panicking() {
            removed.unwrap_or_else(|why| panic!("{}: {why}", self.0.display()));
        }
    }
}
