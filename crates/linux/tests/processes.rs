//! Reaping, signals by descriptor, other people's processes, becoming another program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod shared;

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Stdio;

use rustix::event::PollFlags;
use shared::{WAYS, alone, alone_in_way, companion, null, pipe, require_root, run_by, start_by, wait_for};
use verger_engine::runs::{Ended, Pid};
use verger_linux::exec::{Image, Replacement};
use verger_linux::process::PidFd;
use verger_linux::seccomp::{Instead, forbid};
use verger_linux::signals::{Disposition, SignalSet};
use verger_linux::spawn::{Others, PointerArray, Spawner, Way};
use verger_linux::{Errno, machine, memory, process, reap, signals};

#[test]
fn every_end_is_told_as_it_was() {
    require_root();
    let mut spawner = Spawner::new(Way::IntoCgroup, 4).unwrap();
    for (script, ended) in [
        ("exit 0", Ended::Exited(0)),
        ("exit 3", Ended::Exited(3)),
        ("exit 255", Ended::Exited(255)),
        ("kill -TERM $$", Ended::Signaled { signal: 15, core: false }),
        ("kill -64 $$", Ended::Signaled { signal: 64, core: false }),
    ] {
        let (_, exit) = run_by(&mut spawner, &["/bin/sh", "-c", script], |_| {}).unwrap();
        assert_eq!(exit.ended, ended, "{script}");
        assert!(!exit.oom);
    }
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let null = null();
    let spawned = start_by(&mut spawner, &["/bin/sh", "-c", busy], null.as_fd(), |_| {}).unwrap();
    reap::wait_until_dead(spawned.pid);
    let usage = reap::take(spawned.pid).unwrap().unwrap().usage;
    assert!(usage.user_us + usage.system_us > 1000 && usage.resident_max_kib > 0, "{usage:?}");
}

#[test]
fn a_look_reaps_nothing_and_taking_reaps_once() {
    alone("a_look_reaps_nothing_and_taking_reaps_once", || {
        assert_eq!(reap::peek(), None);
        assert_eq!(reap::take(Pid(std::process::id())), Err(Errno::CHILD));
        assert_eq!(reap::take(Pid(0)), Err(Errno::CHILD));
        let (mut words, output) = pipe();
        let mut spawner = Spawner::new(Way::IntoCgroup, 4).unwrap();
        let arguments = ["/bin/sh", "-c", "echo; read x"];
        let (read, write) = pipe();
        let descriptors = [(0, read.as_fd()), (1, output.as_fd())];
        let child =
            start_by(&mut spawner, &arguments, output.as_fd(), |recipe| recipe.descriptors = &descriptors).unwrap().pid;
        words.read_exact(&mut [0]).unwrap();
        assert_eq!((reap::peek(), reap::take(child)), (None, Ok(None)), "it lives");
        assert!(reap::is_ours(child) && !reap::is_ours(Pid(std::process::id())) && !reap::is_ours(Pid(0)));
        assert_eq!(process::signal(child, 0), Ok(()));
        let held = PidFd::open(child).unwrap();
        drop(write);
        reap::wait_until_dead(child);
        reap::wait_until_dead(Pid(std::process::id()));
        assert!(reap::is_ours(child), "dead, and not reaped");
        for _ in 0..3 {
            assert_eq!(reap::peek(), Some(child));
        }
        assert_eq!(reap::take(child).unwrap().unwrap().exit.ended, Ended::Exited(1));
        assert_eq!((reap::peek(), reap::take(child)), (None, Err(Errno::CHILD)));
        assert!(!reap::is_ours(child));
        assert_eq!(held.signal(9), Err(Errno::SRCH), "a number may be somebody else's by now, a descriptor never");
    });
}

#[test]
fn an_orphan_is_seen_and_reaped_by_whoever_adopted_it() {
    alone("an_orphan_is_seen_and_reaped_by_whoever_adopted_it", || {
        machine::adopt_orphans().unwrap();
        let mut spawner = Spawner::new(Way::IntoCgroup, 4).unwrap();
        let script = "setsid sh -c 'echo $$; exit 9' & exit 0";
        let (text, exit) = run_by(&mut spawner, &["/bin/sh", "-c", script], |_| {}).unwrap();
        assert!(exit.is_success());
        let orphan = Pid(text.trim().parse().unwrap());
        let exit = reap::wait_pid(orphan).unwrap();
        assert_eq!(exit.ended, Ended::Exited(9));
    });
}

#[test]
fn only_real_signals_have_dispositions() {
    for impossible in [9, 19, 0, 65] {
        assert_eq!(signals::set_disposition(impossible, Disposition::Ignored), Err(Errno::INVAL));
    }
}

#[test]
fn signals_are_noted_as_they_were_before_main() {
    if shared::plays("tells its start") {
        return tell_the_start();
    }
    require_root();
    let mut environment = PointerArray::with_capacity(1);
    let mut filling = environment.begin();
    filling.push(c"VERGER_TEST_COMPANION=tells its start").unwrap();
    let environment = filling.end();
    // As `nohup` or a shell's trap leave them; Rust's runtime adds SIGPIPE later.
    for way in WAYS {
        let (text, exit) = run_by(
            &mut Spawner::new(way, 4).unwrap(),
            &["/proc/self/exe", "signals_are_noted_as_they_were_before_main", "--exact", "--nocapture"],
            |recipe| {
                recipe.envp = environment;
                recipe.ignored_signals = SignalSet::NONE.with(1).with(2);
                recipe.blocked_signals = SignalSet::NONE.with(15);
            },
        )
        .unwrap();
        assert!(exit.is_success(), "{text}");
        assert!(text.contains("ignored 3 blocked 4000 pipe false"), "{way}: {text}");
    }
}

fn tell_the_start() {
    let start = signals::at_start();
    let pipe = start.ignored.contains(13);
    println!("ignored {:x} blocked {:x} pipe {pipe}", start.ignored.bits(), start.blocked.bits());
}

/// A child of a child of ours, which ends when told to; its parent is one that does not wait for it.
struct Grandchild {
    pid: Pid,
    parent: Pid,
    end: std::fs::File,
    end_of_parent: std::fs::File,
    /// Read no more, but kept: a parent that finds nobody to write to may end by itself.
    _words: std::fs::File,
}

fn grandchild(spawner: &mut Spawner, end: &str) -> Grandchild {
    let (mut words, output) = pipe();
    let (parent_reads, end_of_parent) = pipe();
    let (child_reads, ending) = pipe();
    let script = format!("sh -c 'read x <&4; {end}' & echo $!; exec cat");
    let descriptors = [(0, parent_reads.as_fd()), (1, output.as_fd()), (4, child_reads.as_fd())];
    let arguments = ["/bin/sh", "-c", &script];
    let parent = start_by(spawner, &arguments, output.as_fd(), |recipe| recipe.descriptors = &descriptors).unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"\n") {
        let mut byte = [0];
        words.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    // The shell itself might wait for it: not before it is another program may it end.
    while process::stat(parent.pid).unwrap().comm() != b"cat" {
        std::thread::yield_now();
    }
    let pid = Pid(std::str::from_utf8(&text).unwrap().trim().parse().unwrap());
    Grandchild { pid, parent: parent.pid, end: ending.into(), end_of_parent: end_of_parent.into(), _words: words }
}

#[test]
fn how_a_stranger_ended() {
    alone("how_a_stranger_ended", || {
        machine::adopt_orphans().unwrap();
        let mut spawner = Spawner::new(Way::IntoCgroup, 4).unwrap();
        for (end, ended) in
            [("exit 37", Ended::Exited(37)), ("kill -11 $$", Ended::Signaled { signal: 11, core: false })]
        {
            let Grandchild { pid, parent, end, end_of_parent, _words } = grandchild(&mut spawner, end);
            let held = PidFd::open(pid).unwrap();
            assert_eq!(process::zombie_end(pid), None);
            drop(end);
            wait_for(&held, PollFlags::IN);
            // Its parent has not waited for it: a zombie, of which we as root may know.
            assert_eq!(reap::take(pid), Err(Errno::CHILD));
            assert_eq!(process::zombie_end(pid), Some(ended));
            assert_eq!(held.end(), None);
            drop(end_of_parent);
            reap::wait_pid(parent).unwrap();
            assert_eq!(reap::wait_pid(pid).unwrap().ended, ended);
            // From Linux 6.15 on the descriptor still knows, whoever reaped it.
            if held.end().is_some() {
                assert_eq!(held.end(), Some(ended));
                wait_for(&held, PollFlags::HUP);
            }
            assert_eq!(process::zombie_end(pid), None);
        }
    });
    assert_eq!(PidFd::open(Pid(0)).err(), Some(Errno::SRCH));
    assert_eq!(PidFd::open(Pid(u32::MAX)).err(), Some(Errno::SRCH));
    assert_eq!(process::zombie_end(Pid(std::process::id())), None);
}

#[test]
fn what_a_process_is_doing() {
    require_root();
    let mut spawner = Spawner::new(Way::IntoCgroup, 4).unwrap();
    let (mut words, output) = pipe();
    let (read, write) = pipe();
    let descriptors = [(0, read.as_fd()), (1, output.as_fd())];
    let arguments = ["/bin/cat", "-u", "-"];
    let child =
        start_by(&mut spawner, &arguments, output.as_fd(), |recipe| recipe.descriptors = &descriptors).unwrap().pid;
    let mut tell = std::fs::File::from(write);
    tell.write_all(b"x").unwrap();
    words.read_exact(&mut [0]).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(process::command_line(child, &mut buffer), Ok(&b"/bin/cat\0-u\0-\0"[..]));
    assert_eq!(process::command_line(child, &mut [0; 4]), Ok(&b"/bin"[..]));
    assert_eq!(process::stat(child).unwrap().comm(), b"cat");
    assert!(process::has_executed(child));
    while process::stat(child).unwrap().state != b'S' {
        std::thread::yield_now();
    }
    assert!(!process::wait_channel(child, &mut buffer).unwrap().is_empty());
    let start = process::stat(child).unwrap().start;
    drop(tell);
    let held = PidFd::open(child).unwrap();
    wait_for(&held, PollFlags::IN);
    let stat = process::stat(child).unwrap();
    assert!(stat.is_dead() && stat.start == start);
    assert_eq!(process::command_line(child, &mut buffer), Ok(&b""[..]));
    assert_eq!(process::in_group(child, stat.group), Ok(false), "a zombie is nobody's member");
    reap::wait_pid(child).unwrap();
}

#[test]
fn a_replacement_keeps_what_was_named_and_nothing_else() {
    if shared::plays("becomes a shell") {
        return become_a_shell();
    }
    require_root();
    for kernel in ["new", "old"] {
        let mut child = companion("a_replacement_keeps_what_was_named_and_nothing_else", "becomes a shell")
            .env("VERGER_TEST_KERNEL", kernel)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success(), "{text}");
        let pid = child.id();
        // Signals as they were when it began, so as we began too: glibc's `posix_spawn` adds its own two.
        let start = signals::at_start();
        let ignored = start.ignored.without(32).without(33).bits();
        let state = format!("as {pid} with 0 1 2 50 and A=1 ignoring {ignored} blocking {}\n", start.blocked.bits());
        assert!(text.contains(&state), "{text}");
        assert!(text.contains("first: No such file"), "{text}");
    }
}

fn become_a_shell() {
    let file = null();
    let kept = rustix::io::fcntl_dupfd_cloexec(&file, 50).unwrap();
    let lost = rustix::io::fcntl_dupfd_cloexec(&file, 51).unwrap();
    rustix::io::fcntl_setfd(&lost, rustix::io::FdFlags::empty()).unwrap();
    assert_eq!((kept.as_raw_fd(), lost.as_raw_fd()), (50, 51));
    if std::env::var("VERGER_TEST_KERNEL").as_deref() == Ok("old") {
        forbid(&[(libc::SYS_close_range, None, Instead::Fail(libc::ENOSYS as u16))]).unwrap();
    }
    signals::block_all();
    let (mask, ignored) = (signals::mask(), signals::ignored());
    let failed = Replacement::new(Image::Path(c"/none".into()), &[c"none"], &[], &[kept.as_fd()]).execute();
    println!("first: {failed}");
    // As if nothing had been tried, but for the marks.
    assert_eq!((signals::mask(), signals::ignored()), (mask, ignored));
    for fd in [&kept, &lost] {
        assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }
    let script = c"i=0; open=; while [ $i -lt 300 ]; do [ -e /proc/$$/fd/$i ] && open=\"$open $i\"; i=$((i+1)); done; \
                   ignored=$(sed -n 's/^SigIgn:\t0*//p' /proc/self/status); blocked=$(sed -n 's/^SigBlk:\t0*//p' /proc/self/status); \
                   ignored=$((0x0$ignored & ~0x180000000)); \
                   echo as $$ with$open and A=$A ignoring $ignored blocking ${blocked:-0}";
    let shell = Image::File(std::fs::File::open("/bin/sh").unwrap().into());
    panic!("{}", Replacement::new(shell, &[c"sh", c"-c", script], &[c"A=1"], &[kept.as_fd()]).execute());
}

#[test]
fn a_program_in_memory_can_be_executed() {
    if shared::plays("becomes its copy") {
        return become_a_copy();
    }
    require_root();
    let output = companion("a_program_in_memory_can_be_executed", "becomes its copy").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("from memory"), "{text}");
}

fn become_a_copy() {
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("program", flags).unwrap();
    let mut file = std::fs::File::from(file);
    file.write_all(&std::fs::read("/bin/echo").unwrap()).unwrap();
    let image = Image::File(file.into());
    panic!("{}", Replacement::new(image, &[c"echo", c"from memory"], &[], &[]).execute());
}

#[test]
fn a_sealed_file_of_ours_is_no_program() {
    if shared::plays("executes an image") {
        return execute_an_image();
    }
    require_root();
    let output = companion("a_sealed_file_of_ours_is_no_program", "executes an image").output().unwrap();
    let refused = String::from_utf8_lossy(&output.stdout).contains("refused: true");
    // Before Linux 6.3 a memory file cannot be marked so, and the companion became the program.
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    assert!(output.status.success());
    assert_eq!(refused, version >= (6, 3), "{version:?}");
}

fn execute_an_image() {
    let bytes = std::fs::read("/bin/true").unwrap();
    let image = Image::File(memory::sealed(c"image", &bytes).unwrap());
    let errno = Replacement::new(image, &[c"true"], &[], &[]).execute();
    println!("refused: {}", errno == Errno::ACCESS);
}

/// A spawner in a process with many descriptors: those that nobody asked for are not even copied.
#[test]
fn many_open_descriptors_do_not_matter() {
    for way in WAYS {
        alone_in_way("many_open_descriptors_do_not_matter", way, || {
            let file = null();
            let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
            let limit = rustix::process::Rlimit { current: most, maximum: most };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
            let _many: Vec<_> = (0..2000).map(|_| rustix::io::fcntl_dupfd_cloexec(&file, 3).unwrap()).collect();
            let mut spawner = Spawner::new(way, 4).unwrap();
            for others in [Others::Close, Others::Inherit] {
                let (text, _) = run_by(&mut spawner, &["/bin/sh", "-c", "ls /proc/$$/fd | wc -l"], |recipe| {
                    recipe.others = others;
                })
                .unwrap();
                assert!(text.trim().parse::<u32>().unwrap() < 20, "{way}: {text}");
            }
        });
    }
}

#[test]
fn a_start_is_known_by_the_tick_that_the_kernel_says() {
    require_root();
    let null = null();
    for way in WAYS {
        let mut spawner = Spawner::new(way, 4).unwrap();
        for _ in 0..200 {
            let spawned = start_by(&mut spawner, &["/bin/true"], null.as_fd(), |_| {}).unwrap();
            // Alive or dead: it is not reaped yet.
            let stat = process::stat(spawned.pid).unwrap();
            assert_eq!(spawned.started, stat.start, "{way}");
            reap::wait_pid(spawned.pid).unwrap();
        }
    }
}
