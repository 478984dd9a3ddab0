//! Programs that cannot be started: only that service fails, the others run, and it is tried again when started again.

#![forbid(unsafe_code)]

use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use verger_blackbox::message::{FailureKind, Obstacle};
use verger_blackbox::{Error, Machine, PATIENCE, Phase, Process, Setup, Step};

/// `ENOENT`, `EACCES`, `ENOEXEC`, `ENOTDIR` of `errno(3)`.
const NOT_THERE: u16 = 2;
const NOT_ALLOWED: u16 = 13;
const NO_PROGRAM: u16 = 8;
const NO_FOLDER: u16 = 20;

/// A program is found, and then executed.
const PROGRAM: [Step; 2] = [Step::Program, Step::Exec];

/// `bad` as its keys say, one that requires it, and one that has nothing to do with it.
fn beside(keys: &str) -> String {
    format!(
        "[service.bad]
         {keys}
         [service.behind]
         command = 'sleep 1000'
         requires = ['bad']
         [service.other]
         command = 'sleep 1000'"
    )
}

/// `bad` cannot be started at this step with this error; the others are as they should be.
#[track_caller]
fn only_it_fails(machine: &Machine, steps: &[Step], errno: u16) {
    let bad = machine.wait("bad", Phase::Failed);
    let failure = bad.failure.expect("it says why");
    assert_eq!((failure.kind, failure.errno), (FailureKind::Start, Some(errno)));
    assert!(failure.step.is_some_and(|it| steps.contains(&it)), "{:?}", failure.step);
    assert_eq!((bad.pid, bad.last_exit), (None, None), "it never ran");
    machine.wait_ready("other");
    let behind = machine.wait("behind", Phase::Blocked);
    assert_eq!((behind.waits_for.as_deref(), behind.run), (Some("bad"), 0));
    let refused = machine.start_service("bad").expect_err("nothing is different now");
    let Error::WrongState(why) = &refused else { panic!("{refused}") };
    assert_eq!((why.cause, why.failure.as_ref().and_then(|it| it.errno)), (Obstacle::Failed, Some(errno)));
    machine.stderr().wait("verger: warning: bad: failed: ", PATIENCE);
}

#[test]
fn a_program_that_is_not_there() {
    let machine = Setup::plan(&beside("command = '@@/it'")).start();
    only_it_fails(&machine, &PROGRAM, NOT_THERE);
    machine.folder().script("it", "exec sleep 1000");
    machine.start_service("bad").expect("now it is there");
    machine.wait_ready("behind");
}

#[test]
fn a_program_that_is_nowhere_on_the_search_path() {
    only_it_fails(&Machine::start(&beside("command = 'there-is-no-such-program'")), &PROGRAM, NOT_THERE);
}

#[test]
fn a_program_that_may_not_be_executed() {
    let setup = Setup::empty();
    let path = setup.folder().script("it", "exec sleep 1000");
    let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("it is ours");
    mode(0o644);
    let machine = setup.with_plan(&beside("command = '@@/it'")).start();
    only_it_fails(&machine, &PROGRAM, NOT_ALLOWED);
    mode(0o755);
    machine.start_service("bad").expect("now it may");
    machine.wait_ready("behind");
}

#[test]
fn a_program_that_its_user_may_not_reach() {
    let setup = Setup::empty();
    setup.folder().script("it", "exec sleep 1000");
    setup.folder().open_to(0o700);
    let machine = setup.with_plan(&beside("command = '@@/it'\nuser = 'nobody'")).start();
    only_it_fails(&machine, &PROGRAM, NOT_ALLOWED);
}

#[test]
fn something_that_is_no_program() {
    let setup = Setup::empty();
    let path = setup.folder().write("it", "neither a script nor a binary\n");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("it is ours");
    only_it_fails(&setup.with_plan(&beside("command = '@@/it'")).start(), &PROGRAM, NO_PROGRAM);
}

#[test]
fn a_folder_is_no_program() {
    only_it_fails(&Machine::start(&beside("command = '/tmp'")), &PROGRAM, NOT_ALLOWED);
}

#[test]
fn a_script_whose_interpreter_is_not_there() {
    let setup = Setup::empty();
    let path = setup.folder().write("it", "#!/nowhere/sh\n");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("it is ours");
    only_it_fails(&setup.with_plan(&beside("command = '@@/it'")).start(), &PROGRAM, NOT_THERE);
}

#[test]
fn an_unknown_user_and_an_unknown_group() {
    only_it_fails(&Machine::start(&beside("command = 'true'\nuser = 'nobody-of-that-name'")), &[Step::User], NOT_THERE);
    only_it_fails(&Machine::start(&beside("command = 'true'\ngroup = 'none-of-that-name'")), &[Step::Group], NOT_THERE);
}

#[test]
fn a_working_directory_that_is_not_there_or_is_a_file() {
    let keys = "command = 'sleep 1000'\nworking_directory = '@@/there'";
    let machine = Setup::plan(&beside(keys)).start();
    only_it_fails(&machine, &[Step::WorkingDirectory], NOT_THERE);
    std::fs::create_dir(machine.folder().join("there")).expect("it is ours");
    machine.start_service("bad").expect("now it is there");
    machine.wait_ready("behind");
    let setup = Setup::empty();
    setup.folder().write("there", "");
    only_it_fails(&setup.with_plan(&beside(keys)).start(), &[Step::WorkingDirectory], NO_FOLDER);
}

#[test]
fn an_output_that_cannot_be_opened() {
    let machine = Setup::plan(&beside("command = 'sleep 1000'\nstdout = 'file:@@/no/such/folder'")).start();
    only_it_fails(&machine, &[Step::Open], NOT_THERE);
}

#[test]
fn a_program_that_goes_missing_between_two_runs() {
    let setup = Setup::empty();
    let path = setup.folder().script("it", "exec sleep 1000");
    let machine = setup.with_plan(&beside("command = '@@/it'\nrestart_delay = '0ms'")).start();
    let first = machine.wait_ready("bad");
    machine.wait_ready("behind");
    std::fs::remove_file(&path).expect("it is ours");
    Process(first.pid.expect("it runs")).signal(Signal::KILL);
    let bad = machine.wait("bad", Phase::Failed);
    assert_eq!(bad.failure.map(|it| (it.kind, it.errno)), Some((FailureKind::Start, Some(NOT_THERE))));
    assert_eq!(bad.last_exit.and_then(|it| it.signal).as_deref(), Some("SIGKILL"), "how it ended is not forgotten");
    // What runs already goes on without it.
    for name in ["behind", "other"] {
        assert_eq!(machine.show(name).phase, Phase::Running, "{name}");
    }
    machine.folder().script("it", "exec sleep 1000");
    machine.start_service("bad").expect("it is there again");
    machine.wait_ready("behind");
}
