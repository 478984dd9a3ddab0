//! Cooks a start: from a service's description to a process, on a worker's thread, in memory made once.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use verger_engine::image::{
    BUNDLE, ContainmentWish, HandleView, Hold, MEMORY_BYTES, ResourceLimit, ServiceView, Session as SessionWish,
    SourceView,
};
use verger_engine::runs::{Containment, StartFailure, Step};
use verger_linux::contain::RunName;
use verger_linux::spawn::{
    self, Arena, Blank, PATH_BYTES_MAX, PointerArray, Pointers, Recipe, Session, Spawner, WordsError,
};
use verger_linux::users::{self, SYSTEM};

use verger_wire::board::Name;

use crate::environment::{name_part, value_of};
use crate::keeper;
use crate::label::{Kind, Label};
use crate::limits;
use crate::shim::{self, Shim};
use crate::starter::{Ground, Job, Started};

/// Descriptors that one service can be given.
pub(crate) const DESCRIPTORS: usize = 64;
/// Arguments, and variables with those inherited.
const TEXTS: usize = 8192;
/// Texts that are put together for one start: `NOTIFY_SOCKET=…`, `HOME=…`.
const ARENA_BYTES: usize = 16 * 1024;
const GROUPS: usize = 256;
/// CPUs are numbered below 8192.
const CPU_WORDS: usize = 128;
/// Where a program looks for the sockets that it is told of (`SD_LISTEN_FDS_START`).
const FIRST_SOCKET: u32 = 3;
/// `RLIMIT_NOFILE`.
const OPEN_FILES: u8 = 7;
/// `ADDR_NO_RANDOMIZE`.
const FIXED_ADDRESSES: u32 = 0x0004_0000;
const SIGKILL: u8 = 9;

/// A worker's tools.
pub(crate) struct Kitchen {
    spawner: Spawner,
    argv: PointerArray,
    envp: PointerArray,
    arena: Arena,
    program: Box<[u8]>,
    path: Box<[u8]>,
    users: Box<[u8]>,
    groups: Box<[u32; GROUPS]>,
    cpus: Box<[u64; CPU_WORDS]>,
    /// Arguments that another service has written, and a NUL. Of what is never used the kernel makes no pages.
    written: Box<[u8]>,
}

/// Whom a service runs as.
struct Identity<'k> {
    uid: Option<u32>,
    gid: Option<u32>,
    groups: Option<&'k [u32]>,
    /// The [`WHO`] of its entry, as far as that has them, in the place of the daemon's; `None`: the daemon's stand.
    who: Option<[Option<&'k CStr>; 4]>,
}

/// Variables that say whom a process runs as.
const WHO: [&[u8]; 4] = [b"HOME=", b"USER=", b"LOGNAME=", b"SHELL="];

fn failure(step: Step, errno: Errno) -> StartFailure {
    StartFailure { step, errno: errno.raw_os_error() as u16 }
}

/// Too many words, or words too long, as `execve(2)` would say it.
fn too_much(_: WordsError) -> StartFailure {
    failure(Step::Exec, Errno::TOOBIG)
}

impl Kitchen {
    pub(crate) fn new(spawner: Spawner) -> Kitchen {
        Kitchen {
            spawner,
            argv: PointerArray::with_capacity(TEXTS),
            envp: PointerArray::with_capacity(TEXTS),
            arena: Arena::with_capacity(ARENA_BYTES),
            program: vec![0; PATH_BYTES_MAX].into_boxed_slice(),
            path: vec![0; PATH_BYTES_MAX].into_boxed_slice(),
            users: vec![0; users::BUFFER_BYTES].into_boxed_slice(),
            groups: Box::new([0; GROUPS]),
            cpus: Box::new([0; CPU_WORDS]),
            written: vec![0; MEMORY_BYTES + 1].into_boxed_slice(),
        }
    }

    /// Makes the process of a job. `child` is called before there can be one.
    pub(crate) fn start(&mut self, ground: &Ground, job: &Job, child: impl Fn()) -> Result<Started, StartFailure> {
        let service = job.held.image.service(job.record);
        self.arena.clear();
        let Kitchen { spawner, argv, envp, arena, program, path, users, groups, cpus, written } = self;

        let identity = identify(&service, arena, users, &mut groups[..])?;
        let mut opened: [Option<Opened>; DESCRIPTORS] = [const { None }; DESCRIPTORS];
        open_files(&service, job, &mut opened, &mut path[..])?;
        let (descriptors, count, control_number) = wire(&service, job, &opened, &ground.null)?;

        let search = service.environment().find_map(|text| value_of(without_nul(text), "PATH"));
        let search =
            search.or_else(|| if service.inherit_environment() { ground.environment.get("PATH") } else { None });
        let program = spawn::resolve(service.program().as_bytes(), search, &mut program[..])?;

        let mut arguments = argv.begin();
        for text in service.argv() {
            arguments.push_bytes(text).map_err(too_much)?;
        }
        if let Some(memory) = &job.arguments {
            let memory = memory.as_ref().map_err(|errno| failure(Step::Arguments, *errno))?;
            for text in written_arguments(memory, written).map_err(|errno| failure(Step::Arguments, errno))? {
                arguments.push_bytes(text).map_err(|_| failure(Step::Arguments, Errno::TOOBIG))?;
            }
        }
        let (variables, own_number) = variables(&service, ground, job, &identity, control_number, arena, envp)?;

        let mut recipe = Recipe::new(program, arguments.end(), variables);
        recipe.own_number = own_number;
        recipe.descriptors = &descriptors[..count];
        recipe.session = match service.session() {
            SessionWish::Own | SessionWish::Terminal => Session::Own,
            SessionWish::Group => Session::Group,
        };
        let terminal = recipe.descriptors.iter().find(|(number, _)| *number == 0).map(|(_, source)| *source);
        recipe.terminal = terminal.filter(|_| service.session() == SessionWish::Terminal);
        recipe.scheduling = service.scheduling();
        recipe.affinity = affinity(&service, &mut cpus[..]);
        recipe.nice = service.nice();
        recipe.oom_score_adjust = service.oom_score_adjust();
        let containment = containment(&service, ground.auto);
        let controllers = ground.controllers.of(containment, ground.tree.is_some());
        let (limits, limit_count) = limits(&service, ground, limits::address_space(&service, controllers));
        recipe.resource_limits = &limits[..limit_count];
        recipe.personality = (!service.randomize_addresses()).then_some(FIXED_ADDRESSES);
        recipe.umask = service.umask();
        (recipe.uid, recipe.gid, recipe.groups) = (identity.uid, identity.gid, identity.groups);
        let directory = service.working_directory_with_nul();
        recipe.working_directory = CStr::from_bytes_with_nul(directory).ok().filter(|text| !text.is_empty());
        recipe.capabilities = service.capabilities();
        recipe.apparmor_profile = Some(service.apparmor_profile().as_bytes()).filter(|it| !it.is_empty());
        recipe.selinux_context = Some(service.selinux_context().as_bytes()).filter(|it| !it.is_empty());
        recipe.no_new_privileges = service.no_new_privileges();
        recipe.hold = service.hold() == Hold::Debugger;

        let is_shim = matches!(containment, Containment::Shim | Containment::Pidns);
        if is_shim {
            // They may have to be tried out first.
            child();
        }
        // A container is in no group of ours: nothing would be left to end it by, if its crun is killed.
        let holds_nothing =
            service.program() == BUNDLE && matches!(containment, Containment::None | Containment::Group);
        if !is_there(containment, ground) || holds_nothing {
            return Err(failure(Step::Containment, Errno::OPNOTSUPP));
        }
        let supervise = if is_shim { ground.shims.supervise() } else { None };
        let connection = match supervise {
            Some(supervise) => {
                let (ours, theirs) = shim::connection().map_err(|errno| failure(Step::Shim, errno))?;
                Some((supervise, ours, theirs))
            }
            None => None,
        };
        recipe.shim = connection.as_ref().map(|(supervise, _, theirs)| spawn::Shim {
            supervise: supervise.as_fd(),
            socket: theirs.as_fd(),
            errors: rustix::stdio::stderr(),
            tie: ground.tie.end_for_a_shim(),
            namespace: if containment == Containment::Pidns { ground.shims.namespaces() } else { None }
                .map(AsFd::as_fd),
        });
        let name = RunName::new(service.name(), job.run.run);
        // A namespace is inside a cgroup too, where there is one.
        let tree = ground.tree.as_ref().filter(|_| matches!(containment, Containment::Cgroup | Containment::Pidns));
        let cgroup = tree.map(|tree| tree.make(&name)).transpose();
        let cgroup = cgroup.map_err(|errno| failure(Step::Containment, errno))?;
        recipe.cgroup = cgroup.as_ref().map(|directory| directory.as_fd());
        let set = tree.map_or(Ok(()), |tree| limits::set(tree, &name, &service, controllers));
        set.map_err(|errno| {
            let _leftover_is_found_at_the_next_start = tree.map(|tree| tree.remove(&name));
            failure(Step::Containment, errno)
        })?;
        // The last belt, where nobody else ends the run when the daemon is killed; a shim's socket hangs up then. It would hit too
        // when the daemon executes itself.
        let keeper = ground.keeper();
        let kept = ground.is_init || keeper.is_some() || connection.is_some() || service.survive();
        recipe.death_signal = (!kept).then_some(SIGKILL);
        // The keeper knows of it before its program runs: were we killed before we know of it, nobody else would.
        let begun = Label {
            survives: service.survive(),
            containment,
            run: job.run.run,
            name: Name::new(service.name()),
            ..Label::of(Kind::Process)
        };
        let begun = keeper::message(keeper::Order::Begun as u64, &begun.words());
        let announces = announces_itself(&service, ground.auto);
        recipe.announce = keeper.as_ref().filter(|_| announces).map(|socket| (socket.as_fd(), &begun[..]));

        child();
        match spawner.spawn(&recipe) {
            Ok(spawned) => {
                let shim = spawned.shim.zip(connection);
                let shim = shim.map(|(shim, (_, ours, _))| Shim::new(Some(ours), shim.pid, shim.inner));
                let uid = identity.uid.unwrap_or(ground.uid);
                let spawn::Spawned { pid, started, announced, .. } = spawned;
                Ok(Started { pid, started, containment, shim, uid, announced })
            }
            Err(error) => {
                if let Some(tree) = tree {
                    let _leftover_is_found_at_the_next_start = tree.remove(&name);
                }
                Err(error.failure)
            }
        }
    }
}

/// What is to hold the run of a service, where this holds one that asks for nothing.
pub(crate) fn containment(service: &ServiceView<'_>, auto: Containment) -> Containment {
    match service.containment() {
        ContainmentWish::Auto => auto,
        ContainmentWish::Group => Containment::Group,
        ContainmentWish::Shim => Containment::Shim,
        ContainmentWish::Cgroup => Containment::Cgroup,
        ContainmentWish::Pidns => Containment::Pidns,
    }
}

/// Whether the run of a service tells the keeper itself that it begins: where that is to know of it, and nothing else says so.
pub(crate) fn announces_itself(service: &ServiceView<'_>, auto: Containment) -> bool {
    match containment(service, auto) {
        Containment::Shim | Containment::Pidns => false,
        Containment::Cgroup => service.survive(),
        Containment::None | Containment::Group => true,
    }
}

/// Whether that is to be had: what is asked for and is not is no start.
fn is_there(containment: Containment, ground: &Ground) -> bool {
    match containment {
        Containment::None | Containment::Group => true,
        Containment::Shim => ground.shims.supervise().is_some(),
        Containment::Cgroup => ground.tree.is_some(),
        Containment::Pidns => ground.shims.namespaces().is_some(),
    }
}

/// Looks up user and groups, by name or number, in `/etc/passwd` and `/etc/group`.
fn identify<'k>(
    service: &ServiceView<'_>,
    arena: &'k Arena,
    buffer: &mut [u8],
    groups: &'k mut [u32],
) -> Result<Identity<'k>, StartFailure> {
    let mut identity = Identity { uid: None, gid: None, groups: None, who: None };
    let mut count = None;
    if !service.user().is_empty() {
        let user = SYSTEM.user(service.user().as_bytes(), buffer)?;
        let (uid, gid) = (user.uid, user.gid);
        let text = |name: &[u8], value: &[u8]| {
            if value.is_empty() { Ok(None) } else { arena.text(&[name, value]).map(Some).map_err(too_much) }
        };
        // Looking up groups writes over its name in the buffer: the arena keeps it.
        let named = text(b"USER=", user.name)?;
        // The daemon's own user may have no entry (in a container): then what was said of it stands.
        let is_ours = gid.is_none() && uid == rustix::process::geteuid().as_raw();
        if service.inherit_environment() && !is_ours {
            let [home, _, login, shell] = WHO;
            identity.who = Some([text(home, user.home)?, named, text(login, user.name)?, text(shell, user.shell)?]);
        }
        // A daemon without rights may say whom it runs as anyway; there is nothing to change then.
        if uid != rustix::process::geteuid().as_raw() || rustix::process::geteuid().is_root() {
            // A number without an entry has no group of its own: it gets the one of its number, and never keeps ours.
            let primary = gid.unwrap_or(uid);
            (identity.uid, identity.gid) = (Some(uid), Some(primary));
            let name = named.map_or(&b""[..], |text| &text.to_bytes()[b"USER=".len()..]);
            count = Some(SYSTEM.groups_of(name, primary, groups, buffer)?);
        }
    }
    if !service.group().is_empty() {
        let gid = SYSTEM.group(service.group().as_bytes(), buffer)?;
        if gid != rustix::process::getegid().as_raw() || rustix::process::geteuid().is_root() {
            identity.gid = Some(gid);
            // The daemon's own groups are nobody else's.
            count = count.or(Some(0));
        }
    }
    if let Some(given) = service.groups() {
        let mut listed = 0;
        for name in given {
            let gid = SYSTEM.group(name.as_bytes(), buffer)?;
            *groups.get_mut(listed).ok_or(failure(Step::Group, Errno::OVERFLOW))? = gid;
            listed += 1;
        }
        // A daemon without rights may ask for the groups that it has: there is nothing to change then.
        let own = rustix::process::getegid().as_raw();
        let has_own = identity.gid.is_none_or(|gid| gid == own);
        let are_ours = |listed| are_ours(&groups[..listed], Some(own).filter(|_| has_own));
        count = Some(listed).filter(|listed| rustix::process::geteuid().is_root() || !are_ours(*listed));
    }
    let groups: &'k [u32] = groups;
    identity.groups = count.map(|count| &groups[..count]);
    Ok(identity)
}

/// Whether the daemon has these supplementary groups, and no others. The one that the service gets as its own does not count: logins
/// (`initgroups`) have it among the supplementary ones, too.
fn are_ours(groups: &[u32], own: Option<u32>) -> bool {
    let Ok(ours) = rustix::process::getgroups() else { return false };
    let has = |group: u32| Some(group) == own || ours.iter().any(|our| our.as_raw() == group);
    let is_listed = |our: u32| Some(our) == own || groups.contains(&our);
    groups.iter().all(|group| has(*group)) && ours.iter().all(|our| is_listed(our.as_raw()))
}

/// The lines that a service has written to memory, each with a NUL. What was never written there is zeros.
///
/// # Errors
/// `ENODATA`: nothing was written. `EILSEQ`: a NUL, which no argument can hold. What reading gives.
fn written_arguments<'w>(
    memory: &OwnedFd,
    buffer: &'w mut [u8],
) -> Result<impl Iterator<Item = &'w [u8]> + use<'w>, Errno> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..MEMORY_BYTES).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(memory, rest, length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let text = buffer.get_mut(..=length).ok_or(Errno::OVERFLOW)?;
    text[length] = 0;
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(length);
    if text[end..].iter().any(|byte| *byte != 0) {
        return Err(Errno::ILSEQ);
    }
    text.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = 0);
    let text: &'w [u8] = text;
    let mut lines = text[..=end].split_inclusive(|byte| *byte == 0).filter(|line| line.len() > 1).peekable();
    if lines.peek().is_none() { Err(Errno::NODATA) } else { Ok(lines) }
}

/// What was opened for a descriptor: for this start alone, or for the whole plan.
enum Opened {
    File(OwnedFd),
    Handle(Arc<OwnedFd>),
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Opened::File(fd) => fd.as_fd(),
            Opened::Handle(fd) => fd.as_fd(),
        }
    }
}

/// Opens the files that sit on descriptors and looks up the handles, in the order of the descriptors.
fn open_files(
    service: &ServiceView<'_>,
    job: &Job,
    opened: &mut [Option<Opened>; DESCRIPTORS],
    path: &mut [u8],
) -> Result<(), StartFailure> {
    for ((number, source), place) in service.descriptors().zip(opened.iter_mut()) {
        let found = match source {
            SourceView::File(name) => {
                let flags = match number {
                    0 => OFlags::RDONLY,
                    _ => OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE,
                };
                open(name, flags, path).map(Opened::File)
            }
            SourceView::Handle { handle, end } => job.held.handles.get(handle, end).map(Opened::Handle),
            SourceView::Null | SourceView::Inherit | SourceView::Lines(_) => continue,
        };
        *place = Some(found.map_err(|errno| failure(Step::Open, errno))?);
    }
    Ok(())
}

/// Opens a file by a name without NUL. A FIFO is opened as it is: nobody at its other end is an error to write to, and an end
/// to read from. Waited for, a few of them would take every worker, and nothing would be started any more.
fn open(name: &str, flags: OFlags, buffer: &mut [u8]) -> Result<OwnedFd, Errno> {
    let room = buffer.get_mut(..=name.len()).ok_or(Errno::NAMETOOLONG)?;
    room[..name.len()].copy_from_slice(name.as_bytes());
    room[name.len()] = 0;
    let name = CStr::from_bytes_with_nul(room).map_err(|_| Errno::INVAL)?;
    let file = rustix::fs::open(
        name,
        flags | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::from_raw_mode(0o640),
    )?;
    // For the program it blocks, as files do.
    rustix::fs::fcntl_setfl(&file, flags & OFlags::APPEND)?;
    Ok(file)
}

type Wired<'w> = ([(u32, BorrowedFd<'w>); DESCRIPTORS], usize, Option<u32>);

/// Says what sits on which number: the plan's descriptors, the readiness pipe, the control connection (on the first number
/// that is free), and after that where a probe says what it saw. Gives also the control connection's number.
fn wire<'w>(
    service: &ServiceView<'_>,
    job: &'w Job,
    opened: &'w [Option<Opened>; DESCRIPTORS],
    null: &'w OwnedFd,
) -> Result<Wired<'w>, StartFailure> {
    let mut wired = [(0, null.as_fd()); DESCRIPTORS];
    let mut count = 0;
    let mut add = |number: u32, fd: BorrowedFd<'w>| {
        *wired.get_mut(count).ok_or(failure(Step::Descriptors, Errno::MFILE))? = (number, fd);
        count += 1;
        Ok(())
    };
    let mut highest = 2;
    for ((number, source), file) in service.descriptors().zip(opened) {
        highest = highest.max(number);
        let fd = match source {
            SourceView::Null => null.as_fd(),
            SourceView::Inherit => match number {
                0 => rustix::stdio::stdin(),
                1 => rustix::stdio::stdout(),
                2 => rustix::stdio::stderr(),
                // The daemon has nothing else that is anybody's business.
                _ => null.as_fd(),
            },
            SourceView::Lines(_) => job.lines.as_ref().ok_or(failure(Step::Open, Errno::BADF))?.as_fd(),
            SourceView::File(_) | SourceView::Handle { .. } => {
                file.as_ref().ok_or(failure(Step::Open, Errno::BADF))?.as_fd()
            }
        };
        add(number, fd)?;
    }
    if let Some((number, fd)) = &job.ready {
        highest = highest.max(*number);
        add(*number, fd.as_fd())?;
    }
    let control = job.control.as_ref().map(|_| highest + 1);
    if let (Some(number), Some(fd)) = (control, &job.control) {
        add(number, fd.as_fd())?;
    }
    // A probe finds it by what it is.
    if let Some(fd) = &job.look {
        add(highest + 1 + u32::from(control.is_some()), fd.as_fd())?;
    }
    Ok((wired, count, control))
}

/// The environment: what is inherited, less what is set anew, with who the user is; what the plan says; what we tell.
fn variables<'k>(
    service: &ServiceView<'k>,
    ground: &'k Ground,
    job: &'k Job,
    identity: &Identity<'k>,
    control: Option<u32>,
    arena: &'k Arena,
    array: &'k mut PointerArray,
) -> Result<(Pointers<'k>, Option<Blank<'k>>), StartFailure> {
    let mut filling = array.begin();
    let in_plan = |text: &[u8]| service.environment().any(|other| name_part(other) == name_part(text));
    let of_another = |text: &[u8]| identity.who.is_some() && WHO.contains(&name_part(text));
    if service.inherit_environment() {
        for text in ground.environment.iter() {
            if !in_plan(text.as_bytes()) && !of_another(text.as_bytes()) {
                filling.push(text).map_err(too_much)?;
            }
        }
    }
    for text in identity.who.into_iter().flatten().flatten() {
        if !in_plan(text.to_bytes()) {
            filling.push(text).map_err(too_much)?;
        }
    }
    for text in service.environment() {
        filling.push_bytes(text).map_err(too_much)?;
    }
    let mut digits = [0; 20];
    if job.notify {
        let run = decimal(job.run.run.0, &mut digits);
        filling.push(arena.text(&[&ground.notify_prefix, run]).map_err(too_much)?).map_err(too_much)?;
    }
    if service.program() == BUNDLE {
        filling.push(&ground.bundles).map_err(too_much)?;
    }
    if let Some(number) = control {
        let number = decimal(number.into(), &mut digits);
        filling.push(arena.text(&[b"VERGER_CONTROL=", number]).map_err(too_much)?).map_err(too_much)?;
    }
    let mut own_number = None;
    let (names, count) = sockets(service, job);
    if count > 0 {
        // What the plan says of them itself holds.
        if !in_plan(b"LISTEN_FDS=") {
            let number = decimal(count as u64, &mut digits);
            filling.push(arena.text(&[b"LISTEN_FDS=", number]).map_err(too_much)?).map_err(too_much)?;
        }
        if !in_plan(b"LISTEN_FDNAMES=") {
            filling.push(arena.text(&names[..2 * count]).map_err(too_much)?).map_err(too_much)?;
        }
        if !in_plan(b"LISTEN_PID=") {
            let blank = arena.blank(b"LISTEN_PID=").map_err(too_much)?;
            filling.push_blank(blank).map_err(too_much)?;
            own_number = Some(blank);
        }
    }
    Ok((filling.end(), own_number))
}

/// The sockets that listen on the numbers from 3 on without a gap, as `LISTEN_FDNAMES` has them, and how many there are. Those
/// elsewhere the program has to know of.
fn sockets<'j>(service: &ServiceView<'_>, job: &'j Job) -> ([&'j [u8]; 2 * DESCRIPTORS], usize) {
    let mut names: [&[u8]; 2 * DESCRIPTORS] = [b":"; 2 * DESCRIPTORS];
    names[0] = b"LISTEN_FDNAMES=";
    let mut count = 0;
    for (number, source) in service.descriptors().skip_while(|(number, _)| *number < FIRST_SOCKET) {
        let SourceView::Handle { handle, .. } = source else { break };
        let (name, HandleView::Listen(_)) = job.held.image.handle(handle) else { break };
        let Some(place) = names.get_mut(2 * count + 1).filter(|_| number == FIRST_SOCKET + count as u32) else { break };
        *place = name.as_bytes();
        count += 1;
    }
    (names, count)
}

fn affinity<'k>(service: &ServiceView<'_>, words: &'k mut [u64]) -> &'k [u64] {
    words.fill(0);
    let mut used = 0;
    for cpu in service.cpu_affinity() {
        let at = cpu as usize / 64;
        if let Some(word) = words.get_mut(at) {
            *word |= 1 << (cpu % 64);
            used = used.max(at + 1);
        }
    }
    &words[..used]
}

/// The plan's limits, and the daemon's own first limit of open files where the plan says nothing: ours was raised. `space` goes over
/// the plan's limit of address space.
fn limits(service: &ServiceView<'_>, ground: &Ground, space: Option<ResourceLimit>) -> ([ResourceLimit; 18], usize) {
    let mut limits = [ResourceLimit { resource: 0, soft: 0, hard: 0 }; 18];
    let mut count = 0;
    let planned = service.resource_limits().take(16);
    let planned = planned.filter(|limit| space.is_none() || limit.resource != limits::ADDRESS_SPACE);
    let own = ground.open_files.filter(|_| !service.resource_limits().any(|limit| limit.resource == OPEN_FILES));
    let own = own.map(|(soft, hard)| ResourceLimit { resource: OPEN_FILES, soft, hard });
    for (place, limit) in limits.iter_mut().zip(planned.chain(own).chain(space)) {
        *place = limit;
        count += 1;
    }
    (limits, count)
}

/// A number in digits, without allocating.
pub(crate) fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &digits[at..];
        }
    }
}

fn without_nul(text: &[u8]) -> &[u8] {
    text.strip_suffix(&[0]).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifo_that_nobody_reads_takes_no_worker() {
        let name = std::env::temp_dir().join(format!("verger-fifo-{}", std::process::id()));
        let path = name.to_str().unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::from_raw_mode(0o600)).unwrap();
        let to_write = open(path, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE, &mut [0; PATH_BYTES_MAX]);
        let to_read = open(path, OFlags::RDONLY, &mut [0; PATH_BYTES_MAX]);
        std::fs::remove_file(&name).unwrap();
        assert_eq!(to_write.unwrap_err(), Errno::NXIO);
        assert!(!rustix::fs::fcntl_getfl(to_read.unwrap()).unwrap().contains(OFlags::NONBLOCK));
    }

    #[test]
    fn lines_that_were_written_are_arguments() {
        let mut buffer = vec![0; MEMORY_BYTES + 1];
        let mut read = |text: &[u8]| {
            let memory = verger_linux::memory::bounded(c"test", MEMORY_BYTES as u64).unwrap();
            rustix::io::write(&memory, text).unwrap();
            written_arguments(&memory, &mut buffer).map(|lines| lines.map(<[u8]>::to_vec).collect::<Vec<_>>())
        };
        let lines = |lines: &[&str]| Ok(lines.iter().map(|line| format!("{line}\0").into_bytes()).collect());
        assert_eq!(read(b"--speed 5\n\n-x\n"), lines(&["--speed 5", "-x"]));
        assert_eq!(read(b"no end"), lines(&["no end"]));
        assert_eq!(read(&[b'a'; MEMORY_BYTES]), lines(&["a".repeat(MEMORY_BYTES).as_str()]));
        assert_eq!((read(b""), read(b"\n\n")), (Err(Errno::NODATA), Err(Errno::NODATA)));
        assert_eq!(read(b"a\0b\n"), Err(Errno::ILSEQ));
        // It takes so much and no more, and nobody makes it larger.
        let memory = verger_linux::memory::bounded(c"test", 8).unwrap();
        assert_eq!(rustix::io::write(&memory, b"12345678"), Ok(8));
        assert_eq!(rustix::io::write(&memory, b"9"), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&memory, 9), Err(Errno::PERM));
    }

    #[test]
    fn numbers_in_digits() {
        let mut digits = [0; 20];
        for value in [0, 7, 10, 1234, u64::MAX] {
            assert_eq!(decimal(value, &mut digits), value.to_string().as_bytes());
        }
    }
}
