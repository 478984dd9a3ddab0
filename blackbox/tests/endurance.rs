//! What happens over many runs, and over none at all: nothing grows, and nothing wakes.

#![forbid(unsafe_code)]

use std::time::Duration;

use verger_blackbox::message::{Call, Error, Obstacle, Order};
use verger_blackbox::{Exclusive, Machine, PATIENCE, Phase, Setup, Thing, Tracer, eventually, group_folders};

#[test]
fn nothing_grows_over_hundreds_of_runs() {
    let machine = Machine::start(
        "[defaults]
         restart_delay = '0ms'
         restart_delay_max = '1ms'
         give_up_after = 0
         stdout = 'file:@@/out'
         [service.plain]
         command = 'true'
         [service.notifies]
         command = 'verger-probe notify READY=1'
         ready = 'notify'
         [service.writes]
         command = ['sh', '-c', 'echo >&3; (setsid sleep 1000 &)']
         ready = 'fd'
         [service.controls]
         command = 'verger-probe control list exit 0'
         control = 'observe'
         [service.is-not]
         command = 'sleep 1000'",
    );
    let names = ["plain", "notifies", "writes", "controls"];
    let runs = |count: u32| {
        for name in names {
            machine.chronicle().wait_state(name, "restarted so often", |it| it.restarts >= count);
        }
    };
    // One connection asks for all of it, so what else is open while all of them rest belongs to no caller.
    let mut client = machine.client();
    let mut resting_after = |count: u32| {
        for name in names {
            client.start(&Order::new(name)).expect("it starts");
        }
        runs(count);
        for name in names {
            client.stop(&Order::new(name)).expect("it stops");
        }
        // What the runs had open is closed in the order in which it is heard of; this answer comes after all of it.
        client.describe().expect("it answers");
        (machine.process().resident(), machine.process().descriptors())
    };
    let (memory, before) = resting_after(50);
    let (after_memory, after) = resting_after(150);
    let grown = after_memory.saturating_sub(memory);
    assert!(grown < 400, "{grown} KiB more");
    assert_eq!(after.len(), before.len(), "{before:?} before, now {after:?}");
    let groups: usize = group_folders(machine.instance())
        .iter()
        .map(|it| {
            std::fs::read_dir(it)
                .expect("it is there")
                .filter(|it| it.as_ref().is_ok_and(|it| it.path().is_dir()))
                .count()
        })
        .sum();
    assert!(groups <= 2, "{groups} control groups for one run");
    assert_eq!(machine.process().children().iter().filter(|it| it.state() == Some('Z')).count(), 0);
}

#[test]
fn nothing_wakes_while_nothing_happens() {
    let _alone = Exclusive::take(Thing::Processors);
    let services: String = (0..50).map(|at| format!("[service.s{at}]\ncommand = 'sleep 1000'\n")).collect();
    let machine = Setup::plan(&services).start();
    machine.chronicle().wait_all("running", PATIENCE, |it| it.phase == Phase::Running && it.pid.is_some());
    machine.process().assert_rests(Duration::from_secs(3), "the daemon");
}

// ---- what does not end ----

#[test]
fn a_stop_that_cannot_end_is_told_and_is_over_when_it_can() {
    let machine = Machine::start(
        "[service.held]
         command = 'sleep 1000'
         stop = ['TERM 100ms']
         stuck_after = '500ms'
         [service.below]
         command = 'sleep 1000'
         [service.above]
         command = 'sleep 1000'
         requires = ['below', 'held']",
    );
    machine.wait_ready("above");
    let held = machine.main_process("held");
    // Its end is not told to its parent before the tracer goes.
    let tracer = Tracer::of(held);
    let mut client = machine.client();
    client.send(&Call::Stop(Order::new("held"))).expect("it is sent");
    let stuck = machine.wait("held", Phase::Stuck);
    assert_eq!(stuck.in_the_way.or(stuck.pid), Some(held.0), "who is in the way is said");
    let answer = client.receive::<verger_blackbox::message::Done>();
    let Err(error) = &answer else { panic!("it has not stopped: {answer:?}") };
    assert!(matches!(error.remote(), Some(Error::WrongState(why)) if why.cause == Obstacle::Stuck), "{error}");
    machine.stderr().wait("held", PATIENCE);
    // It is not started again before it is gone; others are commanded as ever.
    let refused = machine.client().start(&Order { timeout_ms: Some(300), ..Order::new("held") });
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(machine.show("held").run, stuck.run);
    machine.restart_service("below").expect("it restarts");
    drop(tracer);
    eventually("it is over", PATIENCE, || (machine.show("held").phase != Phase::Stuck).then_some(()));
    machine.start_service("held").expect("it starts again");
    machine.wait_other_run("held", stuck.run);
}
