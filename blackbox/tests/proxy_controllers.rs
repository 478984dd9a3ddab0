//! `daemonproxy`: services that control it, over descriptors that it gives them.

#![forbid(unsafe_code)]

use verger_blackbox::{PATIENCE, Process, Proxy, ProxySetup, eventually, is_like};

const BOTH: &[&str] = &["control.event", "control.cmd", "stderr"];

/// A controller as scripts are written: it dumps, waits for its token, and then goes on from what comes.
const BRAIN: &str = r#"
import os, sys
def say(*fields): os.write(1, ("\t".join(fields) + "\n").encode())
lines = os.fdopen(0, "r", newline="\n")
def until(token):
    state = {}
    for line in lines:
        fields = line.rstrip("\n").split("\t")
        if fields == [token]:
            return state
        if fields[0] == "service.state":
            state[fields[1]] = fields
say("statedump")
say("echo", "tok-%d" % os.getpid())
state = until("tok-%d" % os.getpid())
if "work" not in state:
    say("service.args", "work", "sleep", "1000")
    say("service.fds", "work", "null", "null", "null")
    say("service.start", "work")
    say("service.tags", "work", "made by the first")
say("service.tags", "boss", "ready %d" % os.getpid())
for line in lines:
    fields = line.rstrip("\n").split("\t")
    if fields[0] == "overflow":
        say("statedump")
    if fields[0] == "service.state" and fields[1] == "work" and fields[2] == "down":
        say("service.start", "work")
"#;

#[test]
fn a_controller_has_its_echo_answered_and_its_end_is_told() {
    let mut proxy = Proxy::interactive(&[]);
    let script = "printf 'echo\\tis it me\\n'
        while read -r line; do [ \"$line\" = 'is it me' ] && { echo answered >&2; exit 42; }; done; exit 1";
    proxy.service("foo", BOTH, &["sh", "-c", script]);
    proxy.up("foo");
    proxy.expect_log("answered");
    assert_eq!(proxy.wait_down("foo"), ("exit".to_owned(), "42".to_owned()));
}

#[test]
fn the_first_event_of_a_controller_is_its_own_being_up() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", BOTH, &["sh", "-c", "read -r line; echo \"$$ $line\" >&2"]);
    let process = proxy.up("foo");
    let pid = process.0;
    proxy.expect_log(&format!("{pid} service.state\tfoo\tup\t#\t{pid}\t-\t-\t#\t-"));
}

#[test]
fn a_controller_is_told_of_pending_signals() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.signal(rustix::process::Signal::HUP);
    proxy.expect(&["signal", "SIGHUP", "#", "1"]);
    proxy.service("foo", BOTH, &["sh", "-c", "while read -r line; do echo \"$line\" >&2; done"]);
    proxy.up("foo");
    proxy.expect_log("signal\tSIGHUP\t#\t1");
}

#[test]
fn one_socket_serves_both_directions() {
    let mut proxy = Proxy::interactive(&[]);
    let script = "import os
os.write(0, b'echo\\tover one socket\\n')
text = b''
while b'over one socket\\n' not in text: text += os.read(0, 4096)
os.write(2, b'answered\\n')";
    proxy.service("foo", &["control.socket", "null", "stderr"], &["python3", "-c", script]);
    proxy.up("foo");
    proxy.expect_log("answered");
    proxy.wait_down("foo");
}

#[test]
fn all_its_descriptors_are_the_same_socket() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["control.event", "control.cmd", "null", "control.socket"], &["sleep", "1000"]);
    let service = proxy.up("foo");
    let open = eventually("it has become its program", PATIENCE, || {
        (service.status("Name") == "sleep").then(|| service.descriptors())
    });
    assert!(open[&0].starts_with("socket:["), "{open:?}");
    assert!(open[&0] == open[&1] && open[&0] == open[&3], "{open:?}");
}

#[test]
fn one_direction_alone_is_one_direction() {
    let mut proxy = Proxy::interactive(&[]);
    // Who has only the events cannot command.
    let script = "import os
try: os.write(0, b'service.tags\\tfoo\\tcommanded\\n')
except BrokenPipeError: os.write(2, b'cannot command\\n')
os.write(2, b'event ' + os.read(0, 13) + b'\\n')";
    proxy.service("foo", &["control.event", "null", "stderr"], &["python3", "-c", script]);
    proxy.up("foo");
    proxy.expect_log("event service.state");
    proxy.wait_down("foo");
    assert!(!proxy.dump().contains(&"service.tags\tfoo\tcommanded".to_owned()));
    // Who has only the commands hears nothing.
    let script = "import os
os.write(0, b'service.tags\\tbar\\tcommanded\\necho\\tx\\n')
os.write(2, b'heard %d\\n' % len(os.read(0, 100)))";
    proxy.service("bar", &["control.cmd", "null", "stderr"], &["python3", "-c", script]);
    proxy.send(&["service.start", "bar"]);
    proxy.expect(&["service.tags", "bar", "commanded"]);
    proxy.expect_log("heard 0");
}

#[test]
fn what_it_has_written_before_its_end_is_obeyed_and_what_is_unfinished_is_not() {
    let mut proxy = Proxy::interactive(&[]);
    let lines: String = (0..50).map(|number| format!("service.tags\\tfoo{number}\\tset\\n")).collect();
    let script = format!("printf '{lines}service.tags\\tunfinished\\tset'");
    assert!(script.len() < 1000 * 4);
    proxy.folder().script("burst", &script);
    let path = proxy.path("burst");
    proxy.service("foo", BOTH, &[&path]);
    proxy.up("foo");
    proxy.expect(&["service.tags", "foo49", "set"]);
    proxy.wait_down_or_dumped("foo");
    assert!(!proxy.dump().iter().any(|line| line.contains("unfinished")));
}

#[test]
fn after_its_end_nothing_of_it_is_left_open() {
    let mut proxy = Proxy::interactive(&[]);
    let before = proxy.process().descriptors().len();
    proxy.service("foo", BOTH, &["sh", "-c", "printf 'service.tags\\tfoo\\tran\\n'; exit 0"]);
    for _ in 0..30 {
        proxy.up("foo");
        proxy.wait_down("foo");
    }
    eventually("all is closed", PATIENCE, || (proxy.process().descriptors().len() == before).then_some(()));
}

#[test]
fn its_connection_lives_as_long_as_its_last_copy() {
    let mut proxy = Proxy::interactive(&[]);
    let script = "(read -r go < @@/go; printf 'service.tags\\tfoo\\tby the child\\n') & exit 0".to_owned();
    let script = script.replace("@@", &proxy.folder().path().display().to_string());
    let fifo = proxy.folder().fifo("go");
    proxy.service("foo", BOTH, &["sh", "-c", &script]);
    proxy.up("foo");
    proxy.wait_down("foo");
    std::fs::write(fifo, "go\n").expect("the child waits for it");
    proxy.expect(&["service.tags", "foo", "by the child"]);
}

#[test]
fn a_controller_from_a_configuration_alone_runs_everything() {
    let setup = ProxySetup::new(&["-c", "@@/conf"]);
    let script = setup.folder().write("brain", BRAIN).display().to_string();
    let conf = format!(
        "service.args\tboss\tpython3\t{script}\nservice.fds\tboss\tcontrol.event\tcontrol.cmd\tstderr\nservice.auto_up\tboss\t1\talways\n"
    );
    setup.folder().write("conf", conf);
    let proxy = setup.start();
    eventually("the controller has started its work", PATIENCE, || {
        proxy.process().children().iter().any(|it| it.status("Name") == "sleep").then_some(())
    });
}

#[test]
fn a_controller_that_is_killed_goes_on_where_it_was() {
    let mut proxy = Proxy::interactive(&[]);
    let script = proxy.folder().write("brain", BRAIN).display().to_string();
    proxy.service("boss", BOTH, &["python3", &script]);
    proxy.send(&["service.auto_up", "boss", "1", "always"]);
    let work = proxy.wait_up("work");
    for _ in 0..3 {
        let ready = proxy.expect(&["service.tags", "boss", "ready #"]);
        let boss = Process(ready[2].trim_start_matches("ready ").parse().expect("it is a number"));
        assert!(work.lives());
        boss.signal(rustix::process::Signal::KILL);
    }
    proxy.expect(&["service.tags", "boss", "ready #"]);
    let dump = proxy.dump();
    assert!(dump.iter().any(|line| is_like(format!("service.state\twork\tup\t#\t{}\t**", work.0), line)), "{dump:?}");
    assert!(dump.contains(&"service.tags\twork\tmade by the first".to_owned()), "{dump:?}");
    // It still does its work.
    work.signal(rustix::process::Signal::KILL);
    proxy.wait_down("work");
    proxy.wait_up("work");
}

#[test]
fn a_controller_that_does_not_read_is_closed_and_the_next_one_comes() {
    let mut proxy = Proxy::interactive(&[]);
    // Whoever writes to it then ends by SIGPIPE.
    let script = "printf 'conn.event_timeout\\t1\\t1\\n'
        i=0; while [ $i -lt 40000 ]; do printf 'echo\\tsomething long enough to fill what is between us\\n'; i=$((i+1)); done
        exec sleep 1000";
    proxy.service("foo", BOTH, &["sh", "-c", script]);
    proxy.obey(&["service.auto_up", "foo", "1", "always"]);
    let first = proxy.dump().into_iter().find(|line| line.starts_with("service.state\tfoo\tup\t"));
    assert!(first.is_some());
    proxy.expect(&["service.state", "foo", "down", "#", "#", "signal", "SIGPIPE", "#", "#"]);
    proxy.wait_up("foo");
}

#[test]
fn two_controllers_beside_the_interactive_one_are_survived() {
    let mut proxy = Proxy::interactive(&[]);
    for name in ["foo", "bar", "baz"] {
        proxy.service(name, BOTH, &["sh", "-c", "while read -r line; do :; done"]);
        proxy.send(&["service.start", name]);
        proxy.expect(&["service.state", name, "start", "**"]);
        proxy.assert_answers();
    }
    // Whoever found no room is tried again and comes in when somebody leaves.
    let dump = proxy.dump();
    assert!(dump.iter().any(|line| is_like("service.state\tfoo\tup\t**", line)), "{dump:?}");
    for name in ["foo", "bar", "baz"] {
        proxy.send(&["service.signal", name, "KILL"]);
        proxy.sync();
    }
    eventually("all have had their turn, and none is up", PATIENCE, || {
        for name in ["foo", "bar", "baz"] {
            proxy.send(&["service.signal", name, "KILL"]);
        }
        let dump = proxy.dump();
        let down = |name| dump.iter().any(|it| is_like(format!("service.state\t{name}\tdown\t#\t#\tsignal\t**"), it));
        ["foo", "bar", "baz"].into_iter().all(down).then_some(())
    });
}

#[test]
fn a_controller_restarts_another_and_itself_is_restarted() {
    let mut proxy = Proxy::interactive(&[]);
    let script = "printf 'service.signal\\tfoo\\tKILL\\n'; sleep 1000";
    proxy.service("foo", BOTH, &["sh", "-c", script]);
    proxy.obey(&["service.auto_up", "foo", "1", "always"]);
    for _ in 0..2 {
        proxy.expect(&["service.state", "foo", "down", "#", "#", "signal", "SIGKILL", "#", "#"]);
    }
}

#[test]
fn over_long_and_unknown_lines_of_a_controller_are_its_own_errors() {
    let mut proxy = Proxy::interactive(&[]);
    let script = "import os
os.write(1, b'x' * 5000 + b'\\nnonsense\\necho\\tend\\n')
for line in os.fdopen(0):
    os.write(2, line.encode())
    if line == 'end\\n': break";
    proxy.service("foo", BOTH, &["python3", "-c", "exec(open('@@/s').read())"]);
    proxy.folder().write("s", script);
    let place = format!("exec(open('{}').read())", proxy.path("s"));
    proxy.obey(&["service.args", "foo", "python3", "-c", &place]);
    proxy.up("foo");
    proxy.expect_log("error\t**long**");
    proxy.expect_log("error\t**nonsense**");
    proxy.expect_log("end");
    assert!(!proxy.sync().iter().any(|line| line.starts_with("error")));
}
