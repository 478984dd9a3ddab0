//! From a command line to a daemon that can run: what is made once, in the order in which it must be.
//!
//! Signals are blocked before anything else can be interrupted; the folder is locked before anything of a former daemon is
//! touched; what that one left is ended before anything new is begun; the keeper is forked before the first thread.

use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use verger_engine::causes::Actor;
use verger_engine::image::{
    ContainmentWish, IMAGE_BYTES_MAX, Image, Limits, Ready as Readiness, Right, needs_another_run,
};
use verger_engine::life::{Found, FoundGroup, PhaseKind, Scope};
use verger_engine::runs::{Containment, Pid, RunId, RunRef};
use verger_engine::time::{Moment, Span};
use verger_engine::{Engine, Event};
use verger_linux::channel;
use verger_linux::contain::{self, Controller, Group, Tree, Unavailable};
use verger_linux::exec::Passed;
use verger_linux::machine::{self, Init};
use verger_linux::memory::{self, Mapping};
use verger_linux::process::PidFd;
use verger_linux::signals::{self, SignalFd, SignalSet};
use verger_linux::spawn::{Spawner, Way};
use verger_linux::{clock, process};
use verger_wire::board::{Entry, GroupRecord, Identity, Name};
use verger_wire::interface::Offer;
use verger_wire::message::{Finding, Level};
use verger_wire::place;

use crate::brains::Brains;
use crate::budget::{self, Budgets};
use crate::change;
use crate::control::Control;
use crate::daemon::{Daemon, Facts};
use crate::door::Door;
use crate::environment::Environment;
use crate::folder::{self, Folder};
use crate::holding::{self, Holding};
use crate::inheritance::{self, Inheritance};
use crate::keeper::{self, Means};
use crate::label::Kind;
use crate::leftovers::{self, Delay, Doomed, Tie, Vigil};
use crate::limits::Controllers;
use crate::log::Log;
use crate::mend::{self, Again};
use crate::notify::{NotifyFolder, Upward};
use crate::options::Options;
use crate::page::{self, Ending, Left, Page};
use crate::poll::{Poll, Token};
use crate::recording::Recording;
use crate::shim::Shim;
use crate::shims::Shims;
use crate::starter::{Ground, Starter, Worker};
use crate::trouble::{Trouble, while_doing};
use crate::world::{Known, World};

/// Room that a daemon without a plan reserves.
const EMPTY_LIMITS: Limits = Limits { services: 64, edges: 256, images: 4, commands: 64, connections: 64, groups: 8 };

/// A plan as it was given: its bytes, sealed.
struct Given {
    /// Open as long as this process lives: its next life needs it too.
    file: &'static OwnedFd,
    image: Image,
}

/// What is ready when a daemon can run.
pub(crate) struct Ready {
    pub(crate) daemon: Daemon,
    /// The calling thread as one of those who lead it.
    pub(crate) worker: Worker,
    /// It broke too often: nothing was taken up, and nothing is to be tried any more.
    pub(crate) is_hopeless: bool,
}

/// Makes everything.
///
/// # Errors
/// What keeps the daemon from beginning; nothing has been started then.
pub(crate) fn begin(options: &Options) -> Result<Ready, Trouble> {
    let init = machine::init();
    hold_standard_descriptors();
    // Before anything else is opened: these numbers mean what our former life meant.
    let (mut inheritance, list) = match options.passed_fd.map(verger_linux::inherited) {
        Some(Ok(list)) => Inheritance::passed(list).map(|(things, list)| (things, Some(list))).unwrap_or_default(),
        Some(Err(_)) | None => Default::default(),
    };
    if init == Init::OfMachine {
        machine::mount_early(|_| {});
        let _without = machine::take_control_alt_delete();
    }
    signals::block_all();
    let mut findings = Vec::new();
    let mut log = Log::new(!options.quiet);
    let mut upward = Upward::from_environment(clock::now());
    let mut delay = Delay::begin();
    let given = match take_plan(options) {
        Ok(given) => given,
        // The first process of a machine must not end: it comes up empty, and can be told what to do.
        Err(trouble) if init == Init::OfMachine => {
            log.warn(format_args!("{trouble}"));
            log.warn(format_args!("coming up without services; the control socket is open"));
            None
        }
        Err(trouble) => return Err(trouble),
    };
    let (budgets, flaw) = Budgets::new(options.budget, std::env::var_os(budget::VARIABLE), init);
    if let Some(flaw) = flaw {
        log.warn(format_args!("{flaw}; it is not heeded"));
    }
    let limits = given.as_ref().map_or(EMPTY_LIMITS, |given| with_room(given.image.limits()));
    let handles = given.as_ref().map_or(0, |given| given.image.handle_count()) + MORE_HANDLES;
    let places = holding::places(limits.services, handles);
    let passed = match list.filter(|list| list.room() == places) {
        Some(list) => list,
        None => Passed::new(places).map_err(while_doing("cannot make a memory file"))?,
    };
    let passed: &'static Passed = Box::leak(Box::new(passed));
    let folder = Folder::take(&options.instance, options.resume, &mut inheritance)?;
    let left = page::left_in(folder.as_fd()).unwrap_or_else(|why| {
        log.warn(format_args!("nothing is known of what the daemon before this one had: of its status page, {why}"));
        None
    });
    let boot_id = boot_id();
    let left = left.filter(|left| left.identity.boot_id == boot_number(&boot_id));
    let is_hopeless = options.resume && !options.in_order && mend::is_hopeless(&folder);
    let again = Again::new(options, given.as_ref().map(|given| given.file), passed);
    if options.resume && !is_hopeless {
        // What broke us may do so again at once.
        mend::prepare(&again);
    }
    if init == Init::No {
        let _old_kernel = machine::adopt_orphans();
    }
    let open_files = raise_open_files();
    let mut tie = Tie::of(folder.as_fd()).map_err(while_doing("cannot make the pipe that shims hold"))?;
    let Held { tree, controllers, way, shims, auto } =
        containment(options, init, &mut inheritance, &mut log, &mut findings)?;
    let before = left.as_ref().map_or(&[][..], |left| &left.entries);
    let is_there = |pid: Pid, started| started != 0 && folder::is_there(pid.0, Some(started));
    let survivors = match options.resume {
        true => Vec::new(),
        false => inheritance.survivors(before, is_there),
    };
    if !options.resume {
        tell_who_is_gone(&mut log, before, &survivors);
        let spared: Vec<Pid> = inheritance.shims().collect();
        let vigil = Vigil::begin(&mut log, &mut upward, &mut delay);
        end_leftovers(vigil, &tie, tree.as_ref(), before, &survivors, &spared);
    }
    tie.begin(folder.as_fd()).map_err(while_doing("cannot hold the pipe that shims hold"))?;
    let handover = match inheritance.take(Kind::Handover) {
        Some(socket) => socket,
        None => channel::listen(&folder.c_path(place::HANDOVER_SOCKET), channel::Kind::Messages, 0o600)
            .map_err(while_doing("cannot listen for the next daemon"))?,
    };
    let mut holding = Holding::new(passed, limits.services, inheritance.take_keeper());
    let keepers_room = holding::keepers_room(limits.services, handles);
    // One that broke too often tells nobody anything any more: the keeper that knows everything stays in charge.
    let [_, former] = holding.keepers();
    if init == Init::No && !(is_hopeless && former.is_some()) {
        let means = Means { tree: tree.as_ref(), lock: folder.lock(), handover: handover.as_fd(), room: keepers_room };
        match keeper::make(&means) {
            Ok(keeper) => holding.take(keeper),
            Err(errno) => note(&mut findings, "keeper", Level::Note, format!("there is no keeper: {errno}"), None),
        }
    }
    let keeper = holding.keeper().map(|keeper| keeper.pid).or(former);
    let has_keeper = keeper.is_some();
    folder.sign(keeper);
    what_holds(&mut findings, auto, has_keeper, init);

    let notify =
        NotifyFolder::make(&folder.join(place::NOTIFY_FOLDER)).map_err(while_doing("cannot make the notify folder"))?;
    let ground = Ground {
        environment: Environment::inherited(),
        tree,
        controllers,
        auto,
        shims,
        tie,
        keeper: Mutex::new(holding.keeper().map(|keeper| Arc::clone(&keeper.socket))),
        is_init: init != Init::No,
        notify_prefix: notify.prefix(),
        bundles: folder.variable(place::BUNDLES_VARIABLE, place::BUNDLES_FOLDER),
        open_files,
        way,
        null: rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(while_doing("cannot open /dev/null"))?,
        uid: rustix::process::geteuid().as_raw(),
    };
    let (starter, worker) =
        Starter::new(ground, limits.services as usize).map_err(while_doing("cannot make workers"))?;

    let poll = Poll::new().map_err(while_doing("cannot make an epoll"))?;
    let watched = SignalSet::ALL.except(SignalSet::FAULTS).without(9).without(19);
    let signal_fd = SignalFd::new(watched).map_err(while_doing("cannot watch signals"))?;
    let listener = match inheritance.take(Kind::Door) {
        // Callers who came meanwhile wait there.
        Some(listener) => listener,
        None => channel::listen(&folder.c_path(place::CONTROL_SOCKET), channel::Kind::Stream, 0o666)
            .map_err(while_doing("cannot listen at the control socket"))?,
    };
    let add = |fd: &dyn Fn() -> Result<(), Errno>| fd().map_err(while_doing("cannot watch a descriptor"));
    add(&|| poll.add(&signal_fd, Token::Signals))?;
    add(&|| poll.add(starter.wake(), Token::Started))?;
    add(&|| poll.add(&listener, Token::Caller))?;
    if let Some(keeper) = holding.keeper() {
        add(&|| poll.add(&keeper.fd, Token::Keeper))?;
        add(&|| poll.add(&keeper.socket, Token::Keeping))?;
    }

    let now = clock::now();
    let instance = Name::new(&options.instance).ok_or_else(|| Trouble::new("the instance has no name"))?;
    let identity = Identity { pid: std::process::id(), boot_id: boot_number(&boot_id), instance, started_at: now };
    let page = Page::make(folder.as_fd(), &identity, limits.services, limits.groups)
        .map_err(while_doing("cannot make the board"))?;
    let first = left.as_ref().map_or(RunId(1), |left| left.next_run);
    let mut daemon = Daemon {
        engine: Engine::new(limits, first),
        world: World::new(starter, notify, holding, inheritance, limits.services),
        control: Control::new(limits.connections, Offer { debug: options.debug }),
        heirs: Vec::new(),
        brains: Brains::default(),
        page,
        recording: Recording::new(&folder.join(place::RECORDING_FILE)),
        log,
        poll,
        signals: signal_fd,
        door: Door::over(listener),
        folder,
        handover,
        keeper_again_at: Moment::NEVER,
        again,
        candidate: None,
        last_trial: None,
        describing: Vec::new(),
        asking: None,
        next: None,
        parent: None,
        upward,
        facts: Facts {
            instance: options.instance.clone(),
            boot_id,
            started_at: now,
            uid: rustix::process::geteuid().as_raw(),
            spawn: way.to_string(),
            containment: auto,
            keepers_room,
            findings,
        },
        budgets,
        told_ready: false,
        is_blind_told: false,
        waits_told_at: Moment::NEVER,
        ended: None,
        reboots: false,
        now,
        record_again_at: Moment(0),
    };
    if let Some(number) = options.control_fd.filter(|_| !options.resume) {
        let words = format!("descriptor {number} is not a control connection");
        let caller = verger_linux::inherited(number).map_err(while_doing(&words))?;
        rustix::io::ioctl_fionbio(&caller, true).map_err(while_doing(&words))?;
        let who = Actor { uid: daemon.facts.uid, pid: std::os::unix::process::parent_id() };
        if daemon.control.add(&daemon.poll, caller, Some(Right::Configure), who, None, now) && options.end_with_caller {
            daemon.control.belongs_to_owner();
        }
    }
    let image = given.map(|given| given.image);
    // Shares the bytes.
    let told_of = image.clone();
    if let Some(image) = &image {
        daemon.lock_memory(image.lock_memory());
    }
    let ending = left.as_ref().and_then(|left| left.ending).filter(|_| options.resume);
    let before = match left {
        Some(left) if is_hopeless => {
            daemon.page.show_again(&left);
            Before::Hopeless
        }
        Some(left) if options.resume => Before::Ourselves(left),
        _ if is_hopeless => Before::Hopeless,
        None if options.resume => Before::Unknown,
        left if !survivors.is_empty() => {
            Before::Another { survivors, left: left.map_or(Vec::new(), |left| left.entries) }
        }
        _ => Before::Nobody,
    };
    let by = Actor { uid: daemon.facts.uid, pid: 0 };
    let mut begins_anew = None;
    // Runs were begun from the plan on trial, if there was one: they are found under that, and it is taken back after that.
    let left_on_trial = change::left_on_trial(&daemon.folder);
    let on_trial = left_on_trial.clone().filter(|_| matches!(before, Before::Ourselves(_)));
    let taken_back = image.clone().filter(|_| on_trial.is_some());
    match (&before, on_trial.or(image)) {
        (Before::Ourselves(left), Some(image)) => take_up(&mut daemon, image, left, &mut delay),
        (Before::Another { survivors, left }, Some(image)) => {
            succeed(&mut daemon, (image, left_on_trial), survivors, left, &mut delay);
        }
        (Before::Another { survivors, .. }, None) => end_strangers(&mut daemon, survivors, &mut delay),
        (_, image) => begins_anew = image,
    }
    daemon.tell_lost_pipes();
    if !is_hopeless {
        // Else what was passed on stays open as it is: a shim that lost its socket would end its run.
        daemon.world.has_taken_up(&daemon.engine);
    }
    put_in_charge(&mut daemon);
    daemon.pass_on();
    daemon.page.publish(daemon.folder.as_fd()).map_err(while_doing("cannot make the board"))?;
    match before {
        Before::Hopeless => {}
        Before::Ourselves(_) | Before::Another { .. } => go_on(&mut daemon, ending),
        Before::Unknown => {
            // There is nothing to tell what they are.
            end_unknown(&mut daemon, &[], &mut delay);
        }
        Before::Nobody => {}
    }
    if let Some(image) = taken_back.filter(|_| !daemon.engine.is_closing()) {
        daemon.log.warn(format_args!("this daemon broke with a change on trial: the former plan is in force again"));
        daemon.step(Event::Plan { image, scope: Scope::Back, by });
    }
    if !is_hopeless {
        let _none_is_on_trial = std::fs::remove_file(daemon.folder.join(place::TRIAL_FILE));
    }
    if let Some(image) = begins_anew.filter(|_| !is_hopeless) {
        daemon.step(Event::Plan { image, scope: Scope::Whole, by });
    }
    if !options.resume {
        mend::prepare(&daemon.again);
    }
    if let Some(parent) = options.end_with_parent {
        watch_parent(&mut daemon, Pid(parent));
    }
    // Only now, while the first starts are under way: a large plan takes its time to the disk.
    if let Some(image) = told_of {
        let _only_for_recordings = std::fs::write(daemon.folder.join(place::PLAN_FILE), image.bytes());
    }
    daemon.begin_recording();
    Ok(Ready { daemon, worker, is_hopeless })
}

/// A process that was started with 0, 1 or 2 closed must not give those numbers to something that is nobody's output.
fn hold_standard_descriptors() {
    while let Ok(fd) = rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty()) {
        if fd.as_raw_fd() > 2 {
            return;
        }
        // Held for good.
        let _number = fd.into_raw_fd();
    }
}

/// Takes the compiled plan from where the command line says.
fn take_plan(options: &Options) -> Result<Option<Given>, Trouble> {
    let file = if let Some(number) = options.image_fd {
        verger_linux::inherited(number).map_err(while_doing(&format!("descriptor {number} is not a compiled plan")))?
    } else if let Some(path) = &options.plan {
        let words = format!("cannot read {}", path.display());
        let file = std::fs::File::open(path).map_err(while_doing(&words))?;
        memory::sealed_copy(c"verger-plan", file, IMAGE_BYTES_MAX as u64).map_err(while_doing(&words))?
    } else {
        return Ok(None);
    };
    let mapping = Mapping::new(&file, IMAGE_BYTES_MAX as u64).map_err(while_doing("cannot take the compiled plan"))?;
    let image = Image::verify(Arc::new(mapping)).map_err(|error| {
        let place = options.plan.as_ref().map_or_else(String::new, |path| format!("{}: ", path.display()));
        Trouble::new(format!("{place}{error}")).hint("compile it again with `verger compile` of this version")
    })?;
    Ok(Some(Given { file: Box::leak(Box::new(file)), image }))
}

/// Some room more than the plan needs: plans grow.
fn with_room(limits: Limits) -> Limits {
    Limits {
        services: limits.services.saturating_add(16),
        edges: limits.edges.saturating_add(64),
        groups: limits.groups + 4,
        ..limits
    }
}

fn boot_id() -> String {
    process::boot_id().map_or_else(|_| String::new(), |id| String::from_utf8_lossy(&id).into_owned())
}

fn boot_number(boot_id: &str) -> u128 {
    let digits: String = boot_id.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or(0)
}

/// Ours is raised to what is allowed; gives what services are to have, which is what we had.
fn raise_open_files() -> Option<(u64, u64)> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let had = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    raised.is_ok().then_some(had)
}

fn note(findings: &mut Vec<Finding>, topic: &str, level: Level, text: impl Into<String>, hint: Option<&str>) {
    findings.push(Finding { topic: topic.into(), level, text: text.into(), hint: hint.map(str::to_owned) });
}

/// How processes are made and what can hold them.
struct Held {
    tree: Option<Tree>,
    controllers: Controllers,
    way: Way,
    shims: Shims,
    /// What holds a service that asks for nothing.
    auto: Containment,
}

/// How long somebody who is on his way out is given to let go of the tree.
const TREE_PATIENCE: Span = Span::from_secs(1);

/// The instance's cgroup tree, held against all others, or why there is none.
///
/// # Errors
/// Another daemon has it: one of the same name, with another runtime folder.
fn take_tree(
    options: &Options,
    inheritance: &mut Inheritance,
    log: &mut Log,
) -> Result<Result<Tree, Unavailable>, Trouble> {
    let until = clock::now() + TREE_PATIENCE;
    // The one that the daemon before us had is where those are that outlived it. With it comes its lock.
    let mut former =
        inheritance.take_tree().and_then(|[base, root]| Tree::of_descriptors(&options.instance, base, root).ok());
    loop {
        let is_former = former.is_some();
        let tree = match former.take().map_or_else(|| Tree::open(&options.instance), Ok) {
            Ok(tree) => tree,
            Err(why) => return Ok(Err(why)),
        };
        match tree.lock() {
            Ok(true) => return Ok(Ok(tree)),
            Ok(false) if options.resume && is_former => {
                // Its runs are ours all the same: to end now would end them.
                let path = String::from_utf8_lossy(tree.path()).into_owned();
                log.warn(format_args!("the cgroup {path} is in use by another daemon of this name too"));
                return Ok(Ok(tree));
            }
            Ok(false) if clock::now() >= until => {
                let (path, name) = (String::from_utf8_lossy(tree.path()), &options.instance);
                let words = format!(
                    "the cgroup {path} is in use by another instance `{name}`, which has another {}",
                    place::RUNTIME_DIR_VARIABLE
                );
                return Err(
                    Trouble::new(words).hint("`--instance NAME` gives this one a name, and a cgroup, of its own")
                );
            }
            Err(Errno::NOENT) if clock::now() >= until => return Ok(Err(Unavailable::Make(Errno::NOENT))),
            Ok(false) => former = is_former.then_some(tree),
            // Looked for anew: its holder has just removed it.
            Err(Errno::NOENT) => {}
            Err(Errno::ROFS) => return Ok(Err(Unavailable::ReadOnly)),
            Err(errno) => return Ok(Err(Unavailable::Make(errno))),
        }
        folder::wait_a_moment();
    }
}

/// Finds out how processes are to be made, and what can hold them: each is tried once, shims where they are needed.
///
/// # Errors
/// As [`take_tree`].
fn containment(
    options: &Options,
    init: Init,
    inheritance: &mut Inheritance,
    log: &mut Log,
    findings: &mut Vec<Finding>,
) -> Result<Held, Trouble> {
    let is_forced = std::env::var_os("VERGER_SPAWN").is_some_and(|way| way == "fork");
    let wanted = if is_forced { Way::Fork } else { Way::IntoCgroup };
    let mut spawner = Spawner::new(wanted, 4);
    let found = take_tree(options, inheritance, log)?.and_then(|tree| {
        let spawner = spawner.as_mut().map_err(|errno| Unavailable::Make(*errno))?;
        contain::probe(&tree, spawner).map(|way| (tree, way))
    });
    let (tree, way) = match found {
        Ok((tree, way)) => (Some(tree), way),
        Err(why) => {
            let delegation = "give this user a cgroup of its own (delegation), or run in a writable cgroup namespace";
            let hint = matches!(why, Unavailable::Make(_) | Unavailable::ReadOnly).then_some(delegation);
            note(findings, "cgroups", Level::Problem, why.to_string(), hint);
            (None, wanted)
        }
    };
    let text = match (is_forced, &tree) {
        (true, _) => "fork, as VERGER_SPAWN asks".to_string(),
        (false, Some(_)) => way.to_string(),
        // Nothing was tried out: there is no cgroup to start anything in.
        (false, None) => "clone3, or fork where that is refused".to_string(),
    };
    note(findings, "spawn", Level::Good, format!("processes are made with {text}"), None);
    let controllers = tree.as_ref().map(|tree| enable_controllers(tree, init, findings)).unwrap_or_default();
    let shims = Shims::new(way, tree.is_some());
    let best = match &tree {
        Some(_) => Containment::Cgroup,
        // Without cgroups they are what holds a service that asks for nothing: then it has to be known now.
        None if shims.supervise().is_some() => Containment::Shim,
        None => Containment::Group,
    };
    // For tests, and for whoever doubts one of them.
    let asked = std::env::var("VERGER_CONTAINMENT").ok();
    let auto = match asked.as_deref() {
        Some("shim") if shims.supervise().is_some() => Containment::Shim,
        Some("group") => Containment::Group,
        Some("cgroup") | None => best,
        Some(other) => {
            let text = format!("VERGER_CONTAINMENT asks for `{other}`, which is not to be had: {best} it is");
            note(findings, "containment", Level::Problem, text, None);
            best
        }
    };
    Ok(Held { tree, controllers, way, shims, auto })
}

/// Controllers tell more (an end for want of memory) and set limits. Without them everything else works.
fn enable_controllers(tree: &Tree, init: Init, findings: &mut Vec<Finding>) -> Controllers {
    let wanted = [Controller::Memory, Controller::Pids, Controller::Cpu];
    let mut busy = false;
    tree.enable(&wanted, |_, result| busy |= result == Err(Errno::BUSY));
    if busy && (init != Init::No || tree.is_alone_above()) {
        // We are what keeps them from being enabled: nobody else is above the runs.
        let _refused = tree.move_self_to_leaf();
    }
    let mut missing = Vec::new();
    let mut busy = false;
    tree.enable(&wanted, |controller, result| {
        busy |= result == Err(Errno::BUSY);
        if result.is_err() {
            missing.push(controller.word());
        }
    });
    let path = String::from_utf8_lossy(tree.path()).into_owned();
    if missing.is_empty() {
        note(findings, "cgroups", Level::Good, format!("each run has a cgroup of its own below {path}"), None);
    } else {
        let text =
            format!("each run has a cgroup of its own below {path}, without the controllers {}", missing.join(", "));
        let alone = "others sit in the daemon's cgroup: in one of its own (delegated to it) they can be had";
        note(findings, "cgroups", Level::Note, text, busy.then_some(alone));
    }
    let has = |controller: Controller| !missing.contains(&controller.word());
    Controllers { memory: has(Controller::Memory), cpu: has(Controller::Cpu) }
}

fn what_holds(findings: &mut Vec<Finding>, auto: Containment, keeper: bool, init: Init) {
    let (level, text) = match (init, auto, keeper) {
        (Init::OfMachine | Init::OfNamespace, _, _) => {
            (Level::Good, "if the daemon ends, the kernel ends everything with it")
        }
        (Init::No, Containment::Cgroup, true) => (
            Level::Good,
            "if the daemon is killed, its keeper ends every run with all it started, and holds those that survive",
        ),
        (Init::No, Containment::Shim | Containment::Pidns, true) => (
            Level::Good,
            "if the daemon is killed, the shim of each run ends it with all it started; its keeper holds those that survive",
        ),
        (Init::No, Containment::Group | Containment::None, true) => (
            Level::Problem,
            "if the daemon is killed, its keeper ends main processes and their groups, and holds those that survive; \
             what has left its group may stay",
        ),
        (Init::No, Containment::Cgroup, false) => (
            Level::Problem,
            "there is no keeper: if the daemon is killed, main processes end with it, and what they started at the next start",
        ),
        (Init::No, Containment::Shim | Containment::Pidns, false) => (
            Level::Note,
            "there is no keeper: if the daemon is killed, the shim of each run ends it with all it started, also of those \
             that are to survive",
        ),
        (Init::No, Containment::Group | Containment::None, false) => (
            Level::Problem,
            "there is no keeper: if the daemon is killed, main processes end with it; others that they started may stay",
        ),
    };
    note(findings, "when the daemon dies", level, text, None);
    let (level, text) = match auto {
        Containment::Cgroup => (Level::Good, "services are held by cgroups: nothing leaves them"),
        Containment::Shim | Containment::Pidns => {
            (Level::Good, "services are held by shims: nothing leaves them as long as nobody kills or traces the shim")
        }
        Containment::Group | Containment::None => {
            (Level::Problem, "services are held by process groups: what leaves its group is not seen")
        }
    };
    note(findings, "containment", level, text, None);
}

/// Ends what a daemon that died has left, but for what survives it, and waits until that is so: main processes and the groups of runs
/// that had nothing better, every shim, every run's cgroup. `spared` are the shims of those that survive.
fn end_leftovers(
    mut vigil: Vigil<'_>,
    tie: &Tie,
    tree: Option<&Tree>,
    left: &[Entry],
    survivors: &[Entry],
    spared: &[Pid],
) {
    let survives = |run: RunId| survivors.iter().any(|entry| entry.record.run == run);
    let ended = left.iter().filter(|entry| !survives(entry.record.run));
    let doomed: Vec<Doomed> = ended.flat_map(|entry| leftovers::end_process(&entry.record)).collect();
    // First of all: who is killed there is waited for no longer than it takes, shims in namespaces too.
    if let Some(tree) = tree {
        vigil.end_runs(tree, |run| !survives(run));
    }
    vigil.see_off(&doomed);
    vigil.see_off_shims(tie, spared);
}

/// Says which services were to outlive the daemon before us and are gone, nobody knows how: by whoever ended its keeper, as a rule.
/// They begin as the plan says.
fn tell_who_is_gone(log: &mut Log, left: &[Entry], survivors: &[Entry]) {
    let is_gone = |entry: &&Entry| {
        inheritance::was_to_live_on(&entry.record) && !survivors.iter().any(|other| other.name == entry.name)
    };
    for entry in left.iter().filter(is_gone) {
        log.tell(format_args!("{}: ended while there was no daemon", entry.name));
    }
}

/// Who was the daemon of this instance before us.
enum Before {
    /// Nobody of whom there is anything left.
    Nobody,
    /// This process, and this is what it showed.
    Ourselves(Left),
    /// This process, and nothing is known of what it had.
    Unknown,
    /// This process, which broke too often.
    Hopeless,
    /// Another process, which these runs outlived; and all that its board showed.
    Another { survivors: Vec<Entry>, left: Vec<Entry> },
}

/// Takes up what the daemon that this process was had: from what its board showed. Nothing moves yet.
fn take_up(daemon: &mut Daemon, image: Image, left: &Left, delay: &mut Delay) {
    daemon.engine.continue_from(left.next_run);
    daemon.step(Event::Plan { image, scope: Scope::Found, by: Actor::default() });
    let known = find_all(daemon, &left.entries, delay);
    find_groups(daemon, &left.groups);
    end_unknown(daemon, &known, delay);
}

/// Tells the engine where groups were: the target of that name, where there is one still.
fn find_groups(daemon: &mut Daemon, groups: &[GroupRecord]) {
    for record in groups {
        let name = record.name.as_ref().map_or("", |name| name.as_str());
        let Some(group) = daemon.engine.find_group(name) else { continue };
        let described = daemon.engine.group_description(group.slot);
        if let Some(target) = described.and_then(|group| group.find_target(record.target.as_str())) {
            let found = FoundGroup { target, phase: record.phase, since: record.since, failures: record.failures };
            daemon.step(Event::FoundGroup { group, found });
        }
    }
}

/// Tells the keeper all that was taken up, and puts it in charge: before anything is started that it would have to end.
fn put_in_charge(daemon: &mut Daemon) {
    let until = clock::now() + KEEPERS_TIME;
    while daemon.world.catch_up(&daemon.engine) && clock::now() < until {
        daemon.upward.live(clock::now());
        let Some(keeper) = daemon.world.holding.keeper() else { return };
        let moment = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let mut one = [rustix::event::PollFd::new(&keeper.socket, rustix::event::PollFlags::OUT)];
        let _later = rustix::event::poll(&mut one, Some(&moment));
    }
}

/// What a keeper that is put in charge may take to hear it all; a busy machine is given no more, and it goes on in the loop.
const KEEPERS_TIME: Span = Span::from_secs(5);

/// Takes up what outlived the daemon before us. What did not begins as the plan says, and so does what that daemon had begun from a
/// plan on trial (the second one) and this one describes otherwise. Nothing moves yet.
fn succeed(
    daemon: &mut Daemon,
    (image, on_trial): (Image, Option<Image>),
    survivors: &[Entry],
    left: &[Entry],
    delay: &mut Delay,
) {
    let by = Actor { uid: daemon.facts.uid, pid: 0 };
    let is_of_trial = |entry: &Entry| {
        let described = |image: &Image| image.find(entry.name.as_str());
        let both = on_trial.as_ref().and_then(|tried| Some((tried, described(tried)?, described(&image)?)));
        both.is_some_and(|(tried, there, here)| needs_another_run(&tried.service(there), &image.service(here)))
    };
    let (of_trial, others): (Vec<Entry>, Vec<Entry>) = survivors.iter().partition(|entry| is_of_trial(entry));
    daemon.step(Event::Plan { image, scope: Scope::Found, by });
    let (here, mut strangers): (Vec<Entry>, Vec<Entry>) =
        others.iter().partition(|entry| daemon.engine.find(entry.name.as_str()).is_some());
    // What survives has its state beyond its runs: stopped, resting or failed it is so still.
    let survives = |entry: &&Entry| {
        let service = daemon.engine.find(entry.name.as_str());
        let described = service.and_then(|service| daemon.engine.description(service.slot));
        // What somebody has said lasts until it is taken back.
        let lasts = described.is_some_and(|service| service.survive() || service.ready() == Readiness::Set);
        !entry.record.phase.is_live() && lasts
    };
    let is_here = |entry: &&Entry| !here.iter().any(|other| other.name == entry.name);
    let mut known: Vec<Entry> =
        here.iter().copied().chain(left.iter().filter(survives).filter(is_here).copied()).collect();
    known.sort_unstable_by_key(|entry| entry.slot);
    match here.len() {
        0 => {}
        1 => daemon.log.tell(format_args!("1 service outlived the daemon before this one and is taken over")),
        more => {
            daemon.log.tell(format_args!("{more} services outlived the daemon before this one, and are taken over"));
        }
    }
    let runs = find_all(daemon, &known, delay);
    let others: Vec<Found> = daemon
        .engine
        .services()
        .filter(|status| !known.iter().any(|entry| entry.name.as_str() == daemon.engine.name(status.service.slot)))
        .map(|status| {
            let name = daemon.engine.name(status.service.slot);
            let was = of_trial.iter().find(|entry| entry.name.as_str() == name).map(|entry| entry.record.asked);
            let described = daemon.engine.description(status.service.slot);
            Found::anew(status.service, was.unwrap_or(described.is_some_and(|service| service.autostart())))
        })
        .collect();
    for found in others {
        daemon.step(Event::Found(found));
    }
    strangers.extend(of_trial);
    end_strangers(daemon, &strangers, delay);
    if let Some(tree) = &daemon.world.starter.ground().tree {
        Vigil::begin(&mut daemon.log, &mut daemon.upward, delay)
            .end_runs(tree, |run| !runs.iter().any(|(id, _)| *id == run));
    }
}

/// Tells the engine and the hands what was known of services; the runs that go on, with their main processes.
fn find_all(daemon: &mut Daemon, entries: &[Entry], delay: &mut Delay) -> Vec<(RunId, Pid)> {
    // In the order of their slots, as the board has them.
    let slots: Vec<(u32, u32)> =
        entries.iter().filter_map(|entry| Some((entry.slot, daemon.engine.find(entry.name.as_str())?.slot))).collect();
    let slot_now = |then: u32| {
        let at = slots.binary_search_by_key(&then, |(slot, _)| *slot).ok()?;
        slots.get(at).map(|(_, now)| *now)
    };
    let (mut known, mut doomed, mut shims) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        let Some(service) = daemon.engine.find(entry.name.as_str()) else { continue };
        let mut found = entry.record.found(service, slot_now);
        let ready = daemon.engine.description(service.slot).map(|service| service.ready());
        let is_starting = found.phase == PhaseKind::Starting;
        let has_pipe = daemon.world.inheritance.has(Kind::Ready, found.run);
        if is_starting && matches!(ready, Some(Readiness::Fd(_))) && !has_pipe {
            // The pipe it would say it into is lost: it can never be ready.
            found.pid = None;
            doomed.extend(leftovers::end_process(&entry.record));
            shims.extend(daemon.world.inheritance.take_shim(found.run));
        }
        let pid = found.pid.filter(|_| found.phase.is_live());
        // First the hands: what the engine orders about it at once is carried out at once.
        if let Some(pid) = pid {
            let run = RunRef { service, run: found.run };
            let listens = is_starting && ready == Some(Readiness::Notify);
            let (started, containment, awaits_debugger) = (found.started, found.containment, found.awaits_debugger);
            let taken_up = Known { run, pid, started, containment, listens, awaits_debugger };
            daemon.world.found(&daemon.poll, &taken_up);
            known.push((found.run, pid));
        }
        daemon.step(Event::Found(found));
    }
    let doomed_shims: Vec<Doomed> = shims.iter().filter_map(|shim| Doomed::hold(shim.pid)).collect();
    shims.iter().for_each(Shim::end);
    let mut vigil = Vigil::begin(&mut daemon.log, &mut daemon.upward, delay);
    vigil.see_off(&doomed);
    vigil.see_off_each(&doomed_shims);
    known
}

/// Ends what outlived the daemon before us and is not what our plan has: asks first, and does not wait long. Nothing is served yet.
fn end_strangers(daemon: &mut Daemon, strangers: &[Entry], delay: &mut Delay) {
    if strangers.is_empty() {
        return;
    }
    let mut asked = Vec::new();
    for entry in strangers {
        // Another plan's service of that name is not this one.
        let flaw = match daemon.engine.find(entry.name.as_str()) {
            None => "is not in the plan",
            Some(_) => "began from a plan on trial",
        };
        let name = entry.name;
        daemon.log.warn(format_args!("{name}: outlived the daemon before this one and {flaw}: it is ended"));
        let record = &entry.record;
        let held = daemon.world.inheritance.take_of(Kind::Process, record.run).map(PidFd::from);
        let held = held.or_else(|| record.pid.and_then(|pid| PidFd::open(pid).ok()));
        let is_it = |stat: process::Stat| stat.start == record.started && record.started != 0;
        if let Some(process) = held.filter(|_| record.pid.is_some_and(|pid| process::stat(pid).is_ok_and(is_it))) {
            let _gone = process.signal(SIGTERM).and_then(|()| process.signal(SIGCONT));
            asked.push(process);
        }
    }
    Vigil::begin(&mut daemon.log, &mut daemon.upward, delay).let_end(&asked, STRANGERS_GRACE);
    let doomed: Vec<Doomed> = strangers.iter().flat_map(|entry| leftovers::end_process(&entry.record)).collect();
    let shims: Vec<Shim> =
        strangers.iter().filter_map(|entry| daemon.world.inheritance.take_shim(entry.record.run)).collect();
    let doomed_shims: Vec<Doomed> = shims.iter().filter_map(|shim| Doomed::hold(shim.pid)).collect();
    shims.iter().for_each(Shim::end);
    let mut vigil = Vigil::begin(&mut daemon.log, &mut daemon.upward, delay);
    vigil.see_off(&doomed);
    vigil.see_off_each(&doomed_shims);
    if let Some(tree) = &daemon.world.starter.ground().tree {
        vigil.end_runs(tree, |run| strangers.iter().any(|entry| entry.record.run == run));
    }
}

/// What is not in the plan any more is given so long to end by itself.
const STRANGERS_GRACE: Span = Span::from_secs(2);
const SIGKILL: u8 = 9;
const SIGTERM: u8 = 15;
const SIGCONT: u8 = 18;
/// Handles beyond those of the first plan that there is room for.
const MORE_HANDLES: u32 = 32;

/// From here on things move again.
fn go_on(daemon: &mut Daemon, ending: Option<Ending>) {
    daemon.step(Event::Resume);
    if let Some(ending) = ending {
        for patience in ending.patience(daemon.now) {
            daemon.step(Event::Shutdown { signal: 0, by: Actor::default(), patience });
        }
    }
    // What ended while nobody listened.
    daemon.world.reap(&daemon.engine, &daemon.poll);
}

/// Everything ends with whoever started us, as it did before we broke.
fn watch_parent(daemon: &mut Daemon, parent: Pid) {
    let held = PidFd::open(parent);
    // Asked for after it was opened: as long as it is our parent the number is its.
    let lives = std::os::unix::process::parent_id() == parent.0;
    match held {
        Ok(held) if lives && daemon.poll.add(&held, Token::Parent).is_ok() => daemon.parent = Some(held),
        Ok(_) | Err(_) if lives => {
            daemon.log.warn(format_args!("when whoever started this daemon ends it will not be seen"))
        }
        Ok(_) | Err(_) => daemon.end_with_caller(),
    }
}

/// A run that was being started when the daemon broke was never shown: it is ended, and started anew. What belongs to a known
/// run stays: its orphans are children of ours too. And strangers stay, where they can be told from runs.
fn end_unknown(daemon: &mut Daemon, known: &[(RunId, Pid)], delay: &mut Delay) {
    // Whose run is not known has no socket any more, and ends.
    daemon.world.inheritance.let_go_of_shims();
    // The former one too: until ours is in charge it is the one that sees to it that everything ends when we are killed.
    let keepers = daemon.world.holding.keepers();
    let tree = daemon.world.starter.ground().tree.as_ref();
    let in_cgroup = |slot| {
        let wish = daemon.engine.description(slot).map(|service| service.containment());
        wish.is_none_or(|wish| wish != ContainmentWish::Group)
    };
    // Then a run is in its own from the beginning, or it has not yet come to its program.
    let all_in_cgroups = tree.is_some() && daemon.engine.services().all(|status| in_cgroup(status.service.slot));
    let mut shims = Vec::new();
    process::each_child(|child| {
        let is_known = keepers.contains(&Some(child)) || known.iter().any(|(_, pid)| *pid == child);
        if is_known || daemon.world.belongs(&daemon.engine, child) {
            return;
        }
        let is_stranger = || all_in_cgroups && !is_of_our_program(child);
        // A shim that lost its socket ends by itself, and all it holds; killed, it would let go of that.
        // Who cannot be looked at may be one.
        if daemon.world.starter.ground().tie.is_held_by(child).unwrap_or(true) {
            shims.extend(Doomed::hold(child));
        } else if !is_stranger() {
            let _gone = process::signal(child, SIGKILL);
            let _no_group = Group(child).kill();
        }
    });
    // Whose it is cannot be said: it may be of any service that is to have its next run.
    let mut vigil = Vigil::begin(&mut daemon.log, &mut daemon.upward, delay);
    vigil.see_off_each(&shims);
    if let Some(tree) = tree {
        vigil.end_runs(tree, |run| !known.iter().any(|(id, _)| *id == run));
    }
    daemon.world.strays(shims);
}

fn is_of_our_program(pid: Pid) -> bool {
    let program = |who: &str| std::fs::read_link(format!("/proc/{who}/exe")).ok();
    program(&pid.0.to_string()) == program("self")
}
