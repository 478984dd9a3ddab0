//! After its objects are made, nothing on the way of a run's life allocates.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod shared;

use std::os::fd::AsFd;

use rustix::event::PollFlags;
use shared::{Tree, WAYS, alone_in_way, null, wait_for};
use verger_engine::runs::RunId;
use verger_engine::time::Span;
use verger_linux::allocator::{Counting, count, everywhere};
use verger_linux::clock::{Timer, now};
use verger_linux::contain::{Group, RunName};
use verger_linux::memory::{Layout, Shared};
use verger_linux::process::{self, PidFd};
use verger_linux::signals::{SignalFd, SignalSet, block_all};
use verger_linux::spawn::{Arena, PATH_BYTES_MAX, PointerArray, Recipe, Spawner, resolve};
use verger_linux::{channel, reap, users};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_counter_counts() {
    let before = everywhere();
    let (allocations, list) = count(|| {
        let mut list = vec![1u8];
        list.reserve(1000);
        list
    });
    assert_eq!((allocations, list.len()), (2, 1));
    assert!(everywhere() >= before + 2);
    assert_eq!(count(|| std::hint::black_box([0u8; 100])).0, 0);
}

#[test]
fn nothing_in_the_life_of_a_run_allocates() {
    for way in WAYS {
        alone_in_way("nothing_in_the_life_of_a_run_allocates", way, || {
            block_all();
            let tree = Tree::new(&format!("allocation-{way:?}"));
            let mut spawner = Spawner::new(way, 8).unwrap();
            let flight = spawner.in_flight();
            let signals = SignalFd::new(SignalSet::NONE.with(libc::SIGCHLD as u8)).unwrap();
            let timer = Timer::new().unwrap();
            let board = Shared::anonymous(c"board", Layout { words32: 4, words64: 4 }).unwrap();
            let (a, b) = std::os::unix::net::UnixDatagram::pair().unwrap();
            let out = null();
            let mut arena = Arena::with_capacity(4096);
            let mut argv = PointerArray::with_capacity(8);
            let mut envp = PointerArray::with_capacity(8);
            let mut path = [0; PATH_BYTES_MAX];
            let mut lines = vec![0; users::BUFFER_BYTES];
            let mut groups = vec![0; 64];
            let mut life = |run: u64, program: &[u8], ends: &dyn Fn(&RunName, verger_linux::spawn::Spawned)| {
                let name = RunName::new("service@1", RunId(run));
                let directory = tree.make(&name).unwrap();
                arena.clear();
                let mut filling = argv.begin();
                filling.push(arena.text(&[program]).unwrap()).unwrap();
                filling.push(c"1000").unwrap();
                let argv = filling.end();
                let mut filling = envp.begin();
                filling.push(arena.text(&[b"A=", b"1"]).unwrap()).unwrap();
                let user = users::SYSTEM.user(b"root", &mut lines).unwrap();
                let (uid, gid) = (user.uid, user.gid.unwrap());
                let amount = users::SYSTEM.groups_of(b"root", gid, &mut groups, &mut lines).unwrap();
                let program = resolve(program, None, &mut path).unwrap_or(c"/none");
                let mut recipe = Recipe::new(program, argv, filling.end());
                let descriptors = [(0, out.as_fd()), (1, out.as_fd()), (2, out.as_fd()), (5, out.as_fd())];
                (recipe.descriptors, recipe.cgroup) = (&descriptors, Some(directory.as_fd()));
                (recipe.uid, recipe.gid, recipe.groups) = (Some(uid), Some(gid), groups.get(..amount));
                (recipe.death_signal, recipe.capabilities) = (Some(9), Some(0));
                if let Ok(spawned) = spawner.spawn(&recipe) {
                    ends(&name, spawned);
                }
                assert_eq!(flight.pid(), None);
                drop(directory);
                tree.remove(&name).unwrap();
            };
            let kill = |name: &RunName, spawned: verger_linux::spawn::Spawned| {
                let events = tree.events(name).unwrap();
                let held = PidFd::open(spawned.pid).unwrap();
                assert!(events.populated().unwrap());
                assert_eq!(tree.signal(name, 0).unwrap().reached, 1);
                assert_eq!(tree.first_member(name).unwrap(), Some(spawned.pid));
                assert_eq!(tree.oom_kills(name).unwrap(), None);
                assert!(Group(spawned.pid).first_member().unwrap().is_some());
                process::stat(spawned.pid).unwrap();
                if spawned.pid.0.is_multiple_of(2) {
                    tree.kill(name).unwrap();
                } else {
                    tree.kill_one_by_one(name).unwrap();
                }
                wait_for(&held, PollFlags::IN);
                while signals.take().unwrap().is_some() {}
                assert_eq!(reap::peek(), Some(spawned.pid));
                assert!(reap::take(spawned.pid).unwrap().is_some());
                while events.populated().unwrap() {
                    wait_for(&events, PollFlags::PRI);
                }
            };
            let (allocations, ()) = count(|| {
                for run in 0..20 {
                    life(run, b"sleep", &kill);
                    life(run + 100, b"no-such-program", &|_, _| unreachable!());
                    timer.set(now() + Span::from_secs(1)).unwrap();
                    timer.take().unwrap();
                    board.words32()[0].store(run as u32, std::sync::atomic::Ordering::Release);
                    board.wake(0, u32::MAX);
                    channel::send(&a, b"READY=1", &[out.as_fd()]).unwrap();
                    let mut places = [None, None];
                    assert_eq!(channel::receive(&b, &mut [0; 16], &mut places).unwrap().unwrap().descriptors, 1);
                }
            });
            assert_eq!(allocations, 0, "{way}");
        });
    }
}
