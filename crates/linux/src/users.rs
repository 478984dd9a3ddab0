//! Users and groups by reading `/etc/passwd` and `/etc/group` (`passwd(5)`, `group(5)`).
//!
//! No name service switch: a static program cannot load its modules, and a daemon must not wait for a directory server. A
//! name is looked for as a name first; if there is none and it is a number, it is that id, in the file or not.
//!
//! Files are read line by line through the caller's buffer, so their size does not matter and nothing is allocated. A line
//! that does not fit into the buffer cannot be read: then the answer is `EOVERFLOW` rather than a wrong "no".

use core::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::OFlags;
use verger_engine::runs::{StartFailure, Step};

use crate::path::number;
use crate::{Errno, files, raw};

/// Room for the longest line worth reading: a group of some 7000 members.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// A user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User<'b> {
    /// The name; empty for a number that has no entry.
    pub name: &'b [u8],
    /// The id.
    pub uid: u32,
    /// The primary group; `None` for a number that has no entry.
    pub gid: Option<u32>,
    /// The home directory; empty when there is none.
    pub home: &'b [u8],
    /// The shell; empty when there is none.
    pub shell: &'b [u8],
}

/// A line of `/etc/passwd`; `None` for comments and what is not a user.
pub fn parse_user(line: &[u8]) -> Option<User<'_>> {
    let mut fields = entry(line)?;
    let name = fields.next().filter(|name| !name.is_empty())?;
    let _password = fields.next()?;
    let uid = id(fields.next()?)?;
    let gid = id(fields.next()?)?;
    let _description = fields.next();
    let home = fields.next().unwrap_or_default();
    let shell = fields.next().unwrap_or_default();
    Some(User { name, uid, gid: Some(gid), home, shell })
}

/// A group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'b> {
    /// The name.
    pub name: &'b [u8],
    /// The id.
    pub gid: u32,
    members: &'b [u8],
}

impl<'b> Group<'b> {
    /// The names listed as its members.
    pub fn members(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        self.members.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
    }
}

/// A line of `/etc/group`; `None` for comments and what is not a group.
pub fn parse_group(line: &[u8]) -> Option<Group<'_>> {
    let mut fields = entry(line)?;
    let name = fields.next().filter(|name| !name.is_empty())?;
    let _password = fields.next()?;
    let gid = id(fields.next()?)?;
    let members = fields.next().unwrap_or_default();
    Some(Group { name, gid, members })
}

/// The fields of a line that is an entry: no comment, and none of the `+` and `-` lines that send NSS elsewhere.
fn entry(line: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let line = line.trim_ascii();
    match line.first()? {
        b'#' | b'+' | b'-' => None,
        _ => Some(line.split(|byte| *byte == b':')),
    }
}

/// An id as a number. The greatest is none: to `setresuid(2)` it means "unchanged".
fn id(text: &[u8]) -> Option<u32> {
    number(text).and_then(|value| u32::try_from(value).ok()).filter(|value| *value != u32::MAX)
}

/// The two files.
#[derive(Clone, Copy, Debug)]
pub struct Database<'p> {
    /// As `/etc/passwd`.
    pub passwd: &'p CStr,
    /// As `/etc/group`.
    pub group: &'p CStr,
}

/// The machine's own.
pub const SYSTEM: Database<'static> = Database { passwd: c"/etc/passwd", group: c"/etc/group" };

impl Database<'_> {
    /// The user with this name or number. May block as long as the file's disk does.
    ///
    /// # Errors
    /// Step `User` with `ENOENT` (no such user), `EOVERFLOW` (a line longer than `buffer`), or why the file cannot be read.
    pub fn user<'b>(&self, wanted: &[u8], buffer: &'b mut [u8]) -> Result<User<'b>, StartFailure> {
        let number = id(wanted);
        let failure = |errno| StartFailure { step: Step::User, errno: raw::code(errno) };
        let by_name = |line: &[u8]| parse_user(line).is_some_and(|user| user.name == wanted);
        let by_number = |line: &[u8]| parse_user(line).is_some_and(|user| Some(user.uid) == number);
        let found = find(self.passwd, buffer, number.map(|_| by_number), by_name);
        match found {
            Ok(line) => parse_user(line).ok_or(failure(Errno::IO)),
            Err(errno) => match number {
                // A number is good without an entry, and without a file.
                Some(uid) if errno == Errno::NOENT => Ok(User { name: b"", uid, gid: None, home: b"", shell: b"" }),
                _ => Err(failure(errno)),
            },
        }
    }

    /// The id of the group with this name or number. May block as long as the file's disk does.
    ///
    /// # Errors
    /// Step `Group` with `ENOENT` (no such group), `EOVERFLOW` (a line longer than `buffer`), or why the file cannot be read.
    pub fn group(&self, wanted: &[u8], buffer: &mut [u8]) -> Result<u32, StartFailure> {
        let failure = |errno| StartFailure { step: Step::Group, errno: raw::code(errno) };
        let by_name = |line: &[u8]| parse_group(line).is_some_and(|group| group.name == wanted);
        let none: Option<fn(&[u8]) -> bool> = None;
        match find(self.group, buffer, none, by_name) {
            Ok(line) => parse_group(line).map(|group| group.gid).ok_or(failure(Errno::IO)),
            Err(errno) => match id(wanted) {
                Some(gid) if errno == Errno::NOENT => Ok(gid),
                _ => Err(failure(errno)),
            },
        }
    }

    /// The groups a user is in, its primary one first, none twice (as `initgroups(3)` sets them): written into `groups`, as many
    /// as returned. A user without a name is in none but the primary one.
    ///
    /// # Errors
    /// Step `Group` with `EOVERFLOW` (more groups than room, or a line longer than `buffer`), or why the file cannot be read;
    /// a missing file is an empty one.
    pub fn groups_of(
        &self,
        name: &[u8],
        primary: u32,
        groups: &mut [u32],
        buffer: &mut [u8],
    ) -> Result<usize, StartFailure> {
        let failure = |errno| StartFailure { step: Step::Group, errno: raw::code(errno) };
        let mut count = 0;
        let mut full = false;
        let mut add = |gid: u32| {
            if !groups.get(..count).is_some_and(|known| known.contains(&gid)) {
                match groups.get_mut(count) {
                    Some(place) => {
                        *place = gid;
                        count += 1;
                    }
                    None => full = true,
                }
            }
        };
        add(primary);
        let looked = each_line(self.group, buffer, |line| {
            if let Some(group) = parse_group(line).filter(|_| !name.is_empty())
                && group.members().any(|member| member == name)
            {
                add(group.gid);
            }
            false
        });
        match looked {
            Err(Errno::NOENT) | Ok(_) if !full => Ok(count),
            Ok(_) | Err(Errno::NOENT) => Err(failure(Errno::OVERFLOW)),
            Err(errno) => Err(failure(errno)),
        }
    }
}

/// The first line that the first choice takes; if none does, the first that the other choice takes. `ENOENT` when neither.
fn find<'b>(
    path: &CStr,
    buffer: &'b mut [u8],
    other: Option<impl FnMut(&[u8]) -> bool>,
    choice: impl FnMut(&[u8]) -> bool,
) -> Result<&'b [u8], Errno> {
    let mut range = each_line(path, buffer, choice);
    if let (Ok(None), Some(other)) = (&range, other) {
        range = each_line(path, buffer, other);
    }
    let (begin, end) = range?.ok_or(Errno::NOENT)?;
    buffer.get(begin..end).ok_or(Errno::IO)
}

/// Shows every line to `accept` until it takes one, and says where in `buffer` that one lies. `EOVERFLOW` when none was taken
/// but a line did not fit.
fn each_line(
    path: &CStr,
    buffer: &mut [u8],
    mut accept: impl FnMut(&[u8]) -> bool,
) -> Result<Option<(usize, usize)>, Errno> {
    let file = files::open(files::here(), path, OFlags::RDONLY)?;
    let (mut filled, mut skipping, mut too_long) = (0, false, false);
    loop {
        let room = buffer.get_mut(filled..).unwrap_or_default();
        if room.is_empty() {
            // A line as long as the whole buffer: what comes until its end is passed over.
            (skipping, too_long, filled) = (true, true, 0);
            continue;
        }
        let count = loop {
            match rustix::io::read(file.as_fd(), &mut *room) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        filled += count;
        let mut begin = 0;
        while let Some(length) = buffer.get(begin..filled).and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
        {
            let end = begin + length;
            if !skipping && buffer.get(begin..end).is_some_and(&mut accept) {
                return Ok(Some((begin, end)));
            }
            skipping = false;
            begin = end + 1;
        }
        if count == 0 {
            let last = buffer.get(begin..filled).filter(|line| !skipping && !line.is_empty());
            return if last.is_some_and(accept) {
                Ok(Some((begin, filled)))
            } else if too_long {
                Err(Errno::OVERFLOW)
            } else {
                Ok(None)
            };
        }
        buffer.copy_within(begin..filled, 0);
        filled -= begin;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::path::PathBuf;

    struct Files(PathBuf, CString, CString);

    impl Files {
        fn new(name: &str, passwd: &str, group: &str) -> Files {
            let place = std::env::temp_dir().join(format!("verger-users-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&place).unwrap();
            let write = |name: &str, text: &str| {
                let path = place.join(name);
                std::fs::write(&path, text).unwrap();
                CString::new(path.to_str().unwrap()).unwrap()
            };
            let (passwd, group) = (write("passwd", passwd), write("group", group));
            Files(place, passwd, group)
        }

        fn database(&self) -> Database<'_> {
            Database { passwd: &self.1, group: &self.2 }
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn lines_of_users() {
        let full = parse_user(b"www:x:33:34:Web, 1:/var/www:/bin/false").unwrap();
        assert_eq!((full.name, full.uid, full.gid), (&b"www"[..], 33, Some(34)));
        assert_eq!((full.home, full.shell), (&b"/var/www"[..], &b"/bin/false"[..]));
        for (line, uid) in [
            ("a:x:1:2", Some(1)),
            ("a::1:2::", Some(1)),
            ("  a:x:1:2:::  ", Some(1)),
            ("a:x:4294967294:0", Some(4_294_967_294)),
            ("a:x:4294967295:0", None),
            ("a:x:4294967296:0", None),
            ("a:x:99999999999999999999:0", None),
            ("a:x:-1:0", None),
            ("a:x: 1:0", None),
            ("a:x:1:", None),
            ("a:x:1", None),
            ("a:x", None),
            ("a", None),
            (":x:1:2", None),
            ("# a:x:1:2", None),
            ("#a:x:1:2", None),
            ("+a:x:1:2", None),
            ("+::::::", None),
            ("-a:x:1:2", None),
            ("", None),
            (":::::::::", None),
            ("a:x:1:2:::::extra", Some(1)),
        ] {
            assert_eq!(parse_user(line.as_bytes()).map(|user| user.uid), uid, "{line}");
        }
    }

    #[test]
    fn lines_of_groups() {
        let members = |line: &str| {
            parse_group(line.as_bytes()).map(|group| {
                group.members().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>().join("+")
            })
        };
        for (line, expected) in [
            ("g:x:5:a,b", Some("a+b")),
            ("g:x:5:", Some("")),
            ("g:x:5", Some("")),
            ("g:x:5:,a,, b ,", Some("a+b")),
            ("g:x:", None),
            ("g:x", None),
            ("g:x:x:a", None),
            ("#g:x:5:a", None),
            ("", None),
        ] {
            assert_eq!(members(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn names_before_numbers_before_nothing() {
        let files = Files::new(
            "lookup",
            "# the machine's\nroot:x:0:0:root:/root:/bin/sh\nbroken\n1000:x:7:7::/seven:\njo:x:1000:100:Jo:/house/jo:/bin/zsh",
            "root:x:0:\n100:x:9:\nusers:x:100:jo",
        );
        let database = files.database();
        let buffer = &mut [0; 256];
        let user = database.user(b"jo", buffer).unwrap();
        assert_eq!((user.uid, user.gid, user.home, user.shell), (1000, Some(100), &b"/house/jo"[..], &b"/bin/zsh"[..]));
        assert_eq!(database.user(b"1000", buffer).unwrap().uid, 7);
        assert_eq!(database.user(b"0", buffer).unwrap().name, b"root");
        let stranger = database.user(b"4000", buffer).unwrap();
        assert_eq!((stranger.uid, stranger.gid, stranger.name), (4000, None, &b""[..]));
        let missing = StartFailure { step: Step::User, errno: 2 };
        for name in ["joe", "", "broken", "4294967295", "-1", "jo:x", "#"] {
            assert_eq!(database.user(name.as_bytes(), buffer), Err(missing), "{name}");
        }
        assert_eq!(database.group(b"users", buffer), Ok(100));
        assert_eq!(database.group(b"100", buffer), Ok(9));
        assert_eq!(database.group(b"77", buffer), Ok(77));
        assert_eq!(database.group(b"none", buffer), Err(StartFailure { step: Step::Group, errno: 2 }));
    }

    #[test]
    fn without_files_only_numbers_are_known() {
        let nowhere = Database { passwd: c"/nonexistent/passwd", group: c"/nonexistent/group" };
        let buffer = &mut [0; 64];
        assert_eq!(nowhere.user(b"root", buffer).unwrap_err().errno, 2);
        assert_eq!(nowhere.user(b"12", buffer).unwrap().uid, 12);
        assert_eq!(nowhere.group(b"12", buffer), Ok(12));
        let mut groups = [0; 2];
        assert_eq!(nowhere.groups_of(b"jo", 5, &mut groups, buffer), Ok(1));
        assert_eq!(groups[0], 5);
    }

    #[test]
    fn long_lines_are_never_a_wrong_no() {
        let long = format!("big:x:1:{}", "m,".repeat(200));
        let files =
            Files::new("long", &format!("x:{}:1:1\njo:x:5:6", "p".repeat(500)), &format!("{long}\nsmall:x:2:jo\n"));
        let database = files.database();
        let small = &mut [0; 64];
        assert_eq!(database.user(b"jo", small).unwrap().uid, 5);
        assert_eq!(database.user(b"x", small).unwrap_err().errno, libc::EOVERFLOW as u16);
        assert_eq!(database.user(b"5", small).unwrap_err().errno, libc::EOVERFLOW as u16);
        let mut groups = [0; 8];
        assert_eq!(database.groups_of(b"jo", 6, &mut groups, small).unwrap_err().errno, libc::EOVERFLOW as u16);
        let large = &mut [0; 1024];
        assert_eq!(database.groups_of(b"jo", 6, &mut groups, large), Ok(2));
        assert_eq!(groups[..2], [6, 2]);
        assert_eq!(database.user(b"x", large).unwrap().uid, 1);
    }

    #[test]
    fn groups_of_a_user() {
        let files = Files::new("of", "", "a:x:1:jo\nb:x:2:joe,jo\nc:x:3:joe\nd:x:6:jo\ne:x:1:jo\n");
        let database = files.database();
        let buffer = &mut [0; 256];
        let mut groups = [0; 4];
        assert_eq!(database.groups_of(b"jo", 6, &mut groups, buffer), Ok(3));
        assert_eq!(groups[..3], [6, 1, 2]);
        assert_eq!(database.groups_of(b"", 6, &mut groups, buffer), Ok(1));
        assert_eq!(database.groups_of(b"jo", 6, &mut groups[..2], buffer).unwrap_err().errno, libc::EOVERFLOW as u16);
        assert_eq!(database.groups_of(b"jo", 6, &mut [], buffer).unwrap_err().errno, libc::EOVERFLOW as u16);
    }
}
