//! Plans of several files: what they import, what each has for itself, and what is refused.

use verger_engine::image::{Plan, RestartPolicy};
use verger_engine::time::Span;

use super::memory::{Endless, memory};
use super::said;
use crate::{Format, Reading, read, read_fragment};

fn reading(files: &[(&'static str, &str)]) -> Reading {
    read(files[0].0, &memory(files))
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
    reading.plan.unwrap()
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.services.iter().map(|service| service.name.as_str()).collect()
}

#[test]
fn files_are_one_plan() {
    let plan = plan(&[
        (
            "etc/robot.toml",
            "imports = [\"sensors.toml\", \"conf.d/*.toml\", \"../more.json\"]\nname = \"robot\"\ninitial_target = \"drive\"\n\
             [target.drive]\nservices = [\"planner\"]\nincludes = [\"seeing\"]\n\
             [service.planner]\ncommand = \"planner\"\nrequires = [\"camera\", \"db\"]\n",
        ),
        (
            "etc/sensors.toml",
            "[target.seeing]\nservices = [\"camera\"]\n[handle.log]\npipe = true\n\
             [service.camera]\ncommand = \"camera\"\nstdout = \"log.w\"\nrequires = [\"bus\"]\n",
        ),
        ("etc/conf.d/20-b.toml", "[service.b]\ncommand = \"b\"\n"),
        ("etc/conf.d/10-a.toml", "[service.a]\ncommand = \"a\"\nafter = [\"b\"]\n"),
        ("etc/conf.d/.hidden.toml", "this is not read"),
        ("etc/conf.d/a.txt", "nor is this"),
        ("more.json", "{ \"imports\": [\"etc/bus.toml\"], \"service\": { \"db\": { \"command\": \"db\" } } }"),
        ("etc/bus.toml", "[service.bus]\ncommand = \"bus\"\nstdin = \"log.r\"\n"),
    ]);
    // What is imported comes first, in its order.
    assert_eq!(names(&plan), ["camera", "a", "b", "bus", "db", "planner"]);
    assert_eq!((plan.name.as_str(), plan.groups[0].targets.len()), ("robot", 2));
    let origin = &plan.services[1].origin;
    assert_eq!((origin.file.as_str(), origin.line), ("etc/conf.d/10-a.toml", 1));
}

#[test]
fn defaults_are_for_their_file_and_for_what_it_imports() {
    let plan = plan(&[
        (
            "robot.toml",
            "imports = [\"sensors.toml\", \"plain.toml\"]\n[defaults]\nuser = \"robot\"\nrestart = \"always\"\n[service.main]\ncommand = \"x\"\n",
        ),
        (
            "sensors.toml",
            "imports = [\"left.toml\"]\n[defaults]\nuser = \"sensor\"\nrestart_delay = \"7s\"\n[service.lidar]\ncommand = \"x\"\n\
             [service.gps]\ncommand = \"x\"\nuser = \"gps\"\n",
        ),
        ("left.toml", "[service.left]\ncommand = \"x\"\n"),
        ("plain.toml", "[service.plain]\ncommand = \"x\"\n"),
    ]);
    let of = |name: &str| {
        let service = plan.services.iter().find(|service| service.name == name).unwrap();
        (service.user.as_str(), service.restart, service.restart_delay == Span::from_secs(7))
    };
    assert_eq!(of("main"), ("robot", RestartPolicy::Always, false));
    assert_eq!(of("plain"), ("robot", RestartPolicy::Always, false));
    assert_eq!(of("lidar"), ("sensor", RestartPolicy::Always, true));
    assert_eq!(of("left"), ("sensor", RestartPolicy::Always, true));
    assert_eq!(of("gps"), ("gps", RestartPolicy::Always, true));
    check(
        &[
            ("a.toml", "imports = [\"b.toml\"]\n[service.a]\ncommand = \"a\"\n"),
            ("b.toml", "[defaults]\ncommand = \"x\"\nusr = 5\n[service.b]\ncommand = \"b\"\n"),
        ],
        &[
            "b.toml:2:1: `command` cannot stand in [defaults]\n  hint: it is each service's own",
            "b.toml:3:1: unknown key `usr` in [defaults]\n  hint: did you mean `user`?",
        ],
    );
}

#[test]
fn a_name_is_given_in_one_file() {
    check(
        &[
            (
                "a.toml",
                "imports = [\"b.toml\"]\nname = \"a\"\n[service.x]\ncommand = \"x\"\n[target.t]\nservices = [\"x\"]\n\
                 [group.g.target.u]\nservices = []\n[limits]\nservices = 9\n[handle.h]\npipe = true\n",
            ),
            (
                "b.toml",
                "name = \"b\"\n[service.x]\ncommand = \"x\"\n[target.t]\nservices = [\"x\"]\n\
                 [group.g.target.u]\nservices = []\n[limits]\nservices = 9\n[handle.h]\npipe = true\n",
            ),
        ],
        &[
            "a.toml:2:1: `name` is given twice\n  b.toml:1:1: first here\n  hint: take one of them out",
            "a.toml:3:10: service `x` is defined twice\n  b.toml:2:10: first here\n  hint: give one of them another name, or take one out",
            "a.toml:5:9: target `t` is defined twice\n  b.toml:4:9: first here\n  hint: give one of them another name, or take one out",
            "a.toml:7:17: target `u` of group `g` is defined twice\n  b.toml:6:17: first here\n  hint: give one of them another name, or take one out",
            "a.toml:10:1: `services` is given twice\n  b.toml:9:1: first here\n  hint: take one of them out",
            "a.toml:11:9: handle `h` is defined twice\n  b.toml:10:9: first here\n  hint: give one of them another name, or take one out",
            "b.toml:10:9: warning: nobody uses handle `h`",
        ],
    );
    // A group may be spread over files, and a template's instance may stand in another file.
    let plan = plan(&[
        (
            "a.toml",
            "imports = [\"b.toml\"]\n[group.g.target.t]\nservices = [\"camera@left\"]\n[service.\"camera@left\"]\n",
        ),
        ("b.toml", "[group.g]\ninitial_target = \"t\"\n[service.\"camera@\"]\ncommand = \"camera %i\"\n"),
    ]);
    assert_eq!(
        (plan.services[0].argv.as_slice(), plan.groups.len()),
        (&["camera".to_owned(), "left".to_owned()][..], 1)
    );
}

#[test]
fn what_cannot_be_imported_is_told_with_its_place() {
    let x = "[service.x]\ncommand = \"x\"\n";
    for (list, said) in [
        (
            "\"none.toml\"",
            "d/a.toml:1:12: `d/none.toml` cannot be read: no such file\n  hint: a path is looked for from the folder of the file that has it",
        ),
        (
            "\"a.toml\"",
            "d/a.toml:1:12: the files import each other in a circle: d/a.toml -> d/a.toml\n  hint: take one of these imports out",
        ),
        (
            "\"back.toml\"",
            "d/back.toml:1:12: the files import each other in a circle: d/a.toml -> d/back.toml -> d/../d/a.toml\n  hint: take one of these imports out",
        ),
        ("\"b.toml\", \"./b.toml\"", "d/a.toml:1:22: `d/./b.toml` is imported twice\n  d/a.toml:1:12: first here"),
        (
            "\"none/*.toml\"",
            "d/a.toml:1:12: the folder `d/none/` cannot be read: no such folder\n  hint: it is looked for from the folder of the file that has it",
        ),
        ("\"*.tmol\"", "d/a.toml:1:12: warning: no file is called like `*.tmol`"),
        (
            "\"*/b.toml\"",
            "d/a.toml:1:12: `*/b.toml` has a pattern for a folder, expected `*`, `?` and `[abc]` in the last part only, as in \"conf.d/*.toml\"",
        ),
        ("5", "d/a.toml:1:12: `imports` holds the number 5, expected an array of paths"),
        ("\"\"", "d/a.toml:1:12: `imports` holds the string \"\", expected an array of paths"),
        (
            "\"aos.json\"",
            "d/a.toml:1:12: `aos.json` is an AOS configuration, expected a plan of verger's own, or a file of S-CORE's\n  hint: an AOS configuration is run as it is, and has `imports` itself",
        ),
        ("\"bad.toml\"", "d/bad.toml:1:1: unknown key `servise`\n  hint: did you mean `service`?"),
    ] {
        check(
            &[
                ("d/a.toml", &format!("imports = [{list}]\n{x}")),
                ("d/b.toml", "[service.b]\ncommand = \"b\"\n"),
                ("d/back.toml", "imports = [\"../d/a.toml\"]\n"),
                ("d/aos.json", "{ \"applications\": [] }"),
                ("d/bad.toml", "servise = 5\n"),
            ],
            &[said],
        );
    }
    check(
        &[("a.toml", &format!("imports = \"b.toml\"\n{x}"))],
        &["a.toml:1:11: `imports` is the string \"b.toml\", expected an array of paths\n  hint: write [\"b.toml\"]"],
    );
    check(
        &[("a.toml", &format!("include = [\"b.toml\"]\n{x}"))],
        &["a.toml:1:1: unknown key `include`\n  hint: that is `imports` here"],
    );
    // A pattern passes over what is there already, itself too.
    let plan = plan(&[
        ("a.toml", "imports = [\"c.toml\", \"*.toml\"]\n[service.x]\ncommand = \"x\"\n"),
        ("b.toml", "[service.b]\ncommand = \"b\"\n"),
        ("c.toml", "[service.c]\ncommand = \"c\"\n"),
    ]);
    assert_eq!(names(&plan), ["c", "b", "x"]);
    // Also what came with one of its own files, and another name of one.
    let plan = self::plan(&[
        ("a.toml", "imports = [\"conf.d/*.toml\"]\n[service.x]\ncommand = \"x\"\n"),
        ("conf.d/1.toml", "imports = [\"2.toml\"]\n[service.one]\ncommand = \"1\"\n"),
        ("conf.d/2.toml", "[service.two]\ncommand = \"2\"\n"),
        ("conf.d/3.toml", "link to conf.d/2.toml"),
    ]);
    assert_eq!(names(&plan), ["two", "one", "x"]);
    // Where a pattern could not be looked up, or a file is not taken, nobody says what may be there is missing.
    for (list, said) in [
        (
            "none/*.toml",
            "a.toml:1:12: the folder `none/` cannot be read: no such folder\n  hint: it is looked for from the folder of the file that has it",
        ),
        (
            "*/b.toml",
            "a.toml:1:12: `*/b.toml` has a pattern for a folder, expected `*`, `?` and `[abc]` in the last part only, as in \"conf.d/*.toml\"",
        ),
        (
            "aos.json",
            "a.toml:1:12: `aos.json` is an AOS configuration, expected a plan of verger's own, or a file of S-CORE's\n  hint: an AOS configuration is run as it is, and has `imports` itself",
        ),
        (
            "oci.json",
            "a.toml:1:12: `oci.json` is the configuration of a container, expected a plan of verger's own, or a file of S-CORE's\n  hint: a service runs its folder: bundle = \"/PATH\"; `verger import FILE` makes a plan of its process",
        ),
    ] {
        let text = format!("imports = [\"{list}\"]\n[service.x]\ncommand = \"x\"\nrequires = [\"there\"]\n");
        let (aos, oci) = ("{ \"applications\": [] }", "{ \"ociVersion\": \"1.2.0\" }");
        check(&[("a.toml", &text), ("aos.json", aos), ("oci.json", oci)], &[said]);
    }
}

#[test]
fn a_file_in_json_that_only_imports_is_what_it_imports() {
    let only = "{ \"$schema\": \"plan.schema.json\", \"imports\": [\"b\"] }";
    for (b, format) in [
        ("[service.x]\ncommand = \"x\"\n", Format::NativeToml),
        ("{ \"service\": { \"x\": { \"command\": \"x\" } } }", Format::NativeToml),
        ("{ \"applications\": [{ \"name\": \"x\", \"executable_name\": \"x\" }] }", Format::AosJson),
    ] {
        let reading = reading(&[("a.json", &only.replace("\"$schema\": \"plan.schema.json\", ", "")), ("b", b)]);
        assert_eq!(said(&reading), [] as [String; 0], "{b}");
        let is_native = format == Format::NativeToml;
        assert_eq!(reading.format, if is_native { Format::NativeJson } else { Format::AosJson });
    }
    assert_eq!(names(&plan(&[("a.json", only), ("b", "[service.x]\ncommand = \"x\"\n")])), ["x"]);
}

#[test]
fn a_fragment_may_have_several_files() {
    let base = plan(&[("a.toml", "[service.x]\ncommand = \"x\"\n")]);
    let files = memory(&[
        ("f.toml", "imports = [\"g.toml\"]\n[service.f]\ncommand = \"f\"\nrequires = [\"x\", \"g\"]\n"),
        ("g.toml", "[service.g]\ncommand = \"g\"\n"),
    ]);
    let reading = read_fragment("f.toml", &base, &files);
    assert_eq!(said(&reading), [] as [String; 0]);
    assert_eq!(names(&reading.plan.unwrap()), ["x", "g", "f"]);
    let files = memory(&[("f.toml", "imports = [\"g.toml\"]\n"), ("g.toml", "[service.x]\ncommand = \"x\"\n")]);
    let reading = read_fragment("f.toml", &base, &files);
    assert!(said(&reading)[0].starts_with("g.toml:1:10: the plan in force has a service `x` already"));
}

#[test]
fn there_are_no_more_files_than_so_many() {
    let reading = read("a", &Endless(|path| format!("imports = [\"{path}x\", \"{path}y\"]\n")));
    assert!(reading.sources.names().count() <= 1000);
    assert!(said(&reading)[0].contains("too many imports, expected at most 1000 files, and 64 in a row"));
}
