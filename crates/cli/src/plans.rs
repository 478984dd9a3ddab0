//! Plans in files: read, checked against this machine, compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use verger_engine::image::{BUNDLE_RUNTIME, ContainmentWish, MAGIC, PROBE, Plan, SchedulingPolicy, Service, Source};
use verger_engine::runs::StartFailure;
use verger_engine::time::Span;
use verger_linux::contain::{Controller, offered};
use verger_linux::spawn::{PATH_BYTES_MAX, resolve};
use verger_linux::users::{BUFFER_BYTES, SYSTEM};
use verger_plan::{
    Also, COMPLAINTS_MAX, Complaint, FILE_BYTES_MAX, Files, Format, KeyFate, Reading, Severity, Sources, bundle_of,
};

use crate::complaints;
use crate::end_check::LateEnd;
use crate::setting::Setting;
use crate::trouble::Trouble;
use crate::unmet;
use crate::words;

/// The file name that means standard input.
pub(crate) const STANDARD_INPUT: &str = "-";
/// What it is called in complaints.
pub(crate) const SHOWN_INPUT: &str = "<standard input>";

/// The machine's files.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        // One byte more than a plan may have shows that there are too many.
        opened(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| in_words(&error))?;
        Ok(bytes)
    }

    fn identity(&self, path: &str) -> String {
        std::fs::canonicalize(path).map_or_else(|_| path.to_owned(), |real| real.display().to_string())
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, String> {
        let entries = std::fs::read_dir(folder).map_err(|error| in_words(&error))?;
        // What is not UTF-8 no plan can name.
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }
}

/// Opens a file to read it, and waits for nobody: who writes to a FIFO may never come, and a device never ends. What the caller was
/// given open (`/dev/stdin`, `<(…)`) is read as it is.
fn opened(path: &str) -> Result<File, String> {
    if is_given(path) {
        return File::open(path).map_err(|error| in_words(&error));
    }
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(|error| in_words(&error))?;
    let kind = file.metadata().map_err(|error| in_words(&error))?.file_type();
    match kind.is_file() || kind.is_dir() {
        true => Ok(file),
        false if kind.is_fifo() => Err("is a FIFO".to_owned()),
        false => Err("is a device".to_owned()),
    }
}

/// Whether a path means a descriptor of this process.
fn is_given(path: &str) -> bool {
    path == "/dev/stdin" || path.starts_with("/dev/fd/") || path.starts_with("/proc/self/fd/")
}

fn in_words(error: &std::io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Whether a plan is for the machine it is read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// Users and programs must be there.
    Here,
    /// It runs somewhere else: only the text is looked at.
    Elsewhere,
}

/// Reads the plan in a file, with all that is to be said about it: also whether it can end within a budget (its own, if none is
/// given).
pub(crate) fn read(path: &str, place: Where, budget: Option<Span>) -> (Reading, Option<LateEnd>) {
    let mut reading = if path == STANDARD_INPUT {
        verger_plan::read_bytes(SHOWN_INPUT, &standard_input(), &Disk)
    } else {
        let mut reading = verger_plan::read(path, &Disk);
        if reading.format == Format::Unknown
            && let [complaint] = reading.complaints.as_mut_slice()
            && complaint.hint.is_none()
        {
            complaint.hint = unreadable(Path::new(path));
        }
        reading
    };
    if let (Some(plan), Where::Here) = (&reading.plan, place) {
        let found = on_this_machine(plan, &reading);
        if found.iter().any(|complaint| complaint.severity == Severity::Error) {
            reading.plan = None;
        }
        reading.complaints.extend(found);
    }
    let late = reading.plan.as_ref().and_then(|plan| LateEnd::of(plan, &reading, budget));
    reading.complaints.extend(late.as_ref().and_then(LateEnd::complaint));
    (reading, late)
}

/// Reads a configuration of another system, with what becomes of each of its keys. The machine is not looked at.
pub(crate) fn fates(path: &str) -> (Reading, Vec<KeyFate>) {
    if path == STANDARD_INPUT {
        return verger_plan::read_with_fates(SHOWN_INPUT, &standard_input(), &Disk);
    }
    match Disk.read(path) {
        Ok(bytes) => verger_plan::read_with_fates(path, &bytes, &Disk),
        // Read once more for what is to be said of it.
        Err(_) => (read(path, Where::Elsewhere, None).0, Vec::new()),
    }
}

pub(crate) fn standard_input() -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    if read.is_ok() { bytes } else { Vec::new() }
}

/// What to do about a plan that is no file; `None` where there is one.
fn unreadable(path: &Path) -> Option<String> {
    let is_plan = |name: &str| Path::new(name).extension().is_some_and(|it| it == "toml" || it == "json");
    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    };
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Some(match names(path).iter().find(|name| is_plan(name)) {
            Some(name) => format!("a plan is one file; in this folder there is `{}`", path.join(name).display()),
            None => "a plan is one file: TOML, JSON, or a configuration of AOS or S-CORE".to_owned(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !folder.is_dir() {
                return Some(format!("the folder `{}` is not there either", folder.display()));
            }
            let (name, names) = (path.file_name()?.to_str()?, names(folder));
            let near = verger_plan::nearest(name, names.iter().map(String::as_str));
            Some(match near {
                Some(near) => format!("did you mean `{}`?", path.with_file_name(near).display()),
                None => match std::env::current_dir() {
                    Ok(here) if path.is_relative() => format!("it was looked for from `{}` on", here.display()),
                    Ok(_) | Err(_) => "`verger help check` says what a plan is".to_owned(),
                },
            })
        }
        Ok(found) if !found.is_file() && !path.to_str().is_some_and(is_given) => {
            Some("a plan is a regular file, or standard input: `-`".to_owned())
        }
        Ok(_) | Err(_) => None,
    }
}

/// Shows all complaints; says how many errors and warnings there were.
pub(crate) fn show_complaints(setting: &Setting, reading: &Reading) -> (usize, usize) {
    for complaint in &reading.complaints {
        setting.terminal.tell(&complaints::shown(complaint, &reading.sources, setting.terminal.err));
        setting.terminal.tell("");
    }
    let count = |severity| reading.complaints.iter().filter(|complaint| complaint.severity == severity).count();
    (count(Severity::Error), count(Severity::Warning))
}

/// Tells what a text asks for that verger does not do.
pub(crate) fn tell_not_applied(setting: &Setting, reading: Option<&Reading>) {
    for omitted in reading.iter().flat_map(|reading| &reading.not_applied) {
        setting.terminal.tell(&format!("{} {omitted}", setting.terminal.err.hint("Note:")));
    }
}

/// What a plan in a file comes to, for whoever runs it: a compiled one as it is, any other compiled.
pub(crate) struct Ready {
    pub(crate) image: Vec<u8>,
    /// How the plan was read; `None` when it was compiled already.
    pub(crate) reading: Option<Reading>,
}

/// Reads and compiles the plan in a file, telling what is wrong with it.
pub(crate) fn ready(setting: &Setting, path: &str, place: Where, budget: Option<Span>) -> Result<Ready, Trouble> {
    if let Some(image) = compiled(path) {
        return Ok(Ready { image, reading: None });
    }
    let (reading, _) = read(path, place, budget);
    let (errors, _) = show_complaints(setting, &reading);
    let Some(plan) = &reading.plan else {
        return Err(Trouble::new(format!("{path} has {}", words::count(errors, "error"))));
    };
    let image = verger_plan::compile(plan).map_err(|complaint| Trouble::new(complaint.to_string()))?;
    Ok(Ready { image, reading: Some(reading) })
}

/// Compiles a fragment as part of the plan that the daemon has in force; gives that plan's digest too.
pub(crate) fn added_to_the_plan_in_force(setting: &Setting, path: &str) -> Result<(Vec<u8>, u64), Trouble> {
    let base = crate::tape::plan_of_instance(setting)?;
    let plan = verger_engine::image::plan_of(&base);
    let mut reading = if path == STANDARD_INPUT {
        verger_plan::read_fragment_bytes(SHOWN_INPUT, &standard_input(), &plan, &Disk)
    } else {
        verger_plan::read_fragment(path, &plan, &Disk)
    };
    if let Some(plan) = &reading.plan {
        let found = on_this_machine(plan, &reading);
        if found.iter().any(|complaint| complaint.severity == Severity::Error) {
            reading.plan = None;
        }
        reading.complaints.extend(found);
    }
    let (errors, _) = show_complaints(setting, &reading);
    let Some(plan) = &reading.plan else {
        return Err(Trouble::new(format!("{path} has {}", words::count(errors, "error"))));
    };
    let image = verger_plan::compile(plan).map_err(|complaint| Trouble::new(complaint.to_string()))?;
    Ok((image, base.digest()))
}

/// The bytes of a file that holds a compiled plan; `None` if it holds anything else.
fn compiled(path: &str) -> Option<Vec<u8>> {
    let mut file = opened(path).ok().filter(|_| path != STANDARD_INPUT)?;
    let mut bytes = [0; MAGIC.len()];
    file.read_exact(&mut bytes).ok()?;
    let mut image = bytes.to_vec();
    (bytes == MAGIC).then_some(())?;
    file.take(verger_engine::image::IMAGE_BYTES_MAX as u64).read_to_end(&mut image).ok()?;
    Some(image)
}

/// What on this machine is not as the plan needs it.
fn on_this_machine(plan: &Plan, reading: &Reading) -> Vec<Complaint> {
    let mut machine = Machine { known: BTreeMap::new(), bundles: BTreeSet::new() };
    let mut found = Vec::new();
    let mut left_out = 0;
    let steps = unmet::commands(plan);
    for service in &plan.services {
        let missing = machine.look(service, steps.contains(service.name.as_str()));
        let missing = missing.into_iter().map(|missing| missing.complaint(service, reading));
        for complaint in missing.chain(machine.look_at_bundle(service, reading)) {
            if reading.complaints.len() + found.len() < COMPLAINTS_MAX {
                found.push(complaint);
            } else {
                left_out += 1;
            }
        }
    }
    if let Some(last) = found.last().filter(|_| left_out > 0) {
        let (message, severity) = (format!("and {left_out} more"), Severity::Warning);
        found.push(Complaint { message, severity, expected: None, hint: None, also: None, ..last.clone() });
    }
    found
}

/// What this machine has no controller for, of the limits of services: the daemon that runs the plan says it too, so this is for who
/// only checks it.
pub(crate) fn without_controllers(reading: &Reading) -> Vec<Complaint> {
    let Some(plan) = &reading.plan else { return Vec::new() };
    let limited = |service: &&Service| service.memory_max.is_some() || service.cpu_max.is_some();
    let mut services = plan.services.iter().filter(limited).filter(|it| it.program != PROBE).peekable();
    if services.peek().is_none() {
        return Vec::new();
    }
    let offered = offered();
    let mut found = Vec::new();
    for service in services {
        let name = &service.name;
        let is_held = !matches!(service.containment, ContainmentWish::Group | ContainmentWish::Shim);
        let has = |controller| is_held && offered.contains(&controller);
        let why = |word: &str| match is_held {
            true => format!("no {word} controller here"),
            false => "no cgroup holds it".to_owned(),
        };
        let mut warn = |keys, message| {
            found.push(Missing { severity: Severity::Warning, keys, message, hint: None }.complaint(service, reading));
        };
        if service.memory_max.is_some() && !has(Controller::Memory) {
            warn(&["memory_max"], format!("memory_max of {name}: {}, limited by RLIMIT_AS instead", why("memory")));
        }
        let policy = service.scheduling.map(|(policy, _)| policy);
        if let (Some(_), Some(policy @ (SchedulingPolicy::Fifo | SchedulingPolicy::RoundRobin))) =
            (service.cpu_max, policy)
        {
            warn(&["cpu_max"], format!("cpu_max of {name} has no effect: the kernel holds no `{policy}` to it"));
        } else if service.cpu_max.is_some() && !has(Controller::Cpu) {
            warn(&["cpu_max"], format!("cpu_max of {name} has no effect: {}", why("cpu")));
        }
    }
    found.truncate(COMPLAINTS_MAX.saturating_sub(reading.complaints.len()));
    found
}

/// Something that is not there.
struct Missing {
    severity: Severity,
    /// The keys that may have asked for it, the likeliest first.
    keys: &'static [&'static str],
    message: String,
    hint: Option<String>,
}

impl Missing {
    fn complaint(self, service: &Service, reading: &Reading) -> Complaint {
        let place = self.keys.iter().find_map(|key| reading.places.key(&service.name, key));
        let place = place.or_else(|| reading.places.service(&service.name));
        let sources: &Sources = &reading.sources;
        let at = place.map(|place| (place, sources.line_column(place)));
        Complaint {
            severity: self.severity,
            file: at.map_or(service.origin.file.as_str(), |(place, _)| sources.name(place.file)).to_owned(),
            span: at.map_or(0..0, |(place, _)| place.span()),
            line: at.map_or(0, |(_, at)| at.line),
            column: at.map_or(0, |(_, at)| at.column),
            message: self.message,
            expected: None,
            hint: self.hint,
            also: None,
        }
    }
}

/// Where the kernel tells of the CPUs.
const PROCESSORS: &str = "/sys/devices/system/cpu";

/// What was looked up already: ten thousand services may run the same program.
struct Machine {
    known: BTreeMap<Asked, Option<u16>>,
    /// Bundles that were looked at: what is wrong with one is said of the first service that has it.
    bundles: BTreeSet<String>,
}

/// A kind of thing, its name, and the search path if there is one: what makes an answer the same.
type Asked = (&'static str, String, Option<Vec<u8>>);

impl Machine {
    /// All that is not there for a service. `is_step`: it is a command of recovery.
    fn look(&mut self, service: &Service, is_step: bool) -> Vec<Missing> {
        let mut found = Vec::new();
        if !service.user.is_empty()
            && let Some(errno) = self.ask("user", &service.user, None, || user(&service.user))
        {
            found.push(unknown("user", &["user"], service, &service.user, errno));
        }
        let groups = service.groups.iter().flatten().map(|group| (group, &["groups"] as &'static [&'static str]));
        let group = Some((&service.group, &["group"] as &'static [&'static str]));
        for (group, keys) in group.into_iter().chain(groups).filter(|(group, _)| !group.is_empty()) {
            if let Some(errno) = self.ask("group", group, None, || self::group(group)) {
                found.push(unknown("group", keys, service, group, errno));
            }
        }
        found.extend(self.look_for_program(service, is_step));
        found.extend(self.look_for_folders(service));
        found.extend(self.look_for_modules(service));
        // Its conditions and steps run where it does.
        if !is_step && service.program != PROBE {
            found.extend(self.look_for_processors(service));
        }
        found
    }

    /// The CPUs that it is to run on. One that is there and switched off may be switched on.
    fn look_for_processors(&mut self, service: &Service) -> Option<Missing> {
        let wanted = &service.cpu_affinity;
        let is_missing = |cpu: &&u32| {
            let name = format!("{PROCESSORS}/cpu{cpu}");
            self.ask("cpu", &name, None, || (!Path::new(&name).exists()).then_some(ENOENT)).is_some()
        };
        let missing: Vec<&u32> = wanted.iter().filter(is_missing).collect();
        // Where this is not told, nothing is known.
        let there = std::fs::read_to_string(format!("{PROCESSORS}/present")).ok().filter(|_| !missing.is_empty())?;
        let void = match missing.len() == wanted.len() {
            true => "this service cannot start",
            false => "it runs on the others that are named",
        };
        Some(Missing {
            severity: Severity::Warning,
            keys: &["cpu_affinity"],
            message: match missing.as_slice() {
                [one] => format!("this machine has no CPU {one}"),
                [first, others @ ..] => {
                    format!("this machine has no CPU {first}, and {} more are not there", others.len())
                }
                [] => return None,
            },
            hint: Some(format!("this machine has CPUs {}: {void}", there.trim())),
        })
    }

    /// The security modules that its names are of. Which names they know is seen at a start only.
    fn look_for_modules(&mut self, service: &Service) -> Vec<Missing> {
        let mut found = Vec::new();
        let mut look = |given: &str, keys, module: &str, runs: fn() -> bool| {
            if given.is_empty() {
                return;
            }
            if self.ask("security module", module, None, || (!runs()).then_some(EOPNOTSUPP)).is_some() {
                let message = format!("`{given}` is a name of {module}'s, which this kernel does not run");
                let hint = Some("until it does, this service cannot start".to_owned());
                found.push(Missing { severity: Severity::Warning, keys, message, hint });
            }
        };
        let apparmor = || std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|it| it.starts_with(b"Y"));
        look(&service.apparmor_profile, &["apparmor_profile"], "AppArmor", apparmor);
        look(&service.selinux_context, &["selinux_context"], "SELinux", || {
            Path::new("/sys/fs/selinux/enforce").exists()
        });
        found
    }

    /// The working directory, and those of files that it reads or writes. (A relative path is looked up from where the daemon
    /// will be, which is not known here.)
    fn look_for_folders(&mut self, service: &Service) -> Vec<Missing> {
        let mut found = Vec::new();
        let mut look = |keys, what: &str, path: &Path, hint: &str| {
            let errno = self.ask("folder", &path.display().to_string(), None, || folder(path));
            let missing = |errno| Missing {
                severity: Severity::Warning,
                keys,
                message: format!("{what} `{}` is not there: {}", path.display(), words::errno(errno)),
                hint: Some(hint.to_owned()),
            };
            found.extend(errno.map(missing));
        };
        let own = Path::new(&service.working_directory);
        if own.is_absolute() {
            look(&["working_directory"], "the working directory", own, "until it is, this service cannot start");
        }
        for descriptor in &service.descriptors {
            let Source::File(path) = &descriptor.source else { continue };
            let keys: &[&str] = match descriptor.number {
                0 => &["stdin", "descriptors"],
                1 => &["stdout", "descriptors"],
                2 => &["stderr", "descriptors"],
                _ => &["descriptors"],
            };
            if let Some(folder) = Path::new(path).parent().filter(|folder| folder.is_absolute()) {
                let hint = match descriptor.number {
                    0 => format!("make `{path}`, with its folder: what is read from is not made where it is missing"),
                    _ => format!(
                        "`mkdir -p {}`: files are made where they are missing, folders are not",
                        folder.display()
                    ),
                };
                look(keys, &format!("the folder of `{path}`,"), folder, &hint);
            }
        }
        found
    }

    /// Its own program, or the one that a condition asks.
    fn look_for_program(&mut self, service: &Service, is_step: bool) -> Option<Missing> {
        let (program, void) = match unmet::look(service) {
            Some([kind, program, ..]) if kind == "command" => (program, "this condition is not met"),
            Some(_) => return None,
            None if !service.ready.has_program() => return None,
            None if is_step => (&service.program, "this step does nothing"),
            None if bundle_of(service).is_some() => (&BUNDLE_RUNTIME.to_owned(), NO_START),
            None => (&service.program, NO_START),
        };
        let missing = |message: String, hint: String| Missing {
            severity: Severity::Warning,
            keys: &["program", "command", "bundle"],
            message,
            hint: Some(hint),
        };
        let not_executable = || format!("`chmod +x` it; until then {}", void.split(';').next().unwrap_or(void));
        if program.contains('/') {
            let path = Path::new(&service.working_directory).join(program);
            let errno = self.ask("path", &path.display().to_string(), None, || executable(&path))?;
            return Some(match errno {
                EACCES => missing(format!("`{program}` is not executable"), not_executable()),
                errno => missing(
                    format!("`{program}` is not there: {}", words::errno(errno)),
                    format!("until it is, {void}"),
                ),
            });
        }
        let own = service.environment.iter().rev().find(|(name, _)| name == "PATH");
        let path = match own {
            Some((_, path)) => Some(path.as_bytes().to_vec()),
            None if service.inherit_environment => {
                std::env::var_os("PATH").map(std::os::unix::ffi::OsStringExt::into_vec)
            }
            None => None,
        };
        let errno = self.ask("name", program, path.clone(), || {
            resolve(program.as_bytes(), path.as_deref(), &mut [0; PATH_BYTES_MAX]).err().map(errno_of)
        })?;
        Some(match errno {
            EACCES => missing(format!("`{program}` is on PATH, and not executable"), not_executable()),
            _ => missing(format!("there is no `{program}` on PATH"), format!("until there is, {void}")),
        })
    }

    /// What keeps the bundle that it runs from being a container.
    fn look_at_bundle(&mut self, service: &Service, reading: &Reading) -> Vec<Complaint> {
        let Some(folder) = bundle_of(service).filter(|folder| self.bundles.insert((*folder).to_owned())) else {
            return Vec::new();
        };
        let file = format!("{}/config.json", folder.trim_end_matches('/'));
        let bytes = match Disk.read(&file) {
            Ok(bytes) => bytes,
            Err(why) => {
                let message = format!("the bundle has no `{file}`: {why}");
                let hint = Some(format!("until it has, {NO_START}"));
                let missing = Missing { severity: Severity::Warning, keys: &["bundle"], message, hint };
                return vec![missing.complaint(service, reading)];
            }
        };
        let place = reading.places.key(&service.name, "bundle");
        let also = place.map(|place| {
            let at = reading.sources.line_column(place);
            Also {
                file: reading.sources.name(place.file).to_owned(),
                span: place.span(),
                line: at.line,
                column: at.column,
                label: format!("service `{}` runs this bundle", service.name),
            }
        });
        let complaints = verger_plan::look_at_bundle(&file, &bytes).into_iter();
        let hint = |hint: Option<String>| hint.or_else(|| Some(format!("until it is put right, {NO_START}")));
        let placed = complaints.map(|it| Complaint {
            severity: Severity::Warning,
            also: also.clone(),
            hint: hint(it.hint.clone()),
            ..it
        });
        placed.collect()
    }

    fn ask(
        &mut self,
        kind: &'static str,
        name: &str,
        path: Option<Vec<u8>>,
        look: impl FnOnce() -> Option<u16>,
    ) -> Option<u16> {
        *self.known.entry((kind, name.to_owned(), path)).or_insert_with(look)
    }
}

/// What comes of a program that is not there.
const NO_START: &str = "this service cannot start; the others can";
const ENOENT: u16 = 2;
const EACCES: u16 = 13;
const EOPNOTSUPP: u16 = 95;
const ENOTDIR: u16 = 20;

fn errno_of(failure: StartFailure) -> u16 {
    failure.errno
}

fn user(name: &str) -> Option<u16> {
    SYSTEM.user(name.as_bytes(), &mut vec![0; BUFFER_BYTES]).err().map(errno_of)
}

fn group(name: &str) -> Option<u16> {
    SYSTEM.group(name.as_bytes(), &mut vec![0; BUFFER_BYTES]).err().map(errno_of)
}

fn folder(path: &Path) -> Option<u16> {
    match std::fs::metadata(path) {
        Err(error) => Some(error.raw_os_error().and_then(|number| u16::try_from(number).ok()).unwrap_or(ENOENT)),
        Ok(found) => (!found.is_dir()).then_some(ENOTDIR),
    }
}

fn executable(path: &Path) -> Option<u16> {
    let errno = |errno: rustix::io::Errno| u16::try_from(errno.raw_os_error()).unwrap_or(0);
    match std::fs::metadata(path) {
        Err(error) => Some(error.raw_os_error().and_then(|number| u16::try_from(number).ok()).unwrap_or(ENOENT)),
        Ok(found) if !found.is_file() => Some(EACCES),
        Ok(_) => rustix::fs::access(path, rustix::fs::Access::EXEC_OK).err().map(errno),
    }
}

fn unknown(what: &str, keys: &'static [&'static str], service: &Service, name: &str, errno: u16) -> Missing {
    let (message, hint) = match errno {
        ENOENT => (
            format!("unknown {what} `{name}` in service `{}`", service.name),
            Some(format!("make the {what}, or check with `--elsewhere` what is for another machine")),
        ),
        errno => (format!("the {what} `{name}` cannot be looked up: {}", words::errno(errno)), None),
    };
    Missing { severity: Severity::Error, keys, message, hint }
}
