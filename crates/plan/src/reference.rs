//! The reference of native plans as Markdown; from the lists of keys.

use std::fmt::Write;

use crate::keys::{CONDITION, GROUP, Group, HANDLE, LIMITS, PLAN, RECOVERY, SERVICE, STEP, TARGET};

/// What holds for all conditions.
pub(crate) const OF_CONDITIONS: &str = "Each condition asks for one thing: one of `path`, `path_gone`, `socket`, `tcp`, `http`, \
    `command`, `variable` and `set`; all of a service must come true. `every` goes with all but `variable` and `set`, `within` with \
    all but `variable`, `timeout` with `tcp`, `http` and `command`. What is `set` is looked at by nobody. The others see the machine as the service would: they run as it does, and have its \
    variables but those that a run gets of its own (`NOTIFY_SOCKET`, `LISTEN_FDS`, `VERGER_CONTROL`). A scenario of `verger sim` \
    says whether it is so: `at 5s camera:path true`. `verger why camera:path` says what the last look saw.";

/// What holds for all steps.
pub(crate) const OF_STEPS: &str = "Each step does one thing: one of `switch`, `stop`, `start`, `command`, `withhold_watchdog`, `end` \
    and `reboot`; `timeout` goes with `command`. Only after `switch` and `command` is the service tried again, so only those can \
    be followed by another step. After `stop`, and `start` of another, it is left so: no fallback comes for it. A service that is `essential` ends everything after its last step, as `end` does.";

/// Every key of a native plan: what stands there, what holds without it, what it is for.
pub fn reference() -> String {
    let mut text = String::from(
        "# Keys of a plan\n\n\
         <!-- Made from the lists in `crates/plan/src/keys`; change those. -->\n\n\
         A plan is written in TOML, or in JSON with the same tables and keys (comments are allowed). The smallest is\n\n\
         ```toml\n[service.web]\ncommand = \"web --port 80\"\n```\n\n\
         A *duration* is a string of numbers with units, larger units first: `\"200ms\"`, `\"1.5s\"`, `\"1h30m\"`; the units are\n\
         d, h, m, s, ms, us and ns, and what has no end is `\"forever\"`. A *name* has 1 to 64 letters, digits and `. _ @ : + -`,\n\
         and does not begin with `-` or `.`.\n",
    );
    section(&mut text, "At the top", PLAN);
    text.push_str("\n## Services: `[service.NAME]`\n");
    for group in SERVICE {
        let _ = write!(text, "\n### {}\n\n", group.title);
        table(&mut text, group);
    }
    section(&mut text, "Conditions: `conditions = [{ … }]`", CONDITION);
    let _ = write!(text, "\n{OF_CONDITIONS}\n");
    section(&mut text, "Targets: `[target.NAME]`", TARGET);
    section(&mut text, "Groups: `[group.NAME]`", GROUP);
    section(&mut text, "Recovery: `[recovery.NAME]`", RECOVERY);
    section(&mut text, "Steps of recovery: `recovery = [{ … }]` of a service, `steps = [{ … }]` of a set", STEP);
    let _ = write!(text, "\n{OF_STEPS}\n");
    section(&mut text, "Handles: `[handle.NAME]`", HANDLE);
    text.push_str(
        "\nA handle has one of `file`, `pipe`, `memory` and `listen`; `mode` and `backlog` go with `listen`.\n",
    );
    section(&mut text, "Room: `[limits]`", LIMITS);
    text
}

fn section<T>(text: &mut String, title: &str, groups: &'static [Group<T>]) {
    let _ = write!(text, "\n## {title}\n\n");
    for (at, group) in groups.iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        table(text, group);
    }
}

fn table<T>(text: &mut String, group: &Group<T>) {
    text.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in group.keys {
        let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        let _ = writeln!(text, "| `{}` | {} | {default} | {} |", key.name, key.shape.written(), key.doc);
    }
}
