//! How everything ends: by an essential service, by signals, by command; and signals to one service.

#![forbid(unsafe_code)]

use std::time::Duration;

use rustix::process::Signal;
use verger_blackbox::message::Obstacle;
use verger_blackbox::{Error, Machine, Phase, Process, noting};

#[test]
fn the_end_of_an_essential_service_ends_everything_with_its_status() {
    for (end, code) in [("exit 7", 7), ("exit 0", 0), ("kill -KILL $$", 128 + 9)] {
        let mut machine = Machine::start(&format!(
            "[service.main]
             command = ['sh', '-c', 'while [ ! -e @@/go ]; do sleep 0.01; done; {end}']
             essential = true
             restart = 'never'
             {}",
            noting("other", "")
        ));
        machine.wait_ready("other");
        machine.folder().write("go", "");
        assert_eq!(machine.wait_end().code(), Some(code), "{end}");
        assert_eq!(machine.folder().read("order"), "other\n", "the others are ended in order");
    }
}

#[test]
fn an_essential_service_that_comes_back_ends_nothing() {
    let mut machine = Machine::start(
        "[service.main]
         command = 'sleep 1000'
         essential = true
         restart_delay = '10ms'",
    );
    let first = machine.wait_ready("main");
    Process(first.pid.expect("it runs")).signal(Signal::KILL);
    machine.wait_other_run("main", first.run);
    assert_eq!(machine.end().code(), Some(0));
}

#[test]
fn the_first_signal_is_patient_and_the_second_is_not() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM), (Signal::INT, Signal::INT)] {
        let mut machine = Machine::start(
            "[service.deaf]
             command = ['sh', '-c', 'trap \"echo heard >> @@/order\" TERM; echo >&3; while :; do sleep 0.01; done']
             ready = 'fd'
             stop = ['TERM 1h']",
        );
        machine.wait_ready("deaf");
        let mark = machine.mark();
        machine.signal(first);
        machine.wait_move(mark, "deaf", Phase::Stopping);
        machine.wait_lines("order", 1);
        assert_eq!(machine.end_within(Duration::from_millis(300)), None, "it waits for the service");
        machine.signal(second);
        assert_eq!(machine.wait_end().code(), Some(0));
    }
}

#[test]
fn a_shutdown_by_command_ends_in_order_and_a_second_one_at_once() {
    let mut machine = Machine::start(&format!(
        "[service.deaf]
         command = ['sh', '-c', 'trap \"\" TERM; echo >&3; while :; do sleep 0.01; done']
         ready = 'fd'
         stop = ['TERM 1h']
         {}",
        noting("heard", "requires = ['deaf']")
    ));
    machine.wait_ready("heard");
    let mut client = machine.client();
    let mark = machine.mark();
    client.shutdown(false).expect("it begins");
    machine.wait_move(mark, "deaf", Phase::Stopping);
    assert_eq!(machine.folder().read("order"), "heard\n");
    let refused = machine.start_service("heard").expect_err("everything is ending");
    assert!(matches!(&refused, Error::WrongState(why) if why.cause == Obstacle::ShuttingDown), "{refused}");
    client.shutdown(true).expect("it goes on faster");
    assert_eq!(machine.wait_end().code(), Some(0));
}

#[test]
fn a_signal_to_the_main_process_by_command() {
    let machine = Machine::start(
        "[service.a]
         command = ['sh', '-c', 'trap \"echo USR1 >> @@/heard\" USR1; echo >&3; while :; do sleep 0.01; done']
         ready = 'fd'",
    );
    let run = machine.wait_ready("a").run;
    let answer = machine.client().signal("a", 10).expect("it gets the signal");
    assert_eq!(answer.run, Some(run));
    assert_eq!(machine.wait_lines("heard", 1), ["USR1"]);
    assert_eq!(machine.show("a").run, run, "it goes on");
}
