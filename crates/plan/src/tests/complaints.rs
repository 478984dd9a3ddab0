//! Every complaint, to the letter.

use verger_engine::image::RestartPolicy;

use super::*;

#[test]
fn a_terminal_that_is_none() {
    let said = "x.toml:3:11: `session` in service `x` is \"terminal\", and its `stdin` is none\n  hint: give it one: stdin = \"file:/dev/tty1\"";
    check_line("session = 'terminal'", &[said]);
    check_line("session = 'terminal'\nstdin = 'null'", &[said]);
    check_line("session = 'terminal'\nstdin = 'file:/dev/tty1'", &[]);
    check("[defaults]\nsession = 'terminal'\n[service.x]\ncommand = 'x'\nstdin = 'file:/dev/tty1'", &[]);
}

#[test]
fn unknown_keys() {
    check_line("comand = 'y'", &["x.toml:3:1: unknown key `comand` in service `x`\n  hint: did you mean `command`?"]);
    check_line(
        "restartDelay = '1s'",
        &["x.toml:3:1: unknown key `restartDelay` in service `x`\n  hint: did you mean `restart_delay`?"],
    );
    check_line(
        "cwd = '/'",
        &["x.toml:3:1: unknown key `cwd` in service `x`\n  hint: that is `working_directory` here"],
    );
    check_line(
        "colour = 'red'",
        &["x.toml:3:1: unknown key `colour` in service `x`\n  hint: docs/plan.md lists the keys that there are"],
    );
    check(
        "{\"colour\": 1, \"service\": {\"x\": {\"command\": \"x\"}},\n\"target\": {\"t\": {\"colour\": 1}},\n\"handle\": {\"h\": {\"file\": \"/h\", \"colour\": 1}}}",
        &[
            "x.json:1:2: unknown key `colour`\n  hint: docs/plan.md lists the keys that there are",
            "x.json:2:18: unknown key `colour` in target `t`\n  hint: the keys are `description`, `services`, `includes`, `transition_timeout`",
            "x.json:3:12: warning: nobody uses handle `h`",
            "x.json:3:32: unknown key `colour` in handle `h`\n  hint: the keys are `file`, `pipe`, `memory`, `listen`, `mode`, `backlog`",
        ],
    );
    check_line(
        "scheduling = { polcy = 'idle' }",
        &[
            "x.toml:3:14: `scheduling` in service `x` has no policy\n  hint: write { policy = \"fifo\", priority = 50 }",
            "x.toml:3:16: unknown key `polcy` in `scheduling` in service `x`, expected \"policy\" or \"priority\"\n  hint: did you mean `policy`?",
        ],
    );
    check(
        "[servcie.x]\ncommand = 'x'",
        &[
            "x.toml: the plan has no services\n  hint: a service is two lines: [service.web] and command = \"web --port 80\"",
            "x.toml:1:2: unknown key `servcie`\n  hint: did you mean `service`?",
        ],
    );
    check(
        "command = 'y'\n[service.x]\ncommand = 'x'",
        &[
            "x.toml:1:1: unknown key `command`\n  hint: `command` belongs to a service: it stands below a line [service.NAME]",
        ],
    );
    check(
        "[service.x]\ncommand = 'x'\ninitial_target = 'up'\n[target.up]\nservices = ['x']\ninitial = true\nmax_starting = 3",
        &[
            "x.toml:3:1: unknown key `initial_target` in service `x`\n  hint: `initial_target` belongs to the plan: it stands at its \
             top, in TOML before the first line in brackets",
            "x.toml:6:1: unknown key `initial` in target `up`\n  hint: `initial_target` belongs to the group: it stands at the top \
             of the plan, or below [group.NAME], as initial_target = \"up\"",
            "x.toml:7:1: unknown key `max_starting` in target `up`\n  hint: `max_starting` belongs to the plan: it stands at its \
             top, in TOML before the first line in brackets",
        ],
    );
    check(
        "defaults.requires = []\nlimits.servces = 5\n[service.x]\ncommand = 'x'",
        &[
            "x.toml:1:10: `requires` cannot stand in [defaults]\n  hint: it is each service's own",
            "x.toml:2:8: unknown key `servces` in [limits]\n  hint: did you mean `services`?",
        ],
    );
    check(
        &format!("[service.x]\ncommand = 'x'\n{} = 1", "k".repeat(100)),
        &[&format!(
            "x.toml:3:1: unknown key `{}…` in service `x`\n  hint: docs/plan.md lists the keys that there are",
            "k".repeat(60)
        )],
    );
}

#[test]
fn wrong_types() {
    check_line(
        "autostart = 'yes'",
        &[
            "x.toml:3:13: `autostart` in service `x` is the string \"yes\", expected true or false\n  hint: write true, without quotes",
        ],
    );
    check_line("autostart = 1", &["x.toml:3:13: `autostart` in service `x` is the number 1, expected true or false"]);
    check_line(
        "description = 1979-05-27",
        &["x.toml:3:15: `description` in service `x` is the date 1979-05-27, expected a string"],
    );
    check_line(
        "working_directory = ['/']",
        &["x.toml:3:21: `working_directory` in service `x` is an array, expected a string"],
    );
    check_line(
        "environment = { A = 1, B = true, C = 1.5 }",
        &[
            "x.toml:3:21: `environment` in service `x` holds the number 1, expected strings only\n  hint: write \"1\"",
            "x.toml:3:28: `environment` in service `x` holds true, expected strings only\n  hint: write \"true\"",
            "x.toml:3:38: `environment` in service `x` holds the number 1.5, expected strings only",
        ],
    );
    check_line(
        "requires = 'db'",
        &[
            "x.toml:3:12: `requires` in service `x` is the string \"db\", expected an array of service names\n  hint: write [\"db\"]",
        ],
    );
    check_line(
        "groups = [1.5]",
        &[
            "x.toml:3:11: `groups` in service `x` holds the number 1.5, expected a name, or a number from 0 to 4294967294",
        ],
    );
    check_line(
        "ready = true",
        &[
            "x.toml:3:9: `ready` in service `x` is true, expected \"started\", \"notify\", \"fd\", \"exit\", { fd = N } or { alive_for = \"2s\" }",
        ],
    );
    check(
        "[service]\nx = 5\ny.command = 'y'",
        &[
            "x.toml:2:1: service `x` is the number 5, expected a table\n  hint: every service has a name, and its keys stand below [service.NAME]",
        ],
    );
    check(
        "defaults = 5\nhandle = 'x'\n[service.x]\ncommand = 'x'",
        &[
            "x.toml:1:12: `defaults` is the number 5, expected a table",
            "x.toml:2:10: `handle` is the string \"x\", expected a table",
        ],
    );
    check(
        "{\"service\":{\"x\":{\"command\":null}}}",
        &["x.json:1:28: `command` in service `x` is null, expected a string or an array of strings"],
    );
}

#[test]
fn the_same_thing_twice() {
    check(
        "[service.x]\ncommand = 'x'\n[service.x]\nnice = 50\n",
        &[
            "x.toml:3:10: service `x` is defined twice\n  x.toml:1:10: first here\n  hint: give one of them another name, or take one out",
        ],
    );
    check_line(
        "command = 'y'",
        &[
            "x.toml:3:1: `command` is given twice in service `x`\n  x.toml:2:1: first here\n  hint: take one of them out",
        ],
    );
    check(
        "handle.a.pipe = true\nhandle.a = { pipe = true }\n[service.x]\ncommand = 'x'\nstdout = 'a.w'",
        &[
            "x.toml:2:8: handle `a` is defined twice\n  x.toml:1:8: first here\n  hint: give one of them another name, or take one out",
        ],
    );
    check_line(
        "environment = { A = '1', A = '2' }",
        &["x.toml:3:26: `A` is given twice in service `x`\n  x.toml:3:17: first here\n  hint: take one of them out"],
    );
    check_line(
        "environment = { A = '1' }\nenvironment.B = '2'",
        &["x.toml:4:1: `environment` is complete and cannot be added to\n  x.toml:3:1: given here"],
    );
    check(
        "{\"service\": {\"x\": {\"command\": \"x\"},\n \"x\": {}}}",
        &[
            "x.json:2:2: service `x` is defined twice\n  x.json:1:14: first here\n  hint: give one of them another name, or take one out",
        ],
    );
    check(
        "name = 'a'\nname = 'b'\n[service.x]\ncommand = 'x'",
        &["x.toml:2:1: `name` is given twice\n  x.toml:1:1: first here\n  hint: take one of them out"],
    );
}

#[test]
fn names_of_services_and_handles() {
    check(
        "[service.'my app']\ncommand = 'x'",
        &[
            "x.toml:1:10: `my app` is no name for a service: a name holds only letters, digits and . _ @ : + -, not byte 0x20\n  hint: `my_app` would be one",
        ],
    );
    check(
        "[service.-x]\ncommand = 'x'\n[service.'']\ncommand = 'x'",
        &[
            "x.toml:1:10: `-x` is no name for a service: a name does not begin with `-`\n  hint: `_x` would be one",
            "x.toml:3:10: `` is no name for a service: a name needs at least one character\n  hint: give it one, of letters, digits and . _ @ : + -",
        ],
    );
    check(
        "[handle.'a/b']\npipe = true\n[service.x]\ncommand = 'x'\nstdout = 'a/b.w'",
        &[
            "x.toml:1:9: `a/b` is no name for a handle: a name holds only letters, digits and . _ @ : + -, not `/`\n  hint: `a_b` would be one",
            "x.toml:1:9: warning: nobody uses handle `a/b`",
            "x.toml:5:10: `stdout` in service `x` is the string \"a/b.w\", expected \"inherit\", \"null\", \"file:PATH\" or a handle\n  hint: write \"file:a/b.w\"",
        ],
    );
}

#[test]
fn dependencies() {
    check(
        "[service.web]\ncommand = 'x'\nrequires = ['bd']\n[service.db]\ncommand = 'x'",
        &[
            "x.toml:3:13: `requires` in service `web` names `bd`, and there is no such service\n  hint: did you mean `db`?",
        ],
    );
    check_line(
        "after = ['network.target']",
        &[
            "x.toml:3:10: `after` in service `x` names `network.target`, and there is no such service\n  hint: add [service.\"network.target\"], or take the name out",
        ],
    );
    check_line(
        "requires = ['x']",
        &["x.toml:3:13: `requires` in service `x` names the service itself\n  hint: a service cannot wait for itself"],
    );
    check(
        "[service.x]\ncommand = 'x'\nrequires = [{ service = 'db', condition = 'exited:300' }]\n[service.db]\ncommand = 'x'",
        &[
            "x.toml:3:43: `requires` in service `x` holds the string \"exited:300\", expected \"started\", \"ready\", \"healthy\", \"completed\" or \"exited:STATUS,…\"\n  hint: a status is a number from 0 to 255: \"exited:0,3\"",
        ],
    );
    check_line(
        "requires = [5]",
        &["x.toml:3:13: `requires` in service `x` holds the number 5, expected names of services"],
    );
}

#[test]
fn circles() {
    let hint = "\n  hint: none of them could ever start; take one of these out of";
    let services = |edges: &[(&str, &str)]| -> String {
        edges.iter().map(|(name, edges)| format!("[service.{name}]\ncommand = 'x'\n{edges}\n")).collect()
    };
    check(
        &services(&[("a", "requires = ['b']"), ("b", "after = ['a']")]),
        &[&format!(
            "x.toml:3:13: the services wait for each other in a circle: a -> b -> a{hint} `requires` or `after`"
        )],
    );
    check(
        &services(&[("a", "wants = ['b']"), ("b", "wants = ['a']")]),
        &[&format!("x.toml:3:10: the services wait for each other in a circle: a -> b -> a{hint} `wants`")],
    );
    check(
        &services(&[("z", ""), ("c", "after = ['z', 'a']"), ("b", "requires = ['c']"), ("a", "requires = ['z', 'b']")]),
        &[&format!(
            "x.toml:6:15: the services wait for each other in a circle: c -> a -> b -> c{hint} `after` or `requires`"
        )],
    );
    let long: Vec<(String, String)> =
        (0..20).map(|at| (format!("s{at}"), format!("after = ['s{}']", (at + 1) % 20))).collect();
    let long: Vec<(&str, &str)> = long.iter().map(|(name, edges)| (name.as_str(), edges.as_str())).collect();
    check(
        &services(&long),
        &[&format!(
            "x.toml:3:10: the services wait for each other in a circle: s0 -> s1 -> s2 -> s3 -> s4 -> s5 -> … (10 more) … -> s16 -> s17 -> s18 -> s19 -> s0{hint} `after`"
        )],
    );
}

#[test]
fn durations() {
    let looks = "expected a duration like \"200ms\", \"1.5s\", \"1h30m\" or \"forever\"";
    let below = "\n  hint: no time is below 0; what has no end is \"forever\"";
    check_line(
        "restart_delay = 5",
        &[&format!(
            "x.toml:3:17: `restart_delay` in service `x` is the number 5, {looks}\n  hint: a number needs its unit: \"5s\", \"5ms\""
        )],
    );
    check_line(
        "restart_delay = '5'",
        &[&format!(
            "x.toml:3:17: `restart_delay` in service `x` is the string \"5\", {looks}\n  hint: a number needs its unit: \"5s\", \"5ms\""
        )],
    );
    check_line(
        "start_timeout = '5 parsecs'",
        &[&format!("x.toml:3:17: `start_timeout` in service `x` is the string \"5 parsecs\", {looks}")],
    );
    check_line(
        "stuck_after = '30m1h'",
        &[&format!(
            "x.toml:3:15: `stuck_after` in service `x` is the string \"30m1h\", {looks}\n  hint: larger units go first, each once: \"1h30m\""
        )],
    );
    check_line(
        "give_up_within = -1",
        &[&format!("x.toml:3:18: `give_up_within` in service `x` is the number -1, {looks}{below}")],
    );
    check_line(
        "stuck_after = '-5s'",
        &[&format!("x.toml:3:15: `stuck_after` in service `x` is the string \"-5s\", {looks}{below}")],
    );
    check_line(
        "stuck_after = -1.5",
        &[&format!("x.toml:3:15: `stuck_after` in service `x` is the number -1.5, {looks}{below}")],
    );
    check_line(
        "ready = { alive_for = 2 }",
        &[&format!(
            "x.toml:3:23: `ready` in service `x` holds the number 2, {looks}\n  hint: a number needs its unit: \"2s\", \"2ms\""
        )],
    );
}

#[test]
fn stopping() {
    let looks = "expected a signal and the time it is given, like \"TERM 10s\"";
    check_line(
        "stop = 'TRM 10s'",
        &[&format!("x.toml:3:8: `stop` in service `x`: `TRM` is not a signal, {looks}\n  hint: did you mean `TERM`?")],
    );
    check_line(
        "stop = ['SIGTERMM']",
        &[&format!(
            "x.toml:3:9: `stop` in service `x`: `SIGTERMM` is not a signal, {looks}\n  hint: did you mean `TERM`?"
        )],
    );
    check_line(
        "stop = '10s'",
        &[&format!(
            "x.toml:3:8: `stop` in service `x`: `10s` is not a signal, {looks}\n  hint: the signal goes first: \"TERM 10s\""
        )],
    );
    check_line(
        "stop = 'TERM 5'",
        &[
            "x.toml:3:8: `stop` in service `x`: \"5\" is not a duration, expected a duration like \"200ms\", \"1.5s\", \"1h30m\" or \"forever\"\n  \
         hint: a number needs its unit: \"5s\", \"5ms\"",
        ],
    );
    check_line(
        "stop = ['TERM -5s', 'KILL']",
        &[
            "x.toml:3:9: `stop` in service `x`: \"-5s\" is not a duration, expected a duration like \"200ms\", \"1.5s\", \"1h30m\" or \"forever\"\n  \
         hint: no time is below 0; what has no end is \"forever\"",
        ],
    );
    check_line("stop = 15", &[&format!("x.toml:3:8: `stop` in service `x` is the number 15, {looks}")]);
    check_line("stop = ['TERM', 9]", &[&format!("x.toml:3:17: `stop` in service `x` holds the number 9, {looks}")]);
    check_line(
        &format!("stop = [{}]", "'TERM',".repeat(17)),
        &["x.toml:3:8: `stop` in service `x` has 17 signals\n  hint: at most 16"],
    );
}

#[test]
fn commands() {
    check("[service.x]\n", &["x.toml:1:10: service `x` has no command\n  hint: write command = \"PROGRAM ARGUMENTS\""]);
    for empty in ["''", "' '", "[]"] {
        check(
            &format!("[service.x]\ncommand = {empty}"),
            &["x.toml:2:11: `command` in service `x` is empty\n  hint: the first word is the program"],
        );
    }
    check(
        "[service.x]\ncommand = ['', 'x']",
        &["x.toml:2:11: `command` in service `x` begins with an empty word\n  hint: the first word is the program"],
    );
    check(
        "[service.x]\ncommand = ['x', 5, {}]",
        &[
            "x.toml:2:17: `command` in service `x` holds the number 5, expected strings only\n  hint: write \"5\"",
            "x.toml:2:20: `command` in service `x` holds a table, expected strings only",
        ],
    );
    check(
        "[service.x]\ncommand = \"say 'it\"",
        &["x.toml:2:16: `command` in service `x` has a quote that is never closed"],
    );
    check(
        "[service.x]\ncommand = 'say \\'",
        &[
            "x.toml:2:16: `command` in service `x` ends in a `\\` that quotes nothing\n  hint: write \\\\ for the character itself",
        ],
    );
    check(
        "[service.x]\ncommand = \"x | grep $HOME\"",
        &["x.toml:2:14: warning: `|` reaches the program as it stands: this is not a shell\n  \
         hint: run it by a shell: [\"sh\", \"-c\", \"…\"], or put the word in quotes if it is meant"],
    );
    check_line("program = ''", &["x.toml:3:11: `program` in service `x` is empty, expected a path or a name"]);
    let many = format!("[service.x]\ncommand = '{}'", "x ".repeat(4097));
    check(&many, &["x.toml:2:11: `command` in service `x` has more than 4096 words"]);
    check_line(
        "environment = { 'A=B' = '1', '' = '' }",
        &[
            "x.toml:3:17: `environment` in service `x` sets a variable `A=B`\n  hint: a variable's name is not empty and holds no `=`",
            "x.toml:3:30: `environment` in service `x` sets a variable ``\n  hint: a variable's name is not empty and holds no `=`",
        ],
    );
}

/// Checks what is said of a handle `h` with these lines, the first of them in line 2.
#[track_caller]
fn check_handle(lines: &str, complaints: &[&str]) {
    check(&format!("[handle.h]\n{lines}\n[service.x]\ncommand = 'x'\ndescriptors = {{ 3 = 'h' }}\n"), complaints);
}

#[test]
fn sockets_that_listen() {
    const LOOKS: &str =
        "\"tcp:PORT\", \"tcp:ADDRESS:PORT\", the same with \"udp\", \"unix:PATH\" or \"unix-datagram:PATH\"";
    for (value, is, hint) in [
        ("80", "the number 80", "write \"tcp:80\""),
        ("'80'", "the string \"80\"", "write \"tcp:80\""),
        ("'/run/x'", "the string \"/run/x\"", "write \"unix:/run/x\""),
        ("'127.0.0.1:80'", "the string \"127.0.0.1:80\"", "write \"tcp:127.0.0.1:80\""),
        ("'tcp:'", "the string \"tcp:\"", "the port stands at the end: \"tcp:80\" is port 80 of all addresses"),
        ("'tcp:0'", "the string \"tcp:0\"", "a port is a number from 1 to 65535; names are not looked up"),
        ("'udp:65536'", "the string \"udp:65536\"", "a port is a number from 1 to 65535; names are not looked up"),
        (
            "'tcp:localhost:80'",
            "the string \"tcp:localhost:80\"",
            "an address is written in numbers, `127.0.0.1` or `[::1]`; names are not looked up",
        ),
        ("'tcp:::1:80'", "the string \"tcp:::1:80\"", "an IPv6 address stands in brackets: \"tcp:[::1]:80\""),
        ("'udp:*:53'", "the string \"udp:*:53\"", "write \"udp:53\": that is all addresses"),
        ("'unix:'", "the string \"unix:\"", "write \"unix:/run/NAME.sock\", or \"unix:@NAME\" for an abstract name"),
        ("'unix:x.sock'", "the string \"unix:x.sock\"", "a path begins with `/`, an abstract name with `@`"),
    ] {
        let said = format!("x.toml:2:10: `listen` in handle `h` is {is}, expected {LOOKS}\n  hint: {hint}");
        check_handle(&format!("listen = {value}"), &[&said]);
    }
    for (value, is) in [("true", "true"), ("70000", "the number 70000"), ("'http:80'", "the string \"http:80\"")] {
        let said = format!("x.toml:2:10: `listen` in handle `h` is {is}, expected {LOOKS}");
        check_handle(&format!("listen = {value}"), &[&said]);
    }
    let long = format!("/{}", "x".repeat(107));
    let reading = reading(&format!("[handle.h]\nlisten = 'unix:{long}'\n[service.x]\ncommand = 'x'"));
    assert!(said(&reading)[0].ends_with("\n  hint: the path has 108 bytes: the kernel takes 107 at most"));
    check_handle(
        "listen = 'unix:/run/x'\nmode = 660",
        &[
            "x.toml:3:8: `mode` in handle `h` is the number 660, expected an octal string like \"0660\", up to \"777\"\n  hint: quotes make it octal: a bare number would be decimal",
        ],
    );
    check_handle(
        "listen = 'unix:/run/x'\nmode = '1777'",
        &[
            "x.toml:3:8: `mode` in handle `h` is the string \"1777\", expected an octal string like \"0660\", up to \"777\"",
        ],
    );
    check_handle(
        "listen = 'unix:@x'\nmode = '660'",
        &["x.toml:3:8: `mode` in handle `h` means nothing: unix:@x has no file\n  hint: leave it out"],
    );
    check_handle(
        "listen = 'tcp:80'\nbacklog = 0",
        &["x.toml:3:11: `backlog` in handle `h` is the number 0, expected an integer from 1 to 65535"],
    );
    check_handle(
        "listen = 'udp:80'\nbacklog = 5",
        &["x.toml:3:11: `backlog` in handle `h` means nothing: nobody connects to udp:80\n  hint: leave it out"],
    );
    check_handle(
        "file = '/x'\nbacklog = 5",
        &["x.toml:3:11: `backlog` in handle `h` means nothing without `listen`\n  hint: leave it out"],
    );
    check_handle(
        "mode = '660'",
        &[
            "x.toml:1:9: handle `h` is nothing yet, expected file = \"PATH\", pipe = true, memory = true or listen = \"ADDRESS\"",
        ],
    );
    for (other, what) in [("file = '/x'", "both a file and a socket"), ("pipe = true", "both a pipe and a socket")] {
        let said = format!("x.toml:1:9: handle `h` is {what}, expected one of `file`, `pipe`, `memory` and `listen`");
        check_handle(&format!("listen = 'tcp:80'\n{other}"), &[&said]);
    }
    check_handle(
        "listen = 'tcp:80'\nport = 80",
        &["x.toml:3:1: unknown key `port` in handle `h`\n  hint: that is `listen` here"],
    );
    check(
        "[handle.a]\nlisten = 'tcp:80'\n[handle.b]\nlisten = 'tcp:80'\n[service.x]\ncommand = 'x'\ndescriptors = { 3 = 'a', 4 = 'b' }",
        &["x.toml:4:10: handle `b` listens at tcp:80, as `a` does\n  hint: one handle can be given to many services"],
    );
    check(
        "[handle.'a:b']\nlisten = 'tcp:80'\n[service.x]\ncommand = 'x'\ndescriptors = { 3 = 'a:b' }",
        &[
            "x.toml:1:9: `a:b` is no name for a handle that listens: it holds a `:`\n  hint: LISTEN_FDNAMES has one between two names",
        ],
    );
}

#[test]
fn handles_and_descriptors() {
    let file = |line: &str| {
        format!(
            "[handle.log]\npipe = true\n[handle.trace]\nfile = '/t'\n[service.x]\ncommand = 'x'\nstderr = 'trace'\nstdin = 'log.r'\n{line}"
        )
    };
    check(
        &file("stdout = 'lgo.w'"),
        &[
            "x.toml:9:10: `stdout` in service `x` names `lgo.w`, and there is no such handle\n  hint: did you mean `log.w`?",
        ],
    );
    check(
        &file("stdout = 'syslog'"),
        &[
            "x.toml:9:10: `stdout` in service `x` names `syslog`, and there is no such handle\n  hint: handles are defined as [handle.NAME]; a file is \"file:PATH\"",
        ],
    );
    check(
        &file("stdout = 'log'"),
        &[
            "x.toml:9:10: `stdout` in service `x` names pipe `log` without an end\n  hint: write \"log.w\": .r is the end to read, .w the end to write",
        ],
    );
    check(
        &file("stdout = 'trace.w'"),
        &[
            "x.toml:9:10: `stdout` in service `x` names an end of handle `trace`, which is a file\n  hint: write \"trace\", without .w",
        ],
    );
    check(
        &file("stdout = 'log.r'"),
        &[
            "x.toml:9:10: warning: `stdout` in service `x` writes on the wrong end of pipe `log`\n  hint: write \"log.w\"",
        ],
    );
    check(
        &file("descriptors = { 1 = 'null', 03 = 'null', 1024 = 'null', x = 'null', 4 = 5 }"),
        &[
            "x.toml:9:29: `descriptors` in service `x` names descriptor `03`\n  hint: descriptors have numbers from 0 to 1023",
            "x.toml:9:42: `descriptors` in service `x` names descriptor `1024`\n  hint: descriptors have numbers from 0 to 1023",
            "x.toml:9:57: `descriptors` in service `x` names descriptor `x`\n  hint: descriptors have numbers from 0 to 1023",
            "x.toml:9:73: `descriptors` in service `x` holds the number 5, expected \"inherit\", \"null\", \"file:PATH\" or a handle",
        ],
    );
    check(
        &file("descriptors = { 0 = 'null', 1 = 'null', 2 = 'trace' }"),
        &[
            "x.toml:9:17: `descriptors` in service `x` names descriptor 0, and so does `stdin`\n  hint: leave one of the two out",
            "x.toml:9:41: `descriptors` in service `x` names descriptor 2, and so does `stderr`\n  hint: leave one of the two out",
        ],
    );
    check(
        "[defaults]\nstdout = 'null'\ndescriptors = { 1 = 'null' }\n[service.x]\ncommand = 'x'",
        &[
            "x.toml:3:17: `descriptors` in [defaults] names descriptor 1, and so does `stdout`\n  hint: leave one of the two out",
        ],
    );
    check(
        &file("fds = { 3 = 'null' }"),
        &["x.toml:9:1: unknown key `fds` in service `x`\n  hint: that is `descriptors` here"],
    );
    check(
        &file("stdout = 'file:'"),
        &[
            "x.toml:9:10: `stdout` in service `x` is the string \"file:\", expected \"inherit\", \"null\", \"file:PATH\" or a handle\n  hint: the path follows the colon",
        ],
    );
    check(
        "[handle.a]\n[handle.b]\nfile = '/b'\npipe = true\n[handle.c]\npipe = false\n[handle.d]\nfile = ''\n[service.x]\ncommand = 'x'\nstdout = 'b.w'\nstderr = 'd'",
        &[
            "x.toml:1:9: handle `a` is nothing yet, expected file = \"PATH\", pipe = true, memory = true or listen = \"ADDRESS\"",
            "x.toml:2:9: handle `b` is both a file and a pipe, expected one of `file`, `pipe`, `memory` and `listen`",
            "x.toml:6:8: `pipe` in handle `c` is false, expected true\n  hint: leave the key out when it is no pipe",
            "x.toml:8:8: `file` in handle `d` is empty, expected a path",
        ],
    );
    check("[handle.log]\npipe = true\n[service.x]\ncommand = 'x'", &["x.toml:1:9: warning: nobody uses handle `log`"]);
    check(
        "[handle.http]\nlisten = 'tcp:80'\n[service.x]\ncommand = 'x'\ndescriptors = { 3 = 'http.r' }",
        &[
            "x.toml:5:21: `descriptors` in service `x` names an end of handle `http`, which listens\n  hint: write \"http\", without .r",
        ],
    );
    check_line(
        "ready = 'fd'\ndescriptors = { 3 = 'null' }",
        &[
            "x.toml:3:9: `ready` in service `x` takes descriptor 3, which `descriptors` gives away\n  hint: let it be another: ready = { fd = 4 }",
        ],
    );
}

#[test]
fn numbers_and_words() {
    check_line(
        "nice = 50",
        &["x.toml:3:8: `nice` in service `x` is the number 50, expected an integer from -20 to 19"],
    );
    check_line(
        "nice = '5'",
        &[
            "x.toml:3:8: `nice` in service `x` is the string \"5\", expected an integer from -20 to 19\n  hint: write 5, without quotes",
        ],
    );
    check_line(
        "oom_score_adjust = 1e3",
        &["x.toml:3:20: `oom_score_adjust` in service `x` is the number 1e3, expected an integer from -1000 to 1000"],
    );
    check_line(
        "memory_max = 512",
        &[
            "x.toml:3:14: `memory_max` in service `x` is 512 bytes, in which nothing runs, expected bytes from 4096, or a size like \"512M\"\n  hint: a number alone is bytes; write \"512M\" for mebibytes",
        ],
    );
    check_line(
        "memory_max = '512MB'",
        &[
            "x.toml:3:14: `memory_max` in service `x` is the string \"512MB\", expected bytes from 4096, or a size like \"512M\"\n  hint: the units are K, M, G and T, of 1024 each: \"512M\", \"2G\"",
        ],
    );
    for number in ["-5", "18446744073709551616"] {
        check_line(
            &format!("memory_max = {number}"),
            &[&format!(
                "x.toml:3:14: `memory_max` in service `x` is the number {number}, expected bytes from 4096, or a size like \"512M\"\n  hint: without the key there is no limit"
            )],
        );
    }
    check_line(
        "cpu_max = 0",
        &["x.toml:3:11: `cpu_max` in service `x` is the number 0, expected an integer from 1 to 819200"],
    );
    check_line(
        "give_up_after = 4294967296",
        &[
            "x.toml:3:17: `give_up_after` in service `x` is the number 4294967296, expected an integer from 0 to 4294967295",
        ],
    );
    check_line(
        "user = -1",
        &["x.toml:3:8: `user` in service `x` is the number -1, expected a name, or a number from 0 to 4294967294"],
    );
    let no_label = "expected 1 to 255 bytes without control characters\n  hint: without the key the service is confined as the daemon is";
    check_line(
        "apparmor_profile = ''",
        &[&format!("x.toml:3:20: `apparmor_profile` in service `x` is the string \"\", {no_label}")],
    );
    check_line(
        "selinux_context = \"a\\u0001b\"",
        &[&format!("x.toml:3:19: `selinux_context` in service `x` is the string \"a\\u{{1}}b\", {no_label}")],
    );
    check_line(
        "apparmor = 3",
        &["x.toml:3:1: unknown key `apparmor` in service `x`\n  hint: that is `apparmor_profile` here"],
    );
    for bad in ["'28'", "'1000'", "'0o27'", "''", "'+27'"] {
        check_line(
            &format!("umask = {bad}"),
            &[&format!(
                "x.toml:3:9: `umask` in service `x` is the string {}, expected an octal string like \"027\", up to \"777\"",
                bad.replace('\'', "\"")
            )],
        );
    }
    check_line(
        "umask = 0o27",
        &[
            "x.toml:3:9: `umask` in service `x` is the number 23, expected an octal string like \"027\", up to \"777\"\n  hint: quotes make it octal: a bare number would be decimal",
        ],
    );
    check_line("umask = 027", &["x.toml:3:9: a number begins with 0\n  hint: what is octal stands in quotes: \"027\""]);
    check_line(
        "restart = 'on_failure'",
        &[
            "x.toml:3:11: `restart` in service `x` is the string \"on_failure\", expected \"always\", \"on-failure\" or \"never\"\n  hint: did you mean `on-failure`?",
        ],
    );
    check_line(
        "ready = 'alive_for'",
        &[
            "x.toml:3:9: `ready` in service `x` is the string \"alive_for\", expected \"started\", \"notify\", \"fd\", \"exit\", { fd = N } or { alive_for = \"2s\" }\n  hint: say how long: { alive_for = \"2s\" }",
        ],
    );
    check_line(
        "ready = { fd = 2 }",
        &["x.toml:3:16: `ready` in service `x` holds the number 2, expected a descriptor from 3 to 1023"],
    );
    check_line(
        "ready = { fd = 4, alive_for = '1s' }",
        &["x.toml:3:31: `ready` in service `x` says two things\n  hint: a service is ready by `fd` or by `alive_for`"],
    );
    check_line(
        "ready = {}",
        &["x.toml:3:9: `ready` in service `x` is a table, expected { fd = N } or { alive_for = \"2s\" }"],
    );
    check_line(
        "limits = { nofil = 5, nofile = { soft = 5, hard = 1 }, core = -1, cpu = { soft = 1 } }",
        &[
            "x.toml:3:12: unknown limit `nofil` in service `x`\n  hint: did you mean `nofile`?",
            "x.toml:3:32: `limits` in service `x` has a soft `nofile` above the hard one\n  hint: the soft one holds, and a process can raise it up to the hard one: write { soft = 1, hard = 5 }",
            "x.toml:3:63: `limits` in service `x` holds the number -1, expected an integer from 0 to 18446744073709551615, or \"unlimited\"\n  hint: no limit is \"unlimited\"",
            "x.toml:3:73: `limits` in service `x` gives only one of soft and hard for `cpu`\n  hint: give both; a number alone is both: cpu = N",
        ],
    );
    check_line(
        "limits = { nofile = { soft = 'unlimited', hard = 1024 } }",
        &[
            "x.toml:3:21: `limits` in service `x` has a soft `nofile` above the hard one\n  hint: the soft one holds, and a process can raise it up to the hard one: write { soft = 1024, hard = \"unlimited\" }",
        ],
    );
    check_line(
        "limits = { core = '0', cpu = 18446744073709551616 }",
        &[
            "x.toml:3:19: `limits` in service `x` holds the string \"0\", expected an integer from 0 to 18446744073709551615, or \"unlimited\"\n  hint: write 0, without quotes",
            "x.toml:3:30: `limits` in service `x` holds the number 18446744073709551616, expected an integer from 0 to 18446744073709551615, or \"unlimited\"\n  hint: no limit is \"unlimited\"",
        ],
    );
    check_line(
        "limits = { nosuch = 5 }",
        &[
            "x.toml:3:12: unknown limit `nosuch` in service `x`\n  hint: there are cpu, fsize, data, stack, core, rss, nproc, nofile, memlock, as, locks, \
           sigpending, msgqueue, nice, rtprio, rttime",
        ],
    );
    check_line(
        "limits = { RLIMIT_NOFILE = 5 }",
        &["x.toml:3:12: unknown limit `RLIMIT_NOFILE` in service `x`\n  hint: did you mean `nofile`?"],
    );
    check_line(
        "capabilities = ['net_admi', 5]",
        &[
            "x.toml:3:17: `capabilities` in service `x`: `net_admi` is not a capability\n  hint: did you mean `net_admin`?",
            "x.toml:3:29: `capabilities` in service `x` holds the number 5, expected names like \"net_admin\"",
        ],
    );
    check_line(
        "capabilities = ['fly']",
        &[
            "x.toml:3:17: `capabilities` in service `x`: `fly` is not a capability\n  hint: capabilities(7) lists them; CAP_NET_ADMIN is \"net_admin\" here",
        ],
    );
    check_line(
        "cpu_affinity = [0, 8192]",
        &["x.toml:3:20: `cpu_affinity` in service `x` holds the number 8192, expected CPU numbers from 0 to 8191"],
    );
    check_line(
        "cpu_affinity = '3-1'",
        &["x.toml:3:16: `cpu_affinity` in service `x` is the string \"3-1\", expected the smaller number first"],
    );
    check_line(
        "cpu_affinity = 'all'",
        &["x.toml:3:16: `cpu_affinity` in service `x` is the string \"all\", expected a list like \"0-3,8\""],
    );
    check_line(
        "scheduling = 'fifo'",
        &[
            "x.toml:3:14: `scheduling` in service `x` is \"fifo\" without a priority\n  hint: write { policy = \"fifo\", priority = 50 }",
        ],
    );
    check_line(
        "scheduling = { policy = 'idle', priority = 5 }",
        &[
            "x.toml:3:44: `scheduling` in service `x` is \"idle\", which has no priority\n  hint: `nice` is what weighs here",
        ],
    );
    check_line(
        "scheduling = { policy = 'rr', priority = 100 }",
        &["x.toml:3:42: `scheduling` in service `x` holds the number 100, expected a priority from 1 to 99"],
    );
    check(
        "limits.images = 0\n[service.x]\ncommand = 'x'",
        &["x.toml:1:17: `images` in [limits] is the number 0, expected an integer from 1 to 64"],
    );
}

#[test]
fn a_time_in_which_something_is_to_happen_is_not_nothing() {
    check_line(
        "start_timeout = '0s'",
        &["x.toml:3:17: `start_timeout` in service `x` is no time at all\n  hint: \"forever\" has no limit"],
    );
    check(
        "[service.x]\ncommand = 'x'\n[target.t]\nservices = ['x']\ntransition_timeout = '0ms'",
        &["x.toml:5:22: `transition_timeout` in target `t` is no time at all\n  hint: \"forever\" has no limit"],
    );
}

#[test]
fn the_target_off_may_have_services() {
    let plan = plan("[service.x]\ncommand = 'x'\n[target.Off]\nservices = ['x']");
    assert_eq!(plan.groups[0].targets[0].services, ["x"]);
}

#[test]
fn names_in_targets_that_nobody_has() {
    check(
        "initial_target = 'qq'\nfallback_target = 'z'\n[service.x]\ncommand = 'x'\n[target.t]\nservices = ['w-w']\nincludes = ['v-v-v']",
        &[
            "x.toml:1:18: `initial_target` is `qq`, and there is no such target\n  hint: the targets are `Off`, `t`",
            "x.toml:2:19: `fallback_target` is `z`, and there is no such target\n  hint: the targets are `Off`, `t`",
            "x.toml:6:13: target `t` lists `w-w`, and there is no such service\n  hint: add [service.w-w], or take the name out",
            "x.toml:7:13: target `t` includes `v-v-v`, and there is no such target\n  hint: the targets are `Off`, `t`",
        ],
    );
}

#[test]
fn two_ways_that_do_not_go_together() {
    let said = |lines: &str, places: [&str; 2], keys: &str| {
        check(
            &format!("[service.a]\ncommand = 'a'\n{lines}\n[service.c]\ncommand = 'c'"),
            &[&format!(
                "x.toml:{}: `a` names `b` in two ways that do not go together\n  x.toml:{}: the other way\n  hint: {keys} do not go together: leave it out of one of the two",
                places[0], places[1]
            )],
        );
    };
    let b = "[service.b]\ncommand = 'b'";
    said(&format!("requires = ['b']\nconflicts = ['b']\n{b}"), ["4:13", "3:12"], "`conflicts` and `requires`");
    said(&format!("after = ['b']\nconflicts = ['b']\n{b}"), ["4:13", "3:9"], "`conflicts` and `after`");
    said(&format!("wants = ['b']\nany_of = ['b', 'c']\n{b}"), ["4:10", "3:9"], "`any_of` and `wants`");
    said(&format!("requires = ['b']\n{b}\nconflicts = ['a']"), ["3:12", "6:13"], "`requires` and `conflicts`");
}

#[test]
fn no_list_names_one_twice() {
    let ends = "[service.b]\ncommand = 'b'\n[service.c]\ncommand = 'c'";
    for key in ["requires", "wants", "any_of", "after", "conflicts"] {
        let (from, to) = (key.len() + 5, key.len() + 15);
        check(
            &format!("[service.a]\ncommand = 'a'\n{key} = ['b', 'c', 'b']\n{ends}"),
            &[&format!(
                "x.toml:3:{to}: `{key}` in service `a` names `b` twice\n  x.toml:3:{from}: first here\n  hint: take one of them out"
            )],
        );
    }
    check(
        &format!("[target.t]\nservices = ['b', 'b']\n{ends}"),
        &[
            "x.toml:2:18: `services` in target `t` names `b` twice\n  x.toml:2:13: first here\n  hint: take one of them out",
        ],
    );
}

#[test]
fn a_conflict_with_who_is_needed_is_told_with_what_else_is_wrong() {
    check(
        "[service.a]\ncommand = 'a'\nrequires = ['b']\nconflicts = ['b']\nrestart = 'sometimes'\n[service.b]\ncommand = 'b'",
        &[
            "x.toml:4:13: `a` names `b` in two ways that do not go together\n  x.toml:3:12: the other way\n  \
             hint: `conflicts` and `requires` do not go together: leave it out of one of the two",
            "x.toml:5:11: `restart` in service `a` is the string \"sometimes\", expected \"always\", \"on-failure\" or \"never\"",
        ],
    );
    let twice = "[service.'a@']\ninstances = ['1', '2']\ncommand = 'a'\nrequires = ['b']\nconflicts = ['b']\n[service.b]\ncommand = 'b'";
    check(
        twice,
        &["x.toml:5:13: `a@1` names `b` in two ways that do not go together\n  x.toml:4:12: the other way\n  \
           hint: `conflicts` and `requires` do not go together: leave it out of one of the two"],
    );
}

#[test]
fn a_time_that_nobody_lives_to_see_is_warned_of() {
    let plan = |time: &str| format!("[service.a]\ncommand = 'a'\nstart_timeout = '{time}'");
    let words = "x.toml:3:17: warning: `start_timeout` in service `a` is more than ten years\n  hint: what has no end is \"forever\"";
    check(&plan("99999d"), &[words]);
    check(&plan("3651d"), &[words]);
    check(&plan("3650d"), &[]);
    check(&plan("forever"), &[]);
}

#[test]
fn a_time_in_which_nothing_starts_is_warned_of() {
    let hint = "in which nothing starts\n  hint: a millisecond is \"1ms\", a second \"1s\"";
    for time in ["1ns", "1us", "999us"] {
        check_line(
            &format!("start_timeout = '{time}'"),
            &[&format!("x.toml:3:17: warning: `start_timeout` in service `x` is {time}, {hint}")],
        );
    }
    check_line("start_timeout = '1ms'", &[]);
    check(
        "[service.x]\ncommand = 'x'\n[target.t]\nservices = ['x']\ntransition_timeout = '5us'",
        &[&format!("x.toml:5:22: warning: `transition_timeout` in target `t` is 5us, {hint}")],
    );
}

#[test]
fn what_is_said_of_a_fallback_that_there_is_not() {
    let void = "has no effect: there is no fallback that could fail\n  hint: name one, fallback_target = \"…\", or leave it out";
    let services = "[service.x]\ncommand = 'x'\n";
    check(
        &format!("last_resort = 'reboot'\nfallback_delay = '2s'\n{services}[target.t]\nservices = ['x']"),
        &[
            &format!("x.toml:1:15: warning: `last_resort` {void}"),
            &format!("x.toml:2:18: warning: `fallback_delay` {void}"),
        ],
    );
    check(
        &format!(
            "{services}[group.g]\nfallback_attempts = 1\nfallback_healthy_after = '1s'\nlast_resort = 'end'\n[group.g.target.t]\nservices = ['x']"
        ),
        &[
            &format!("x.toml:4:21: warning: `fallback_attempts` in group `g` {void}"),
            &format!("x.toml:5:26: warning: `fallback_healthy_after` in group `g` {void}"),
            &format!("x.toml:6:15: warning: `last_resort` in group `g` {void}"),
        ],
    );
    check(
        &format!(
            "last_resort = 'end'\nfallback_target = 's'\n{services}[service.y]\ncommand = 'y'\n\
             [target.t]\nservices = ['x']\n[target.s]\nservices = ['y']"
        ),
        &[],
    );
    check(&format!("fallback_delay = '1s'\nlast_resort = 'off'\n{services}"), &[]);
}

#[test]
fn a_fallback_that_depends_on_what_fails() {
    let services = "[service.x]\ncommand = 'x'\n[service.y]\ncommand = 'y'\nrequires = ['x']\n";
    let with = |targets: &str, said: &[&str]| {
        check(&format!("initial_target = 't'\nfallback_target = 'safe'\n{services}{targets}"), said);
    };
    with(
        "[target.t]\nservices = ['x']\n[target.safe]\nincludes = ['t']",
        &[
            "x.toml:2:19: warning: the fallback `safe` includes `t`, and is entered when that one has failed\n  hint: let it name the services themselves that it needs",
        ],
    );
    with(
        "[target.t]\nservices = ['x']\n[target.safe]\nservices = ['y']",
        &[
            "x.toml:2:19: warning: the fallback `safe` needs `x` too, which `t` lists and it does not\n  hint: if that one fails there again, the fallback has not helped",
        ],
    );
    // What both list is meant to be in both.
    with("[target.t]\nservices = ['x']\n[target.safe]\nservices = ['x', 'y']", &[]);
    with("[target.t]\nservices = ['x']\n[target.safe]\n", &[]);
    check(
        &format!("initial_target = 't'\nfallback_target = 't'\n{services}[target.t]\nservices = ['x']"),
        &[
            "x.toml:2:19: warning: the fallback `t` is the only target, and the one that has failed\n  hint: give it a target of its own, or leave it out",
        ],
    );
}

#[test]
fn a_fallback_that_needs_what_the_others_need() {
    let plan = |of_x: &str, of_y: &str, safe: &str| {
        format!(
            "initial_target = 't'\nfallback_target = 'safe'\n[target.t]\nservices = ['a', 'both']\n[target.safe]\nservices = {safe}\n\
             [service.a]\ncommand = 'a'\nrequires = ['x']\n[service.b]\ncommand = 'b'\n{of_y}\n[service.y]\ncommand = 'y'\n\
             requires = ['x']\n[service.x]\ncommand = 'x'\n{of_x}\n[service.both]\ncommand = 'both'\n"
        )
    };
    let (fails, needs) = ("restart = 'never'", "requires = ['y']");
    let told = "x.toml:2:19: warning: the fallback `safe` needs `x` too, without which `t` fails\n  \
                hint: if it is `x` that fails, so does the fallback; list it there too if that is meant";
    for ends in [fails, "give_up_after = 3", "start_retries = 0", "give_up_after = 3\nrecovery = [{ command = 'c' }]"] {
        check(&plan(ends, needs, "['b']"), &[told]);
    }
    check(&plan(fails, "requires = ['x']", "['b']"), &[told]);
    // Who lists it knows of it, and so does who lists what needs it.
    check(&plan(fails, needs, "['b', 'x']"), &[]);
    check(&plan(fails, needs, "['b', 'a']"), &[]);
    // It does without, or one of them comes back always, ends everything, is left as it is, or starts by itself.
    for other in ["", "wants = ['y']", "any_of = ['y', 'both']"] {
        check(&plan(fails, other, "['b']"), &[]);
    }
    for spared in [
        "",
        "restart = 'never'\nessential = true",
        "restart = 'never'\nautostart = true",
        "give_up_after = 3\nrecovery = [{ reboot = true }]",
        "give_up_after = 3\nrecovery = [{ command = 'c' }, { stop = true }]",
    ] {
        check(&plan(spared, needs, "['b']"), &[]);
    }
    // Of a set with its own count.
    let set = "[recovery.s]\nservices = ['x']\n";
    check(&(plan("", needs, "['b']") + set), &[told]);
    check(&(plan("", needs, "['b']") + set + "steps = [{ end = true }]\n"), &[]);
}

#[test]
fn a_last_resort_that_needs_what_the_fallback_needs() {
    let plan = |limp: &str, of_x: &str| {
        format!(
            "fallback_target = 'safe'\ninitial_target = 't'\nlast_resort = [{{ command = 'c' }}, {{ switch = 'limp' }}]\n[target.t]\n\
             services = ['a']\n[target.safe]\nservices = ['b']\n[target.limp]\nservices = {limp}\n[service.a]\ncommand = 'a'\n\
             [service.b]\ncommand = 'b'\nrequires = ['x']\n[service.c]\ncommand = 'c'\nrequires = ['x']\n\
             [service.x]\ncommand = 'x'\n{of_x}\n"
        )
    };
    let fails = "restart = 'never'";
    check(
        &plan("['c']", fails),
        &[
            // A group may go there by a switch, too.
            "x.toml:1:19: warning: the fallback `safe` needs `x` too, without which `limp` fails\n  \
             hint: if it is `x` that fails, so does the fallback; list it there too if that is meant",
            "x.toml:3:46: warning: the last resort switches to `limp`, which needs `x` too, without which the fallback `safe` fails\n  \
             hint: if it is `x` that fails, so does this one; list it there too if that is meant",
        ],
    );
    check(&plan("['b']", fails), &[]);
    check(&plan("['a']", fails), &[]);
    check(&plan("['c']", ""), &[]);
}

#[test]
fn keys_that_make_no_sense_together_are_warned_of() {
    check_line(
        "restart = 'never'\ngive_up_after = 3",
        &[
            "x.toml:4:17: warning: `give_up_after` in service `x` has no effect: it is never restarted\n  hint: write restart = \"on-failure\", or leave it out",
        ],
    );
    check_line(
        "restart_delay = '10s'\nrestart_delay_max = '5s'",
        &[
            "x.toml:4:21: warning: `restart_delay_max` in service `x` is 5s, less than the 10s of `restart_delay`\n  hint: the rest is then always as long as `restart_delay`",
        ],
    );
    check(
        "[service.x]\ncommand = 'bin/x'",
        &[
            "x.toml:2:11: warning: `bin/x` is looked for in whatever directory the daemon runs in\n  hint: give `working_directory`, or the whole path",
        ],
    );
    check_line(
        "working_directory = 'data'",
        &[
            "x.toml:3:21: warning: the working directory `data` is looked for in whatever directory the daemon runs in\n  hint: write the whole path",
        ],
    );
    // What is wrong among the defaults is said once, not in every service.
    check(
        "[defaults]\nrestart_delay = '10s'\nrestart_delay_max = '5s'\nnice = 'x'\n[service.x]\ncommand = 'x'\n[service.y]\ncommand = 'y'",
        &[
            "x.toml:3:21: warning: `restart_delay_max` in [defaults] is 5s, less than the 10s of `restart_delay`\n  hint: the rest is then always as long as `restart_delay`",
            "x.toml:4:8: `nice` in [defaults] is the string \"x\", expected an integer from -20 to 19",
        ],
    );
}

const BOSS: &str = "[service.boss]\ncommand = 'x'\nstdin = 'control.event'\nstdout = 'control.cmd'\n";

#[test]
fn brains() {
    check(&format!("{BOSS}[service.a]\ncommand = 'x'\nbrain = 'boss'"), &[]);
    check(
        &format!("{BOSS}[service.a]\ncommand = 'x'\nbrain = 'bos'"),
        &["x.toml:7:9: `brain` in service `a` names `bos`, and there is no such service\n  hint: did you mean `boss`?"],
    );
    check_line(
        "brain = 'x'",
        &[
            "x.toml:3:9: `brain` in service `x` names the service itself\n  hint: a brain is a service of its own, which the lifecycle starts",
        ],
    );
    check_line("brain = 5", &["x.toml:3:9: `brain` in service `x` is the number 5, expected the name of a service"]);
    check(
        "[service.boss]\ncommand = 'x'\nstdin = 'control.event'\n[service.a]\ncommand = 'x'\nbrain = 'boss'",
        &[
            "x.toml:6:9: `brain` in service `a` names `boss`, which has no way to say anything, expected a service with \"control.cmd\" or \"control.socket\" among its descriptors\n  hint: in [service.boss]: stdin = \"control.event\", stdout = \"control.cmd\"",
        ],
    );
    check(
        &format!(
            "{BOSS}[service.mid]\ncommand = 'x'\nbrain = 'boss'\nstdout = 'control.cmd'\n[service.a]\ncommand = 'x'\nbrain = 'mid'"
        ),
        &[
            "x.toml:11:9: `brain` in service `a` names `mid`, which has a brain itself\n  hint: name `boss`, or let the lifecycle lead `mid`",
        ],
    );
    check(
        &format!("{BOSS}[service.'a@b']\ncommand = 'x'\nbrain = 'boss'"),
        &[
            "x.toml:7:9: `brain` in service `a@b` needs a name that its lines can say: 1 to 31 of letters, digits, '.', '_', '-'\n  hint: `a@b` is none",
        ],
    );
    check_line(
        "alive_within = '5s'",
        &[
            "x.toml:3:16: `alive_within` in service `x`, which has no way to say anything, expected \"control.cmd\" or \"control.socket\" among its descriptors",
        ],
    );
    check_line(
        "alive_within = '0s'\nstdout = 'control.cmd'",
        &[
            "x.toml:3:16: `alive_within` in service `x` is no time at all\n  hint: leave it out: then it may be silent for ever",
        ],
    );
    check_line(
        "stdin = 'control.event'",
        &[
            "x.toml:1:10: warning: service `x` has the lines of a brain, and decides about nobody\n  hint: write brain = \"x\" in each service that it is to decide about",
        ],
    );
    check_line(
        "stdin = 'control.cmd'",
        &["x.toml:3:9: `stdin` in service `x` reads where a brain writes\n  hint: write \"control.event\""],
    );
    check_line(
        "stderr = 'control.event'",
        &["x.toml:3:10: `stderr` in service `x` writes where a brain reads\n  hint: write \"control.cmd\""],
    );
    check(
        &format!("[defaults]\nbrain = 'boss'\n{BOSS}"),
        &["x.toml:2:1: `brain` cannot stand in [defaults]\n  hint: it is each service's own"],
    );
}

#[test]
fn nobody_else_starts_what_a_brain_decides_about() {
    let of = |line: &str| format!("{BOSS}[service.a]\ncommand = 'x'\nbrain = 'boss'\n{line}");
    for (key, value) in [
        ("requires", "['boss']"),
        ("after", "['boss']"),
        ("autostart", "true"),
        ("essential", "false"),
        ("restart", "'always'"),
        ("restart_delay", "'1s'"),
        ("restart_delay_max", "'1s'"),
        ("healthy_after", "'1s'"),
        ("give_up_after", "3"),
        ("give_up_within", "'1s'"),
    ] {
        check(
            &of(&format!("{key} = {value}")),
            &[&format!(
                "x.toml:8:{}: `{key}` in service `a` says what its brain decides\n  hint: leave it out, and let `boss` do it; or take `brain` out",
                key.len() + 4
            )],
        );
    }
    check(
        &of("[service.b]\ncommand = 'x'\nrequires = ['boss', 'a']"),
        &[
            "x.toml:10:21: service `b` waits for `a`, and a brain decides whether that ever runs\n  hint: let `boss` decide about both",
        ],
    );
    // What the others have by default is nothing to complain of.
    let given = plan(&format!("[defaults]\nrestart = 'always'\nautostart = true\n{}", of("")));
    let a = given.services.iter().find(|service| service.name == "a").unwrap();
    assert_eq!((a.restart, a.autostart, a.brain.as_str()), (RestartPolicy::Never, false, "boss"));
}

#[test]
fn debug_mode_has_arguments_of_its_own() {
    let with = |more: &str| format!("[service.x]\ncommand = 'x 1'\n{more}");
    let argv = |text: &str| plan(text).services[0].argv.join(" ");
    assert_eq!(argv(&with("debug_arguments = ['--a b', '-c']\n")), "x 1", "not in debug mode");
    assert_eq!(argv(&with("debug_arguments = ['--a b', '-c']\ndebug = true\n")), "x 1 --a b -c");
    assert_eq!(argv(&with("debug_arguments = []\ndebug = true\n")), "x 1");
    // For all of a file, or of a template; nearer ones go before.
    let all = "[defaults]\ndebug = true\n";
    assert_eq!(argv(&format!("{all}{}", with("debug_arguments = ['-d']\n"))), "x 1 -d");
    assert_eq!(argv(&format!("{all}{}", with("debug_arguments = ['-d']\ndebug = false\n"))), "x 1");
    assert_eq!(argv(&format!("{all}{}", with(""))), "x 1");
    let template = "[service.\"x@\"]\ncommand = 'x'\ndebug_arguments = ['--for=%i']\n[service.\"x@a\"]\ndebug = true\n";
    assert_eq!(argv(template), "x --for=a");
    for (more, told) in [
        (
            "debug = true\n",
            "x.toml:3:9: warning: `debug` in service `x` has no effect: it has no `debug_arguments`\n  hint: write debug_arguments = [\"…\"]; what holds it for a debugger is hold = \"debugger\"",
        ),
        (
            "debug = 'yes'\n",
            "x.toml:3:9: `debug` in service `x` is the string \"yes\", expected true or false\n  hint: write true, without quotes",
        ),
        (
            "debug_arguments = ['-p', 1]\n",
            "x.toml:3:26: `debug_arguments` in service `x` holds the number 1, expected strings only\n  hint: write \"1\"",
        ),
        (
            "debug_arguments = '-p'\n",
            "x.toml:3:19: `debug_arguments` in service `x` is the string \"-p\", expected an array of strings\n  hint: write [\"-p\"]",
        ),
    ] {
        assert_eq!(said(&reading(&with(more))), [told], "{more}");
    }
}

#[test]
fn arguments_are_written_before_they_are_read() {
    let memory = "[handle.m]\nmemory = true\n[handle.log]\npipe = true\n[service.log]\ncommand = 'l'\nstdin = 'log.r'\nstdout = 'log.w'\n";
    let writer = "[service.w]\ncommand = 'w'\nready = 'exit'\nstdout = 'm'\n";
    let after = "requires = [{ service = 'w', condition = 'completed' }]\n";
    let text = |writer: &str, more: &str| format!("{memory}{writer}[service.x]\ncommand = 'x'\n{more}");
    assert_eq!(plan(&text(writer, &format!("{after}arguments_from = 'm'\n"))).services[2].arguments_from, "m");
    for (writer, more, said) in [
        (
            "",
            "arguments_from = 'm'\n".to_owned(),
            "x.toml:11:18: nobody writes to `m`, from which `x` has arguments\n  hint: give it to a service that ends: stdout = \"m\"",
        ),
        (
            writer,
            "requires = ['w']\narguments_from = 'm'\n".to_owned(),
            "x.toml:16:18: `x` does not wait until `w` has written its arguments\n  hint: write requires = [{ service = \"w\", condition = \"completed\" }]",
        ),
        (
            writer,
            format!("{after}arguments_from = 'm'\nstderr = 'm'\n"),
            "x.toml:16:18: `w` and `x` both write to `m`, expected one service that does\n  hint: what is in it is only what the one wrote that began last",
        ),
        (
            writer,
            format!("{after}arguments_from = 'log'\n"),
            "x.toml:16:18: `arguments_from` in service `x` names `log`, which is not in memory\n  hint: a handle in memory is [handle.NAME] with memory = true",
        ),
        (
            writer,
            format!("{after}arguments_from = 'n'\n"),
            "x.toml:16:18: `arguments_from` in service `x` names `n`, and there is no such handle\n  hint: a handle in memory is [handle.NAME] with memory = true",
        ),
        (
            writer,
            "stdin = 'm'\n".to_owned(),
            "x.toml:15:9: `stdin` in service `x` names handle `m`, which is in memory, and written to only\n  hint: `arguments_from` gives a service what is in it",
        ),
        (
            writer,
            "stdout = 'm.w'\n".to_owned(),
            "x.toml:15:10: `stdout` in service `x` names an end of handle `m`, which is in memory\n  hint: write \"m\", without .w",
        ),
    ] {
        check(&text(writer, &more), &[said]);
    }
    // What is added to a plan in force does not write beside it: its text has no place of the one who reads.
    let base = plan(&text(writer, &format!("{after}arguments_from = 'm'\n")));
    for (more, said_of_it) in [
        ("stdout = 'm'\n", "f.toml:3:10: `w` and `f` both write to `m`"),
        ("stderr = 'm'\n", "f.toml:3:10: `w` and `f` both write to `m`"),
        ("descriptors = { 7 = 'm' }\n", "f.toml:3:"),
    ] {
        let fragment = format!("[service.f]\ncommand = 'f'\n{more}");
        let reading = crate::read_fragment_bytes("f.toml", fragment.as_bytes(), &base, &crate::NoFiles);
        let told = said(&reading);
        assert!(reading.plan.is_none() && told.len() == 1, "{told:?}");
        assert!(told[0].starts_with(said_of_it) && told[0].contains("`w` and `f` both write to `m`"), "{told:?}");
    }
    let harmless = format!("[service.f]\ncommand = 'f'\n{after}arguments_from = 'm'\n");
    let reading = crate::read_fragment_bytes("f.toml", harmless.as_bytes(), &base, &crate::NoFiles);
    assert_eq!(said(&reading), [] as [String; 0]);
}
