//! `unlinkwait PATH`: sleeps until the last name of a file is gone. And the recipe that ties a tree to a file.

#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use verger_blackbox::{KILLED, Kin, Output, PATIENCE, Process, eventually, program};

/// One that waits, or has refused to.
struct Waiting {
    child: Child,
    stderr: Output,
}

impl Waiting {
    fn on(kin: &Kin, words: &[&Path]) -> Waiting {
        let mut child = kin.command(program("unlinkwait"));
        child.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = child.spawn().expect("it can be started");
        let stderr = Output::of(child.stderr.take().expect("it was asked for"));
        Waiting { child, stderr }
    }

    /// Waits until it sleeps on what it watches, or has ended.
    fn settled(self) -> Waiting {
        let process = Process(self.child.id());
        eventually("it waits", PATIENCE, || {
            let watches =
                || process.descriptors().values().any(|it| it.contains("inotify")) && process.state() == Some('S');
            (!process.lives() || (process.try_file("comm")?.trim() == "unlinkwait" && watches())).then_some(())
        });
        self
    }

    fn ends_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let pidfd = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).expect("it is ours");
        let limit = Timespec {
            tv_sec: patience.as_secs().try_into().expect("it is short"),
            tv_nsec: patience.subsec_nanos().into(),
        };
        let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)).expect("it can be waited for") > 0;
        ended.then(|| self.child.wait().expect("it is ours"))
    }

    #[track_caller]
    fn ends_with(&mut self, code: i32) {
        let status = self.ends_within(PATIENCE).expect("it ends");
        assert!(self.stderr.closed_within(PATIENCE));
        assert_eq!(status.code(), Some(code), "{}", self.stderr.text());
        assert_eq!(self.stderr.text().is_empty(), code == 0, "{}", self.stderr.text());
    }

    #[track_caller]
    fn waits_on(&mut self) {
        assert_eq!(self.ends_within(Duration::from_millis(200)), None, "{}", self.stderr.text());
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _has_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn names_come_and_go_and_the_last_one_ends_it() {
    let kin = Kin::new();
    let at = |name: &str| kin.folder().join(name);
    kin.folder().write("file", "text");
    let mut waiting = Waiting::on(&kin, &[&at("file")]).settled();
    fs::hard_link(at("file"), at("second")).expect("it is ours");
    waiting.waits_on();
    fs::remove_file(at("file")).expect("it is ours");
    waiting.waits_on();
    fs::rename(at("second"), at("third")).expect("it is ours");
    waiting.waits_on();
    fs::set_permissions(at("third"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("it is ours");
    fs::write(at("third"), "other text").expect("it is ours");
    waiting.waits_on();
    fs::remove_file(at("third")).expect("it is ours");
    waiting.ends_with(0);
}

#[test]
fn a_file_that_takes_its_place_ends_it() {
    let kin = Kin::new();
    let (file, other) = (kin.folder().write("file", ""), kin.folder().write("other", ""));
    let mut waiting = Waiting::on(&kin, &[&file]).settled();
    fs::rename(other, file).expect("it is ours");
    waiting.ends_with(0);
}

#[test]
fn a_link_stands_for_what_it_leads_to() {
    let kin = Kin::new();
    let (file, link) = (kin.folder().write("file", ""), kin.folder().join("link"));
    std::os::unix::fs::symlink(&file, &link).expect("it is ours");
    let mut waiting = Waiting::on(&kin, &[&link]).settled();
    fs::remove_file(&link).expect("it is ours");
    waiting.waits_on();
    fs::remove_file(&file).expect("it is ours");
    waiting.ends_with(0);
}

#[test]
fn a_file_that_is_gone_already() {
    let kin = Kin::new();
    let file = kin.folder().write("file", "");
    let mut gone = kin.command("sh");
    gone.args(["-c", "exec 3<\"$0\"; rm \"$0\"; exec unlinkwait /proc/self/fd/3"]).arg(&file).stderr(Stdio::piped());
    let output = gone.output().expect("it can be started");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn many_changes_at_once_hide_the_last_one_from_nobody() {
    let kin = Kin::new();
    for round in 0..50 {
        let name = |at: u32| kin.folder().join(&format!("{round}.{at}"));
        fs::write(name(0), "").expect("it is ours");
        let mut waiting = Waiting::on(&kin, &[&name(0)]);
        if round % 2 == 0 {
            waiting = waiting.settled();
        } else {
            // Somewhere in its start; before that it would find nothing.
            eventually("it has opened it", PATIENCE, || {
                let process = Process(waiting.child.id());
                let open = || process.descriptors().values().any(|it| it.ends_with(&format!("/{round}.0")));
                (!process.lives() || open()).then_some(())
            });
        }
        (1..40).for_each(|at| fs::hard_link(name(0), name(at)).expect("it is ours"));
        (0..40).for_each(|at| fs::remove_file(name(at)).expect("it is ours"));
        waiting.ends_with(0);
    }
}

#[test]
fn what_cannot_be_waited_for_is_refused() {
    let kin = Kin::new();
    let file = kin.folder().write("file", "");
    for words in [&[kin.folder().join("missing").as_path()][..], &[&file.join("below")], &[Path::new("")]] {
        Waiting::on(&kin, words).ends_with(1);
    }
    for words in [&[][..], &[file.as_path(), file.as_path()]] {
        let mut waiting = Waiting::on(&kin, words);
        waiting.ends_with(1);
        assert!(waiting.stderr.text().to_lowercase().contains("usage"), "{}", waiting.stderr.text());
    }
}

#[test]
fn a_name_that_looks_like_an_option_is_a_name_all_the_same() {
    let kin = Kin::new();
    let file = kin.folder().write("-x", "");
    let mut command = kin.command("sh");
    command.args(["-c", "cd \"$0\" && exec unlinkwait ./-x"]).arg(kin.folder().path()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    let stderr = Output::of(child.stderr.take().expect("it was asked for"));
    let mut waiting = Waiting { child, stderr }.settled();
    fs::remove_file(file).expect("it is ours");
    waiting.ends_with(0);
}

#[test]
fn a_fifo_that_nobody_writes_to() {
    let kin = Kin::new();
    let path = kin.folder().fifo("fifo");
    let mut waiting = Waiting::on(&kin, &[&path]).settled();
    waiting.waits_on();
    fs::remove_file(path).expect("it is ours");
    waiting.ends_with(0);
}

#[test]
fn it_holds_no_reading_end_of_a_fifo() {
    let kin = Kin::new();
    let path = kin.folder().fifo("fifo");
    let mut holder = kin.command("sh");
    holder.args(["-c", "exec unlinkwait /proc/self/fd/3 3<>\"$0\""]).arg(&path).stderr(Stdio::piped());
    // Opened for both here, so that the shell need not wait; then the shell's own end is the only one.
    let mut child = holder.spawn().expect("it can be started");
    let stderr = Output::of(child.stderr.take().expect("it was asked for"));
    let mut waiting = Waiting { child, stderr }.settled();
    let process = Process(waiting.child.id());
    let ends = process.descriptors().into_iter().filter(|(_, to)| to.ends_with("/fifo"));
    let numbers: Vec<u32> = ends.map(|(number, _)| number).collect();
    // O_PATH: no end of it at all.
    let is_path = |number: &u32| {
        let text = process.file(&format!("fdinfo/{number}"));
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:\t")).expect("it is shown");
        u32::from_str_radix(flags, 8).expect("it is octal") & 0o10_000_000 != 0
    };
    assert_eq!(numbers.iter().filter(|number| !is_path(number)).collect::<Vec<_>>(), [&3], "{numbers:?}");
    fs::remove_file(path).expect("it is ours");
    waiting.ends_with(0);
}

#[test]
fn a_sockets_path() {
    let kin = Kin::new();
    let path = kin.folder().join("socket");
    let _listener = UnixListener::bind(&path).expect("it can be made");
    let mut waiting = Waiting::on(&kin, &[&path]).settled();
    waiting.waits_on();
    fs::remove_file(path).expect("it is ours");
    waiting.ends_with(0);
}

#[test]
fn a_folder() {
    let kin = Kin::new();
    let path = kin.folder().join("folder");
    fs::create_dir(&path).expect("it is ours");
    let mut waiting = Waiting::on(&kin, &[&path]).settled();
    fs::write(path.join("in"), "").expect("it is ours");
    fs::remove_file(path.join("in")).expect("it is ours");
    waiting.waits_on();
    fs::remove_dir(path).expect("it is ours");
    waiting.ends_with(0);
}

#[test]
fn at_rest_it_takes_no_time_and_keeps_what_it_inherited() {
    let kin = Kin::new();
    let file = kin.folder().write("file", "");
    let mut holder = kin.command("sh");
    holder.args(["-c", "exec unlinkwait \"$0\" 7</dev/zero"]).arg(&file).stderr(Stdio::piped());
    let mut child = holder.spawn().expect("it can be started");
    let stderr = Output::of(child.stderr.take().expect("it was asked for"));
    let mut waiting = Waiting { child, stderr }.settled();
    let process = Process(waiting.child.id());
    assert_eq!(process.descriptors()[&7], "/dev/zero");
    process.assert_rests(Duration::from_secs(2), "unlinkwait");
    fs::remove_file(file).expect("it is ours");
    waiting.ends_with(0);
}

// ---- the recipe ----

/// A tree that lives as long as a fifo has a name or a writer, as the manual has it; what it says goes to `status.log`.
fn recipe(kin: &Kin, command: &str) -> Process {
    let script = format!(
        "cd '{}'; mkfifo fifo\nunlinkwait /proc/self/fd/3 3>fifo &\nsupervise 3 3<fifo 4 4>status.log {command} & echo $!",
        kin.folder().path().display()
    );
    let mut shell = kin.command("sh");
    let mut shell = shell.args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("it can be started");
    let said = Output::of(shell.stdout.take().expect("it was asked for"));
    let pid = said.wait("\n", PATIENCE);
    shell.wait().expect("it is ours");
    eventually("it has started the command", PATIENCE, || kin.folder().read("status.log").contains('\n').then_some(()));
    Process(pid.trim().parse().expect("it is a number"))
}

/// Says a command as a person does.
fn say(kin: &Kin, name: &str, line: &str) {
    fs::write(kin.folder().join(name), line).expect("somebody reads it");
}

#[test]
fn a_tree_lives_as_long_as_its_file_has_a_name() {
    let kin = Kin::new();
    let at = |name: &str| kin.folder().join(name);
    let probe = verger_blackbox::aside("verger-probe").display().to_string();
    let supervise = recipe(&kin, &format!("{probe} signals {}", at("signals").display()));
    let heard = |line: &str| {
        eventually("it was heard", PATIENCE, || {
            kin.folder().read("signals").lines().any(|it| it == line).then_some(())
        });
    };
    heard("ready");
    say(&kin, "fifo", "signal 10\n");
    heard("10");
    fs::rename(at("fifo"), at("renamed")).expect("it is ours");
    fs::hard_link(at("renamed"), at("linked")).expect("it is ours");
    fs::remove_file(at("renamed")).expect("it is ours");
    say(&kin, "linked", "signal 12\n");
    heard("12");
    assert!(supervise.lives());
    fs::remove_file(at("linked")).expect("it is ours");
    eventually("all are dead", PATIENCE, || kin.living().is_empty().then_some(()));
    let log = kin.folder().read("status.log");
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].starts_with("pid "), "{log}");
    assert_eq!(lines[1..], KILLED);
}

#[test]
fn two_who_write_in_quick_succession_are_both_heard() {
    let kin = Kin::new();
    let probe = verger_blackbox::aside("verger-probe").display().to_string();
    recipe(&kin, &format!("{probe} signals {}", kin.folder().join("signals").display()));
    eventually("it is ready", PATIENCE, || kin.folder().read("signals").contains("ready").then_some(()));
    for _ in 0..100 {
        say(&kin, "fifo", "signal 40\n");
    }
    say(&kin, "fifo", "signal 42\n");
    eventually("all were heard", PATIENCE, || kin.folder().read("signals").contains("\n42\n").then_some(()));
    assert_eq!(kin.folder().read("signals").lines().filter(|it| *it == "40").count(), 100);
    fs::remove_file(kin.folder().join("fifo")).expect("it is ours");
    eventually("all are dead", PATIENCE, || kin.living().is_empty().then_some(()));
}

#[test]
fn a_writer_keeps_the_tree_when_the_name_is_gone() {
    let kin = Kin::new();
    let path = kin.folder().join("fifo");
    recipe(&kin, "sleep 1000");
    let writer = fs::File::options().write(true).open(&path).expect("somebody reads it");
    fs::remove_file(&path).expect("it is ours");
    eventually("nobody waits for the file any more", PATIENCE, || (kin.living().len() == 2).then_some(()));
    rustix::io::write(&writer, b"signal 18\n").expect("it is read");
    assert_eq!(kin.living().len(), 2);
    drop(writer);
    eventually("all are dead", PATIENCE, || kin.living().is_empty().then_some(()));
    assert_eq!(kin.folder().read("status.log").lines().skip(1).collect::<Vec<_>>(), KILLED);
}
