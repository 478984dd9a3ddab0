//! Crowds below `supervise`: large trees, and those that grow while they are ended. Nobody survives.
//!
//! Each has the machine to itself: how long it takes is part of what is asked.

#![forbid(unsafe_code)]

use std::process::{Command, Stdio};
use std::time::Duration;

use verger_blackbox::{Exclusive, KILLED, PATIENCE, Process, Setup, Supervise, Thing, Transport, aside, eventually};

/// What a tree may take to be gone on a busy machine, where it takes some 0.1 s on a quiet one.
const SOON: Duration = Duration::from_secs(10);

fn pipes() -> Supervise {
    Supervise::over(Transport::Pipes)
}

#[test]
fn a_binary_tree_of_500() {
    let _alone = Exclusive::take(Thing::Processors);
    pipes().storm(&["tree", "500"], 500).gone_after_hang_up(SOON);
}

#[test]
fn a_thousand_side_by_side() {
    let _alone = Exclusive::take(Thing::Processors);
    pipes().storm(&["flat", "1000"], 1001).gone_after_hang_up(SOON);
}

#[test]
fn a_chain_of_150_sessions() {
    let _alone = Exclusive::take(Thing::Processors);
    pipes().storm(&["chain", "150"], 150).gone_after_hang_up(SOON);
}

/// A user of this test's own, with so many processes at the most; whoever is left of them ends with this.
struct Crowd {
    user: u32,
    words: Vec<String>,
}

impl Crowd {
    fn new(user: u32, count: u32) -> Crowd {
        let words = [
            "setpriv",
            &format!("--reuid={user}"),
            &format!("--regid={user}"),
            "--clear-groups",
            "prlimit",
            &format!("--nproc={count}:{count}"),
        ];
        Crowd { user, words: words.iter().map(|word| (*word).to_owned()).collect() }
    }

    /// The command line that makes somebody one of them.
    fn command<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        self.words.iter().map(String::as_str).chain(words.iter().copied()).collect()
    }

    fn all(&self) -> Vec<Process> {
        let user = format!("\nUid:\t{}\t", self.user);
        let entries = std::fs::read_dir("/proc").expect("it is mounted").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Process);
        pids.filter(|it| it.try_file("status").is_some_and(|it| it.contains(&user)) && it.lives()).collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // To all of a user in one go, so that none is missed that is just being forked.
        let id = format!("--reuid={}", self.user);
        let _nobody_is_left = Command::new("setpriv")
            .args([&id, "--clear-groups", "sh", "-c", "kill -KILL -1"])
            .stderr(Stdio::null())
            .status();
    }
}

/// So many of the machine's processes are there, dead ones too: more is not asked of those who keep it from answering.
fn wait_grown(count: usize) {
    let _hurry = verger_linux::machine::hurry();
    eventually("it has grown", PATIENCE, || {
        let entries = std::fs::read_dir("/proc").expect("it is mounted").flatten();
        let pids = entries.filter(|it| it.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()));
        (pids.count() >= count).then_some(())
    });
}

/// Starts it among so many process numbers, and hangs up when so many are there.
fn grows_and_is_gone(shape: &[&str], numbers: u32, count: usize, patience: Duration) {
    let storm = aside("verger-storm").display().to_string();
    let words: Vec<&str> = [storm.as_str()].iter().chain(shape).copied().collect();
    let mut it = pipes().with_numbers(numbers).start(&words);
    it.command();
    wait_grown(count);
    it.gone_after_hang_up(patience);
}

/// Held down by a limit of its user's, and refilling itself.
#[test]
fn a_bomb_of_250_that_refills_itself() {
    let _alone = Exclusive::take(Thing::Processors);
    let crowd = Crowd::new(4722, 250);
    let storm = aside("verger-storm").display().to_string();
    let mut it = pipes().with_numbers(2000).start(&crowd.command(&[&storm, "bomb", "60"]));
    it.command();
    eventually("it has grown", PATIENCE, || (crowd.all().len() >= 200).then_some(()));
    it.gone_after_hang_up(SOON);
    assert_eq!(crowd.all(), []);
}

/// They refill themselves, and only the numbers of their pid namespace bound them.
#[test]
fn a_bomb_of_500() {
    let _alone = Exclusive::take(Thing::Processors);
    for _ in 0..5 {
        grows_and_is_gone(&["bomb", "120"], 500, 450, SOON);
    }
}

#[test]
fn a_bomb_of_5000() {
    let _alone = Exclusive::take(Thing::Processors);
    grows_and_is_gone(&["bomb", "120"], 5000, 4500, SOON);
}

#[test]
fn a_bomb_of_250_below_a_supervise_of_the_same_user() {
    // No process can be had, for it neither.
    let _alone = Exclusive::take(Thing::Processors);
    let crowd = Crowd::new(4723, 250);
    let (storm, within) = (aside("verger-storm").display().to_string(), crowd.command(&[]));
    let mut it = pipes().within(&within).start(&[&storm, "bomb", "60"]);
    it.command();
    eventually("it has grown", PATIENCE, || (crowd.all().len() >= 200).then_some(()));
    it.hang_up();
    it.wait_good_end(&KILLED);
    assert_eq!(crowd.all(), []);
}

#[test]
fn a_bomb_of_5000_in_a_service() {
    let _alone = Exclusive::take(Thing::Processors);
    for held_by in ["cgroup", "pidns"] {
        let crowd = Crowd::new(4724, 5000);
        let storm = aside("verger-storm").display().to_string();
        let words: Vec<String> = crowd.command(&[&storm, "bomb", "120"]).into_iter().map(str::to_owned).collect();
        let plan = format!(
            "[service.bomb]\ncommand = {words:?}\ncontainment = '{held_by}'\nstop = ['TERM 0s']\nrestart = 'never'"
        );
        let machine = Setup::plan(&plan).start();
        eventually("it has grown", 3 * PATIENCE, || (crowd.all().len() >= 4000).then_some(()));
        machine.stop_service("bomb").expect("it stops");
        assert_eq!(crowd.all(), [], "{held_by}");
    }
}

#[test]
fn lines_of_fork_and_exit() {
    let _alone = Exclusive::take(Thing::Processors);
    for count in [50, 120, 200] {
        grows_and_is_gone(&["chains", &count.to_string(), "60"], 30_000, count, LINES);
    }
}

/// What they may take: some 0.1 s as a rule, and seconds when they are lucky.
const LINES: Duration = Duration::from_secs(8);
