//! `daemonproxy`: its control socket, and those who speak to it over that.

#![forbid(unsafe_code)]

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use rustix::process::Signal;
use verger_blackbox::{PATIENCE, Process, Proxy, ProxySetup, eventually, token};

/// Listens on `sock` in its folder; interactive as well.
fn both() -> Proxy {
    Proxy::interactive(&["-S", "@@/sock"])
}

#[test]
fn a_client_is_answered_and_may_end_everything() {
    let mut proxy = both();
    proxy.send(&["echo", "over stdio"]);
    proxy.expect_next(&["over stdio"]);
    let mut client = proxy.client("sock");
    client.send(&["echo", "testing"]);
    client.expect_next(&["testing"]);
    client.send(&["terminate", "0"]);
    assert_eq!(proxy.exit_code(), 0);
    assert_eq!(client.rest_lines(), [""; 0]);
}

#[test]
fn its_socket_is_the_owners_alone() {
    let proxy = both();
    let place = proxy.folder().join("sock").symlink_metadata().expect("it is there");
    assert!(place.file_type().is_socket());
    assert_eq!(place.permissions().mode() & 0o7777, 0o700);
}

#[test]
fn nothing_is_announced_to_a_client() {
    let proxy = both();
    let mut client = proxy.client("sock");
    assert_eq!(client.sync(), [""; 0]);
}

#[test]
fn what_one_causes_both_hear_and_what_one_asks_it_hears_alone() {
    let mut proxy = both();
    let mut client = proxy.client("sock");
    client.sync();
    client.obey(&["service.args", "foo", "true"]);
    proxy.expect_next(&["service.args", "foo", "true"]);
    proxy.obey(&["fd.open", "bar", "read", "/dev/null"]);
    client.expect_next(&["fd.state", "bar", "file", "read", "/dev/null"]);
    client.send(&["echo", "private"]);
    client.send(&["log.filter"]);
    client.refuse(&["nonsense"]);
    client.dump();
    assert_eq!(proxy.sync(), [""; 0]);
}

#[test]
fn two_controllers_at_once_do_not_disturb_each_other() {
    let mut proxy = both();
    let mut client = proxy.client("sock");
    client.sync();
    for round in 0..200 {
        let (ours, theirs) = (format!("ours {round}"), format!("theirs {round}"));
        proxy.send_all(&[&["service.tags", "foo", &ours], &["echo", &ours], &["service.delete", "foo"]]);
        client.send_all(&[&["service.tags", "foo", &theirs], &["echo", &theirs], &["service.delete", "foo"]]);
        let lines = [proxy.sync(), client.sync()];
        for (mine, other, lines) in [(&ours, &theirs, &lines[0]), (&theirs, &ours, &lines[1])] {
            assert_eq!(lines.iter().filter(|line| *line == mine).count(), 1, "{lines:?}");
            assert!(!lines.contains(other), "{lines:?}");
        }
    }
    // Whoever came second deleted nothing, and was told so; everything else is as it was.
    assert_eq!(proxy.dump(), client.dump());
}

#[test]
fn who_leaves_leaves_all_others_alone() {
    let mut proxy = both();
    let before = proxy.process().descriptors().len();
    for _ in 0..50 {
        let mut client = proxy.client("sock");
        client.sync();
        client.send_raw("echo\tnever read\nunfinished");
    }
    proxy.assert_answers();
    eventually("nothing is left open", PATIENCE, || (proxy.process().descriptors().len() == before).then_some(()));
}

#[test]
fn exit_ends_only_its_connection() {
    let mut proxy = both();
    let mut client = proxy.client("sock");
    client.sync();
    client.send_all(&[&["echo", "farewell"], &["exit"], &["service.args", "too.late", "true"]]);
    assert_eq!(client.rest_lines(), ["farewell"]);
    let dump = proxy.dump();
    assert!(!dump.iter().any(|line| line.contains("too.late")), "{dump:?}");
}

#[test]
fn who_closes_one_half_gets_all_answers() {
    let proxy = both();
    for count in [1, 4, 50, 500] {
        let mut client = proxy.client("sock");
        client.sync();
        let text: String = (0..count).map(|number| format!("echo\tanswer {number}\n")).collect();
        client.send_raw(&text);
        client.half_close();
        let wanted: Vec<String> = (0..count).map(|number| format!("answer {number}")).collect();
        assert_eq!(client.rest_lines(), wanted);
    }
}

#[test]
fn who_closes_one_half_writes_into_nobodys_file() {
    let mut proxy = both();
    for round in 0..20 {
        let mut client = proxy.client("sock");
        client.sync();
        let file = format!("@@/file{round}");
        let mut text = format!("fd.open\tf{round}\twrite,create\t{}\n", proxy.path(&format!("file{round}")));
        text += &"statedump\n".repeat(5);
        client.send_raw(&text);
        client.half_close();
        proxy.expect(&["fd.state", &format!("f{round}"), "file", "write,create", &file]);
        let lines = client.rest_lines();
        assert!(lines.iter().filter(|line| line.starts_with("fd.state\tnull\t")).count() == 5, "{lines:?}");
        assert_eq!(proxy.folder().read(&format!("file{round}")), "");
    }
    let dump = proxy.dump();
    assert_eq!(dump.iter().filter(|line| line.contains("\twrite,create\t")).count(), 20, "{dump:?}");
}

#[test]
fn a_dump_that_is_longer_than_its_buffers_comes_whole_to_who_has_closed_one_half() {
    let mut proxy = both();
    for number in 0..500 {
        proxy.obey(&["service.tags", &format!("foo{number}"), &"t".repeat(200)]);
    }
    let mut client = proxy.client("sock");
    client.sync();
    let last = token();
    client.send_all(&[&["statedump"], &["echo", &last]]);
    client.half_close();
    let lines = client.rest_lines();
    assert_eq!(lines.iter().filter(|line| line.starts_with("service.")).count(), 2500);
    assert_eq!(lines.last(), Some(&last));
}

// ---- who comes third ----

#[test]
fn three_at_once_crash_nothing_and_all_are_answered_in_the_end() {
    let mut proxy = both();
    let mut first = proxy.client("sock");
    first.sync();
    let mut second = proxy.client("sock");
    second.send(&["echo", "second"]);
    proxy.assert_answers();
    first.sync();
    // Where there is room for two it is taken when one has gone.
    drop(first);
    second.expect(&["second"]);
    second.sync();
    proxy.assert_answers();
}

#[test]
fn a_controller_service_that_comes_third_crashes_nothing() {
    let mut proxy = both();
    let mut client = proxy.client("sock");
    client.sync();
    for name in ["foo", "bar", "baz"] {
        let script = "read -r line; read -r line; exit 0";
        client.obey(&["service.args", name, "sh", "-c", script]);
        client.obey(&["service.fds", name, "control.event", "control.cmd", "stderr"]);
        client.send(&["service.start", name]);
        client.sync();
        proxy.assert_answers();
    }
    client.sync();
    proxy.assert_answers();
}

// ---- places ----

#[test]
fn a_socket_of_ours_that_is_left_is_replaced() {
    let setup = ProxySetup::new(&["-i", "-S", "@@/sock"]);
    drop(UnixListener::bind(setup.folder().join("sock")).expect("it can be bound"));
    let mut proxy = setup.start();
    proxy.sync();
    proxy.client("sock").sync();
}

#[test]
fn a_regular_file_is_never_removed() {
    let setup = ProxySetup::new(&["-i", "-S", "@@/precious"]);
    setup.folder().write("precious", "kept\n");
    let mut proxy = setup.start();
    assert_eq!(proxy.exit_code(), 3);
    assert_eq!(proxy.folder().read("precious"), "kept\n");
    assert!(proxy.log().rest_lines().iter().any(|line| line.starts_with("fatal: ")));

    let mut proxy = Proxy::interactive(&[]);
    proxy.folder().write("precious", "kept\n");
    proxy.folder().fifo("fifo");
    std::fs::create_dir(proxy.folder().join("dir")).expect("it can be made");
    std::os::unix::fs::symlink(proxy.folder().join("precious"), proxy.folder().join("link")).expect("it can be made");
    for place in ["precious", "fifo", "dir", "link"] {
        proxy.refuse(&["socket.create", "-", &format!("@@/{place}")]);
        assert!(proxy.folder().join(place).symlink_metadata().is_ok(), "{place}");
    }
    assert_eq!(proxy.folder().read("precious"), "kept\n");
}

#[test]
fn a_place_where_no_socket_can_be_is_an_end_with_3() {
    let long = format!("@@/{}", "x".repeat(120));
    for place in ["@@/missing/sock", &long] {
        let mut proxy = ProxySetup::new(&["-i", "-S", place]).start();
        assert_eq!(proxy.exit_code(), 3, "{place}");
    }
}

#[test]
fn a_socket_is_made_by_command_and_replaces_the_one_before() {
    let mut proxy = Proxy::interactive(&[]);
    assert_eq!(proxy.obey(&["socket.create", "-", "@@/one"]), [""; 0]);
    proxy.client("one").sync();
    assert_eq!(proxy.obey(&["socket.create", "", "@@/two"]), [""; 0]);
    assert!(!proxy.folder().join("one").exists());
    let mut client = proxy.client("two");
    client.sync();
    client.send(&["terminate", "0"]);
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn sockets_that_cannot_be_made_are_errors() {
    let mut proxy = Proxy::interactive(&[]);
    let long = format!("@@/{}", "x".repeat(120));
    for words in [
        &["socket.create", "nonsense", "@@/sock"][..],
        &["socket.create", "-", "@@/missing/sock"],
        &["socket.create", "-", &long],
    ] {
        proxy.refuse(words);
    }
    assert!(!proxy.folder().join("sock").exists());
}

#[test]
fn a_deleted_socket_is_gone_and_its_connections_live_on() {
    let mut proxy = both();
    let mut client = proxy.client("sock");
    client.sync();
    assert_eq!(proxy.obey(&["socket.delete"]), [""; 0]);
    assert!(!proxy.folder().join("sock").exists());
    client.sync();
    assert_eq!(proxy.obey(&["socket.delete"]), [""; 0], "it is fine that there is none");
}

#[test]
fn its_socket_is_unlinked_at_every_end() {
    let mut proxy = both();
    proxy.send(&["terminate", "5"]);
    assert_eq!(proxy.exit_code(), 5);
    assert!(!proxy.folder().join("sock").exists());

    let mut proxy = both();
    proxy.half_close();
    assert_eq!(proxy.exit_code(), 0);
    assert!(!proxy.folder().join("sock").exists());

    let mut proxy = both();
    proxy.signal(Signal::ABORT);
    assert_eq!(proxy.exit_code(), 4);
    assert!(!proxy.folder().join("sock").exists());
}

#[test]
fn a_socket_that_somebody_else_has_put_in_its_place_stays() {
    let mut proxy = both();
    std::fs::remove_file(proxy.folder().join("sock")).expect("it is there");
    proxy.folder().write("sock", "of somebody else\n");
    proxy.send(&["terminate", "0"]);
    assert_eq!(proxy.exit_code(), 0);
    assert_eq!(proxy.folder().read("sock"), "of somebody else\n");
}

#[test]
fn bound_sockets_are_unlinked_when_their_handles_go() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.socket", "foo", "unix,stream,listen", "@@/foo"]);
    proxy.obey(&["fd.delete", "foo"]);
    assert!(!proxy.folder().join("foo").exists());
}

// ---- what is gone, and what comes ----

#[test]
fn without_standard_streams_everything_goes_over_the_socket() {
    let mut proxy = ProxySetup::new(&["-S", "@@/sock"]).start();
    for _ in 0..3 {
        let mut client = proxy.client("sock");
        client.sync();
        client.half_close();
        client.rest_lines();
    }
    let mut client = proxy.client("sock");
    client.obey(&["service.args", "foo", "sleep", "1000"]);
    client.send(&["service.start", "foo"]);
    let told = client.expect(&["service.state", "foo", "up", "#", "#", "-", "-", "#", "-"]);
    let service = Process(told[4].parse().expect("it is a number"));
    drop(client);
    let mut client = proxy.client("sock");
    let dump = client.dump();
    assert!(dump.iter().any(|line| line.starts_with(&format!("service.state\tfoo\tup\t{}\t{}\t", told[3], told[4]))));
    assert!(service.lives());
    client.send(&["terminate", "3"]);
    assert_eq!(proxy.exit_code(), 3);
    assert!(service.lives());
}
