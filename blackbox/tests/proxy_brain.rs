//! `examples/brain`: a controller that is killed in the middle of its work, again and again, and what it looks after does not notice.
//!
//! `VERGER_BRAINS=N` says how often it is killed (200 if not said).

#![forbid(unsafe_code)]

use std::path::Path;

use rustix::process::Signal;
use verger_blackbox::{PATIENCE, Process, Proxy, ProxySetup, eventually};

/// Starts the example in a folder of its own.
fn start() -> Proxy {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/brain");
    let setup = ProxySetup::new(&["-i", "-c", "brain.conf"]);
    for name in ["brain.py", "brain.conf"] {
        std::fs::copy(example.join(name), setup.folder().join(name)).expect("it is there");
    }
    let folder = setup.folder().path().display().to_string();
    setup.within(&["env", "--chdir", &folder]).start()
}

/// What is so in the end, without what differs by chance: numbers of processes, times.
fn essence(proxy: &mut Proxy) -> Vec<String> {
    let mut lines = Vec::new();
    for line in proxy.dump() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["service.state", "brain", ..] => {}
            ["service.state", name, state, ..] => lines.push(format!("{name} is {state}")),
            [word, ..] if word.starts_with("service.") => {
                let same = fields.iter().filter(|field| !field.starts_with("seen="));
                lines.push(same.copied().collect::<Vec<_>>().join(" "));
            }
            _ => {}
        }
    }
    lines
}

/// The state and the process of a service now.
fn state(proxy: &mut Proxy, name: &str) -> (String, Option<Process>) {
    let lines = proxy.dump();
    let fields = lines.iter().map(|line| line.split('\t').collect::<Vec<_>>());
    let mut of_it = fields.filter(|fields| fields.starts_with(&["service.state", name]));
    match of_it.next() {
        Some(fields) => (fields[2].to_owned(), fields[4].parse().ok().map(Process)),
        None => ("unknown".to_owned(), None),
    }
}

/// Waits until all that the brain has to see to is so: the task that fails three times has, and is up as the others are.
fn wait_settled(proxy: &mut Proxy) {
    eventually("everything is up", 4 * PATIENCE, || {
        let lines = essence(proxy);
        let has = |begin: &str| lines.iter().any(|line| line.starts_with(begin));
        (has("db is up") && has("web is up") && has("flaky is up") && has("service.tags flaky fails=3")).then_some(())
    });
}

#[test]
fn a_brain_that_is_killed_again_and_again_leaves_the_same_behind() {
    let kills = std::env::var("VERGER_BRAINS").ok().and_then(|it| it.parse().ok()).unwrap_or(200);
    let mut twin = start();
    let mut proxy = start();
    proxy.wait_up("brain");
    let mut luck = 12345u32;
    for _ in 0..kills {
        luck = luck.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (_, brain) = state(&mut proxy, "brain");
        // Somewhere between its program's first instruction and the end of its work: so many answers later.
        for _ in 0..luck >> 8 & 1023 {
            proxy.sync();
        }
        brain.expect("it is up").signal(Signal::KILL);
        proxy.wait_down("brain");
        // It comes back by itself a second after its end; told to, at once.
        proxy.up("brain");
    }
    wait_settled(&mut proxy);
    wait_settled(&mut twin);
    assert_eq!(essence(&mut proxy), essence(&mut twin));

    // What it needs goes: it goes too, and both come back, with nobody's failure counted.
    let both = [&mut proxy, &mut twin].map(|proxy| {
        let (_, db) = state(proxy, "db");
        let (_, web) = state(proxy, "web");
        db.expect("it runs").signal(Signal::KILL);
        (proxy, web)
    });
    for (proxy, web) in both {
        eventually("it has another process", 4 * PATIENCE, || {
            let (state, now) = state(proxy, "web");
            (state == "up" && now != web).then_some(())
        });
    }
    wait_settled(&mut proxy);
    wait_settled(&mut twin);
    assert_eq!(essence(&mut proxy), essence(&mut twin));
}
