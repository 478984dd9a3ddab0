//! Recovery sets and ladders: every complaint, to the letter.

use super::*;

/// Two services, a target without them, and further lines from line 9 on.
fn with_two(lines: &str) -> String {
    format!(
        "[service.a]\ncommand = 'a'\n[service.b]\ncommand = 'b'\nrequires = ['a']\n[service.c]\ncommand = 'c'\nautostart = false\n{lines}\n"
    )
}

#[track_caller]
fn check_two(lines: &str, complaints: &[&str]) {
    check(&with_two(lines), complaints);
}

#[test]
fn who_is_in_a_set() {
    check_two(
        "[recovery.s]",
        &["x.toml:9:11: recovery set `s` has no services\n  hint: write services = [\"NAME\", …]"],
    );
    check_two(
        "[recovery.s]\nservices = []",
        &["x.toml:10:12: recovery set `s` lists no services\n  hint: write services = [\"NAME\", …]"],
    );
    check_two(
        "[recovery.s]\nservices = ['a', 'bb']",
        &["x.toml:10:18: recovery set `s` lists `bb`, and there is no such service\n  hint: did you mean `b`?"],
    );
    check_two(
        "[recovery.s]\nservices = ['a', 'nope']",
        &[
            "x.toml:10:18: recovery set `s` lists `nope`, and there is no such service\n  hint: add [service.nope], or take the name out",
        ],
    );
    check_two(
        "[recovery.s]\nservices = ['a']\n[recovery.t]\nservices = ['b', 'a']",
        &[
            "x.toml:12:18: `a` is in two recovery sets\n  x.toml:10:13: the other one\n  hint: a failure is counted once: take it out of one of them",
        ],
    );
    check_two(
        "give_up_after = 1\nrecovery = [{ stop = true }]\n[recovery.t]\nservices = ['c']",
        &[
            "x.toml:12:13: `c` is in two recovery sets\n  x.toml:10:12: the other one\n  hint: a failure is counted once: take it out of one of them",
        ],
    );
    check_two(
        "give_up_after = 1\nrecovery = [{ stop = true }]\n[recovery.c]\nservices = ['a']",
        &[
            "x.toml:11:11: `c` is the name of a recovery set and of a service that has its own\n  hint: give the set another name",
        ],
    );
    check_two(
        "[recovery.s]\nservices = ['a']\nscope = 'rset'\nlimit = 3",
        &[
            "x.toml:11:9: `scope` in recovery set `s` is the string \"rset\", expected \"one\", \"all\" or \"rest\"\n  hint: did you mean `rest`?",
            "x.toml:12:1: unknown key `limit` in recovery set `s`\n  hint: that is `give_up_after` here",
        ],
    );
    check_two(
        "[recovery.s]\nservices = ['a']\ngive_up_after = -1\ngive_up_within = '-3s'",
        &[
            "x.toml:11:17: `give_up_after` in recovery set `s` is the number -1, expected an integer from 0 to 4294967295",
            "x.toml:12:18: `give_up_within` in recovery set `s` is the string \"-3s\", expected a duration like \"200ms\", \"1.5s\", \"1h30m\" or \"forever\"\n  hint: no time is below 0; what has no end is \"forever\"",
        ],
    );
    check(
        "[service.x]\ncommand = 'x'\nstdin = 'control.event'\nstdout = 'control.cmd'\n[service.y]\ncommand = 'y'\nbrain = 'x'\n[recovery.s]\nservices = ['y']",
        &[
            "x.toml:9:13: recovery set `s` lists `y`, which has a brain\n  hint: its brain decides what comes after its end",
        ],
    );
}

#[test]
fn what_a_step_does() {
    let in_c = |steps: &str| format!("give_up_after = 1\nrecovery = [{steps}]");
    check_two(
        &in_c("{ wait = '1s' }"),
        &[
            "x.toml:10:13: nothing is done in a step in service `c`, expected \"switch\", \"stop\", \"start\", \"command\", \"withhold_watchdog\", \"end\" or \"reboot\"",
        ],
    );
    check_two(
        &in_c("{ stop = true, reboot = true }"),
        &[
            "x.toml:10:28: `stop` and `reboot` stand together in a step in service `c`, expected one thing in each\n  hint: write two steps: the second is taken when the first did not help",
        ],
    );
    check_two(
        &in_c("{ stop = false }"),
        &[
            "x.toml:10:22: `stop` in a step in service `c` is false, expected true\n  hint: leave the step out when it is not to be taken",
        ],
    );
    check_two(
        &in_c("'stop'"),
        &[
            "x.toml:10:13: `recovery` in service `c` holds the string \"stop\", expected tables\n  hint: write { switch = \"TARGET\", wait = \"1s\" }",
        ],
    );
    check_two(
        &in_c("{ stop = true, timeout = '1s' }"),
        &["x.toml:10:38: `timeout` in a step in service `c` means nothing without `command`\n  hint: leave it out"],
    );
    check_two(
        &in_c("{ stop = true, wait = 'forever' }"),
        &[
            "x.toml:10:35: `wait` in a step in service `c` has no end: what comes after it would never come\n  hint: write a time",
        ],
    );
    check_two(
        &in_c("{ reboot = true, delay = '1s' }"),
        &["x.toml:10:30: unknown key `delay` in a step in service `c`\n  hint: that is `wait` here"],
    );
    check_two(
        &in_c("{ command = '' }"),
        &["x.toml:10:25: `command` in a step in service `c` is empty\n  hint: the first word is the program"],
    );
    check_two(
        &in_c("{ end = true }, { command = 'x' }"),
        &[
            "x.toml:10:29: this step of `recovery` of service `c` is never taken: nothing comes after `end`\n  x.toml:10:13: the step before\n  hint: only `switch` and `command` try again, and can be followed by another step",
        ],
    );
    let many = in_c(&vec!["{ command = 'x' }"; 16].join(", "));
    check_two(&many, &["x.toml:10:298: `recovery` of service `c` has 16 steps, expected at most 15"]);
}

#[test]
fn where_a_step_leads() {
    let in_a = |step: &str| {
        format!(
            "[recovery.s]\nservices = ['a']\nsteps = [{{ {step} }}]\n[target.safe]\nservices = ['c']\n[target.drive]\nservices = ['b']\n[group.g.target.rest]\n"
        )
    };
    check_two(
        &in_a("switch = 'sfae'"),
        &[
            "x.toml:11:21: recovery set `s` switches to `sfae`, and there is no such target\n  hint: did you mean `safe`?",
        ],
    );
    check_two(
        &in_a("switch = 'rest'"),
        &[
            "x.toml:11:21: recovery set `s` switches to `rest`, and there is no such target\n  hint: write switch = \"g/rest\"",
        ],
    );
    check_two(
        &in_a("switch = 'nowhere'"),
        &[
            "x.toml:11:21: recovery set `s` switches to `nowhere`, and there is no such target\n  hint: the targets are `Off`, `drive`, `safe`, `g/Off`, `g/rest`",
        ],
    );
    check_two(
        "recovery = [{ switch = 'nowhere' }]\ngive_up_after = 3",
        &[
            "x.toml:9:24: `recovery` of service `c` switches to `nowhere`, and there is no such target\n  hint: the plan has no targets: one is [target.NAME]",
        ],
    );
    check_two(&in_a("switch = 'g/rest'"), &[]);
    check_two(&in_a("switch = 'Off'"), &[]);
    check_two(
        &in_a("switch = 'drive'"),
        &[
            "x.toml:11:21: warning: recovery set `s` switches to `drive`, which needs `a` too\n  hint: if that one fails there again, the switch has not helped",
        ],
    );
    check_two(
        &in_a("start = 'cc'"),
        &["x.toml:11:20: recovery set `s` starts `cc`, and there is no such service\n  hint: did you mean `c`?"],
    );
    check_two(
        &in_a("start = 'nope'"),
        &[
            "x.toml:11:20: recovery set `s` starts `nope`, and there is no such service\n  hint: add [service.nope], or name another service",
        ],
    );
    check_two(
        &in_a("start = 'a'"),
        &[
            "x.toml:11:20: recovery set `s` starts `a`, which it has just stopped\n  hint: who fails is restarted by itself; name another service",
        ],
    );
    check_two(
        &in_a("start = 'b'"),
        &[
            "x.toml:11:20: recovery set `s` starts `b`, which needs `a`, which has failed\n  hint: start one that does without `a`",
        ],
    );
}

#[test]
fn counts_that_count_nothing() {
    check_two(
        "recovery = [{ stop = true }]",
        &[
            "x.toml:9:13: warning: this step of `recovery` of service `c` is taken only when a start fails: it is restarted without end\n  hint: say after how many restarts: give_up_after = 3",
        ],
    );
    check_two("restart = 'never'\nrecovery = [{ stop = true }]", &[]);
    check_two(
        "give_up_after = 2\n[recovery.s]\nservices = ['c']",
        &[
            "x.toml:9:17: warning: `give_up_after` in service `c` has no effect: recovery set `s` counts\n  hint: leave it out, or the service out of the set",
        ],
    );
}

#[test]
fn a_set_that_never_gives_up() {
    let set = |members: &str, delay: &str, within: &str| {
        format!("restart_delay = '{delay}'\n[recovery.s]\nservices = [{members}]\ngive_up_within = '{within}'")
    };
    check_two(
        &set("'c'", "1s", "2s"),
        &[
            "x.toml:12:18: warning: recovery set `s` never gives up: 3 restarts take 3s at the least, and those within 2s count\n  hint: let `give_up_within` be longer than 3s, or `restart_delay` shorter",
        ],
    );
    check_two(&set("'c'", "1s", "3s"), &[]);
    check_two(&set("'a', 'b', 'c'", "1s", "200ms"), &[]);
    check_two(
        &set("'c'", "0s", "0s"),
        &[
            "x.toml:12:18: warning: recovery set `s` never gives up: restarts within 0s count, and no two are\n  hint: let `give_up_within` be longer than some runs that fail take",
        ],
    );
    check_two(&format!("restart = 'never'\n{}", set("'c'", "0s", "0s")), &[]);
}

#[test]
fn what_commands_are_called() {
    let text = with_two("[recovery.s]\nservices = ['a', 'b']\nsteps = [{ command = 'x' }, { command = ['y', 'z'] }]");
    let names: Vec<String> = plan(&text).services.into_iter().map(|service| service.name).collect();
    assert_eq!(names, ["a", "b", "c", "s:recovery", "s:recovery.2"]);
    check_two(
        "[service.'s:recovery']\ncommand = 'x'\n[recovery.s]\nservices = ['a']\nsteps = [{ command = 'x' }]",
        &[
            "x.toml:9:10: `s:recovery` is what a command of a step is called\n  x.toml:13:10: the step\n  hint: give the service, or the recovery set, another name",
        ],
    );
}

/// A group with a fallback that has `c`, and this last resort, from line 9 on.
#[track_caller]
fn check_last(last_resort: &str, complaints: &[&str]) {
    check_two(
        &format!(
            "[group.g]\nfallback_target = 't'\nlast_resort = {last_resort}\n[group.g.target.t]\nservices = ['c']\n[group.g.target.u]"
        ),
        complaints,
    );
}

#[test]
fn last_resorts() {
    check_last("[{ switch = 'g/u' }, { command = 'x', wait = '1s' }, { switch = 'g/Off' }, { start = 'b' }]", &[]);
    check_last("[]", &[]);
    check_last(
        "'rebot'",
        &[
            "x.toml:11:15: `last_resort` in group `g` is the string \"rebot\", expected \"off\", \"end\", \"reboot\" or \"withhold_watchdog\", or an array of tables\n  hint: did you mean `reboot`?",
        ],
    );
    check_last(
        "{ command = 'x' }",
        &[
            "x.toml:11:15: `last_resort` in group `g` is a table, expected \"off\", \"end\", \"reboot\" or \"withhold_watchdog\", or an array of tables",
        ],
    );
    check_last(
        "[{ stop = true }, { end = true }]",
        &[
            "x.toml:11:33: this step of `last_resort` of group `g` is never taken: nothing comes after `stop`\n  x.toml:11:16: the step before\n  hint: only `switch` and `command` try again, and can be followed by another step",
        ],
    );
    check_last(
        "[{ switch = 'g/t' }]",
        &[
            "x.toml:11:27: `last_resort` of group `g` switches to the fallback, which has failed\n  hint: after a step it is tried again by itself; name another target",
        ],
    );
    check_last(
        "[{ switch = 'u' }]",
        &[
            "x.toml:11:27: `last_resort` of group `g` switches to `u`, and there is no such target\n  hint: write switch = \"g/u\"",
        ],
    );
    check_last(
        "[{ start = 'c' }]",
        &[
            "x.toml:11:26: `last_resort` of group `g` starts `c`, which is in a target of that group\n  hint: switch to a target that has it, or name another service",
        ],
    );
    check_last(
        "[{ comand = 'x' }]",
        &["x.toml:11:18: unknown key `comand` in a step in group `g`\n  hint: did you mean `command`?"],
    );
    check_two(
        "[group.g]\nlast_resort = [{ end = true }]",
        &[
            "x.toml:10:15: `last_resort` of group `g` has steps, and no fallback that could fail\n  hint: name one: fallback_target = \"…\"",
        ],
    );
    check_two(
        "[group.g]\nfallback_target = 't'\nlast_resort = [{ command = 'x' }]\n[group.g.target.t]",
        &[
            "x.toml:11:15: `last_resort` of group `g` has steps, and the fallback `t`, which has no services, never fails\n  hint: leave them out, or give it services",
        ],
    );
    check_two(
        "[service.'g:last_resort']\ncommand = 'x'\n[group.g]\nfallback_target = 't'\nlast_resort = [{ command = 'x' }]\n[group.g.target.t]\nservices = ['c']",
        &[
            "x.toml:9:10: `g:last_resort` is what a command of a step is called\n  x.toml:13:16: the step\n  hint: give the service, or the recovery set, another name",
        ],
    );
    check(
        "last_resort = [{ comand = 'x' }]\nfallback_target = 't'\n[target.t]\nservices = ['a']\n[service.a]\ncommand = 'a'",
        &["x.toml:1:18: unknown key `comand` in a step\n  hint: did you mean `command`?"],
    );
}

/// What a fragment's services do when they fail comes with them.
#[test]
fn a_ladder_in_a_fragment_is_added_too() {
    let base = read_bytes("base.toml", b"[service.a]\ncommand = 'a'", &NoFiles).plan.unwrap();
    let fragment = "[service.b]\ncommand = 'b'\nrecovery = [{ command = 'c' }, { reboot = true }]";
    let reading = crate::read_fragment_bytes("more.toml", fragment.as_bytes(), &base, &NoFiles);
    let plan = reading.plan.unwrap_or_else(|| panic!("{:#?}", reading.complaints));
    let [set] = &plan.recovery[..] else { panic!("{:?}", plan.recovery) };
    assert_eq!((set.name.as_str(), set.steps.len()), ("b", 2));
    assert!(plan.services.iter().any(|it| it.name == "b:recovery"));
}
