//! Whether shims are to be had, and pid namespaces with them: tried out when somebody needs to know.
//!
//! Trying takes processes, and the end of a namespace: a third of the daemon's own start. Who has cgroups, and no
//! service that asks for a shim, does not pay for it before somebody asks what can be had (`verger doctor`).

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use verger_linux::spawn::{Spawner, Way};
use verger_wire::message::{Finding, Level};

use crate::shim;

/// What shims are made of, and what is known of them.
pub(crate) struct Shims {
    /// The program that they become. Open from the start, so that an update of its folder changes nothing for a
    /// daemon that runs.
    supervise: Result<OwnedFd, Errno>,
    way: Way,
    has_cgroups: bool,
    found: OnceLock<Found>,
}

/// What came of trying them out.
pub(crate) struct Found {
    is_any: bool,
    /// Our own `/proc`, where pid namespaces are to be had.
    namespaces: Option<OwnedFd>,
    pub(crate) findings: Vec<Finding>,
}

impl Shims {
    /// Shims that are made in this way, if they are to be had. `has_cgroups`: nobody has to do without if they are not.
    pub(crate) fn new(way: Way, has_cgroups: bool) -> Shims {
        Shims { supervise: shim::open_supervise(), way, has_cgroups, found: OnceLock::new() }
    }

    /// What was found, if they were tried out.
    pub(crate) fn known(&self) -> Option<&Found> {
        self.found.get()
    }

    /// What shims become, where they are to be had. Tries them out if nobody has: that waits for processes, and is not
    /// for the loop.
    pub(crate) fn supervise(&self) -> Option<&OwnedFd> {
        self.supervise.as_ref().ok().filter(|_| self.find().is_any)
    }

    /// Our own `/proc`, where pid namespaces are to be had. As [`Shims::supervise`].
    pub(crate) fn namespaces(&self) -> Option<&OwnedFd> {
        self.find().namespaces.as_ref()
    }

    /// Tries them out if nobody has. As [`Shims::supervise`].
    pub(crate) fn find(&self) -> &Found {
        self.found.get_or_init(|| {
            let mut findings = Vec::new();
            let (is_any, namespaces) = self.try_out(&mut findings);
            Found { is_any, namespaces, findings }
        })
    }

    /// With and without a pid namespace.
    fn try_out(&self, findings: &mut Vec<Finding>) -> (bool, Option<OwnedFd>) {
        // Who has cgroups can do without.
        let missing = if self.has_cgroups { Level::Note } else { Level::Problem };
        let mut note = |level, text: String, hint: Option<&str>| {
            findings.push(Finding { topic: "containment".into(), level, text, hint: hint.map(str::to_owned) });
        };
        let supervise = match &self.supervise {
            Ok(supervise) => supervise,
            Err(errno) => {
                let why = format!("`supervise` beside vergerd: {errno}");
                let hint = "put `supervise` of the same version into the folder that vergerd is in";
                note(missing, format!("shim: not to be had: {why}"), Some(hint));
                note(Level::Note, format!("pidns: not to be had: {why}"), Some(hint));
                return (false, None);
            }
        };
        let spawner = Spawner::new(self.way, 4).map_err(|errno| errno.to_string());
        let tried = spawner.and_then(|mut spawner| {
            shim::try_out(&mut spawner, supervise, None)?;
            Ok(spawner)
        });
        let mut spawner = match tried {
            Ok(spawner) => spawner,
            Err(why) => {
                let hint = "is it a program of this machine, of this version, that this user may execute?";
                note(missing, format!("shim: not to be had: {why}"), Some(hint));
                note(Level::Note, "pidns: not to be had: it is made of a shim".into(), None);
                return (false, None);
            }
        };
        note(Level::Good, "shim: to be had: what a service starts cannot leave it".into(), None);
        let proc = rustix::fs::open(c"/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let tried = proc.map_err(|errno| format!("/proc: {errno}")).and_then(|proc| {
            shim::try_out(&mut spawner, supervise, Some(&proc))?;
            Ok(proc)
        });
        match tried {
            Ok(proc) => {
                note(Level::Good, "pidns: to be had: the kernel ends all of a service at once".into(), None);
                (true, Some(proc))
            }
            Err(why) => {
                let hint =
                    "that takes CAP_SYS_ADMIN, and `/proc` uncovered: start the daemon as root, outside a container";
                note(Level::Note, format!("pidns: not to be had: {why}"), Some(hint));
                (true, None)
            }
        }
    }
}
