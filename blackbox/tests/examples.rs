//! The examples, as the README has a new user start them: each comes up, survives a kill, and ends in order on Ctrl-C.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use rustix::process::{Pid, Signal, kill_process};
use verger_blackbox::{Folder, MARK, Output, PATIENCE, cli, group_folders, processes_of, program, search_path};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").canonicalize().unwrap()
}

/// `verger up` on an example; what it says to both of its outputs, in one.
struct Up {
    child: std::process::Child,
    said: Output,
    runtime: PathBuf,
    instance: String,
    _folder: Folder,
}

impl Up {
    fn start(example: &str) -> Up {
        Up::of(&examples().join(example), Folder::new())
    }

    fn of(plan: &Path, (folder, instance): (Folder, String)) -> Up {
        let runtime = folder.join("run");
        let (read, write) = std::io::pipe().unwrap();
        // As from a shell that a person types into: one that runs things in the background has them ignore Ctrl-C.
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP,INT,QUIT").arg(program("verger"));
        command.arg("up").arg(plan).current_dir(plan.parent().unwrap()).args([
            "--instance",
            &instance,
            "--color",
            "never",
        ]);
        command.env("VERGER_RUNTIME_DIR", &runtime).env("PATH", search_path()).env(MARK, &instance);
        command.stdin(Stdio::null()).stdout(write.try_clone().unwrap()).stderr(write);
        let child = command.spawn().unwrap();
        // Its ends of the pipe go with it.
        drop(command);
        Up { child, said: Output::of(read), runtime, instance, _folder: folder }
    }

    fn verger(&self, words: &[&str]) -> String {
        let words: Vec<&str> = words.iter().copied().chain(["--instance", &self.instance]).collect();
        let told = cli(&self.runtime, &words);
        assert_eq!(told.code, Some(0), "{words:?}: {}", told.stderr);
        told.stdout
    }

    fn pid(&self, name: &str) -> u32 {
        let told: serde_json::Value = serde_json::from_str(&self.verger(&["status", "--json", name])).unwrap();
        u32::try_from(told["services"][0]["pid"].as_u64().unwrap()).unwrap()
    }
}

#[test]
fn each_comes_up_survives_a_kill_and_ends_in_order() {
    let mut names: Vec<String> = std::fs::read_dir(examples()).unwrap().map(|entry| name(&entry.unwrap())).collect();
    // A configuration's part is no example of its own; and `owned.py` needs no daemon (see `owned.rs`).
    names.retain(|name| [".toml", ".json"].iter().any(|end| name.ends_with(end)) && !name.contains(".channels."));
    names.sort();
    // An AOS configuration knows no dependencies: there both end side by side.
    let known = [("pingpong.aos.json", false), ("pingpong.toml", true)];
    assert_eq!(names, known.map(|(name, _)| name), "what is new says here how it is tested");
    for (example, in_order) in known {
        comes_up_survives_and_ends(example, in_order);
    }
}

fn name(entry: &std::fs::DirEntry) -> String {
    entry.file_name().into_string().unwrap()
}

fn comes_up_survives_and_ends(example: &str, in_order: bool) {
    let mut up = Up::start(example);
    up.said.wait("2 services up", PATIENCE);
    up.said.wait("pong 2 after", PATIENCE);
    let killed = up.pid("pong");
    kill_process(Pid::from_raw(killed.cast_signed()).unwrap(), Signal::KILL).unwrap();
    up.said.wait("pong  was ended by SIGKILL", PATIENCE);
    up.said.wait("pong: listening", PATIENCE);
    up.said.wait_until("says that pong runs again", PATIENCE, |text| text.matches("pong  running (pid ").count() == 2);
    assert_ne!(up.pid("pong"), killed, "{example}");
    assert!(up.verger(&["why", "pong"]).contains("root: pong was ended by SIGKILL"), "{example}");

    kill_process(Pid::from_child(&up.child), Signal::INT).unwrap();
    let status = up.child.wait().unwrap();
    assert!(up.said.closed_within(PATIENCE), "somebody still holds its output");
    let said = up.said.text();
    assert!(status.success(), "{example}: {status}\n{said}");
    let at = |part: &str| said.rfind(part).unwrap_or_else(|| panic!("{example}: nothing says `{part}`:\n{said}"));
    assert!(!in_order || at("ping  down") < at("pong  stopping"), "{example}: ends in another order:\n{said}");
    assert_eq!(processes_of(&up.instance), Vec::<u32>::new(), "{example}");
    assert_eq!(group_folders(&up.instance), Vec::<PathBuf>::new(), "{example}");
}

#[test]
fn up_says_which_target_is_active_and_why_another_is_not() {
    let (folder, instance) = Folder::new();
    let plan = folder.write(
        "car.toml",
        "initial_target = 'drive'
         fallback_target = 'safe'
         [target.drive]
         services = ['camera']
         [target.safe]
         services = ['brake']
         [service.camera]
         command = \"sh -c 'exit 3'\"
         restart = 'never'
         [service.brake]
         command = 'sleep 1000'",
    );
    let mut up = Up::of(&plan, (folder, instance));
    up.said.wait("drive   target has failed: camera is failed", PATIENCE);
    up.said.wait("safe    target is active, as the fallback of drive", PATIENCE);
    kill_process(Pid::from_child(&up.child), Signal::INT).unwrap();
    assert!(up.child.wait().unwrap().success());
}

/// What a client has to say to a server.
const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

#[test]
fn who_comes_while_it_is_restarted_is_served() {
    let (folder, instance) = Folder::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let read = |name: &str| std::fs::read_to_string(examples().join("listen").join(name)).unwrap();
    let plan = read("listen.toml").replace("8470", &port.to_string());
    folder.write("hello.py", read("hello.py"));
    let plan = folder.write("listen.toml", plan);
    let mut up = Up::of(&plan, (folder, instance));
    up.said.wait("1 service up", PATIENCE);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let ask = || -> String {
        let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).expect("nobody is turned away");
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(REQUEST).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        let (_, answer) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("it is answered with {text:?}"));
        answer.trim().to_owned()
    };
    let answers = std::thread::scope(|threads| {
        let clients = [(); 4].map(|()| {
            threads.spawn(|| {
                let mut answers = BTreeSet::new();
                while !is_over.load(Ordering::Relaxed) {
                    answers.insert(ask());
                }
                answers.insert(ask());
                answers
            })
        });
        for _ in 0..5 {
            let before = up.pid("hello");
            assert_eq!(ask(), format!("hello from process {before}"));
            up.verger(&["restart", "hello"]);
            assert_ne!(up.pid("hello"), before);
        }
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<BTreeSet<String>>()
    });
    assert!(answers.contains(&format!("hello from process {}", up.pid("hello"))), "{answers:?}");
    assert!(answers.iter().all(|it| it.starts_with("hello from process ")), "{answers:?}");

    kill_process(Pid::from_child(&up.child), Signal::INT).unwrap();
    assert!(up.child.wait().unwrap().success());
    assert!(up.said.closed_within(PATIENCE), "somebody still holds its output");
}
