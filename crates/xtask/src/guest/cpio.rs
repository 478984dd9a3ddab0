//! An archive that the kernel unpacks as its first root file system: cpio's "newc" form.
//!
//! Written here so that the tests need no cpio and modes need no `chmod` on the way: the form is one header of
//! thirteen hexadecimal numbers, the name and the bytes, each padded to four.

use std::collections::BTreeSet;

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// An archive in the making.
pub(crate) struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), folders: BTreeSet::new(), entries: 0 }
    }

    /// Adds a file, and the folders above it where they are missing.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.below_folders(path, FILE | mode, content);
    }

    /// Adds a symbolic link, and the folders above it where they are missing.
    pub(crate) fn link(&mut self, path: &str, to: &str) {
        self.below_folders(path, LINK | 0o777, to.as_bytes());
    }

    fn below_folders(&mut self, path: &str, mode: u32, content: &[u8]) {
        let path = path.trim_start_matches('/');
        for (end, _) in path.match_indices('/') {
            self.folder(&path[..end]);
        }
        self.entry(path, mode, content);
    }

    /// Adds an empty folder, once.
    pub(crate) fn folder(&mut self, path: &str) {
        if self.folders.insert(path.to_owned()) {
            self.entry(path, FOLDER | 0o755, &[]);
        }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        self.raw(self.entries, name, mode, content);
    }

    fn raw(&mut self, inode: u32, name: &str, mode: u32, content: &[u8]) {
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // inode, mode, uid, gid, links, mtime, size, device (2), device described (2), name's size, checksum
        let numbers = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The archive, complete.
    pub(crate) fn close(mut self) -> Vec<u8> {
        self.raw(0, "TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_newc() {
        let mut archive = Archive::new();
        archive.file("/a/b/init", 0o755, b"12345");
        archive.file("a/b/more", 0o600, b"");
        archive.link("a/c", "b/more");
        let bytes = archive.close();
        let text = String::from_utf8_lossy(&bytes);

        let headers: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert!(headers.iter().all(|at| at % 4 == 0), "a header is not aligned");
        let name = |at: &usize| text[at + 110..].split('\0').next().unwrap().to_owned();
        let names: Vec<String> = headers.iter().map(name).collect();
        assert_eq!(names, ["a", "a/b", "a/b/init", "a/b/more", "a/c", "TRAILER!!!"]);

        let init = &text[headers[2]..];
        assert_eq!(&init[14..22], "000081ed", "mode");
        assert_eq!(&init[54..62], "00000005", "size");
        assert_eq!(&init[94..102], "00000009", "name's size");
        assert_eq!(&init[120..125], "12345", "110 of header, 9 of name, 1 of padding");
        let link = &text[headers[4]..];
        assert_eq!(
            (&link[14..22], &link[54..62], &link[116..122]),
            ("0000a1ff", "00000006", "b/more"),
            "where it leads"
        );
        assert_eq!(&text[headers[0] + 14..headers[0] + 22], "000041ed");
    }
}
