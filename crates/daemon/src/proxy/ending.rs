//! How a proxy ends, and what becomes of its process then.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::OFlags;
use rustix::io::Errno;
use verger_engine::proxy::Fields;
use verger_linux::exec::{Image, Replacement};
use verger_linux::fatal;
use verger_linux::spawn::{PATH_BYTES_MAX, resolve};

use super::handles::to_null;

/// The status of a death by a fatal signal or a broken assertion.
pub(super) const BROKEN: u8 = 4;

/// What of the end is set beforehand.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// What is executed instead, its words between tabs.
    exec: Option<Vec<u8>>,
    /// The code without which nothing ends; 0: none.
    guard: i64,
    /// Standard descriptors that were made non-blocking, as they were before.
    before: Vec<(u8, OFlags)>,
}

impl Ending {
    /// Takes the words of what is executed instead; none: nothing is.
    pub(super) fn set_exec(&mut self, words: Fields<'_>) {
        self.exec = words.text().filter(|text| !text.is_empty()).map(<[u8]>::to_vec);
        let replacement =
            self.exec.as_ref().and_then(|_| self.replacement(i64::from(BROKEN), "received a fatal signal"));
        fatal::execute_instead(replacement.map(Box::new));
    }

    pub(super) fn has_exec(&self) -> bool {
        self.exec.is_some()
    }

    pub(super) fn set_guard(&mut self, code: i64) {
        self.guard = code;
        fatal::survive(code != 0);
    }

    pub(super) fn guard(&self) -> i64 {
        self.guard
    }

    /// A standard descriptor is not to block from here on.
    pub(super) fn unblock(&mut self, number: u8) {
        let fd = if number == 0 { rustix::stdio::stdin() } else { rustix::stdio::stdout() };
        if let Ok(flags) = rustix::fs::fcntl_getfl(fd)
            && !flags.contains(OFlags::NONBLOCK)
        {
            self.before.push((number, flags));
            let _it_blocks_then = rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK);
        }
    }

    /// What of the standard descriptors was changed is as it was: they are others' too.
    fn restore(&self) {
        self.before.iter().for_each(|(number, flags)| restore(*number, *flags));
    }

    /// A standard descriptor is nobody's connection any more: it leads nowhere.
    pub(super) fn let_go_of(&mut self, number: u8, null: &OwnedFd) {
        self.before.extract_if(.., |(of, _)| *of == number).for_each(|(number, flags)| restore(number, flags));
        let _open_files_are_enough = to_null(number, null);
    }

    /// The last act: comes back only with a status, and with what prevented the execution if there was one to be.
    pub(super) fn end(&self, code: i64, reason: &str) -> (u8, Option<Errno>) {
        self.restore();
        let failed = self.exec.as_ref().map(|_| match self.replacement(code, reason) {
            Some(replacement) => replacement.execute(),
            None => Errno::NOENT,
        });
        (code as u8, failed)
    }

    fn replacement(&self, code: i64, reason: &str) -> Option<Replacement> {
        let words = Fields::of(self.exec.as_deref()?);
        let argv: Vec<CString> = words.filter_map(|word| CString::new(word).ok()).collect();
        let path = std::env::var_os("PATH");
        let mut buffer = vec![0; PATH_BYTES_MAX];
        let program = resolve(argv.first()?.as_bytes(), path.as_deref().map(OsStrExt::as_bytes), &mut buffer).ok()?;
        let ours = ["DAEMONPROXY_EXITCODE", "DAEMONPROXY_ERROR"];
        let inherited = std::env::vars_os().filter(|(name, _)| !ours.iter().any(|own| name == own));
        let inherited = inherited.map(|(name, value)| [name.as_bytes(), b"=", &value.into_vec()].concat());
        let told = [format!("{}={code}", ours[0]), format!("{}={reason}", ours[1])].map(String::into_bytes);
        let envp: Vec<CString> = inherited.chain(told).filter_map(|text| CString::new(text).ok()).collect();
        let argv: Vec<&CStr> = argv.iter().map(CString::as_c_str).collect();
        let envp: Vec<&CStr> = envp.iter().map(CString::as_c_str).collect();
        Some(Replacement::new(Image::Path(program.to_owned()), &argv, &envp, &[]).keeping_all())
    }
}

fn restore(number: u8, flags: OFlags) {
    let fd = if number == 0 { rustix::stdio::stdin() } else { rustix::stdio::stdout() };
    let _nobody_has_it = rustix::fs::fcntl_setfl(fd, flags);
}
