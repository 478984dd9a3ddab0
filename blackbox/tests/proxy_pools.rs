//! `daemonproxy`: fixed numbers of handles and services, taken at its start.

#![forbid(unsafe_code)]

use rustix::process::Signal;
use verger_blackbox::{Proxy, ProxySetup, is_like};

fn services(proxy: &mut Proxy) -> usize {
    proxy.dump().iter().filter(|line| line.starts_with("service.state\t")).count()
}

// ---- services ----

#[test]
fn a_pool_of_services_is_full_when_it_is_full() {
    let mut proxy = Proxy::interactive(&["--service-pool", "6"]);
    for number in 0..6 {
        proxy.obey(&["service.tags", &format!("foo{number}"), "tag"]);
    }
    let error = proxy.refuse(&["service.tags", "foo6", "tag"]);
    let at = error.find("allocate").unwrap_or_else(|| panic!("{error}"));
    assert!(error[at..].contains("service"), "{error}");
    for command in ["service.args", "service.fds"] {
        proxy.refuse(&[command, "foo6", "null"]);
    }
    proxy.refuse(&["service.auto_up", "foo6", "1", "always"]);
    assert_eq!(services(&mut proxy), 6);
    proxy.obey(&["service.delete", "foo3"]);
    proxy.obey(&["service.tags", "foo6", "tag"]);
    proxy.refuse(&["service.tags", "foo3", "tag"]);
}

#[test]
fn a_full_pool_of_services_goes_on_working() {
    let mut proxy = Proxy::interactive(&["--service-pool", "1"]);
    proxy.shell("foo", "exit 3");
    proxy.up("foo");
    assert_eq!(proxy.wait_down("foo"), ("exit".to_owned(), "3".to_owned()));
    proxy.refuse(&["service.args", "bar", "true"]);
    proxy.obey(&["service.delete", "foo"]);
    proxy.shell("bar", "exit 4");
    proxy.up("bar");
    assert_eq!(proxy.wait_down("bar"), ("exit".to_owned(), "4".to_owned()));
}

#[test]
fn the_data_of_a_service_share_its_room() {
    let mut proxy = Proxy::interactive(&["--service-pool", "5x200"]);
    proxy.obey(&["service.args", "foo", "sh", "-c", "exit 0"]);
    let tags = "t".repeat(100);
    proxy.obey(&["service.tags", "foo", &tags]);
    proxy.refuse(&["service.args", "foo", &"a".repeat(200)]);
    proxy.refuse(&["service.args", "foo", &"a".repeat(120)]);
    proxy.refuse(&["service.fds", "foo", &"a".repeat(31), &"b".repeat(31), &"c".repeat(31), &"d".repeat(31)]);
    let dump = proxy.dump();
    assert!(dump.contains(&"service.args\tfoo\tsh\t-c\texit 0".to_owned()), "nothing has changed: {dump:?}");
    assert!(dump.contains(&format!("service.tags\tfoo\t{tags}")), "nothing has changed: {dump:?}");
    proxy.obey(&["service.tags", "foo"]);
    proxy.obey(&["service.args", "foo", &"a".repeat(120)]);
}

#[test]
fn a_new_service_whose_data_do_not_fit_is_not_made() {
    let mut proxy = Proxy::interactive(&["--service-pool", "5x64"]);
    proxy.refuse(&["service.args", "foo", &"a".repeat(500)]);
    assert_eq!(services(&mut proxy), 0);
}

#[test]
fn many_arguments_and_tags_in_a_pool_spoil_nothing() {
    let mut proxy = Proxy::interactive(&["--service-pool", "8x1K"]);
    for number in 0..8 {
        let name = format!("foo{number}");
        proxy.service(
            &name,
            &["null", "null", "stderr"],
            &["sh", "-c", &format!("exit {number} # {}", "x".repeat(300))],
        );
        proxy.obey(&["service.tags", &name, &"t".repeat(300)]);
    }
    for number in 0..8 {
        let name = format!("foo{number}");
        proxy.up(&name);
        assert_eq!(proxy.wait_down(&name), ("exit".to_owned(), number.to_string()));
    }
    let dump = proxy.dump();
    let tags = dump.iter().filter(|line| is_like(format!("service.tags\t*\t{}", "t".repeat(300)), line)).count();
    assert_eq!(tags, 8);
}

#[test]
fn sizes_out_of_range_are_adjusted_with_a_warning() {
    for (option, size) in [
        ("--service-pool", "0"),
        ("--service-pool", "65536"),
        ("--service-pool", "5x1"),
        ("--fd-pool", "0"),
        ("--fd-pool", "2000"),
        ("--fd-pool", "20x1"),
    ] {
        let mut proxy = ProxySetup::new(&["-i", option, size]).start();
        proxy.sync();
        proxy.expect_log("warning: **");
    }
}

#[test]
fn sizes_in_range_are_taken_without_a_word() {
    for words in
        [["--service-pool", "20x1K"], ["--service-pool", "1x64"], ["--fd-pool", "20x4096"], ["--fd-pool", "7x32"]]
    {
        let mut proxy = Proxy::interactive(&words);
        assert!(!proxy.logged().iter().any(|line| line.starts_with("warning: ")), "{words:?}");
    }
}

// ---- handles ----

#[test]
fn a_pool_of_handles_says_what_is_the_least_and_the_most() {
    for (size, word) in [("5x50M", "maximum"), ("1", "minimum")] {
        let mut proxy = ProxySetup::new(&["-i", "--fd-pool", size]).start();
        proxy.sync();
        proxy.expect_log(&format!("warning: **{word}**"));
    }
}

#[test]
fn a_pool_of_seven_has_no_room() {
    let mut proxy = Proxy::interactive(&["--fd-pool", "7"]);
    let error = proxy.refuse(&["fd.open", "foo", "read", "/dev/null"]);
    let at = error.find("allocate").unwrap_or_else(|| panic!("{error}"));
    assert!(error[at..].contains("file"), "{error}");
    proxy.refuse(&["fd.pipe", "r", "w"]);
    proxy.refuse(&["fd.socket", "foo", "unix,stream"]);
    assert_eq!(proxy.dump().iter().filter(|line| line.starts_with("fd.state\t")).count(), 7);
    // One that is deleted makes room.
    proxy.obey(&["fd.delete", "stdin"]);
    proxy.obey(&["fd.open", "foo", "read", "/dev/null"]);
    proxy.refuse(&["fd.open", "bar", "read", "/dev/null"]);
}

#[test]
fn what_a_full_pool_refuses_leaves_nothing_open() {
    let mut proxy = Proxy::interactive(&["--fd-pool", "8", "-S", "@@/sock"]);
    let before = proxy.process().descriptors().len();
    proxy.refuse(&["fd.pipe", "r", "w"]);
    proxy.obey(&["fd.open", "foo", "read", "/dev/zero"]);
    for _ in 0..20 {
        proxy.refuse(&["fd.pipe", "r", "w"]);
        proxy.refuse(&["fd.pipe", "r", "w", "unix,dgram"]);
        proxy.refuse(&["fd.open", "bar", "write,create", "@@/bar"]);
        proxy.refuse(&["fd.socket", "bar", "unix,stream,listen", "@@/bar.sock"]);
    }
    assert_eq!(proxy.process().descriptors().len(), before + 1);
    assert!(!proxy.folder().join("bar.sock").exists());
}

#[test]
fn a_handle_in_a_full_pool_can_be_deleted_and_made_again() {
    let mut proxy = Proxy::interactive(&["--fd-pool", "9"]);
    for _ in 0..100 {
        proxy.obey(&["fd.pipe", "r", "w"]);
        proxy.obey(&["fd.delete", "r"]);
        proxy.obey(&["fd.delete", "w"]);
    }
}

#[test]
fn inherited_descriptors_need_room_as_well() {
    let mut proxy = ProxySetup::new(&["-i", "--fd-pool", "7"]).redirect("5</dev/null").start();
    assert_eq!(proxy.exit_code(), 2);
    let mut proxy = ProxySetup::new(&["-i", "--fd-pool", "8"]).redirect("5</dev/null").start();
    proxy.sync();
}

#[test]
fn a_path_without_room_is_shown_cut_off_and_opened_whole() {
    let mut proxy = Proxy::interactive(&["--fd-pool", "9x32"]);
    let name = "n".repeat(100);
    let path = proxy.path(&name);
    proxy.send(&["fd.open", "foo", "write,create", &path]);
    let told = proxy.expect(&["fd.state", "foo", "file", "write,create", "*"]);
    let (shown, dots) = told[4].split_at(told[4].len() - 3);
    assert!(dots == "..." && path.starts_with(shown) && shown.len() < 32, "{told:?}");
    assert!(proxy.folder().join(&name).exists());
    // The least that there is room for is not too little for a name.
    let mut proxy = Proxy::interactive(&["--fd-pool", "20"]);
    proxy.folder().write("short", "");
    proxy.send(&["fd.open", "foo", "read", "@@/short"]);
    proxy.expect_next(&["fd.state", "foo", "file", "read", "@@/short"]);
}

#[test]
fn without_pools_there_is_no_limit() {
    let mut proxy = Proxy::interactive(&[]);
    for number in 0..300 {
        proxy.obey(&["service.args", &format!("foo{number}"), &"x".repeat(900)]);
        proxy.obey(&["fd.open", &format!("foo{number}"), "read", "/dev/null"]);
    }
    assert_eq!(services(&mut proxy), 300);
}

#[test]
fn a_whole_day_in_pools_is_survived() {
    let mut proxy = Proxy::interactive(&["--service-pool", "4x256", "--fd-pool", "12", "-M"]);
    for round in 0..100 {
        let name = format!("foo{}", round % 6);
        let lines = {
            proxy.send_all(&[
                &["service.args", &name, "sh", "-c", "exit 0"],
                &["service.fds", &name, "null", "null", "null"],
                &["service.start", &name],
                &["fd.pipe", "r", "w"],
            ]);
            proxy.sync()
        };
        if !lines.iter().any(|line| line.starts_with("error")) {
            proxy.wait_down_or_dumped(&name);
        }
        if round % 3 == 2 {
            proxy.send(&["service.delete", &name]);
        }
        proxy.signal(Signal::HUP);
        proxy.sync();
        proxy.obey(&["signal.clear", "HUP", "1"]);
    }
    assert!(services(&mut proxy) <= 4);
    proxy.assert_answers();
}
