//! The kernel that the emulated machine boots: Debian's own, unpacked and not installed.

use crate::workspace::Workspace;
use crate::{Trouble, call, failed, needs};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The newest one Debian 12 has: cgroup v2 with every controller, and the virtual watchdog's module.
pub(crate) const MAIN: &str = "linux-image-6.12-cloud-amd64";

/// Fetches a kernel once and returns its image's path.
pub(crate) fn get(workspace: &Workspace, package: &str) -> Result<PathBuf, Trouble> {
    let folder = workspace.target.join("guest").join(package);
    if let Some(image) = image_in(&folder) {
        return Ok(image);
    }
    // Into another folder first: what is interrupted half-way is not taken for a kernel the next time.
    let fresh = folder.with_extension("new");
    let io = |why: std::io::Error| failed(format!("{}: {why}", fresh.display()));
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(io)?;
    }
    fs::create_dir_all(&fresh).map_err(io)?;
    let real = real_package(package)?;
    call::output(needs::apt().args(["download", &real]).current_dir(&fresh))?;
    let archive = fs::read_dir(&fresh).map_err(io)?.flatten().map(|it| it.path()).find(|it| has_end(it, "deb"));
    let archive = archive.ok_or_else(|| failed(format!("apt-get download {real} left no file")))?;
    call::output(Command::new("dpkg").arg("-x").arg(&archive).arg(&fresh))?;
    fs::remove_file(archive).map_err(io)?;
    fs::rename(&fresh, &folder).map_err(io)?;
    image_in(&folder).ok_or_else(|| failed(format!("{real} brings no kernel image")))
}

/// The package that a name like `linux-image-6.12-cloud-amd64` stands for at the moment.
fn real_package(package: &str) -> Result<String, Trouble> {
    let ask = || call::output(Command::new("apt-cache").args(["depends", package]));
    if let Some(real) = ask().ok().and_then(|text| dependency_in(&text)) {
        return Ok(real);
    }
    call::output(needs::apt().arg("update"))?;
    dependency_in(&ask()?).ok_or_else(|| failed(format!("no package {package} is to be had: Debian 12 has it")))
}

fn dependency_in(text: &str) -> Option<String> {
    let found = text.lines().find_map(|line| line.trim_start().strip_prefix("Depends: "));
    found.filter(|it| it.starts_with("linux-image-")).map(str::to_owned)
}

fn image_in(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder.join("boot")).ok()?.flatten();
    entries
        .map(|it| it.path())
        .find(|it| it.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")))
}

fn has_end(path: &Path, end: &str) -> bool {
    path.extension().is_some_and(|it| it == end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_package_is_found() {
        let text = "linux-image-6.12-cloud-amd64\n  Depends: linux-image-6.12.9+bpo-cloud-amd64\n  Suggests: x\n";
        assert_eq!(dependency_in(text).as_deref(), Some("linux-image-6.12.9+bpo-cloud-amd64"));
        assert_eq!(dependency_in("linux-image-6.12-cloud-amd64\n"), None);
    }
}
