//! The floor: the C programs in `floor/`, compiled and run.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The programs' folder.
pub(crate) struct Floor(PathBuf);

/// Compiles them all: static, so that a dynamic linker is nobody's cost, but for the service; the child without a libc.
pub(crate) fn build(sources: &Path) -> Result<Floor, String> {
    let folder = std::env::temp_dir().join(format!("verger-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    for name in ["child", "launch", "respawn", "stop", "stop_tree", "graph", "switch", "tree", "tied", "service"] {
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-w", "-o"]).arg(folder.join(name)).arg(sources.join(format!("{name}.c")));
        compiler.args(match name {
            "service" => &[][..],
            "child" => &["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"],
            _ => &["-static"],
        });
        let done = compiler.status().map_err(|why| format!("cc: {why}"))?;
        if !done.success() {
            return Err(format!("cc could not build {name}: {done}"));
        }
    }
    Ok(Floor(folder))
}

impl Floor {
    /// What everybody starts.
    pub(crate) fn child(&self) -> String {
        self.path("child").display().to_string()
    }

    /// What is started where a program as people write them is.
    pub(crate) fn service(&self) -> String {
        self.path("service").display().to_string()
    }

    /// Where one of the programs is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Starts one of the programs; the children inherit its output.
    pub(crate) fn run(&self, name: &str, arguments: &[&str], input: Stdio, output: OwnedFd) -> Result<Child, String> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(self.path(name));
        command.args(arguments).stdin(input).stdout(output).stderr(Stdio::piped()).process_group(0);
        command.spawn().map_err(|why| format!("{name}: {why}"))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}
