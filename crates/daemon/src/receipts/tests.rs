//! Stops as the hands tell them, with processes that live and die; and with more of them than there is room for.

use std::process::{Child, Command, Stdio};

use verger_engine::Engine;
use verger_engine::image::Limits;
use verger_engine::runs::{Ended, Exit};
use verger_linux::allocator::count;
use verger_linux::{clock, process, reap};
use verger_wire::message::{EndKnown, Receipt, StopStepKind};

use super::*;

/// Beyond any number that the kernel gives.
const NOBODY: u32 = 5_000_000;
/// A time at which nothing that lives here began.
const ANOTHER_START: u64 = 1;

fn at(millis: u64) -> Moment {
    Moment(0) + Span::from_millis(millis)
}

fn run(slot: u32, run: u64) -> RunRef {
    RunRef { service: ServiceId { slot, generation: 1 }, run: RunId(run) }
}

fn engine() -> Engine {
    Engine::new(Limits { services: 8, edges: 8, images: 2, commands: 2, connections: 1, groups: 0 }, RunId(1))
}

fn told(book: &Book, run: RunRef) -> Receipt {
    book.receipt(&engine(), run.service, Some(run.run)).unwrap()
}

fn ends(receipt: &Receipt) -> Vec<EndKnown> {
    receipt.processes.iter().map(|it| it.end).collect()
}

/// Somebody made up.
fn nobody(pid: u32) -> Member {
    Member::new(Pid(pid), 1, ANOTHER_START, None, b"nobody")
}

/// A look with nobody in it.
fn look(book: &mut Book, run: RunRef, now: Moment) -> Look {
    book.begin_look(None, run, Occasion::Asked, Containment::Cgroup, now).unwrap()
}

fn sleeper() -> Child {
    Command::new("sleep").arg("1000").spawn().unwrap()
}

fn until(mut holds: impl FnMut() -> bool) {
    let limit = clock::now() + Span::from_secs(20);
    while !holds() {
        assert!(clock::now() < limit, "it does not come");
        std::thread::yield_now();
    }
}

fn start_of(child: &Child) -> u64 {
    process::stat(Pid(child.id())).unwrap().start
}

#[test]
fn steps_keep_what_they_were_and_when() {
    for what in [What::MainEnded, What::Kill, What::Signal(1, Scope::Main), What::Signal(64, Scope::All)] {
        for after in [Span(0), Span(1), Span::from_secs(3600), Span(u64::MAX >> 8)] {
            let step = Step::new(what, after);
            assert_eq!((step.what(), step.after()), (what, after));
        }
    }
    assert_eq!(Step::new(What::Kill, Span::FOREVER).after(), Span(u64::MAX >> 8));
}

#[test]
fn a_receipt_claims_no_more_than_what_held_the_run_at_its_end() {
    let mut book = Book::new(4);
    let stopped = run(2, 7);
    let ticket = book.begin_look(None, stopped, Occasion::Asked, Containment::Shim, at(0)).unwrap().ticket;
    assert_eq!(told(&book, stopped).containment, Containment::Shim);
    book.loosened(ticket, Containment::Group);
    book.close(ticket, at(5));
    let receipt = told(&book, stopped);
    assert_eq!((receipt.containment, &*receipt.guarantee), (Containment::Group, Containment::Group.guarantee()));
}

#[test]
fn a_stop_from_its_first_look_to_its_receipt() {
    let mut book = Book::new(4);
    let (stopped, mut main) = (run(2, 7), sleeper());
    let pid = Pid(main.id());
    let look = book.begin_look(None, stopped, Occasion::Asked, Containment::Cgroup, at(1000)).unwrap();
    let ticket = look.ticket;
    book.see_main(&look, pid, std::process::id(), start_of(&main), b"/bin/sleep");
    book.end_look(&look);
    book.signalled(ticket, 15, Scope::Main, at(1000));
    let open = told(&book, stopped);
    assert_eq!((open.total_us, open.steps[0].took_us, ends(&open)), (None, None, vec![EndKnown::Alive]));
    main.kill().unwrap();
    main.wait().unwrap();
    book.main_ended(ticket, &Exit::signal(9), at(1010));
    book.killed(ticket, at(1500));
    book.killed(ticket, at(1510));
    assert_eq!(book.in_short(&engine(), stopped), None);
    book.close(ticket, at(1520));

    let receipt = told(&book, stopped);
    let steps: Vec<_> = receipt.steps.iter().map(|it| (it.kind, it.at_us / 1000, it.took_us, it.times)).collect();
    assert_eq!(
        steps,
        [
            (StopStepKind::Signal, 1000, Some(10_000), None),
            (StopStepKind::MainEnded, 1010, Some(490_000), None),
            (StopStepKind::Kill, 1500, Some(20_000), Some(2)),
        ]
    );
    assert_eq!((receipt.run, receipt.total_us, receipt.more), (7, Some(520_000), 0));
    let [seen] = &receipt.processes[..] else { panic!("{receipt:?}") };
    assert_eq!((seen.pid, seen.name.as_str(), seen.main, seen.end), (pid.0, "sleep", true, EndKnown::Reaped));
    assert_eq!(seen.exit.as_ref().unwrap().signal.as_deref(), Some("SIGKILL"));
    assert!(seen.age_ms.is_some_and(|age| age < 20_000), "{seen:?}");
    let short = book.in_short(&engine(), stopped).unwrap();
    assert_eq!((short.processes, short.killed, short.total_us), (1, true, 520_000));
}

#[test]
fn one_whose_end_was_told_and_who_is_not_reaped_yet_is_listed_once() {
    let mut book = Book::new(1);
    let (stopped, mut main) = (run(0, 1), sleeper());
    let pid = Pid(main.id());
    let look = book.begin_look(None, stopped, Occasion::Asked, Containment::Shim, at(0)).unwrap();
    let ticket = look.ticket;
    book.see_main(&look, pid, std::process::id(), start_of(&main), b"/bin/sleep");
    book.end_look(&look);
    main.kill().unwrap();
    verger_linux::reap::wait_until_dead(pid);
    // As a shim does it.
    book.main_ended(ticket, &Exit::signal(9), at(1));
    let mut look = book.begin_look(Some(ticket), stopped, Occasion::Leftovers, Containment::Shim, at(2)).unwrap();
    book.see(&mut look, pid, |_| true);
    book.end_look(&look);
    main.wait().unwrap();
    book.close(ticket, at(3));
    let receipt = told(&book, stopped);
    assert_eq!((ends(&receipt), receipt.more), (vec![EndKnown::Reaped], 0));
}

#[test]
fn how_others_ended_is_said_by_the_kernel_or_by_our_own_reaping() {
    let mut book = Book::new(1);
    let stopped = run(0, 1);
    // A parent that reaps what it started, and somebody who becomes ours.
    let mut parent = Command::new("sh");
    parent.args(["-c", "sleep 1000 & echo $!; wait; exec sleep 1000"]).stdout(Stdio::piped());
    let mut parent = parent.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(parent.stdout.take().unwrap()), &mut line).unwrap();
    let theirs = Pid(line.trim().parse().unwrap());
    let mut ours = sleeper();

    let mut look = look(&mut book, stopped, at(0));
    for pid in [theirs, Pid(ours.id()), Pid(parent.id())] {
        book.see(&mut look, pid, |_| true);
        book.see(&mut look, pid, |_| true);
    }
    book.end_look(&look);
    assert_eq!(book.held, 3);
    assert_eq!(ends(&told(&book, stopped)), [EndKnown::Alive; 3]);

    process::signal(theirs, 9).unwrap();
    until(|| process::stat(theirs).is_err());
    process::signal(Pid(ours.id()), 15).unwrap();
    until(|| process::stat(Pid(ours.id())).is_ok_and(|stat| stat.is_dead()));
    book.close(look.ticket, at(100));
    // Ours is dead and not reaped: that is waited for. Its parent lives: it has left.
    assert_eq!(book.late_at(), at(100) + LATE);
    let kernel = if process::PidFd::open(Pid(parent.id())).is_ok() && keeps_ends() {
        EndKnown::Kernel
    } else {
        EndKnown::NotVisible
    };
    assert_eq!(ends(&told(&book, stopped)), [kernel, EndKnown::NotVisible, EndKnown::Left]);
    let entry = book.awaits(Pid(ours.id())).unwrap();
    let exit = reap::take(Pid(ours.id())).unwrap().unwrap().exit;
    book.orphan_ended(entry, &exit);
    book.settle_late(at(101));
    assert_eq!(ends(&told(&book, stopped)), [kernel, EndKnown::Reaped, EndKnown::Left]);
    assert_eq!((book.late_at(), book.held), (Moment::NEVER, 0));
    assert_eq!(book.awaits(Pid(ours.id())), None);
    assert!(ours.wait().is_err(), "we have reaped it");
    parent.kill().unwrap();
    parent.wait().unwrap();
}

/// Whether this kernel keeps how a process ended that somebody has reaped (Linux 6.15).
fn keeps_ends() -> bool {
    let mut child = sleeper();
    let held = process::PidFd::open(Pid(child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    held.end() == Some(Ended::Signaled { signal: 9, core: false })
}

#[test]
fn an_end_that_never_becomes_visible_is_not_waited_for_without_end() {
    let mut book = Book::new(1);
    let stopped = run(0, 1);
    let mut child = sleeper();
    let mut look = look(&mut book, stopped, at(0));
    book.see(&mut look, Pid(child.id()), |_| true);
    book.end_look(&look);
    child.kill().unwrap();
    until(|| process::stat(Pid(child.id())).is_ok_and(|stat| stat.is_dead()));
    book.close(look.ticket, at(100));
    book.settle_late(at(150));
    assert_eq!(book.late_at(), at(100) + LATE);
    book.settle_late(at(100) + LATE);
    assert_eq!((book.late_at(), book.held), (Moment::NEVER, 0));
    assert_eq!(ends(&told(&book, stopped)), [EndKnown::NotVisible]);
    child.wait().unwrap();
}

#[test]
fn a_number_that_another_has_now_is_not_mistaken() {
    let mut book = Book::new(1);
    let stopped = run(0, 1);
    let mut child = sleeper();
    let pid = Pid(child.id());
    let mut look = look(&mut book, stopped, at(0));
    // Whoever had the number before.
    assert!(book.list(look.ticket.at(), nobody(pid.0), false));
    assert_eq!(book.awaits(pid), None, "a later one is not whom was seen");
    book.see(&mut look, pid, |_| true);
    book.end_look(&look);
    let first = look.ticket;
    let receipt = told(&book, stopped);
    assert_eq!(ends(&receipt), [EndKnown::NotVisible, EndKnown::Alive]);
    assert_eq!(receipt.processes[1].name, "sleep");
    assert!(book.awaits(pid).is_some());
    // One that was forked after the look began, and is not in it.
    let mut young = Book::new(1);
    let mut look = self::look(&mut young, stopped, at(0));
    look.began = Began::long_ago();
    young.see(&mut look, pid, |_| false);
    assert_eq!((young.held, look.unlisted), (0, 1));
    young.see(&mut look, pid, |_| true);
    assert_eq!((young.held, look.unlisted), (1, 1));
    child.kill().unwrap();
    child.wait().unwrap();
    book.close(first, at(1));
    assert!(matches!(ends(&told(&book, stopped))[1], EndKnown::Kernel | EndKnown::NotVisible));
}

#[test]
fn a_receipt_lists_sixty_four_and_counts_the_rest() {
    let mut book = Book::new(1);
    let stopped = run(0, 1);
    let mut look = look(&mut book, stopped, at(0));
    for pid in 0..PROCESSES_MAX as u32 {
        assert!(book.list(look.ticket.at(), nobody(NOBODY + pid), false));
    }
    for pid in 0..136 {
        book.see(&mut look, Pid(NOBODY + 100 + pid), |_| true);
    }
    book.end_look(&look);
    // At another look, fewer: the most that were seen at once counts.
    let ticket = Some(look.ticket);
    let mut again = book.begin_look(ticket, stopped, Occasion::Kill, Containment::Cgroup, at(5)).unwrap();
    book.see(&mut again, Pid(NOBODY + 200), |_| true);
    book.end_look(&again);
    book.close(look.ticket, at(9));
    let receipt = told(&book, stopped);
    assert_eq!((receipt.processes.len(), receipt.more), (PROCESSES_MAX, 136));
    assert_eq!(book.in_short(&engine(), stopped).unwrap().processes, 200);
}

#[test]
fn who_does_not_fit_into_the_pool_takes_the_place_of_the_oldest_receipt_or_is_counted() {
    let mut book = Book::with_room(4, 10);
    let full = |book: &mut Book, run: RunRef, processes: u32| {
        let mut look = look(book, run, at(run.run.0));
        for pid in 0..processes {
            if !book.list(look.ticket.at(), nobody(NOBODY + pid), false) {
                look.unlisted += 1;
            }
        }
        book.end_look(&look);
        look.ticket
    };
    let first = full(&mut book, run(0, 1), 6);
    book.close(first, at(1));
    let second = full(&mut book, run(1, 2), 3);
    book.close(second, at(2));
    // One place is free; the rest come from the oldest, and then from the next.
    full(&mut book, run(2, 3), 8);
    assert_eq!(book.find(run(0, 1).service, None).err(), Some(Missing::NotKept));
    assert_eq!(book.find(run(1, 2).service, None).err(), Some(Missing::NotKept));
    // An open one is never dropped: then they are counted.
    full(&mut book, run(3, 4), 5);
    let receipt = told(&book, run(3, 4));
    assert_eq!((receipt.processes.len(), receipt.more), (2, 3));
    assert_eq!(told(&book, run(2, 3)).processes.len(), 8);
}

#[test]
fn the_newest_receipts_are_kept() {
    let mut book = Book::new(2);
    let rounds = 3 * *KEPT.start() as u64;
    for round in 1..=rounds {
        let stopped = run((round % 2) as u32, round);
        let ticket = look(&mut book, stopped, at(round)).ticket;
        book.close(ticket, at(round));
    }
    let service = run(0, 0).service;
    assert_eq!(book.find(service, None).unwrap().run.run, RunId(rounds));
    let kept = |number| book.find(run((number % 2) as u32, 0).service, Some(RunId(number))).map(|it| it.run.run.0);
    assert_eq!(kept(rounds - 5), Ok(rounds - 5));
    assert_eq!(kept(rounds - *KEPT.start() as u64 + 1), Ok(rounds - *KEPT.start() as u64 + 1));
    assert_eq!(kept(rounds - *KEPT.start() as u64), Err(Missing::NotKept));
    assert_eq!(kept(rounds + 2), Err(Missing::NotKept));
    // No more is in use than is kept.
    assert_eq!((book.records.all().count(), book.kept), (*KEPT.start(), *KEPT.start()));
}

#[test]
fn who_was_never_stopped_has_no_receipt() {
    let mut book = Book::new(2);
    let stopped = run(1, 5);
    assert_eq!(book.find(stopped.service, None).err(), Some(Missing::NeverStopped));
    let ticket = look(&mut book, stopped, at(2)).ticket;
    assert_eq!(book.find(stopped.service, None).map(|it| it.run), Ok(stopped));
    assert_eq!(book.find(stopped.service, Some(RunId(4))).err(), Some(Missing::NotKept));
    book.close(ticket, at(3));
    // Another service lives in its slot now.
    let next = ServiceId { generation: 2, ..stopped.service };
    assert_eq!(book.find(next, None).err(), Some(Missing::NeverStopped));
    // Once a receipt had to go, nobody can say of whom it was.
    assert!(book.drop_oldest() && !book.drop_oldest());
    assert_eq!(book.find(next, None).err(), Some(Missing::NotKept));
}

#[test]
fn nothing_in_a_stop_allocates() {
    let mut book = Book::new(4);
    let mut children: Vec<Child> = (0..3).map(|_| sleeper()).collect();
    let starts: Vec<u64> = children.iter().map(start_of).collect();
    let pids: Vec<Pid> = children.iter().map(|child| Pid(child.id())).collect();
    let (allocations, ()) = count(|| {
        for round in 0..50 {
            let stopped = run(round % 4, u64::from(round) + 1);
            let mut ticket = None;
            for occasion in [Occasion::Asked, Occasion::Leftovers, Occasion::Kill] {
                let now = clock::now();
                let mut look = book.begin_look(ticket, stopped, occasion, Containment::Cgroup, now).unwrap();
                ticket = Some(look.ticket);
                book.see_main(&look, pids[0], std::process::id(), starts[0], b"sleep");
                for pid in &pids[1..] {
                    book.see(&mut look, *pid, |_| true);
                }
                book.see(&mut look, Pid(NOBODY), |_| true);
                book.end_look(&look);
                book.signalled(look.ticket, 15, Scope::All, now);
                book.killed(look.ticket, now);
            }
            let ticket = ticket.unwrap();
            book.main_ended(ticket, &Exit::signal(9), clock::now());
            let _not_dead = book.awaits(pids[1]);
            book.close(ticket, clock::now());
            book.settle_late(clock::now());
        }
    });
    assert_eq!(allocations, 0);
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
