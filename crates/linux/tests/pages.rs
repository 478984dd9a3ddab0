//! Sealed files and shared words, seen from another process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod shared;

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use shared::{Place, c};
use verger_engine::time::Span;
use verger_linux::Errno;
use verger_linux::memory::{Holder, Layout, Mapping, SealError, Shared, View, Woken, hold, sealed, sealed_copy};

const HERE: std::os::fd::BorrowedFd<'static> = rustix::fs::CWD;
const LONG: Option<Span> = Some(Span::from_secs(30));

#[test]
fn a_sealed_file_cannot_change() {
    let bytes: Vec<u8> = (0..10_000u32).map(|at| at as u8).collect();
    let fd = sealed(c"image", &bytes).unwrap();
    let file = std::fs::File::from(fd.try_clone().unwrap());
    assert_eq!(file.write_at(b"x", 0).unwrap_err().raw_os_error(), Some(libc::EPERM));
    assert_eq!(file.set_len(5).unwrap_err().raw_os_error(), Some(libc::EPERM));
    assert_eq!(file.set_len(50_000).unwrap_err().raw_os_error(), Some(libc::EPERM));
    let mapping = Mapping::new(&fd, 10_000).unwrap();
    drop((fd, file));
    // It lives without its descriptor, and in another thread.
    std::thread::spawn(move || assert_eq!(mapping.as_ref(), bytes)).join().unwrap();
}

#[test]
fn only_sealed_files_are_taken_and_only_so_long_ones() {
    let place = Place::new("sealed");
    let path = place.file("plain", "text", 0o644);
    let plain = std::fs::File::open(&path).unwrap();
    assert_eq!(Mapping::new(&plain, 100).err(), Some(SealError::NotSealed));
    let open = Shared::anonymous(c"words", Layout { words32: 0, words64: 1 }).unwrap();
    assert_eq!(Mapping::new(&open, 100).err(), Some(SealError::NotSealed));
    let (pipe, _write) = shared::pipe();
    assert_eq!(Mapping::new(&pipe, 100).err(), Some(SealError::NotSealed));
    let copy = sealed_copy(c"copy", &plain, 4).unwrap();
    assert_eq!(Mapping::new(&copy, 3).err(), Some(SealError::TooLong { bytes: 4 }));
    let mapping = Mapping::new(&copy, 4).unwrap();
    // What the file becomes afterwards is its own matter: mapped itself, it would be a SIGBUS now.
    std::fs::write(&path, "").unwrap();
    assert_eq!(mapping.as_ref(), b"text");
    std::fs::write(&path, "longer").unwrap();
    let plain = std::fs::File::open(&path).unwrap();
    assert_eq!(sealed_copy(c"copy", &plain, 5).err(), Some(SealError::TooLong { bytes: 6 }));
    let empty = Mapping::new(sealed(c"empty", b"").unwrap(), 0).unwrap();
    assert_eq!(empty.as_ref(), b"");
}

#[test]
fn words_are_shared_by_all_who_map_them() {
    let place = Place::new("words");
    let path = c(&place.path("board"));
    let layout = Layout { words32: 4, words64: 600 };
    let board = Shared::create(HERE, &path, 0o640, layout).unwrap();
    assert_eq!(Shared::create(HERE, &path, 0o640, layout).err(), Some(Errno::EXIST));
    assert_eq!((board.words32().len(), board.words64().len()), (4, 600));
    let view = View::open(HERE, &path, layout).unwrap();
    board.words32()[3].store(7, Ordering::Release);
    board.words64()[0].store(1, Ordering::Release);
    board.words64()[599].store(u64::MAX - 1, Ordering::Release);
    assert_eq!((view.load32(3), view.load32(2), view.load32(4)), (Some(7), Some(0), None));
    assert_eq!((view.load64(0), view.load64(599), view.load64(600)), (Some(1), Some(u64::MAX - 1), None));
    // A daemon that comes back finds what it left; the file is as long as it says.
    drop(board);
    assert_eq!(std::fs::metadata(place.path("board")).unwrap().len() as usize, layout.bytes());
    assert_eq!(Shared::open(HERE, &path, layout).unwrap().words64()[599].load(Ordering::Acquire), u64::MAX - 1);
    let longer = Layout { words32: 4, words64: 601 };
    assert_eq!(Shared::open(HERE, &path, longer).err(), Some(Errno::INVAL));
    assert_eq!(View::open(HERE, &path, longer).err(), Some(Errno::INVAL));
    for bad in [(1, 1), (0, 0), (usize::MAX - 1, 1), (0, usize::MAX)] {
        let bad = Layout { words32: bad.0, words64: bad.1 };
        assert_eq!(Shared::anonymous(c"bad", bad).err(), Some(Errno::INVAL), "{bad:?}");
    }
    let given = Shared::anonymous(c"page", layout).unwrap();
    let file = std::fs::File::from(given.as_fd().try_clone_to_owned().unwrap());
    assert_eq!(file.set_len(8).unwrap_err().raw_os_error(), Some(libc::EPERM), "a receiver could end us");
    let other = Shared::from_file(OwnedFd::from(file), layout).unwrap();
    other.words32()[1].store(5, Ordering::Release);
    assert_eq!(given.words32()[1].load(Ordering::Acquire), 5);
}

#[test]
fn a_reader_can_wait_for_a_word() {
    let place = Place::new("wait");
    let path = c(&place.path("board"));
    let layout = Layout { words32: 2, words64: 0 };
    let board = Shared::create(HERE, &path, 0o600, layout).unwrap();
    let view = View::open(HERE, &path, layout).unwrap();
    assert_eq!(view.wait(0, 1, LONG), Ok(Woken::Changed));
    assert_eq!(view.wait(0, 0, Some(Span::from_millis(5))), Ok(Woken::TimedOut));
    assert_eq!(board.wait(1, 0, Some(Span::ZERO)), Ok(Woken::TimedOut));
    assert_eq!(view.wait(2, 0, None), Err(Errno::INVAL));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            while view.load32(0) == Some(0) {
                view.wait(0, 0, LONG).unwrap();
            }
            view.load32(0)
        });
        board.words32()[0].store(9, Ordering::Release);
        board.wake(0, u32::MAX);
        assert_eq!(waiter.join().unwrap(), Some(9));
    });
}

/// Starts a companion that holds word 0 of the board, and waits until it does.
fn held(path: &std::ffi::CStr, then: &str) -> std::process::Child {
    let mut companion = shared::companion("the_death_of_a_holder_is_seen_however_it_comes", "holds a word")
        .env("VERGER_TEST_BOARD", path.to_str().unwrap())
        .env("VERGER_TEST_THEN", then)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"held\n") {
        assert_eq!(companion.stdout.as_mut().unwrap().read(&mut byte).unwrap(), 1, "it ended");
        text.push(byte[0]);
    }
    companion
}

const BOARD: Layout = Layout { words32: 2, words64: 0 };

fn hold_a_word() {
    let path = std::env::var("VERGER_TEST_BOARD").unwrap();
    let path = c(&path);
    let board: &'static Shared = Box::leak(Box::new(Shared::open(HERE, &path, BOARD).unwrap()));
    hold(&board.words32()[0]).unwrap();
    println!("held");
    // Until told, by a word or by the end of the one who could tell.
    let mut word = [0];
    let _told = std::io::stdin().read(&mut word);
    match &*std::env::var("VERGER_TEST_THEN").unwrap() {
        "exec" => {
            // Another thread than the holder's, which ends by that.
            let execute = || {
                let image = verger_linux::exec::Image::Path(c"/bin/cat".into());
                verger_linux::exec::Replacement::new(image, &[c"/bin/cat"], &[], &[]).execute()
            };
            panic!("{}", std::thread::spawn(execute).join().unwrap());
        }
        "panic" => panic!("as told"),
        "peace" => board.words32()[0].store(0, Ordering::Release),
        then => panic!("{then}?"),
    }
}

#[test]
fn the_death_of_a_holder_is_seen_however_it_comes() {
    if shared::plays("holds a word") {
        return hold_a_word();
    }
    let place = Place::new("holder");
    let path = c(&place.path("board"));
    let _board = Shared::create(HERE, &path, 0o600, BOARD).unwrap();
    let view = View::open(HERE, &path, BOARD).unwrap();
    assert_eq!(Holder::of(view.load32(0).unwrap()), Holder::Nobody);
    for (how, outcome) in
        [("kill", Holder::Died), ("panic", Holder::Died), ("exec", Holder::Died), ("peace", Holder::Nobody)]
    {
        let mut companion = held(&path, how);
        let seen = view.load32(0).unwrap();
        assert!(matches!(Holder::of(seen), Holder::Lives(_)), "{how}: {seen:x}");
        std::thread::scope(|scope| {
            // More who wait than the kernel wakes: the first wakes the others.
            let wait = || {
                while view.load32(0) == Some(seen) && how != "peace" {
                    view.wait(0, seen, LONG).unwrap();
                }
                view.wake(0, u32::MAX);
            };
            let waiters = [scope.spawn(wait), scope.spawn(wait), scope.spawn(wait)];
            if how == "kill" {
                companion.kill().unwrap();
            } else {
                companion.stdin.as_mut().unwrap().write_all(b"!").unwrap();
            }
            for waiter in waiters {
                waiter.join().unwrap();
            }
        });
        if how == "exec" {
            // It lives on, as somebody else.
            assert!(companion.try_wait().unwrap().is_none());
        }
        drop(companion.stdin.take());
        companion.wait().unwrap();
        assert_eq!(Holder::of(view.load32(0).unwrap()), outcome, "{how}");
    }
}
