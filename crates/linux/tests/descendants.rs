//! Everything below a subreaper, against the kernel: who is seen and killed, also by a process with several threads (`main_thread`
//! has what one thread alone can do).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod shared;

use std::os::fd::AsFd;

use shared::{alone, null, start_by};
use verger_engine::runs::Pid;
use verger_linux::contain::Descendants;
use verger_linux::contain::rounds::{Ground, Reaped, Whom, Woken, end_all};
use verger_linux::reap::{self, Look, look, take};
use verger_linux::spawn::{Spawner, Way};
use verger_linux::{machine, process};

/// A shell below us that runs this script.
fn shell(script: &str) -> Pid {
    let null = null();
    let mut spawner = Spawner::new(Way::Fork, 4).unwrap();
    start_by(&mut spawner, &["/bin/sh", "-c", script], null.as_fd(), |_| {}).unwrap().pid
}

/// How many processes are below us, dead ones that nobody reaped included.
fn below() -> usize {
    let mut found = vec![Pid(std::process::id())];
    let mut all: Vec<process::Stat> = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            all.extend(process::stat(Pid(pid)));
        }
    }
    let mut done = 0;
    while let Some(parent) = found.get(done).copied() {
        done += 1;
        found.extend(all.iter().filter(|stat| stat.parent == parent.0).map(|stat| stat.pid));
    }
    found.len() - 1
}

fn until_below(count: usize) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while below() != count {
        assert!(std::time::Instant::now() < end, "{} instead of {count}", below());
        std::thread::yield_now();
    }
}

struct Us(Descendants);

impl Ground for Us {
    fn hit(&mut self, whom: Whom, held: u32, most: u32) -> u32 {
        self.0.kill(whom, held, most)
    }

    fn any_lives(&mut self) -> bool {
        self.0.any_lives()
    }

    fn reap(&mut self, most: u32) -> Reaped {
        let mut count = 0;
        loop {
            match look() {
                Look::NoChildren => return Reaped::NoneLeft,
                Look::AllLive => return Reaped::Some(count),
                Look::Dead(_) if count == most => return Reaped::Some(count),
                Look::Dead(dead) => {
                    take(dead.pid).unwrap();
                    count += 1;
                }
            }
        }
    }

    fn wait(&mut self, _idle: u32) -> Woken {
        let limit = rustix::time::Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        assert_eq!(rustix::event::poll(&mut [], Some(&limit)), Ok(0));
        if matches!(look(), Look::Dead(_)) { Woken::News } else { Woken::Quiet }
    }
}

#[test]
fn whoever_is_below_is_killed_and_reaped() {
    alone("whoever_is_below_is_killed_and_reaped", || {
        machine::adopt_orphans().unwrap();
        for (script, count) in [
            ("exec sleep 1000", 1),
            ("trap '' TERM HUP INT; for n in 1 2 3; do setsid sleep 1000 & done; sleep 1000; true", 5),
            ("kill -STOP $$", 1),
            ("for n in 1 2 3 4 5 6 7; do sh -c 'sleep 1000; true' & done; exec sleep 1000", 15),
            ("sh -c \"sh -c \\\"sh -c 'sleep 1000; true'; true\\\"; true\"; true", 5),
        ] {
            shell(script);
            until_below(count);
            // The harness has a thread of its own, so it is searched.
            let mut us = Us(Descendants::open().unwrap());
            assert!(us.any_lives());
            end_all(&mut us);
            assert_eq!((below(), look()), (0, Look::NoChildren), "{script}");
        }
    });
}

#[test]
fn a_look_tells_what_waitid_does() {
    alone("a_look_tells_what_waitid_does", || {
        assert_eq!(look(), Look::NoChildren);
        let lives = shell("exec sleep 1000");
        assert_eq!(look(), Look::AllLive);
        let dead = shell("exit 7");
        reap::wait_until_dead(dead);
        let Look::Dead(told) = look() else { panic!("{:?}", look()) };
        assert_eq!((told.pid, told.uid, told.code, told.status), (dead, 0, 1, 7));
        take(dead).unwrap().unwrap();
        process::signal(lives, 9).unwrap();
        reap::wait_until_dead(lives);
        let Look::Dead(told) = look() else { panic!("{:?}", look()) };
        assert_eq!((told.pid, told.code, told.status), (lives, 2, 9));
        take(lives).unwrap().unwrap();
        assert_eq!(look(), Look::NoChildren);
    });
}
