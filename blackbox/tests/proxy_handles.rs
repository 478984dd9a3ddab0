//! `daemonproxy`: handles of all kinds, what is told of them, and services that have them.

#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};

use verger_blackbox::{Proxy, ProxySetup, is_like};

#[track_caller]
fn has(lines: &[String], pattern: &[&str]) -> bool {
    lines.iter().any(|line| is_like(pattern.join("\t"), line))
}

/// A port of this machine that nobody has at this moment, for both kinds.
fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let port = tcp.local_addr().expect("it has one").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

// ---- files ----

#[test]
fn a_file_is_made_and_read_by_services() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.folder().write("in", "through a file\n");
    proxy.send(&["fd.open", "in", "read", "@@/in"]);
    proxy.expect_next(&["fd.state", "in", "file", "read", "@@/in"]);
    proxy.send(&["fd.open", "out", "write,create", "@@/out"]);
    proxy.expect_next(&["fd.state", "out", "file", "write,create", "@@/out"]);
    let mode = proxy.folder().join("out").metadata().expect("it is made").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    proxy.service("cat", &["in", "out", "stderr"], &["cat"]);
    proxy.up("cat");
    assert_eq!(proxy.wait_down("cat"), ("exit".to_owned(), "0".to_owned()));
    assert_eq!(proxy.folder().read("out"), "through a file\n");
}

#[test]
fn flags_of_files_are_told_in_order() {
    let mut proxy = Proxy::interactive(&[]);
    for (given, told) in [
        ("", "read"),
        ("read", "read"),
        ("nonblock", "read,nonblock"),
        ("create", "read,create"),
        ("write,read", "read,write"),
        ("write", "write"),
        ("mkdir,nonblock,trunc,create,append,write,read", "read,write,append,create,trunc,nonblock,mkdir"),
        ("trunc,write", "write,trunc"),
    ] {
        proxy.folder().write("file", "");
        proxy.send(&["fd.open", "foo", given, "@@/file"]);
        proxy.expect_next(&["fd.state", "foo", "file", told, "@@/file"]);
    }
}

#[test]
fn what_is_appended_and_cut_is_so() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.folder().write("append", "kept\n");
    proxy.folder().write("trunc", "lost, all of it\n");
    proxy.obey(&["fd.open", "a", "append,write", "@@/append"]);
    proxy.obey(&["fd.open", "t", "trunc,write", "@@/trunc"]);
    proxy.service("foo", &["null", "a", "t"], &["sh", "-c", "echo new; echo new >&2"]);
    proxy.up("foo");
    proxy.wait_down("foo");
    assert_eq!((proxy.folder().read("append"), proxy.folder().read("trunc")), ("kept\nnew\n".into(), "new\n".into()));
}

#[test]
fn missing_folders_are_made_when_asked_for() {
    let mut proxy = Proxy::interactive(&[]);
    let error = proxy.refuse(&["fd.open", "foo", "write,create", "@@/a/b/file"]);
    assert!(error.contains("No such file"), "{error}");
    proxy.send(&["fd.open", "foo", "write,create,mkdir", "@@/a/b/file"]);
    proxy.expect_next(&["fd.state", "foo", "file", "write,create,mkdir", "@@/a/b/file"]);
    for folder in ["a", "a/b"] {
        let mode = proxy.folder().join(folder).metadata().expect("it is made").permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{folder}");
    }
}

#[test]
fn what_cannot_be_opened_is_an_error_and_no_handle() {
    let mut proxy = Proxy::interactive(&[]);
    for (flags, path) in [("read", "@@/missing"), ("write", "@@"), ("read", ""), ("read", "/dev/null/x")] {
        proxy.refuse(&["fd.open", "foo", flags, path]);
    }
    assert!(!has(&proxy.dump(), &["fd.state", "foo", "**"]));
}

#[test]
fn an_unknown_flag_is_one_line_of_error() {
    let mut proxy = Proxy::interactive(&[]);
    for command in [
        &["fd.open", "foo", "read,nonsense", "@@/missing"][..],
        &["fd.open", "foo", "READ", "@@/missing"],
        &["fd.pipe", "foo", "bar", "nonsense"],
        &["fd.pipe", "foo", "bar", "read"],
        &["fd.socket", "foo", "unix,nonsense"],
        &["fd.socket", "foo", "tcp,listen=x", "127.0.0.1:0"],
    ] {
        proxy.send(command);
        let lines = proxy.sync();
        assert!(lines.len() == 1 && lines[0].starts_with("error\t"), "{command:?}: {lines:?}");
    }
    assert!(!has(&proxy.dump(), &["fd.state", "foo", "**"]));
}

#[test]
fn reasons_are_complete() {
    let mut proxy = Proxy::interactive(&[]);
    let flag = "a-flag-with-a-name-that-is-much-longer-than-what-the-reasons-of-the-original-had-room-for";
    let error = proxy.refuse(&["fd.open", "foo", flag, "/dev/null"]);
    assert!(error.contains(flag), "{error}");
}

#[test]
fn a_name_that_is_used_again_is_replaced_in_one_event() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.open", "foo", "write,create", "@@/one"]);
    let lines = proxy.obey(&["fd.open", "foo", "write,create", "@@/two"]);
    assert_eq!(lines, [format!("fd.state\tfoo\tfile\twrite,create\t{}", proxy.path("two"))]);
    let open = proxy.process().descriptors();
    assert!(!open.values().any(|it| *it == proxy.path("one")), "{open:?}");
    assert!(open.values().any(|it| *it == proxy.path("two")), "{open:?}");
}

#[test]
fn what_cannot_be_replaced_stays() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.open", "foo", "write,create", "@@/one"]);
    proxy.refuse(&["fd.open", "foo", "read", "@@/missing"]);
    assert!(has(&proxy.dump(), &["fd.state", "foo", "file", "write,create", &proxy.path("one")]));
}

// ---- pipes ----

#[test]
fn a_pipe_is_told_read_end_first_and_carries() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.send(&["fd.pipe", "r", "w"]);
    proxy.expect_next(&["fd.state", "r", "pipe", "from", "w"]);
    proxy.expect_next(&["fd.state", "w", "pipe", "to", "r"]);
    proxy.service("writer", &["null", "w", "stderr"], &["echo", "through a pipe"]);
    proxy.service("reader", &["r", "null", "stderr"], &["sh", "-c", "read line; echo got $line >&2"]);
    proxy.up("writer");
    proxy.up("reader");
    proxy.expect_log("got through a pipe");
}

#[test]
fn pairs_of_sockets_are_told_and_carry() {
    let mut proxy = Proxy::interactive(&[]);
    for (flags, told) in [
        ("unix", "unix,stream,to"),
        ("stream", "unix,stream,to"),
        ("unix,stream", "unix,stream,to"),
        ("dgram", "unix,dgram,to"),
        ("unix,dgram", "unix,dgram,to"),
        ("seqpacket", "unix,seqpacket,to"),
        ("nonblock,unix", "unix,stream,nonblock,to"),
    ] {
        let lines = proxy.obey(&["fd.pipe", "a", "b", flags]);
        assert_eq!(
            lines,
            [format!("fd.state\ta\tpipe\t{told}\tb"), format!("fd.state\tb\tpipe\t{told}\ta")],
            "{flags}"
        );
    }
    for flags in ["unix,stream", "unix,dgram"] {
        proxy.obey(&["fd.pipe", "a", "b", flags]);
        let null = "null";
        proxy.service("writer", &[null, null, "stderr", null, "b"], &["sh", "-c", "echo through a socket >&4"]);
        let read = "echo got $(head -n1 <&3) >&2";
        proxy.service("reader", &[null, null, "stderr", "a", null], &["sh", "-c", read]);
        proxy.up("reader");
        proxy.up("writer");
        proxy.expect_log("got through a socket");
        assert_eq!(proxy.wait_down_or_dumped("reader"), "0");
        assert_eq!(proxy.wait_down_or_dumped("writer"), "0");
    }
}

#[test]
fn flags_of_a_plain_pipe_are_told() {
    let mut proxy = Proxy::interactive(&[]);
    for (flags, read, write) in [("-", "from", "to"), ("nonblock", "nonblock,from", "nonblock,to"), ("", "from", "to")]
    {
        let lines = proxy.obey(&["fd.pipe", "r", "w", flags]);
        assert_eq!(
            lines,
            [format!("fd.state\tr\tpipe\t{read}\tw"), format!("fd.state\tw\tpipe\t{write}\tr")],
            "{flags}"
        );
    }
}

#[test]
fn pairs_of_the_internet_fail_with_the_systems_reason() {
    let mut proxy = Proxy::interactive(&[]);
    for flags in ["inet", "tcp", "udp", "inet6"] {
        let error = proxy.refuse(&["fd.pipe", "a", "b", flags]);
        assert!(error.to_lowercase().contains("not supported"), "the C libraries differ in a letter; {flags}: {error}");
    }
    let dump = proxy.dump();
    assert!(!has(&dump, &["fd.state", "a", "**"]) && !has(&dump, &["fd.state", "b", "**"]));
}

#[test]
fn an_end_whose_other_end_is_gone_shows_a_question_mark() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.pipe", "r", "w"]);
    let lines = proxy.obey(&["fd.delete", "r"]);
    assert_eq!(lines, ["fd.state\tr\tdeleted"]);
    assert!(has(&proxy.dump(), &["fd.state", "w", "pipe", "to", "?"]));
    proxy.obey(&["fd.pipe", "r", "other"]);
    assert!(has(&proxy.dump(), &["fd.state", "w", "pipe", "to", "?"]), "a namesake is another one");
}

#[test]
fn a_pipe_needs_two_names() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.refuse(&["fd.pipe", "foo", "foo"]);
    proxy.refuse(&["fd.pipe", "foo", "null"]);
    proxy.refuse(&["fd.pipe", "null", "foo"]);
    assert!(!has(&proxy.dump(), &["fd.state", "foo", "**"]));
}

#[test]
fn what_is_in_a_pipe_survives_its_services() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.pipe", "log.r", "log.w"]);
    proxy.service("writer", &["null", "log.w", "stderr"], &["sh", "-c", "echo line"]);
    for _ in 0..3 {
        proxy.up("writer");
        proxy.wait_down("writer");
    }
    let read = "read a; read b; read c; echo $a $b $c >&2";
    proxy.service("logger", &["log.r", "null", "stderr"], &["sh", "-c", read]);
    proxy.up("logger");
    proxy.expect_log("line line line");
}

// ---- deletion and constants ----

#[test]
fn a_handle_is_deleted_and_closed() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.open", "foo", "write,create", "@@/file"]);
    proxy.send(&["fd.delete", "foo"]);
    proxy.expect_next(&["fd.state", "foo", "deleted"]);
    proxy.refuse(&["fd.delete", "foo"]);
    let open = proxy.process().descriptors();
    assert!(!open.values().any(|it| *it == proxy.path("file")), "{open:?}");
    assert!(!has(&proxy.dump(), &["fd.state", "foo", "**"]));
}

#[test]
fn constants_cannot_be_deleted_or_replaced() {
    let mut proxy = Proxy::interactive(&[]);
    for name in ["null", "control.cmd", "control.event", "control.socket"] {
        proxy.refuse(&["fd.delete", name]);
        proxy.refuse(&["fd.open", name, "read", "/dev/null"]);
        proxy.refuse(&["fd.pipe", name, "foo"]);
        proxy.refuse(&["fd.socket", name, "unix,stream"]);
    }
    let dump = proxy.dump();
    assert!(dump.contains(&"fd.state\tnull\tspecial\tread,write\t/dev/null".to_owned()), "{dump:?}");
    assert!(has(&dump, &["fd.state", "control.cmd", "special", "write", "*"]), "{dump:?}");
    assert!(has(&dump, &["fd.state", "control.event", "special", "read", "*"]), "{dump:?}");
    assert!(has(&dump, &["fd.state", "control.socket", "special", "read,write", "*"]), "{dump:?}");
}

#[test]
fn standard_handles_may_be_deleted_and_replaced() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.delete", "stdin"]);
    proxy.obey(&["fd.open", "stdout", "write,create", "@@/out"]);
    proxy.service("foo", &["null", "stdout"], &["echo", "into the file"]);
    proxy.up("foo");
    proxy.wait_down("foo");
    assert_eq!(proxy.folder().read("out"), "into the file\n");
    proxy.assert_answers();
}

#[test]
fn a_handle_in_use_is_deleted_without_harm_to_who_uses_it() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.open", "out", "write,create", "@@/out"]);
    proxy.obey(&["fd.pipe", "r", "w"]);
    proxy.service("foo", &["r", "out"], &["sh", "-c", "read line; echo got $line"]);
    proxy.service("tell", &["null", "w"], &["echo", "go"]);
    proxy.up("foo");
    proxy.obey(&["fd.delete", "out"]);
    proxy.obey(&["fd.delete", "r"]);
    proxy.up("tell");
    proxy.expect(&["service.state", "foo", "down", "#", "#", "exit", "0", "#", "#"]);
    assert_eq!(proxy.folder().read("out"), "got go\n");
    // The next start does not find it any more.
    proxy.up("foo");
    assert_eq!(proxy.wait_down("foo"), ("signal".to_owned(), "SIGABRT".to_owned()));
    proxy.assert_answers();
}

#[test]
fn the_same_handle_may_be_several_descriptors() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.open", "out", "write,create,append", "@@/out"]);
    proxy.service("foo", &["null", "out", "out", "null", "out"], &["sh", "-c", "echo 1; echo 2 >&2; echo 4 >&4"]);
    proxy.up("foo");
    proxy.wait_down("foo");
    assert_eq!(proxy.folder().read("out"), "1\n2\n4\n");
}

#[test]
fn descriptors_beyond_1023_are_used() {
    const COUNT: usize = 1100;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    assert!(limit > 1200, "the limit of descriptors is {limit}; `ulimit -n 2048` before this test");
    let mut proxy = Proxy::interactive(&[]);
    for number in 0..COUNT {
        proxy.obey(&["fd.open", &format!("foo{number}"), "read", "/dev/null"]);
    }
    proxy.obey(&["fd.open", "out", "write,create", "@@/out"]);
    proxy.obey(&["fd.pipe", "r", "w"]);
    proxy.service("foo", &["r", "out"], &["sh", "-c", "read line; echo got $line; ls /proc/self/fd | wc -l"]);
    proxy.service("tell", &["null", "w"], &["echo", "go"]);
    proxy.up("foo");
    proxy.up("tell");
    proxy.expect(&["service.state", "foo", "down", "#", "#", "exit", "0", "#", "#"]);
    let out = proxy.folder().read("out");
    let lines: Vec<&str> = out.lines().map(str::trim).collect();
    assert_eq!(lines[0], "got go");
    assert!(lines[1].parse::<u32>().expect("a number") < 10, "it has inherited others: {out}");
    proxy.service(
        "boss",
        &["control.event", "control.cmd"],
        &["sh", "-c", "printf 'service.tags\\tboss\\tspoke\\n'; exec cat >/dev/null"],
    );
    proxy.send(&["service.start", "boss"]);
    proxy.expect(&["service.tags", "boss", "spoke"]);
}

// ---- sockets ----

#[test]
fn sockets_that_are_not_bound_are_told() {
    let mut proxy = Proxy::interactive(&[]);
    for (flags, told) in [
        ("", "unix,stream"),
        ("unix", "unix,stream"),
        ("unix,dgram", "unix,dgram"),
        ("dgram", "unix,dgram"),
        ("seqpacket,unix", "unix,seqpacket"),
        ("tcp", "inet,stream"),
        ("udp", "inet,dgram"),
        ("inet", "inet,stream"),
        ("inet6,dgram", "inet6,dgram"),
        ("nonblock,tcp", "inet,stream,nonblock"),
    ] {
        assert_eq!(proxy.obey(&["fd.socket", "foo", flags]), [format!("fd.state\tfoo\tsocket\t{told}\t")], "{flags}");
    }
}

#[test]
fn a_socket_of_the_machine_is_bound_and_listens() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.send(&["fd.socket", "foo", "unix,stream,listen", "@@/sock"]);
    proxy.expect_next(&["fd.state", "foo", "socket", "unix,stream,bind,listen=32", "@@/sock"]);
    let mut stream = UnixStream::connect(proxy.folder().join("sock")).expect("it listens");
    let accept = "import socket; s = socket.socket(fileno=0); c = s.accept()[0]; c.sendall(b'hello'); c.close()";
    proxy.service("foo", &["foo", "null", "stderr"], &["python3", "-c", accept]);
    proxy.up("foo");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it can be read");
    assert_eq!(text, "hello");
    proxy.wait_down("foo");
    UnixStream::connect(proxy.folder().join("sock")).expect("it listens on while nobody serves it");
}

#[test]
fn flags_of_sockets_are_told_in_order() {
    let mut proxy = Proxy::interactive(&[]);
    for (number, (flags, told)) in [
        ("unix,stream", "unix,stream,bind"),
        ("bind", "unix,stream,bind"),
        ("listen", "unix,stream,bind,listen=32"),
        ("listen=11,unix,stream", "unix,stream,bind,listen=11"),
        ("nonblock,mkdir,listen=65535,bind,seqpacket", "unix,seqpacket,bind,listen=65535,mkdir,nonblock"),
        ("unix,dgram", "unix,dgram,bind"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = proxy.path(&format!("sock{number}"));
        assert_eq!(proxy.obey(&["fd.socket", "foo", flags, &path]), [format!("fd.state\tfoo\tsocket\t{told}\t{path}")]);
        assert!(proxy.folder().join(&format!("sock{number}")).exists());
    }
}

#[test]
fn sockets_that_make_no_sense_are_refused() {
    let mut proxy = Proxy::interactive(&[]);
    let long = format!("@@/{}", "x".repeat(108));
    for command in [
        &["fd.socket", "foo", "bind"][..],
        &["fd.socket", "foo", "listen"],
        &["fd.socket", "foo", "tcp,listen"],
        &["fd.socket", "foo", "listen=0", "@@/sock"],
        &["fd.socket", "foo", "listen=65536", "@@/sock"],
        &["fd.socket", "foo", "listen=-1", "@@/sock"],
        &["fd.socket", "foo", "listen=", "@@/sock"],
        &["fd.socket", "foo", "unix", &long],
        &["fd.socket", "foo", "unix", "@@/missing/sock"],
        &["fd.socket", "foo", "tcp", "localhost:0"],
        &["fd.socket", "foo", "tcp", "127.0.0.1:65536"],
        &["fd.socket", "foo", "tcp", "127.0.0.1:x"],
        &["fd.socket", "foo", "tcp", "127.0.0.1:"],
        &["fd.socket", "foo", "tcp", "127.0.0:1"],
        &["fd.socket", "foo", "tcp", "256.0.0.1:1"],
        &["fd.socket", "foo", "udp,listen", "127.0.0.1:0"],
    ] {
        proxy.refuse(command);
    }
    assert!(!has(&proxy.dump(), &["fd.state", "foo", "**"]));
}

#[test]
fn a_port_is_listened_on_by_one() {
    let mut proxy = Proxy::interactive(&[]);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    proxy.send(&["fd.socket", "foo", "tcp,listen", &address]);
    proxy.expect_next(&["fd.state", "foo", "socket", "inet,stream,bind,listen=32", &address]);
    let error = proxy.refuse(&["fd.socket", "bar", "tcp,listen=11", &address]);
    assert!(error.contains("bind") && error.contains("in use"), "{error}");
    let mut stream = TcpStream::connect(&address).expect("it listens");
    let accept = "import socket; s = socket.socket(fileno=0); c = s.accept()[0]; c.sendall(c.recv(5)); c.close()";
    proxy.service("foo", &["foo", "null", "stderr"], &["python3", "-c", accept]);
    proxy.up("foo");
    stream.write_all(b"hello").expect("it can be written");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it can be read");
    assert_eq!(text, "hello");
    proxy.wait_down("foo");
    proxy.obey(&["fd.delete", "foo"]);
    proxy.send(&["fd.socket", "bar", "tcp,listen=11", &address]);
    proxy.expect_next(&["fd.state", "bar", "socket", "inet,stream,bind,listen=11", &address]);
}

#[test]
fn datagrams_of_the_internet_arrive() {
    let mut proxy = Proxy::interactive(&[]);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    proxy.send(&["fd.socket", "foo", "udp", &address]);
    proxy.expect_next(&["fd.state", "foo", "socket", "inet,dgram,bind", &address]);
    let receive = "import socket, sys; s = socket.socket(fileno=0); print(s.recv(99).decode(), file=sys.stderr)";
    proxy.service("foo", &["foo", "null", "stderr"], &["python3", "-c", receive]);
    UdpSocket::bind("127.0.0.1:0").and_then(|it| it.send_to(b"a datagram", &address)).expect("it can be sent");
    proxy.up("foo");
    proxy.expect_log("a datagram");
}

#[test]
fn datagrams_of_the_machine_arrive() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.socket", "foo", "unix,dgram,mkdir", "@@/x/y/sock"]);
    assert_eq!(proxy.folder().join("x").metadata().expect("it is made").permissions().mode() & 0o7777, 0o700);
    let receive = "import socket, sys; s = socket.socket(fileno=0); print(s.recv(99).decode(), file=sys.stderr)";
    proxy.service("foo", &["foo", "null", "stderr"], &["python3", "-c", receive]);
    let socket = UnixDatagram::unbound().expect("there are sockets");
    socket.send_to(b"a datagram", proxy.folder().join("x/y/sock")).expect("it can be sent");
    proxy.up("foo");
    proxy.expect_log("a datagram");
}

#[test]
fn any_address_and_any_port_are_taken() {
    let mut proxy = Proxy::interactive(&[]);
    for address in ["*", "127.0.0.1", "*:0", "127.0.0.1:0"] {
        proxy.send(&["fd.socket", "foo", "tcp,listen", address]);
        let told = proxy.sync();
        assert_eq!(told, [format!("fd.state\tfoo\tsocket\tinet,stream,bind,listen=32\t{address}")]);
    }
}

#[test]
fn a_file_in_the_place_of_a_socket_stays() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.folder().write("precious", "kept\n");
    let error = proxy.refuse(&["fd.socket", "foo", "unix,stream,listen", "@@/precious"]);
    assert!(error.contains("bind"), "{error}");
    assert_eq!(proxy.folder().read("precious"), "kept\n");
}

#[test]
fn a_listening_socket_survives_restarts_of_its_service() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.socket", "foo", "unix,stream,listen", "@@/sock"]);
    let accept = "import socket; s = socket.socket(fileno=0); c = s.accept()[0]; c.sendall(b'hello'); c.close()";
    proxy.service("foo", &["foo", "null", "stderr"], &["python3", "-c", accept]);
    proxy.obey(&["service.auto_up", "foo", "1", "always"]);
    for _ in 0..3 {
        let mut stream = UnixStream::connect(proxy.folder().join("sock")).expect("it listens");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it can be read");
        assert_eq!(text, "hello");
    }
}

// ---- inherited ones ----

#[test]
fn inherited_descriptors_are_examined() {
    let setup = ProxySetup::new(&["-i"]).redirect("5<>@@/file 6>&1 7<>@@/fifo 8<&0 9>>@@/file");
    setup.folder().fifo("fifo");
    let mut proxy = setup.start();
    let dump = proxy.dump();
    for (name, flags) in [("fd_5", "read,write"), ("fd_7", "read,write"), ("fd_9", "write,append")] {
        let line = dump.iter().find(|line| line.starts_with(&format!("fd.state\t{name}\t")));
        let line = line.unwrap_or_else(|| panic!("{name} is missing: {dump:?}"));
        assert!(is_like(format!("fd.state\t{name}\t*\t{flags}\tunknown"), line), "{line}");
    }
}

// ---- passed descriptors ----

#[test]
fn a_passed_descriptor_is_taken() {
    let mut proxy = Proxy::interactive(&["-S", "@@/sock"]);
    let mut client = proxy.client("sock");
    client.sync();
    proxy.folder().write("in", "passed\n");
    let file = std::fs::File::open(proxy.folder().join("in")).expect("it is there");
    client.send_fd(&["fd.take", "foo"], &[file.as_fd()]);
    client.expect(&["fd.state", "foo", "file", "read", "unknown"]);
    proxy.expect(&["fd.state", "foo", "file", "read", "unknown"]);
    let (one, _other) = UnixStream::pair().expect("there are sockets");
    client.send_fd(&["fd.take", "bar"], &[one.as_fd()]);
    client.expect(&["fd.state", "bar", "socket", "unix,stream", "unknown"]);
    proxy.service("cat", &["foo", "stderr"], &["cat"]);
    proxy.up("cat");
    proxy.expect_log("passed");
}

#[test]
fn without_a_passed_descriptor_there_is_nothing_to_take() {
    let mut proxy = Proxy::interactive(&["-S", "@@/sock"]);
    proxy.refuse(&["fd.take", "foo"]);
    let mut client = proxy.client("sock");
    client.refuse(&["fd.take", "foo"]);
    assert!(!has(&client.dump(), &["fd.state", "foo", "**"]));
}

#[test]
fn a_passed_descriptor_is_tied_to_its_message() {
    let proxy = Proxy::interactive(&["-S", "@@/sock"]);
    let mut client = proxy.client("sock");
    client.sync();
    let before = proxy.process().descriptors().len();
    let first = std::fs::File::open("/dev/zero").expect("it is there");
    let second = std::fs::File::open("/dev/full").expect("it is there");
    // Two come with a command that takes one: the other one is not the next command's.
    client.send_fd(&["fd.take", "foo"], &[first.as_fd(), second.as_fd()]);
    client.expect(&["fd.state", "foo", "**"]);
    client.refuse(&["fd.take", "bar"]);
    // One that comes with a command that takes none is nobody's.
    client.send_fd(&["echo", "none of mine"], &[second.as_fd()]);
    client.expect(&["none of mine"]);
    client.refuse(&["fd.take", "bar"]);
    let open = proxy.process().descriptors();
    assert!(open.values().any(|it| it == "/dev/zero") && !open.values().any(|it| it == "/dev/full"), "{open:?}");
    assert_eq!(open.len(), before + 1, "{open:?}");
}

#[test]
fn a_flood_of_passed_descriptors_leaves_none_open() {
    let proxy = Proxy::interactive(&["-S", "@@/sock"]);
    let mut client = proxy.client("sock");
    client.sync();
    let before = proxy.process().descriptors().len();
    let file = std::fs::File::open("/dev/zero").expect("it is there");
    for _ in 0..200 {
        client.send_fd(&["echo", "x"], &[file.as_fd(); 8]);
    }
    client.sync();
    assert_eq!(proxy.process().descriptors().len(), before);
}
