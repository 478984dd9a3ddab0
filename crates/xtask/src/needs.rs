//! What the tests need beside Rust: installed when it can be, else named in one line.
//!
//! Never skipped: a test that did not run has not passed.

use crate::workspace::Workspace;
use crate::{Trouble, call, failed};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program and the Debian package that brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

/// Independent implementations that ours is tested against, and published clients that ours has to serve; as pip reads them.
const PYTHON_PACKAGES: &[&str] = &["supervise_api==0.6.0", "varlink==31.0.0"];

/// Sees to it that programs are there.
pub(crate) fn programs(needs: &[Need]) -> Result<(), Trouble> {
    let missing = |needs: &[Need]| needs.iter().copied().filter(|it| find(it.program).is_none()).collect::<Vec<_>>();
    let wanted = missing(needs);
    if wanted.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = wanted.iter().map(|it| it.package).collect();
    let installed = apt_install(&packages);
    let still = missing(&wanted);
    if still.is_empty() { Ok(()) } else { Err(complaint(&still, installed.err())) }
}

fn complaint(missing: &[Need], why: Option<Trouble>) -> Trouble {
    let programs: Vec<&str> = missing.iter().map(|it| it.program).collect();
    let packages: Vec<&str> = missing.iter().map(|it| it.package).collect();
    let why = match why {
        Some(Trouble::Failed(why) | Trouble::Usage(why)) => format!(" ({why})"),
        None => String::new(),
    };
    failed(format!("missing: {}{why}; on Debian: apt-get install {}", programs.join(", "), packages.join(" ")))
}

/// A program's file, as a shell would find it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|it| it.is_file())
}

fn apt_install(packages: &[&str]) -> Result<(), Trouble> {
    let user = call::output(Command::new("id").arg("-u"))?;
    if user.trim() != "0" {
        return Err(failed("only root may install it"));
    }
    let mut install = apt();
    install.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    if call::succeeds(&mut install) {
        return Ok(());
    }
    // A new machine has no package lists, or old ones that name files which are gone.
    call::output(apt().arg("update"))?;
    call::output(&mut install).map(|_| ())
}

/// apt-get, asking nothing and fetching as the user we are.
pub(crate) fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["-qq", "-o", "APT::Sandbox::User=root"]).env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// A Python that has the packages our clients and servers are tested against; its path.
pub(crate) fn python(workspace: &Workspace) -> Result<PathBuf, Trouble> {
    let folder = workspace.target.join("python");
    let python = folder.join("bin/python");
    if has_packages(&python) {
        return Ok(python);
    }
    programs(&[Need { program: "python3", package: "python3" }])?;
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&folder);
    if call::output(&mut make).is_err() {
        // Debian's python3 has the module but not what it unpacks.
        apt_install(&["python3-venv"])?;
        call::output(&mut make)?;
    }
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PYTHON_PACKAGES);
    call::output(&mut install)?;
    if has_packages(&python) { Ok(python) } else { Err(failed("pip installed the packages, but they are not there")) }
}

fn has_packages(python: &Path) -> bool {
    let list = "import importlib.metadata as m; print('\\n'.join(f'{d.name}=={d.version}' for d in m.distributions()))";
    let there = python.exists().then(|| call::output(Command::new(python).args(["-c", list]))).and_then(Result::ok);
    there.is_some_and(|there| PYTHON_PACKAGES.iter().all(|package| there.lines().any(|line| line == *package)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_where_a_shell_finds_them() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program-anywhere"), None);
        assert_eq!(programs(&[Need { program: "sh", package: "dash" }]), Ok(()));
    }

    #[test]
    fn a_missing_program_is_named_with_its_package_in_one_line() {
        let missing = [Need { program: "qemu-system-x86_64", package: "qemu-system-x86" }];
        let Trouble::Failed(why) = complaint(&missing, Some(failed("only root may install it"))) else { panic!() };
        let expected =
            "missing: qemu-system-x86_64 (only root may install it); on Debian: apt-get install qemu-system-x86";
        assert_eq!(why, expected);
    }
}
