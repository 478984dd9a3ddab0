//! `verger compile`: a plan as the daemon takes it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::plans::{self, Where};
use crate::setting::Setting;
use crate::trouble::{Trouble, cannot};
use crate::words;

/// Compile a plan into the form that `vergerd` takes
///
/// The compiled plan is checked, needs no other file, and starts with no text left to be read: for `vergerd --plan` and
/// `verger run` on machines where every millisecond counts.
#[derive(Debug, clap::Args)]
pub(super) struct Compile {
    /// The plan: TOML, JSON, or a configuration of AOS or S-CORE; `-` is standard input
    file: String,
    /// Where the compiled plan goes; `-` is standard output
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// It is for another machine: do not look whether users and programs are there
    #[arg(long)]
    elsewhere: bool,
}

impl Compile {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let place = if self.elsewhere { Where::Elsewhere } else { Where::Here };
        let ready = plans::ready(setting, &self.file, place, None)?;
        plans::tell_not_applied(setting, ready.reading.as_ref());
        if self.output.as_os_str() == plans::STANDARD_INPUT {
            return setting.terminal.say_bytes(&ready.image);
        }
        write_whole(&self.output, &ready.image)?;
        let services = ready.reading.as_ref().and_then(|reading| Some(reading.plan.as_ref()?.services.len()));
        let services = services.map_or_else(String::new, |services| format!("{}, ", words::count(services, "service")));
        setting.terminal.tell(&format!("{}: {services}{} bytes", self.output.display(), ready.image.len()));
        Ok(())
    }
}

/// Writes a file so that nobody ever sees half of it.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    let failed = || format!("write {}", path.display());
    // A device or a pipe cannot be replaced, and need not be.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return fs::write(path, bytes).map_err(cannot(&failed()));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        let _was_not_there = fs::remove_file(&beside);
        cannot(&failed())(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_device_is_left_what_it_is() {
        let path = std::env::temp_dir().join(format!("verger-compile-{}", std::process::id()));
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        fs::remove_file(&path).unwrap();
        assert!(write_whole(Path::new("/dev/null"), b"x").is_ok());
        let trouble = write_whole(Path::new("/nowhere/x"), b"x").unwrap_err();
        assert_eq!(trouble.words, "cannot write /nowhere/x: No such file or directory");
    }
}
