//! Which file a name means.

use std::ffi::CStr;

/// Which file it is, whatever is done with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

impl FileId {
    /// The file of this name; of a link, the link.
    pub(crate) fn of(path: &CStr) -> Option<FileId> {
        let stat = rustix::fs::lstat(path).ok()?;
        Some(FileId { device: stat.st_dev, number: stat.st_ino })
    }

    /// Removes the name, if it is still this file's.
    pub(crate) fn remove(self, path: &CStr) {
        if FileId::of(path) == Some(self) {
            let _gone = rustix::fs::unlink(path);
        }
    }
}
