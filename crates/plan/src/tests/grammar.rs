//! What is no TOML and no JSON, to the letter; and that one mistake hides no other.

use super::*;

#[test]
fn a_nul_stops_every_text() {
    let words = "there is a NUL character after";
    let hint = "\n  hint: no argument, variable, name or path can hold one";
    check("[service.x]\ncommand = [\"x\", \"a\\u0000b\"]", &[&format!("x.toml:2:17: {words} \"a\"{hint}")]);
    check(
        "{\"service\": {\"x\": {\"command\": \"x\", \"environment\": {\"A\\u0000\": \"\"}}}}",
        &[&format!("x.json:1:52: {words} \"A\"{hint}")],
    );
    check(
        "[service.x]\ncommand = 'a\0b'",
        &["x.toml:2:13: invalid literal string, expected non-single-quote visible characters"],
    );
}

#[test]
fn grammar_of_toml() {
    for (line, words) in [
        ("nice = \"x", "3:10: the string has no end, expected `\"`"),
        ("nice =", "3:7: a value is missing"),
        ("nice 5", "3:6: a key without a value, expected `=` and a value"),
        ("nice = 5 6", "3:8: `5 6` is a string without quotes\n  hint: write \"5 6\""),
        ("nice = '5' 6", "3:12: something follows on the same line, expected a new line"),
        ("restart = always", "3:11: `always` is a string without quotes\n  hint: write \"always\""),
        ("autostart = yes", "3:13: `yes` is a string without quotes\n  hint: write true"),
        ("autostart = True", "3:13: invalid boolean, expected `true`"),
        ("a..b = 1", "3:3: a key is missing"),
        (
            "user = \"\\q\"",
            "3:10: this escape is not known\n  hint: write \\\\ for the character itself, or put the string in '…'",
        ),
        ("groups = [\"a\" \"b\"]", "3:15: no comma between two values, expected `,` or `]`"),
        ("[service.y", "3:11: the header has no end, expected `]`"),
    ] {
        check_line(line, &[&format!("x.toml:{words}")]);
    }
}

#[test]
fn what_runs_on_says_where_it_began() {
    check(
        "[service.x]\ncommand = \"\"\"x\n[service.y]\n",
        &["x.toml:4:1: the string has no end, expected `\"\"\"`\n  x.toml:2:1: in what begins here"],
    );
    check(
        "[service.x]\ncommand = 'x'\n# so far\nrequires = ['y',\n\n[service.y]\ncommand = 'y'\n",
        &["x.toml:7:1: no comma between two values, expected `,` or `]`\n  x.toml:4:1: in what begins here"],
    );
}

/// A mistake hides nothing but itself: all others are still found, and nothing that may only be hidden is missed.
#[test]
fn one_pass_finds_all() {
    check(
        "[service.a]\ncommand = x\nnice = 50\nrequires = ['bb']\n\n[service.b]\ncommand = 'b'\nrestart_delay = 5 s\nafter = ['a', 'b']\n",
        &[
            "x.toml:2:11: `x` is a string without quotes\n  hint: write \"x\"",
            "x.toml:3:8: `nice` in service `a` is the number 50, expected an integer from -20 to 19",
            "x.toml:4:13: `requires` in service `a` names `bb`, and there is no such service\n  hint: did you mean `b`?",
            "x.toml:8:17: `5 s` is a string without quotes\n  hint: write \"5 s\"",
            "x.toml:9:15: `after` in service `b` names the service itself\n  hint: a service cannot wait for itself",
        ],
    );
    check(
        "[service.a\ncommand = 'a'\n[service.b]\ncommand = 'b'\nrequires = ['a', 5]\nstdout = 'log.w'\n[handle.log\npipe = true\n",
        &[
            "x.toml:1:11: the header has no end, expected `]`",
            "x.toml:5:18: `requires` in service `b` holds the number 5, expected names of services",
            "x.toml:7:12: the header has no end, expected `]`",
        ],
    );
}

#[test]
fn grammar_of_json() {
    let line = |value: &str| format!("{{\"service\":{{\"x\":{{\"command\":\"x\",\n{value}}}}}}}");
    for (value, words) in [
        ("\"nice\": 5,", "2:10: a comma before `}`\n  hint: JSON has no comma after the last key of an object"),
        (
            "\"nice\": 5, // why\n /* why */ ",
            "2:10: a comma before `}`\n  hint: JSON has no comma after the last key of an object",
        ),
        ("nice: 5", "2:1: a key without quotes\n  hint: JSON keys stand in double quotes"),
        ("'nice': 5", "2:1: a string in single quotes\n  hint: JSON strings stand in double quotes"),
        ("\"nice\" 5", "2:8: no colon after the key, expected `:` and a value"),
        ("\"nice\": 5 \"a\": 1", "2:10: no comma between two values, expected `,`"),
        ("\"nice\": 0x5", "2:9: a hexadecimal number, expected a decimal one"),
        ("\"nice\": +5", "2:9: a number begins with `+`\n  hint: leave the `+` out"),
        ("\"nice\": .5", "2:9: a number begins or ends with its point, expected digits on both sides"),
        ("\"nice\": five", "2:9: a bare word, expected a value\n  hint: JSON strings stand in double quotes"),
        (
            "\"user\": \"a\tb\"",
            "2:11: a line break or other control character inside a string\n  hint: write it as \\n, \\t or \\u00XX",
        ),
        (
            "\"user\": \"\\q\"",
            "2:10: this escape is not known\n  hint: JSON has \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX",
        ),
        ("\"user\": \"\\ud800\"", "2:10: \\ud800 (unpaired high surrogate) is no character"),
    ] {
        check(&line(value), &[&format!("x.json:{words}")]);
    }
    check("{\"service\": [", &["x.json:1:13: the array has no end, expected `]`"]);
    check("{\"service\": {", &["x.json:1:13: the object has no end, expected `}`"]);
    check("{ /* ", &["x.json:1:3: the comment has no end, expected `*/`"]);
}
