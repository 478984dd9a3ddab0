//! Finding a program in `PATH`, before a process is made for it.

use core::ffi::CStr;

use rustix::fs::{Access, AtFlags, FileType, accessat, statat};
use verger_engine::runs::{StartFailure, Step};

use crate::{Errno, files, raw};

/// What is searched when there is no `PATH` variable.
pub const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The longest path the kernel takes, with its NUL (`PATH_MAX`): what a buffer needs.
pub const PATH_BYTES_MAX: usize = 4096;

/// Finds the program for a name, as `execvp(3)` does: a name with a `/` is taken as it is (relative to wherever the child
/// will be), any other is looked for in `path`, or in [`DEFAULT_PATH`] when that is `None`. The first executable regular
/// file wins; an empty entry of the path is the working directory. Whether the *service's* user may execute it shows only
/// in the child.
///
/// May block as long as the file systems in the path do. Does not allocate: the answer is written into `buffer`.
///
/// # Errors
/// Step `Program` with `ENOENT` (nowhere), `EACCES` (somewhere, but not executable), `ENAMETOOLONG` (buffer or kernel limit),
/// `EINVAL` (a NUL in the name).
pub fn resolve<'b>(name: &[u8], path: Option<&[u8]>, buffer: &'b mut [u8]) -> Result<&'b CStr, StartFailure> {
    find(name, path.unwrap_or(DEFAULT_PATH), buffer)
        .map_err(|errno| StartFailure { step: Step::Program, errno: raw::code(errno) })
}

fn find<'b>(name: &[u8], path: &[u8], buffer: &'b mut [u8]) -> Result<&'b CStr, Errno> {
    if name.is_empty() {
        return Err(Errno::NOENT);
    }
    if name.contains(&0) || path.contains(&0) {
        return Err(Errno::INVAL);
    }
    let mut worst = Errno::NOENT;
    let mut found = None;
    if name.contains(&b'/') {
        found = Some(join(&[name], buffer)?);
    } else {
        for directory in path.split(|byte| *byte == b':') {
            let parts: &[&[u8]] = if directory.is_empty() { &[b"./", name] } else { &[directory, b"/", name] };
            match join(parts, buffer).and_then(|length| judge(text(buffer, length)?).map(|()| length)) {
                Ok(length) => {
                    found = Some(length);
                    break;
                }
                // As execvp: what is not there does not hide that something elsewhere may not be executed.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(Errno::NAMETOOLONG) if worst == Errno::NOENT => worst = Errno::NAMETOOLONG,
                Err(Errno::NAMETOOLONG) => {}
                Err(_) => worst = Errno::ACCESS,
            }
        }
    }
    text(buffer, found.ok_or(worst)?)
}

/// Writes the parts and a NUL; the length with the NUL.
fn join(parts: &[&[u8]], buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut used = 0;
    for part in parts.iter().copied().chain([&b"\0"[..]]) {
        let room = buffer.get_mut(used..).and_then(|room| room.get_mut(..part.len())).ok_or(Errno::NAMETOOLONG)?;
        room.copy_from_slice(part);
        used += part.len();
    }
    if used > PATH_BYTES_MAX { Err(Errno::NAMETOOLONG) } else { Ok(used) }
}

fn text(buffer: &[u8], length: usize) -> Result<&CStr, Errno> {
    buffer.get(..length).and_then(|bytes| CStr::from_bytes_with_nul(bytes).ok()).ok_or(Errno::NAMETOOLONG)
}

/// Whether this is a regular file that we may execute.
fn judge(candidate: &CStr) -> Result<(), Errno> {
    let stat = statat(files::here(), candidate, AtFlags::empty())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    accessat(files::here(), candidate, Access::EXEC_OK, AtFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let place = std::env::temp_dir().join(format!("verger-program-{name}-{}", std::process::id()));
            fs::create_dir_all(&place).unwrap();
            Place(place)
        }

        fn file(&self, path: &str, mode: u32) -> &Place {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            self
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    fn errno(name: &str, path: &str) -> u16 {
        let failure = resolve(name.as_bytes(), Some(path.as_bytes()), &mut [0; 4096]).unwrap_err();
        assert_eq!(failure.step, Step::Program);
        failure.errno
    }

    #[test]
    fn the_first_executable_wins() {
        let place = Place::new("first");
        place.file("a/prog", 0o644).file("b/prog", 0o755).file("c/prog", 0o755);
        fs::create_dir_all(place.0.join("d/prog")).unwrap();
        let at = place.0.to_str().unwrap();
        let path = format!("{at}/none:{at}/d:{at}/a:{at}/b:{at}/c");
        let mut buffer = [0; 4096];
        let found = resolve(b"prog", Some(path.as_bytes()), &mut buffer).unwrap();
        assert_eq!(found.to_str().unwrap(), format!("{at}/b/prog"));
        assert_eq!(errno("prog", &format!("{at}/a:{at}/none")), libc::EACCES as u16);
        assert_eq!(errno("prog", &format!("{at}/d")), libc::EACCES as u16);
        assert_eq!(errno("prog", &format!("{at}/none:{at}/a/prog")), libc::ENOENT as u16);
        assert_eq!(errno("", at), libc::ENOENT as u16);
        assert_eq!(errno("a\0b", at), libc::EINVAL as u16);
        assert_eq!(errno(&"x".repeat(300), at), libc::ENAMETOOLONG as u16);
        assert_eq!(errno(&"x".repeat(5000), at), libc::ENAMETOOLONG as u16);
    }

    #[test]
    fn a_slash_means_as_it_is() {
        let mut buffer = [0; 4096];
        assert_eq!(resolve(b"./nothing/here", Some(b"/bin"), &mut buffer), Ok(c"./nothing/here"));
        assert_eq!(resolve(b"sh", None, &mut buffer).map(|path| path.to_bytes().ends_with(b"/sh")), Ok(true));
        assert!(resolve(b"/a", None, &mut [0; 2]).is_err());
        assert_eq!(resolve(b"/a", None, &mut [0; 3]), Ok(c"/a"));
    }
}
