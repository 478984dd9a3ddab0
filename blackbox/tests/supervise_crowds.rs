//! Crowds below `supervise`: large trees, and those that grow while they are ended. Nobody survives.
//!
//! Each has the machine to itself: how long it takes is part of what is asked.

#![forbid(unsafe_code)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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

#[test]
fn a_bomb_of_250_that_refills_itself() {
    let _alone = Exclusive::take(Thing::Processors);
    let crowd = Crowd::new(4722, 250);
    let storm = aside("verger-storm").display().to_string();
    let mut it = pipes().start(&crowd.command(&[&storm, "bomb", "60"]));
    it.command();
    eventually("it has grown", PATIENCE, || (crowd.all().len() >= 200).then_some(()));
    let begun = Instant::now();
    it.hang_up();
    it.wait_good_end(&KILLED);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(crowd.all(), []);
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

/// Of so many, refilling themselves, only the kernel gets hold at once. What `supervise` alone does with them is not promised and not
/// tested: see docs/supervise.md.
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
    for count in ["50", "120", "200"] {
        let mut it = pipes().start(&[&aside("verger-storm").display().to_string(), "chains", count, "60"]);
        let command = it.command();
        // The first of each line has begun, and most have ended: nobody reaps them.
        eventually("all lines have begun", PATIENCE, || (command.children().len().to_string() == count).then_some(()));
        let begun = Instant::now();
        it.hang_up();
        it.wait_good_end(&KILLED);
        assert!(begun.elapsed() < Duration::from_secs(8), "{count}: {:?}", begun.elapsed());
    }
}
