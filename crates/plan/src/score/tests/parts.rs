//! Configurations of S-CORE's in several files, which a plan of verger's own imports.

use verger_engine::image::Ready;
use verger_engine::time::Span;

use super::{group, said, service, target};
use crate::tests::memory::memory;
use crate::{Fate, Format, Reading, read, read_with_fates};

fn reading(files: &[(&'static str, &str)]) -> Reading {
    read(files[0].0, &memory(files))
}

const ALL: (&str, &str) = ("all.toml", "imports = [\"machine.json\", \"nav.json\"]\n");
const MACHINE: (&str, &str) = (
    "machine.json",
    r#"{ "schema_version": 1, "initial_run_target": "Drive",
    "defaults": { "component_properties": { "application_profile": { "application_type": "Native" } },
                  "deployment_config": { "shutdown_timeout": 2 }, "run_target": { "transition_timeout": 9 } },
    "components": { "camera": { "component_properties": { "binary_name": "camera" } } },
    "run_targets": { "Drive": { "depends_on": ["camera", "planner"] } },
    "fallback_run_target": { "depends_on": ["camera"] } }"#,
);
const NAV: (&str, &str) = (
    "nav.json",
    r#"{ "schema_version": 1,
    "defaults": { "deployment_config": { "shutdown_timeout": 7, "sandbox": { "uid": 42 } } },
    "components": { "planner": { "component_properties": { "binary_name": "planner", "depends_on": ["camera"] } },
                    "map": { "component_properties": { "binary_name": "map" } } },
    "run_targets": { "Map": { "depends_on": ["map"] } } }"#,
);

#[test]
fn components_of_several_files_are_one_configuration_and_defaults_are_each_files_own() {
    let reading = reading(&[ALL, MACHINE, NAV]);
    assert_eq!((said(&reading), reading.format), (Vec::new(), Format::ScoreJson));
    let plan = reading.plan.unwrap();
    let of = |name: &str| {
        let service = service(&plan, name);
        (service.user.as_str(), service.stop[0].wait, service.ready, service.origin.file.as_str())
    };
    assert_eq!(of("camera"), ("1000", Span::from_secs(2), Ready::Started, "machine.json"));
    assert_eq!(of("planner"), ("42", Span::from_secs(7), Ready::Notify, "nav.json"));
    assert_eq!(of("map"), ("42", Span::from_secs(7), Ready::Notify, "nav.json"));
    let group = group(&plan, "");
    assert_eq!(group.initial, "Drive");
    assert_eq!(target(group, "Drive").services, ["camera", "planner"]);
    let timeout = |name: &str| target(group, name).transition_timeout;
    assert_eq!(
        [timeout("Drive"), timeout("fallback_run_target"), timeout("Map")].map(|span| span.0 / 1_000_000_000),
        [9, 9, 3]
    );
}

#[test]
fn processes_of_several_files_are_one_configuration() {
    let main = r#"{ "versionMajor": 7, "versionMinor": 0, "ModeGroup": [ { "identifier": "MainPG", "initialMode_name": "Off",
        "recoveryMode_name": "MainPG/Recovery", "modeDeclaration": [ { "identifier": "MainPG/Startup" }, { "identifier": "MainPG/Recovery" } ] } ],
        "Process": [] }"#;
    let part = r#"{ "versionMajor": 7, "Process": [ { "identifier": "nav", "path": "/opt/nav",
        "startupConfig": [ { "identifier": "c", "enterTimeoutValue": 1000, "exitTimeoutValue": 1000, "processGroupStateDependency":
            [ { "stateMachine_name": "MainPG", "stateName": "MainPG/Startup" } ] } ] } ] }"#;
    let reading = reading(&[ALL, ("machine.json", main), ("nav.json", part)]);
    assert_eq!((said(&reading), reading.format), (Vec::new(), Format::ScoreSeedJson));
    let plan = reading.plan.unwrap();
    assert_eq!(target(group(&plan, "MainPG"), "Startup").services, ["nav"]);
    assert_eq!(service(&plan, "nav").origin.file, "nav.json");
}

#[test]
fn what_several_files_cannot_be_is_told_with_its_place() {
    let check = |files: &[(&'static str, &str)], complaints: &[&str]| {
        let reading = reading(files);
        assert_eq!(said(&reading), complaints);
        assert!(reading.plan.is_none());
    };
    let twice = NAV.1.replace("\"map\": {", "\"camera\": {").replace("\"map\"]", "\"camera\"]");
    check(
        &[ALL, MACHINE, ("nav.json", &twice)],
        &[
            "nav.json:4:21: component `camera` is defined twice\n  machine.json:4:21: first here\n  hint: give one of them another name, or take one out",
        ],
    );
    check(
        &[ALL, MACHINE, ("nav.json", &NAV.1.replace("\"schema_version\": 1,", "\"initial_run_target\": \"Map\","))],
        &[
            "nav.json:1:3: the configuration has no `schema_version`\n  hint: write \"schema_version\": 1",
            "nav.json:1:3: `initial_run_target` is given twice\n  machine.json:1:24: first here\n  hint: take one of them out",
        ],
    );
    check(
        &[ALL, ("machine.json", NAV.1), ("nav.json", "{ \"schema_version\": 1 }")],
        &[
            "all.toml:1:12: the configuration has no `initial_run_target`\n  hint: write \"initial_run_target\": \"NAME\"",
            "all.toml:1:12: the configuration has no `fallback_run_target`\n  \
             hint: write \"fallback_run_target\": { \"depends_on\": […] }",
            "machine.json:3:101: component `planner` depends on `camera`, which is no component\n  \
             hint: the other components are `map`",
        ],
    );
    check(
        &[ALL, MACHINE, ("nav.json", "{ \"versionMajor\": 7, \"Process\": [] }")],
        &[
            "all.toml:1:28: `nav.json` is of another format of S-CORE's, expected files of one format\n  all.toml:1:12: than this one",
            "machine.json:5:58: run target `Drive` depends on `planner`, which is no component or run target\n  \
             hint: the other components and run targets are `camera`",
        ],
    );
    check(
        &[("all.toml", "imports = [\"machine.json\", \"nav.json\"]\n[service.x]\ncommand = \"x\"\n"), MACHINE, NAV],
        &[
            "all.toml:2:2: `service` stands beside files of S-CORE, expected `imports`, and nothing else\n  all.toml:1:12: S-CORE's is imported here\n  hint: services of verger's own are added to a running plan: `verger apply --add FILE`",
        ],
    );
}

#[test]
fn the_report_is_of_all_files() {
    let (reading, fates) = read_with_fates("all.toml", ALL.1.as_bytes(), &memory(&[MACHINE, NAV]));
    assert!(reading.plan.is_some());
    let has = |file: &str, key: &str| fates.iter().any(|it| it.file == file && it.key == key && it.fate == Fate::Kept);
    assert!(has("machine.json", "defaults.deployment_config.shutdown_timeout"));
    assert!(has("nav.json", "defaults.deployment_config.shutdown_timeout"));
    assert!(has("nav.json", "components.planner.component_properties.binary_name"));
    assert!(has("nav.json", "schema_version") && has("machine.json", "schema_version"));
}
