//! Starting `vergerd`: in our place, or beside us with a connection to it.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use verger_client::Connection;
use verger_engine::runs::Pid;
use verger_engine::time::Span;
use verger_linux::exec::{Image, Replacement};
use verger_linux::spawn::{PointerArray, Pointers, Recipe, Session, Spawner, Way, WordsError};
use verger_linux::{memory, signals};

use crate::trouble::{Trouble, cannot};

const DAEMON: &str = "vergerd";
/// The numbers under which the daemon gets what we give it.
const IMAGE: u32 = 3;
const CONTROL: u32 = 4;

/// Finds the daemon's program: beside our own, else on `PATH`.
pub(crate) fn find_daemon() -> Result<PathBuf, Trouble> {
    // The first process of a machine has no /proc to ask yet; the kernel called it by its path.
    let called = || std::env::args_os().next().map(PathBuf::from).filter(|word| word.is_absolute());
    let own = std::env::current_exe().ok().or_else(called);
    find_in(own.as_deref().and_then(Path::parent), std::env::var_os("PATH").as_deref())
}

fn find_in(own: Option<&Path>, path: Option<&OsStr>) -> Result<PathBuf, Trouble> {
    let on_path = path.map(std::env::split_paths).into_iter().flatten();
    let places: Vec<PathBuf> = own.map(Path::to_owned).into_iter().chain(on_path).collect();
    let program = |place: &PathBuf| {
        let program = place.join(DAEMON);
        let executable = rustix::fs::access(&program, rustix::fs::Access::EXEC_OK).is_ok();
        (executable && program.is_file()).then_some(program)
    };
    places.iter().find_map(program).ok_or_else(|| {
        let mut trouble = Trouble::new(format!("there is no `{DAEMON}` to start"));
        if let Some(own) = own {
            trouble = trouble.detail(format!("it was looked for in {}, beside `verger`", own.display()));
        }
        match path {
            Some(path) => trouble.detail(format!("and on PATH: {}", path.display())),
            None => trouble.detail("and not on PATH, which is not set"),
        }
        .hint(format!("install `{DAEMON}` beside `verger`"))
    })
}

/// A compiled plan that cannot change any more.
pub(crate) fn seal(image: &[u8]) -> Result<OwnedFd, Trouble> {
    memory::sealed(c"verger-plan", image).map_err(cannot("make a memory file for the plan"))
}

/// Becomes the daemon, in this very process. Comes back only with what prevented it.
pub(crate) fn become_daemon(image: &[u8], instance: &str, budget: Option<Span>, quiet: bool) -> Trouble {
    let program = match find_daemon() {
        Ok(program) => program,
        Err(trouble) => return trouble,
    };
    let file = match seal(image) {
        Ok(file) => file,
        Err(trouble) => return trouble,
    };
    let number = file.as_raw_fd().to_string();
    let budget = budget.map(|budget| budget.to_string());
    let mut words = vec![DAEMON, "--image-fd", &number, "--instance", instance];
    words.extend(budget.iter().flat_map(|budget| ["--budget", budget]));
    words.extend(quiet.then_some("--quiet"));
    let argv: Vec<CString> = words.into_iter().map(text).collect();
    let argv: Vec<&CStr> = argv.iter().map(CString::as_c_str).collect();
    let envp = environment();
    let envp: Vec<&CStr> = envp.iter().map(CString::as_c_str).collect();
    let replacement = Replacement::new(Image::Path(path(&program)), &argv, &envp, &[file.as_fd()]);
    cannot(&format!("execute {}", program.display()))(replacement.execute())
}

/// A daemon that we have started, and that ends when our connection to it does.
pub(crate) struct Started<C> {
    pub(crate) pid: Pid,
    pub(crate) connection: C,
}

/// Starts the daemon as our child, with a connection that it holds us by.
///
/// Without an image it has no plan, and nothing to do but to answer. What `first` says over the connection is there before the
/// daemon is, so that it hears that before it hears of anything that comes of its plan.
///
/// It gets a process group of its own, so that a Ctrl-C reaches it once, through us, however it was sent: the terminal signals
/// a whole group, `kill` one process, and `timeout` both.
pub(crate) fn start_daemon<C>(
    image: Option<&[u8]>,
    instance: &str,
    budget: Option<Span>,
    first: impl FnOnce(Connection) -> C,
) -> Result<Started<C>, Trouble> {
    let program = find_daemon()?;
    let file = image.map(seal).transpose()?;
    let (ours, theirs) = UnixStream::pair().map_err(cannot("make a connection"))?;
    let connection = first(Connection::over(ours));
    let (image, control) = (IMAGE.to_string(), CONTROL.to_string());
    let mut words = vec![DAEMON, "--control-fd", &control, "--end-with-caller", "--quiet", "--instance", instance];
    match file {
        Some(_) => words.extend(["--image-fd", &image]),
        None => words.push("--empty"),
    }
    let budget = budget.map(|budget| budget.to_string());
    words.extend(budget.iter().flat_map(|budget| ["--budget", budget]));
    let argv: Vec<CString> = words.into_iter().map(text).collect();
    let envp = environment();
    let (mut arguments, mut variables) = (room(&argv), room(&envp));
    let arguments = fill(&mut arguments, &argv).map_err(cannot("pass on the arguments"))?;
    let variables = fill(&mut variables, &envp).map_err(cannot("pass on the environment"))?;
    let program_path = path(&program);
    let mut recipe = Recipe::new(&program_path, arguments, variables);
    let [stdin, stdout, stderr] = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let mut descriptors: Vec<(u32, BorrowedFd<'_>)> =
        vec![(0, stdin), (1, stdout), (2, stderr), (CONTROL, theirs.as_fd())];
    descriptors.extend(file.as_ref().map(|file| (IMAGE, file.as_fd())));
    recipe.descriptors = &descriptors;
    recipe.session = Session::Group;
    recipe.ignored_signals = signals::at_start().ignored;
    let what = format!("start {}", program.display());
    let mut spawner = Spawner::new(Way::IntoCgroup, descriptors.len()).map_err(cannot(&what))?;
    let spawned = spawner.spawn(&recipe).map_err(cannot(&what))?;
    Ok(Started { pid: spawned.pid, connection })
}

fn room(texts: &[CString]) -> PointerArray {
    PointerArray::with_capacity(texts.len())
}

fn fill<'a>(array: &'a mut PointerArray, texts: &'a [CString]) -> Result<Pointers<'a>, WordsError> {
    let mut filling = array.begin();
    for text in texts {
        filling.push(text)?;
    }
    Ok(filling.end())
}

fn environment() -> Vec<CString> {
    let joined = |(name, value): (OsString, OsString)| [name.into_vec(), b"=".to_vec(), value.into_vec()].concat();
    std::env::vars_os().filter_map(|variable| CString::new(joined(variable)).ok()).collect()
}

/// What is put together here holds no NUL: it comes from command lines, where none can be.
fn text(words: &str) -> CString {
    CString::new(words).unwrap_or_default()
}

fn path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_daemon_is_found_beside_us_first_and_then_on_the_path() {
        let place = std::env::temp_dir().join(format!("verger-launch-{}", std::process::id()));
        let (own, other) = (place.join("own"), place.join("other"));
        for folder in [&own, &other] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let search = OsString::from(format!("/nowhere:{}", other.display()));
        let trouble = find_in(Some(&own), Some(&search)).unwrap_err();
        assert_eq!(trouble.words, "there is no `vergerd` to start");
        assert_eq!(trouble.details[0], format!("it was looked for in {}, beside `verger`", own.display()));
        let make = |folder: &Path, mode| {
            std::fs::write(folder.join(DAEMON), "").unwrap();
            std::fs::set_permissions(folder.join(DAEMON), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        make(&other, 0o755);
        assert_eq!(find_in(Some(&own), Some(&search)).unwrap(), other.join(DAEMON));
        make(&own, 0o755);
        assert_eq!(find_in(Some(&own), Some(&search)).unwrap(), own.join(DAEMON));
        assert!(find_in(None, None).is_err());
        std::fs::remove_dir_all(&place).unwrap();
    }
}
