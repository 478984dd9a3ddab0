//! AOS configurations: each rule of the format as a story.

use verger_engine::image::{Plan, Ready, RestartPolicy, Service, StopStep};
use verger_engine::time::Span;

use crate::tests::memory::{Endless, memory};
use crate::{Complaint, Format, NotApplied, Reading, read, read_with_snippet};

fn reading(files: &[(&'static str, &str)]) -> Reading {
    read(files[0].0, &memory(files))
}

fn said(reading: &Reading) -> Vec<String> {
    reading.complaints.iter().map(Complaint::to_string).collect()
}

fn not_applied(reading: &Reading) -> Vec<String> {
    reading.not_applied.iter().map(NotApplied::to_string).collect()
}

/// What is said of some files, the first of which is read.
#[track_caller]
fn check(files: &[(&'static str, &str)], complaints: &[&str]) {
    let reading = reading(files);
    assert_eq!(said(&reading), complaints);
    let errors = complaints.iter().any(|complaint| !complaint.contains(": warning: "));
    assert_eq!(reading.plan.is_none(), errors);
}

#[track_caller]
fn plan(files: &[(&'static str, &str)]) -> Plan {
    let reading = reading(files);
    assert_eq!(said(&reading), [] as [String; 0]);
    assert_eq!(reading.format, Format::AosJson);
    reading.plan.unwrap()
}

/// The services of applications written in one file.
#[track_caller]
fn services(applications: &str) -> Vec<Service> {
    plan(&[("c.json", &format!("{{ \"applications\": [ {applications} ] }}"))]).services
}

/// One application `a` out of a base and what goes over it.
#[track_caller]
fn merged(base: &str, over: &str) -> Service {
    let base = format!("{{ \"applications\": [ {{ \"name\": \"a\" {base} }} ] }}");
    let over = format!("{{ \"imports\": [\"base.json\"], \"applications\": [ {{ \"name\": \"a\" {over} }} ] }}");
    plan(&[("over.json", &over), ("base.json", &base)]).services.remove(0)
}

#[test]
fn an_application_becomes_a_service() {
    let origin = |line| verger_engine::image::Origin { file: "c.json".into(), line };
    let base = |name: &str, line| Service {
        name: name.into(),
        origin: origin(line),
        program: name.into(),
        argv: vec![name.into()],
        ready: Ready::AliveFor(Span::from_secs(1)),
        stop: vec![StopStep { signal: 2, wait: Span::from_secs(1) }],
        restart: RestartPolicy::Always,
        restart_delay: Span::from_secs(3),
        restart_delay_max: Span::from_secs(3),
        healthy_after: Span::ZERO,
        give_up_after: 0,
        ..Service::default()
    };
    let services = services(
        "{ \"name\": \"pong\" },\n { \"name\": \"ping\", \"executable_name\": \"/opt/ping\", \"args\": [\"-v\", \"\", \"a b\"],\n \
         \"user\": \"pi\", \"autostart\": false, \"autorestart\": false, \"stop_time\": 999000000000 }",
    );
    let ping = Service {
        program: "/opt/ping".into(),
        argv: vec!["ping".into(), "-v".into(), String::new(), "a b".into()],
        user: "pi".into(),
        autostart: false,
        restart: RestartPolicy::Never,
        stop: vec![StopStep { signal: 2, wait: Span::from_secs(999) }],
        ..base("ping", 2)
    };
    assert_eq!(services, [ping, base("pong", 1)]);
}

#[test]
fn merging_follows_the_kind_of_key() {
    // Scalars and strings: the last mention wins, an explicit default is a mention, what is not mentioned stays.
    let a = merged(", \"user\": \"x\", \"autostart\": false, \"stop_time\": 5", ", \"autostart\": true");
    assert_eq!((a.user.as_str(), a.autostart, a.stop[0].wait), ("x", true, Span(5)));
    // `args`: replaced as a whole; `[]` clears.
    assert_eq!(merged(", \"args\": [\"1\", \"2\"]", ", \"args\": [\"3\"]").argv, ["a", "3"]);
    assert_eq!(merged(", \"args\": [\"1\", \"2\"]", ", \"args\": []").argv, ["a"]);
    assert_eq!(merged(", \"args\": [\"1\", \"2\"]", "").argv, ["a", "1", "2"]);
    // An empty string is unset, after merging.
    let a = merged(", \"user\": \"x\", \"executable_name\": \"y\"", ", \"user\": \"\", \"executable_name\": \"\"");
    assert_eq!((a.user.as_str(), a.program.as_str()), ("", "a"));
}

/// The kinds of key that do not land in a plan, at the level of the tree.
#[test]
fn merging_lists() {
    use super::fields::CONFIGURATION;
    use super::merge::merge;
    use crate::complaint::Findings;
    use crate::sources::Sources;
    use crate::tree::{Node, Table, Value, json};

    fn parse(text: &str) -> Table {
        let mut found = Findings::default();
        let file = Sources::default().add("x", text);
        let root = json::parse(file, text, &mut found).unwrap().root;
        super::check::check(&root, &CONFIGURATION, &mut found);
        assert_eq!(found.errors(), 0, "{text}");
        root
    }
    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Text(text) => text.clone(),
            Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Value::Table(table) => {
                let entries = table.entries().iter().map(|entry| format!("{}:{}", entry.key, shown(&entry.node)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
            }
            other => format!("{other:?}"),
        }
    }
    for (base, over, key, merged) in [
        // Sets: united, sorted, each once; they cannot be shrunk.
        (
            r#"{"applications":[{"name":"a","nodes":["pi2","pi1"]}]}"#,
            r#"{"applications":[{"name":"a","nodes":["pi3","pi1"]}]}"#,
            "applications",
            "[{name:a nodes:[pi1 pi2 pi3]}]",
        ),
        (
            r#"{"applications":[{"name":"a","nodes":["pi2","pi1"]}]}"#,
            r#"{"applications":[{"name":"a","nodes":[]}]}"#,
            "applications",
            "[{name:a nodes:[pi1 pi2]}]",
        ),
        (
            r#"{"nodes":[{"name":"n","hostnames":["b","a"],"tags":["t"]}]}"#,
            r#"{"nodes":[{"name":"n","hostnames":["c","a"],"tags":["s"]},{"name":"m"}]}"#,
            "nodes",
            "[{name:m} {name:n hostnames:[a b c] tags:[s t]}]",
        ),
        // Maps: the later after the earlier.
        (
            r#"{"maps":[{"match":{"name":"/a"}}]}"#,
            r#"{"maps":[{"match":{"name":"/b"}}]}"#,
            "maps",
            "[{match:{name:/a}} {match:{name:/b}}]",
        ),
        // Replaced as a whole.
        (
            r#"{"applications":[{"name":"a","extra_cgroups":[{"name":"x"},{"name":"y"}]}]}"#,
            r#"{"applications":[{"name":"a","extra_cgroups":[{"name":"z"}]}]}"#,
            "applications",
            "[{name:a extra_cgroups:[{name:z}]}]",
        ),
        // Matched by name; channels by name and type; sorted.
        (
            r#"{"applications":[{"name":"b"},{"name":"a","user":"x"}]}"#,
            r#"{"applications":[{"name":"c"},{"name":"a","user":"y"}]}"#,
            "applications",
            "[{name:a user:y} {name:b} {name:c}]",
        ),
        (
            r#"{"channels":[{"name":"/b","type":"t"},{"name":"/a","type":"u"},{"name":"/a","type":"t","source_node":"x"}]}"#,
            r#"{"channels":[{"name":"/a","type":"t","source_node":"y"}]}"#,
            "channels",
            "[{name:/a type:t source_node:y} {name:/a type:u} {name:/b type:t}]",
        ),
    ] {
        let mut tables = Table::default();
        merge(&mut tables, &parse(base), &CONFIGURATION);
        merge(&mut tables, &parse(over), &CONFIGURATION);
        assert_eq!(shown(tables.get(key).unwrap()), merged);
    }
}

/// Scenario 24 of the original's tests: load, same file twice, missing, snippet, bad channel name.
#[test]
fn configurations_with_imports() {
    let config = r#"{ "imports": ["dir/two.json", "./one.json"], "applications": [{ "name": "top", "user": "me" }] }"#;
    let one = r#"{ "applications": [{ "name": "b", "user": "one" }, { "name": "top", "args": ["one"] }] }"#;
    let two = r#"{ "imports": ["three.json"], "applications": [{ "name": "b", "user": "two" }, { "name": "a", "user": "two" }] }"#;
    let three = r#"{ "applications": [{ "name": "a", "user": "three", "args": ["three"] }, { "name": "top", "user": "three" }] }"#;
    let files = [("c/config.json", config), ("c/one.json", one), ("c/dir/two.json", two), ("c/dir/three.json", three)];

    // Merged and sorted: `two` goes over its import, `one` over `two`, `config` over all.
    let services = plan(&files).services;
    let brief: Vec<_> =
        services.iter().map(|s| (s.name.as_str(), s.user.as_str(), s.argv.len(), s.origin.file.as_str())).collect();
    assert_eq!(
        brief,
        [("a", "two", 2, "c/dir/three.json"), ("b", "one", 1, "c/dir/two.json"), ("top", "me", 2, "c/dir/three.json")]
    );

    // The same file twice, by whatever route.
    let again = config.replace("./one.json", "./dir/../dir/three.json");
    check(
        &[("c/config.json", &again), files[2], files[3]],
        &["c/config.json:1:31: `c/./dir/../dir/three.json` is imported twice\n  c/dir/two.json:1:15: first here"],
    );
    check(
        &[("a.json", r#"{ "imports": ["b/b.json"] }"#), ("b/b.json", r#"{ "imports": ["../a.json"] }"#)],
        &[
            "b/b.json:1:15: the files import each other in a circle: a.json -> b/b.json -> b/../a.json\n  hint: take one of these imports out",
        ],
    );
    check(
        &[("a.json", r#"{ "imports": ["a.json"], "applications": [] }"#)],
        &[
            "a.json:1:15: the files import each other in a circle: a.json -> a.json\n  hint: take one of these imports out",
        ],
    );

    // Missing.
    let hint = "a path is looked for from the folder of the file that has it";
    let missing = format!("c/dir/two.json:1:15: `c/dir/three.json` cannot be read: no such file\n  hint: {hint}");
    check(&files[..3], &[&missing]);
    let reading = read("nix.json", &memory(&[]));
    assert_eq!(
        (said(&reading), reading.format),
        (vec!["nix.json: cannot be read: no such file".to_owned()], Format::Unknown)
    );

    // A snippet goes over all.
    let snippet = br#"{ "applications": [{ "name": "a", "user": "snippet" }, { "name": "new" }] }"#;
    let with_snippet = read_with_snippet("c/config.json", "snippet", snippet, &memory(&files));
    assert_eq!(said(&with_snippet), [] as [String; 0]);
    let services = with_snippet.plan.unwrap().services;
    let brief: Vec<_> = services.iter().map(|s| (s.name.as_str(), s.user.as_str(), s.argv.len())).collect();
    assert_eq!(brief, [("a", "snippet", 2), ("b", "one", 1), ("new", "", 1), ("top", "me", 2)]);

    // Channel names.
    for (name, flaw) in [
        ("aos", "does not begin with `/`"),
        ("", "does not begin with `/`"),
        ("/aos/", "ends with `/`"),
        ("/", "ends with `/`"),
        ("/a//b", "holds `//`"),
        ("/a.b", "holds something else than letters, digits and - _ /"),
        ("/\u{e9}", "holds something else than letters, digits and - _ /"),
    ] {
        let text = format!(r#"{{ "applications": [], "channels": [{{ "type": "t", "name": "{name}" }}] }}"#);
        check(&[("c.json", &text)], &[&format!("c.json:1:59: channel name \"{name}\" {flaw}")]);
    }
    plan(&[("c.json", r#"{ "applications": [], "channels": [{ "name": "/-a_Z9/x", "type": "t" }] }"#)]);
}

#[test]
fn the_dialect_of_json() {
    assert_eq!(
        services("// c\n { \"name\": \"a\", /* c */ \"args\": [\"x\",], },".replace("], }", "] }").as_str()).len(),
        1
    );
    for (application, complaint) in [
        (r#"{ "name": "a", }"#, "1:35: a comma before `}`\n  hint: JSON has no comma after the last key of an object"),
        (
            r#"{ "name": "a", "autostrat": true }"#,
            "1:37: unknown key `autostrat` in application `a`\n  hint: did you mean `autostart`?",
        ),
        (
            r#"{ "name": "a", "name": "b" }"#,
            "1:37: `name` is given twice\n  c.json:1:24: first here\n  hint: take one of them out",
        ),
        (r#"{ "name": "a", "user": 5 }"#, "1:45: `user` of application `a` is the number 5, expected a string"),
        (r#"{ "name": "a", "user": null }"#, "1:45: `user` of application `a` is null, expected a value"),
        (
            r#"{ "name": "a", "autostart": "true" }"#,
            "1:50: `autostart` of application `a` is the string \"true\", expected true or false",
        ),
        (r#"{ "name": "a", "args": "x" }"#, "1:45: `args` of application `a` is the string \"x\", expected an array"),
        (r#"{ "name": "a", "args": [["x"]] }"#, "1:46: `args` of application `a` holds an array, expected a string"),
        (
            r#"{ "name": "a", "scheduling_policy": "FIFO" }"#,
            "1:58: `scheduling_policy` of application `a` is the string \"FIFO\", expected SCHEDULER_OTHER, SCHEDULER_FIFO, \
             SCHEDULER_RR, or the number of one",
        ),
        (
            r#"{ "name": "a", "scheduling_policy": 3 }"#,
            "1:58: `scheduling_policy` of application `a` is the number 3, expected SCHEDULER_OTHER, SCHEDULER_FIFO, SCHEDULER_RR, \
             or the number of one",
        ),
        (
            r#"{ "name": "a", "stop_time": -1 }"#,
            "1:50: `stop_time` of application `a` is the number -1, expected an integer from 0 to 9223372036854775807",
        ),
        (
            r#"{ "name": "a", "stop_time": 1.5 }"#,
            "1:50: `stop_time` of application `a` is the number 1.5, expected an integer from 0 to 9223372036854775807",
        ),
        (
            r#"{ "name": "a", "memory_limit": 18446744073709551616 }"#,
            "1:53: `memory_limit` of application `a` is the number 18446744073709551616, expected an integer from 0 to \
             18446744073709551615",
        ),
        (
            r#"{ "name": "a", "threads": [{ "name": "t", "priorty": 5 }] }"#,
            "1:64: unknown key `priorty` in thread `t`\n  hint: did you mean `priority`?",
        ),
        (r#""a""#, "1:22: `applications` of the configuration holds the string \"a\", expected an object"),
        (r#"[]"#, "1:22: `applications` of the configuration holds an array, expected an object"),
    ] {
        let text = format!("{{ \"applications\": [  {application} ] }}");
        check(&[("c.json", &text)], &[&format!("c.json:{complaint}")]);
    }
    check(
        &[("c.json", r#"{ "applications": [], "aplications": [] }"#)],
        &["c.json:1:23: unknown key `aplications` in the configuration\n  hint: did you mean `applications`?"],
    );
}

#[test]
fn every_application_has_a_name_of_its_own() {
    let nameless = "c.json:1:21: an application has no name\n  hint: every application has a name of its own";
    check(&[("c.json", r#"{ "applications": [ { "user": "x" } ] }"#)], &[nameless]);
    check(&[("c.json", r#"{ "applications": [ { "name": "" } ] }"#)], &[nameless]);

    let renamed = "hint: a service's name has at most 64 letters, digits and . _ @ : + -";
    check(
        &[("c.json", "{ \"applications\": [\n{ \"name\": \"camera left\" } ] }")],
        &[&format!(
            "c.json:2:11: warning: application `camera left` is service `camera_left` here\n  {renamed}; it is still told its own name as argv[0]"
        )],
    );
    let reading = reading(&[("c.json", "{ \"applications\": [ { \"name\": \"camera left\" } ] }")]);
    let camera = &reading.plan.as_ref().unwrap().services[0];
    assert_eq!(
        (camera.name.as_str(), camera.program.as_str(), camera.argv[0].as_str()),
        ("camera_left", "camera left", "camera left")
    );
    assert!(reading.places.key("camera_left", "program").is_some());

    check(
        &[("c.json", "{ \"applications\": [\n{ \"name\": \"a b\" },\n{ \"name\": \"a_b\" } ] }")],
        &[
            &format!(
                "c.json:2:11: warning: application `a b` is service `a_b` here\n  {renamed}; it is still told its own name as argv[0]"
            ),
            &format!(
                "c.json:3:11: applications `a b` and `a_b` would both be service `a_b`\n  c.json:2:11: the other one\n  {renamed}"
            ),
        ],
    );
}

#[test]
fn what_is_not_applied_is_listed() {
    let reading = reading(&[(
        "c.json",
        r#"{
  "nodes": [{ "name": "pi1", "hostname": "raspberrypi", "port": 9971 }],
  "channels": [{ "name": "/aos", "type": "aos.starter.Status", "frequency": 50, "logger": "NOT_LOGGED" }],
  "maps": [], "channel_storage_duration": 2000000000,
  "applications": [{ "name": "a",
    "nodes": ["pi1"], "memory_limit": 1000, "cpu_affinity": [0], "scheduling_policy": 1, "priority": 0,
    "threads": [{ "name": "t", "priority": 5 }], "extra_cgroups": [{ "name": "x" }], "maps": [{}]
  }]
}"#,
    )]);
    assert_eq!(said(&reading), [] as [String; 0]);
    // It still runs.
    assert_eq!(reading.plan.as_ref().map(|plan| plan.services.len()), Some(1));
    let own = "is not applied: the application's own event loop applies it, as it does under starterd";
    let messages = "is not applied: messaging is the applications' own; verger carries no messages";
    let machine = "is not applied: verger supervises one machine, and runs every application on it";
    assert_eq!(
        not_applied(&reading),
        [
            format!("c.json:2:3: `nodes` {machine}"),
            format!("c.json:3:3: `channels` {messages}"),
            format!("c.json:4:15: `channel_storage_duration` {messages}"),
            format!("c.json:6:5: `nodes` of service `a` {machine}"),
            "c.json:6:23: `memory_limit` of service `a` is not applied: verger does not limit memory by cgroup".to_owned(),
            format!("c.json:6:45: `cpu_affinity` of service `a` {own}"),
            format!("c.json:6:66: `scheduling_policy` of service `a` {own}"),
            format!("c.json:7:5: `threads` of service `a` {own}"),
            "c.json:7:50: `extra_cgroups` of service `a` is not applied: verger makes no cgroups for an application's own use".to_owned(),
            "c.json:7:86: `maps` of service `a` is not applied: channels are renamed by the application's own library".to_owned(),
        ]
    );
}

#[test]
fn a_configuration_is_told_from_a_plan() {
    for (text, format) in [
        (r#"{ "applications": [] }"#, Format::AosJson),
        (r#"{ "imports": ["b.json"] }"#, Format::AosJson),
        (r#"{ "channels": [] }"#, Format::AosJson),
        (r#"{ "imports": ["b.json"], "service": {} }"#, Format::NativeJson),
        (r#"{ "service": {} }"#, Format::NativeJson),
        ("{}", Format::NativeJson),
    ] {
        assert_eq!(reading(&[("a.json", text), ("b.json", r#"{ "applications": [] }"#)]).format, format, "{text}");
    }
    check(
        &[("a.json", r#"{ "channels": [] }"#)],
        &["a.json: warning: the configuration has no applications\n  hint: the plan is empty: nothing will run"],
    );
}

#[test]
fn imports_are_bounded() {
    // Five files of almost the largest size.
    let large = format!("{{ \"applications\": [] }}{}", " ".repeat((16 << 20) - 100));
    let names = ["1", "2", "3", "4", "5"];
    let first = format!("{{ \"imports\": [{}] }}", names.map(|name| format!("\"{name}\"")).join(", "));
    let files: Vec<(&'static str, &str)> = names.iter().map(|name| (*name, large.as_str())).collect();
    let files: Vec<(&'static str, &str)> = [("first", first.as_str())].into_iter().chain(files).collect();
    check(&files, &["5: with this file there is too much to read, expected at most 67108864 bytes"]);

    let reading = read("a", &Endless(|path| format!("{{ \"imports\": [\"{path}x\", \"{path}y\"] }}")));
    assert!(reading.plan.is_none());
    assert!(said(&reading)[0].contains("too many imports, expected at most 1000 files, and 64 in a row"));
    assert!(reading.sources.names().count() <= 1000);
}

#[test]
fn the_samples() {
    let files = [
        ("aos/robot.json", include_str!("../../samples/aos/robot.json")),
        ("aos/parts/basics.json", include_str!("../../samples/aos/parts/basics.json")),
        ("aos/parts/vision.json", include_str!("../../samples/aos/parts/vision.json")),
    ];
    let reading = reading(&files);
    assert_eq!((reading.complaints.len(), reading.not_applied.len()), (1, 7));
    let services = reading.plan.unwrap().services;
    let brief: Vec<_> =
        services.iter().map(|s| (s.name.as_str(), s.argv.len(), s.autostart, s.user.as_str())).collect();
    assert_eq!(
        brief,
        [
            ("camera_left", 3, true, "vision"),
            ("drivetrain", 1, true, ""),
            ("joystick_reader", 1, true, ""),
            ("logger", 1, true, ""),
        ]
    );
    assert_eq!(services[1].stop, [StopStep { signal: 2, wait: Span::from_millis(2500) }]);
}

#[test]
fn what_becomes_of_each_key_is_told() {
    let files = memory(&[(
        "base.json",
        "{ \"nodes\": [{ \"name\": \"pi\" }], \"applications\": [{ \"name\": \"b\", \"priority\": 5 }] }",
    )]);
    let text = "{ \"imports\": [\"base.json\"],\n\"applications\": [{ \"name\": \"a\", \"args\": [] }] }";
    let (reading, fates) = crate::read_with_fates("c.json", text.as_bytes(), &files);
    assert_eq!(reading.plan.map(|plan| plan.services.len()), Some(2));
    let told: Vec<String> =
        fates.iter().map(|fate| format!("{} {} {}", fate.file, fate.key, fate.fate.word())).collect();
    assert_eq!(
        told,
        [
            "c.json imports kept",
            "c.json applications.a.name kept",
            "c.json applications.a.args kept",
            "base.json nodes not applicable",
            "base.json applications.b.name kept",
            "base.json applications.b.priority not applicable",
        ]
    );
    assert_eq!(fates[1].to_string(), "c.json:2:20: kept: `applications.a.name`: it means here what it means there");
}
