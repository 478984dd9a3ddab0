//! Sockets that the plan has the daemon listen with: what a service is told of them, who is served when, and what becomes of them
//! when a service, or the daemon, does not live on.

#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use rustix::process::Signal;
use verger_blackbox::message::Breakage;
use verger_blackbox::{Folder, Machine, PATIENCE, Phase, Process, Setup, cli, eventually};
use verger_client::Connection;

/// Serves what it is told of as `sd_listen_fds(3)` has it: everybody is answered with the socket's name, the server's number and
/// what was said.
const SERVER: &str = r#"
import os, select, socket, sys
if os.environ["LISTEN_PID"] != str(os.getpid()): sys.exit("told as another's")
names = os.environ["LISTEN_FDNAMES"].split(":")
if len(names) != int(os.environ["LISTEN_FDS"]): sys.exit("names and numbers differ")
sockets = {socket.socket(fileno=3 + at): name for at, name in enumerate(names)}
if any(os.get_blocking(it.fileno()) is False for it in sockets): sys.exit("they do not block")
answer = lambda it, said: f"{sockets[it]} {os.getpid()} {said.decode()}".encode()
while True:
    for it in select.select(list(sockets), [], [])[0]:
        if it.type == socket.SOCK_DGRAM:
            said, who = it.recvfrom(100)
            it.sendto(answer(it, said), who)
        else:
            with it.accept()[0] as client:
                client.sendall(answer(it, client.recv(100)))
"#;

/// A machine with this plan, in which `@serve` is the server's command.
fn setup(plan: &str) -> Setup {
    let setup = Setup::empty();
    setup.folder().write("serve.py", SERVER);
    setup.with_plan(&plan_of(plan))
}

fn plan_of(plan: &str) -> String {
    plan.replace("@serve", "['python3', '-S', '@@/serve.py']")
}

fn start(plan: &str) -> Machine {
    setup(plan).start()
}

/// The next daemon of the same instance.
fn next(machine: &Machine, plan: &str) -> Machine {
    let plan = plan_of(plan).replace("@@", &machine.folder().path().display().to_string());
    Setup::beside(machine).with_plan(&plan).start()
}

fn kill(machine: &mut Machine) {
    machine.somebody_goes_on();
    machine.signal(Signal::KILL);
    machine.wait_end();
}

/// A port that nobody has: neither of connections nor of packets.
fn free_port() -> u16 {
    eventually("there is a free port", PATIENCE, || {
        let port = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?.local_addr().ok()?.port();
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).ok().map(|_| port)
    })
}

/// Says something, to be answered later.
fn asks<S: Read + Write>(mut client: S) -> S {
    client.write_all(b"hello").expect("it is taken");
    client
}

/// Waits for the answer: the socket's name, and who answers.
fn answered(mut client: impl Read) -> (String, u32) {
    let mut text = String::new();
    client.read_to_string(&mut text).expect("it is answered");
    parts(&text)
}

fn parts(text: &str) -> (String, u32) {
    let mut words = text.split(' ');
    let (name, pid, said) = (words.next(), words.next(), words.next());
    assert_eq!(said, Some("hello"), "{text}");
    (name.unwrap_or_default().to_owned(), pid.and_then(|pid| pid.parse().ok()).expect("it is a number"))
}

fn tcp(port: u16) -> TcpStream {
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it takes connections");
    client.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    client
}

fn unix(path: impl AsRef<Path>) -> UnixStream {
    let client = UnixStream::connect(path).expect("it takes connections");
    client.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    client
}

/// The socket that a process has on a number, as the kernel names it: `socket:[4711]`.
fn socket_of(process: Process, number: u32) -> String {
    let name = process.descriptors().get(&number).cloned().unwrap_or_default();
    assert!(name.starts_with("socket:["), "{number} is {name}");
    name
}

fn daemon_has(machine: &Machine, socket: &str) -> bool {
    machine.process().descriptors().values().any(|it| it == socket)
}

#[test]
fn each_kind_is_served() {
    let (port, packets, one) = (free_port(), free_port(), free_port());
    let setup = Setup::empty();
    let name = format!("{}-abstract", setup.name());
    setup.folder().write("serve.py", SERVER);
    let machine = setup
        .with_plan(&plan_of(&format!(
            "[handle.all]
             listen = 'tcp:{port}'
             [handle.one]
             listen = 'tcp:127.0.0.1:{one}'
             backlog = 5
             [handle.packets]
             listen = 'udp:{packets}'
             [handle.file]
             listen = 'unix:@@/sock'
             mode = '0660'
             [handle.packet-file]
             listen = 'unix-datagram:@@/packets'
             mode = '0777'
             [handle.abstract]
             listen = 'unix:@{name}'
             [service.a]
             command = @serve
             descriptors = {{ 3 = 'all', 4 = 'one', 5 = 'packets', 6 = 'file', 7 = 'packet-file', 8 = 'abstract' }}"
        )))
        .start();
    let pid = machine.wait_ready("a").pid.expect("it runs");
    let expected = |name: &str| (name.to_owned(), pid);
    assert_eq!(answered(asks(tcp(port))), expected("all"));
    let v6 = TcpStream::connect((std::net::Ipv6Addr::LOCALHOST, port));
    // Where there is IPv6 at all, the same port has it.
    if Path::new("/proc/net/if_inet6").exists() && TcpListener::bind("[::1]:0").is_ok() {
        assert_eq!(answered(asks(v6.expect("it takes IPv6 too"))), expected("all"));
    }
    assert_eq!(answered(asks(tcp(one))), expected("one"));
    let other = TcpStream::connect(("127.0.0.2", one)).expect_err("it is another address");
    assert_eq!(other.kind(), std::io::ErrorKind::ConnectionRefused);

    let client = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    client.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    client.send_to(b"hello", ("127.0.0.1", packets)).expect("it is sent");
    let mut bytes = [0; 100];
    let length = client.recv(&mut bytes).expect("it is answered");
    assert_eq!(parts(std::str::from_utf8(&bytes[..length]).expect("it is text")), expected("packets"));

    let folder = machine.folder();
    assert_eq!(answered(asks(unix(folder.join("sock")))), expected("file"));
    let address = SocketAddr::from_abstract_name(&name).expect("it is a name");
    assert_eq!(answered(asks(UnixStream::connect_addr(&address).expect("it is there"))), expected("abstract"));
    let client = UnixDatagram::bind(folder.join("client")).expect("there is room");
    client.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    client.send_to(b"hello", folder.join("packets")).expect("it is sent");
    let length = client.recv(&mut bytes).expect("it is answered");
    assert_eq!(parts(std::str::from_utf8(&bytes[..length]).expect("it is text")), expected("packet-file"));

    let mode = |name: &str| std::fs::metadata(folder.join(name)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode("sock"), mode("packets")), (0o660, 0o777));
}

#[test]
fn who_comes_while_nobody_serves_is_served_after() {
    let port = free_port();
    let machine = start(&format!(
        "[handle.http]
         listen = 'tcp:{port}'
         [handle.own]
         listen = 'unix:@@/sock'
         [service.a]
         command = @serve
         descriptors = {{ 3 = 'http', 4 = 'own' }}
         restart_delay = '1ms'"
    ));
    let first = machine.wait_ready("a");
    let socket = |pid: Option<u32>| socket_of(Process(pid.expect("it runs")), 3);
    let before = socket(first.pid);
    machine.stop_service("a").expect("it stops");
    let clients = (asks(tcp(port)), asks(unix(machine.folder().join("sock"))));
    machine.start_service("a").expect("it starts");
    let second = machine.wait_ready("a");
    let pid = second.pid.expect("it runs");
    assert_eq!(answered(clients.0), ("http".to_owned(), pid));
    assert_eq!(answered(clients.1), ("own".to_owned(), pid));
    assert_eq!(socket(second.pid), before);
    // Killed, again and again: nobody is turned away.
    let mut run = second.run;
    for _ in 0..5 {
        machine.main_process("a").signal(Signal::KILL);
        let client = asks(tcp(port));
        let other = machine.wait_other_run("a", run);
        // It may have been taken by the former one, just before that was killed, but then it was told so.
        let (name, _) = answered(client);
        assert_eq!(name, "http");
        run = other.run;
    }
}

#[test]
fn what_a_program_is_told_is_its_own() {
    let plan = |more: &str| {
        format!(
            "[handle.a]
             listen = 'unix:@@/a'
             [handle.b]
             listen = 'unix:@@/b'
             [handle.log]
             pipe = true
             {more}"
        )
    };
    let service = |name: &str, descriptors: &str, more: &str| {
        format!(
            "[service.{name}]
             command = ['sh', '-c', 'echo $$ ${{LISTEN_PID-}} ${{LISTEN_FDS-}} ${{LISTEN_FDNAMES-}} > @@/{name}; exec sleep 1000']
             descriptors = {descriptors}
             {more}
             "
        )
    };
    let (both, told) = ("{ 3 = 'b', 4 = 'a' }", Some("2 b:a"));
    let cases = [
        ("plain", both, "", told),
        ("grouped", both, "containment = 'group'", told),
        ("shimmed", both, "containment = 'shim'", told),
        ("gap", "{ 3 = 'a', 5 = 'b' }", "", Some("1 a")),
        ("twice", "{ 3 = 'a', 4 = 'a' }", "", Some("2 a:a")),
        ("elsewhere", "{ 0 = 'a', 7 = 'b' }", "", None),
        ("behind", "{ 3 = 'log.w', 4 = 'a' }", "", None),
        ("not-at-all", "{}", "", None),
        ("own-words", both, "environment = { LISTEN_FDNAMES = 'x:y' }", Some("2 x:y")),
        ("alone", both, "inherit_environment = false\nenvironment = { PATH = '/bin:/usr/bin' }", told),
        ("own-numbers", both, "containment = 'pidns'", told),
    ];
    let services: String = cases.iter().map(|(name, at, more, _)| service(name, at, more)).collect();
    // What the daemon itself is told is nobody else's.
    let listen = [("LISTEN_FDS", "1"), ("LISTEN_PID", "1"), ("LISTEN_FDNAMES", "x")];
    let setup = listen.into_iter().fold(Setup::plan(&plan(&services)), |setup, (name, value)| setup.env(name, value));
    let machine = setup.start();
    for (name, _, _, expected) in cases {
        let said = machine.wait_lines(name, 1).remove(0);
        let (own, rest) = said.split_once(' ').unwrap_or((&said, ""));
        match expected {
            Some(expected) => assert_eq!(rest, format!("{own} {expected}"), "{name}"),
            None => assert_eq!(rest, "", "{name}"),
        }
        assert!(own.parse::<u32>().is_ok(), "{name}: {said}");
    }
    // And nobody has a socket that is not given one.
    let descriptors = machine.main_process("not-at-all").descriptors();
    assert!(descriptors.keys().eq([&0, &1, &2]), "{descriptors:?}");
    assert!(socket_of(machine.main_process("elsewhere"), 0) != socket_of(machine.main_process("elsewhere"), 7));
}

#[test]
fn eight_services_say_what_they_have_to_say_into_one_pipe() {
    let services: String = (1..=8)
        .map(|at| {
            format!(
                "[service.s{at}]
                 command = ['sh', '-c', 'echo said by {at}; exec sleep 1000']
                 descriptors = {{ 0 = 'null', 1 = 'log.w', 2 = 'log.w' }}
                 "
            )
        })
        .collect();
    let machine = Machine::start(&format!(
        "[handle.log]
         pipe = true
         [service.logger]
         command = ['sh', '-c', 'while read -r line; do echo \"$line\" >> @@/log; done']
         descriptors = {{ 0 = 'log.r' }}
         {services}"
    ));
    let mut lines = machine.wait_lines("log", 8);
    lines.sort();
    assert_eq!(lines, (1..=8).map(|at| format!("said by {at}")).collect::<Vec<_>>());
    let pipe = machine.main_process("logger").descriptors()[&0].clone();
    for at in 1..=8 {
        assert_eq!(machine.main_process(&format!("s{at}")).descriptors()[&1], pipe);
    }
}

#[test]
fn a_file_that_the_program_removes_at_its_end_is_there_for_the_next() {
    let machine = start(
        "[handle.own]
         listen = 'unix:@@/sock'
         [service.a]
         command = @serve
         descriptors = { 3 = 'own' }
         [service.b]
         command = 'sleep 1000'
         descriptors = { 3 = 'own' }",
    );
    let path = machine.folder().join("sock");
    machine.wait_ready("a");
    machine.stop_service("a").expect("it stops");
    std::fs::remove_file(&path).expect("it is there");
    machine.start_service("a").expect("it starts");
    assert_eq!(answered(asks(unix(&path))), ("own".to_owned(), machine.main_process("a").0));
    // Who runs has what it was given.
    let sockets = ["a", "b"].map(|name| socket_of(machine.main_process(name), 3));
    assert_ne!(sockets[0], sockets[1]);
    let mut machine = machine;
    machine.end();
    assert!(!path.exists());
}

// ---- the daemon does not live on ----

/// One service that lives on, and one that does not.
fn house(port: u16) -> String {
    format!(
        "[handle.http]
         listen = 'tcp:{port}'
         [handle.own]
         listen = 'unix:@@/sock'
         [handle.packets]
         listen = 'unix-datagram:@@/packets'
         [service.lives]
         command = @serve
         descriptors = {{ 3 = 'http', 4 = 'packets' }}
         survive = true
         [service.dies]
         command = @serve
         descriptors = {{ 3 = 'own' }}"
    )
}

#[test]
fn it_is_the_same_socket_under_the_next_daemon() {
    let (port, plan) = {
        let port = free_port();
        (port, house(port))
    };
    let mut machine = start(&plan);
    let (lives, dies) = (machine.wait_ready("lives"), machine.wait_ready("dies"));
    let main = Process(lives.pid.expect("it runs"));
    let (http, packets) = (socket_of(main, 3), socket_of(main, 4));
    let own = socket_of(Process(dies.pid.expect("it runs")), 3);
    let path = machine.folder().join("sock");
    kill(&mut machine);
    // Who lives on serves; who does not is waited for.
    assert_eq!(answered(asks(tcp(port))), ("http".to_owned(), main.0));
    let client = asks(unix(&path));
    let mut next = next(&machine, &plan);
    let again = next.wait_other_run("dies", dies.run);
    assert_eq!(answered(client), ("own".to_owned(), again.pid.expect("it runs")));
    assert_eq!(next.main_process("lives"), main);
    for socket in [&http, &packets, &own] {
        assert!(daemon_has(&next, socket), "the next daemon does not have {socket}");
    }
    // It is given to whoever comes next.
    next.stop_service("lives").expect("it stops");
    let client = asks(tcp(port));
    next.start_service("lives").expect("it starts");
    let second = next.wait_ready("lives");
    assert_eq!(answered(client), ("http".to_owned(), second.pid.expect("it runs")));
    assert_eq!(socket_of(next.main_process("lives"), 3), http);
    assert_eq!(next.end().code(), Some(0));
    assert!(!path.exists() && !machine.folder().join("packets").exists(), "their files go at the end");
}

#[test]
fn another_plan_has_what_is_the_same_and_opens_what_is_not() {
    let (port, other) = (free_port(), free_port());
    let mut machine = start(&house(port));
    let main = Process(machine.wait_ready("lives").pid.expect("it runs"));
    let dies = machine.wait_ready("dies");
    let (http, packets) = (socket_of(main, 3), socket_of(main, 4));
    let inode = std::fs::metadata(machine.folder().join("packets")).expect("it is there");
    kill(&mut machine);
    // One listens elsewhere, one is called otherwise and has another mode, one is gone.
    let plan = format!(
        "[handle.http]
         listen = 'tcp:{other}'
         [handle.datagrams]
         listen = 'unix-datagram:@@/packets'
         mode = '0600'
         [service.lives]
         command = @serve
         descriptors = {{ 3 = 'http', 4 = 'datagrams' }}
         survive = true"
    );
    let next = next(&machine, &plan);
    assert!(Process(dies.pid.expect("it ran")).ended_within(PATIENCE));
    assert!(daemon_has(&next, &packets) && !daemon_has(&next, &http));
    let now = std::fs::metadata(machine.folder().join("packets")).expect("it is there");
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&now), std::os::unix::fs::MetadataExt::ino(&inode));
    assert_eq!(now.permissions().mode() & 0o777, 0o600);
    assert!(!machine.folder().join("sock").exists(), "nobody has that one any more");
    // Who lives on has what it was given; after its restart it has the other.
    assert_eq!(answered(asks(tcp(port))), ("http".to_owned(), main.0));
    next.restart_service("lives").expect("it is restarted");
    let pid = next.wait_ready("lives").pid.expect("it runs");
    assert_eq!(answered(asks(tcp(other))), ("http".to_owned(), pid));
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
}

#[test]
fn it_is_the_same_socket_in_the_next_program() {
    let port = free_port();
    let machine = start(&house(port));
    let (lives, own) = (machine.wait_ready("lives"), socket_of(machine.main_process("dies"), 3));
    let http = socket_of(machine.main_process("lives"), 3);
    machine.stop_service("dies").expect("it stops");
    let path = machine.folder().join("sock");
    let client = asks(unix(&path));
    for _ in 0..3 {
        let said = cli(machine.runtime(), &["reexec", "--instance", machine.instance()]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(daemon_has(&machine, &own) && daemon_has(&machine, &http));
    }
    assert_eq!(answered(asks(tcp(port))), ("http".to_owned(), lives.pid.expect("it runs")));
    machine.start_service("dies").expect("it starts");
    assert_eq!(answered(client), ("own".to_owned(), machine.show("dies").pid.expect("it runs")));
    let mut machine = machine;
    assert_eq!(machine.end().code(), Some(0));
    assert!(!path.exists(), "what was taken over is removed too");
}

#[test]
fn it_is_the_same_socket_after_a_breakage() {
    let setup = setup(&house(free_port()));
    let machine = setup.arg("--debug").start();
    let (own, client) = (socket_of(machine.main_process("dies"), 3), unix(machine.folder().join("sock")));
    let answer = machine.client().inject(Breakage::Panic, None);
    assert!(answer.is_err(), "it answered");
    let path = machine.address().control();
    eventually("it answers again", PATIENCE, || Connection::to_path(&path).ok()?.describe().ok());
    assert!(daemon_has(&machine, &own));
    assert_eq!(answered(asks(client)), ("own".to_owned(), machine.show("dies").pid.expect("it runs")));
}

#[test]
fn a_file_that_a_daemon_left_is_replaced() {
    let plan = "
        [handle.own]
        listen = 'unix:@@/sock'
        [service.a]
        command = @serve
        descriptors = { 3 = 'own' }";
    let mut machine = start(plan);
    machine.wait_ready("a");
    kill(&mut machine);
    let mut next = next(&machine, plan);
    next.wait_ready("a");
    let path = machine.folder().join("sock");
    assert_eq!(answered(asks(unix(&path))).0, "own");
    next.end();
    assert!(!path.exists());
}

#[test]
fn what_a_survivor_listens_at_is_in_the_way_until_it_is_restarted() {
    let port = free_port();
    let plan = format!(
        "[handle.http]
         listen = 'tcp:{port}'
         [service.lives]
         command = @serve
         descriptors = {{ 3 = 'http' }}
         survive = true"
    );
    let mut machine = setup(&plan).env("VERGER_CONTAINMENT", "cgroup").start();
    let main = machine.main_process("lives");
    let lock = machine.runtime().join(machine.instance()).join("lock");
    let keeper = eventually("there is a keeper", PATIENCE, || {
        let text = std::fs::read_to_string(&lock).ok()?;
        text.lines().nth(1)?.trim().parse().ok().filter(|pid| *pid != 0).map(Process)
    });
    machine.signal(Signal::STOP);
    keeper.signal(Signal::KILL);
    kill(&mut machine);
    assert!(keeper.ended_within(PATIENCE));
    let next = next(&machine, &plan);
    next.stderr().wait(&format!("handle `http` does not listen at tcp:{port}"), PATIENCE);
    assert_eq!(next.main_process("lives"), main);
    assert_eq!(answered(asks(tcp(port))).1, main.0);
    next.restart_service("lives").expect("it is restarted");
    let again = next.main_process("lives");
    assert_eq!(answered(asks(tcp(port))).1, again.0);
    assert!(daemon_has(&next, &socket_of(again, 3)));
}

// ---- what is in the way ----

/// A service that is to listen at the path `sock`, with something in its way.
fn in_the_way(folder: &Folder) -> String {
    format!(
        "[handle.own]
         listen = 'unix:{}'
         [service.a]
         command = @serve
         descriptors = {{ 3 = 'own' }}",
        folder.join("sock").display()
    )
}

fn why(machine: &Machine) -> String {
    cli(machine.runtime(), &["why", "a", "--instance", machine.instance()]).stdout
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let (folder, _) = Folder::new();
    folder.write("sock", "precious");
    let mut machine = start(&in_the_way(&folder));
    machine.wait("a", Phase::Failed);
    let said = machine.stderr().wait("left alone", PATIENCE);
    let path = folder.join("sock").display().to_string();
    assert!(said.contains(&format!("handle `own` does not listen at unix:{path}: File exists")), "{said}");
    assert!(why(&machine).contains(&path), "{}", why(&machine));
    // It can be moved away, and then it is tried again.
    std::fs::rename(folder.join("sock"), folder.join("moved")).expect("it can be moved");
    machine.start_service("a").expect("it starts");
    assert_eq!(answered(asks(unix(&path))).0, "own");
    // What takes the name of ours is not ours.
    std::fs::remove_file(&path).expect("it is there");
    folder.write("sock", "another");
    assert_eq!(machine.end().code(), Some(0));
    assert_eq!((folder.read("sock"), folder.read("moved")), ("another".to_owned(), "precious".to_owned()));
}

#[test]
fn a_deserted_socket_is_replaced_and_a_live_one_is_not() {
    let (folder, _) = Folder::new();
    let path = folder.join("sock");
    let other = UnixListener::bind(&path).expect("there is room");
    let machine = start(&in_the_way(&folder));
    machine.wait("a", Phase::Failed);
    machine.stderr().wait("in use (os error 98)", PATIENCE);
    assert!(why(&machine).contains("another program listens there already"), "{}", why(&machine));
    assert!(std::fs::metadata(&path).expect("it is there").file_type().is_socket());
    let _our_probe = other.accept();
    // Nobody listens any more, but its file is still there.
    drop(other);
    // (A process that another test is just starting may have it for a moment.)
    eventually("nobody listens", PATIENCE, || UnixStream::connect(&path).is_err().then_some(()));
    assert!(path.exists());
    machine.start_service("a").expect("it starts");
    assert_eq!(answered(asks(unix(&path))).0, "own");
    // The other way round: one that finds a deserted one begins with it.
    let mut machine = machine;
    machine.end();
    assert!(!path.exists());
    drop(UnixListener::bind(&path).expect("there is room"));
    eventually("nobody listens", PATIENCE, || UnixStream::connect(&path).is_err().then_some(()));
    let machine = start(&in_the_way(&folder));
    machine.wait_ready("a");
    assert_eq!(answered(asks(unix(&path))).0, "own");
}

#[test]
fn a_port_that_somebody_has_is_told_and_tried_again() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a port");
    let port = other.local_addr().expect("it has one").port();
    let machine = start(&format!(
        "[handle.http]
         listen = 'tcp:127.0.0.1:{port}'
         [service.a]
         command = @serve
         descriptors = {{ 3 = 'http' }}
         [service.b]
         command = 'sleep 1000'"
    ));
    let failed = machine.wait("a", Phase::Failed);
    machine.wait_ready("b");
    let said = machine.stderr().wait("it is tried again when a service that uses it is started", PATIENCE);
    // C libraries spell the error in two ways.
    let text = format!("handle `http` does not listen at tcp:127.0.0.1:{port}: Address ");
    assert!(
        said.contains(&text) && said.contains("in use (os error 98)") && said.contains("`ss -lptux` tells which"),
        "{said}"
    );
    assert!(why(&machine).contains(&format!("tcp:127.0.0.1:{port} (descriptor 3)")), "{}", why(&machine));
    assert_eq!(failed.pid, None);
    drop(other);
    // (A process that another test is just starting may have it for a moment.)
    eventually("it starts", PATIENCE, || machine.start_service("a").ok());
    let socket = socket_of(machine.main_process("a"), 3);
    assert_eq!(answered(asks(tcp(port))).0, "http");
    // And it is held like any other.
    let said = cli(machine.runtime(), &["reexec", "--instance", machine.instance()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(daemon_has(&machine, &socket));
}
