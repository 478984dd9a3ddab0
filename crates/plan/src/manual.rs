//! The reference of native plans as a manual page, `verger.toml(5)`; from the lists of keys.

use std::fmt::Write;

use crate::keys::{CONDITION, GROUP, Group, HANDLE, LIMITS, PLAN, RECOVERY, SERVICE, STEP, TARGET};
use crate::reference::{OF_CONDITIONS, OF_STEPS};

/// Every key of a native plan as a manual page, in the language of `man(7)`.
pub fn manual() -> String {
    let mut text = String::from(
        ".\\\" Made from the lists in crates/plan/src/keys; change those.\n\
         .TH verger.toml 5 \"\" \"verger\"\n\
         .SH NAME\n\
         verger.toml \\- a plan: the services of a machine, and how they are kept in order\n\
         .SH DESCRIPTION\n",
    );
    paragraph(
        &mut text,
        "A plan is written in TOML, or in JSON with the same tables and keys (comments are allowed). The smallest is",
    );
    text.push_str(".PP\n.nf\n.RS\n[service.web]\ncommand = \"web \\-\\-port 80\"\n.RE\n.fi\n");
    paragraph(
        &mut text,
        "A *duration* is a string of numbers with units, larger units first: `\"200ms\"`, `\"1.5s\"`, `\"1h30m\"`; the units are \
         d, h, m, s, ms, us and ns, and what has no end is `\"forever\"`. A *name* has 1 to 64 letters, digits and `. _ @ : + -`, \
         and does not begin with `-` or `.`.",
    );
    section(&mut text, "AT THE TOP", PLAN);
    text.push_str(".SH SERVICES: [service.NAME]\n");
    for group in SERVICE {
        let _ = writeln!(text, ".SS {}", group.title);
        keys(&mut text, group);
    }
    section(&mut text, "CONDITIONS: conditions = [{ ... }]", CONDITION);
    paragraph(&mut text, OF_CONDITIONS);
    section(&mut text, "TARGETS: [target.NAME]", TARGET);
    section(&mut text, "GROUPS: [group.NAME]", GROUP);
    section(&mut text, "RECOVERY: [recovery.NAME]", RECOVERY);
    section(&mut text, "STEPS OF RECOVERY: recovery = [{ ... }] of a service, steps = [{ ... }] of a set", STEP);
    paragraph(&mut text, OF_STEPS);
    section(&mut text, "HANDLES: [handle.NAME]", HANDLE);
    paragraph(&mut text, "A handle has one of `file`, `pipe` and `listen`; `mode` and `backlog` go with `listen`.");
    section(&mut text, "ROOM: [limits]", LIMITS);
    text.push_str(
        ".SH SEE ALSO\n.BR verger (1),\n.BR verger\\-check (1),\n.BR verger\\-schema (1),\n.BR vergerd (8)\n",
    );
    text
}

fn section<T>(text: &mut String, title: &str, groups: &'static [Group<T>]) {
    let _ = writeln!(text, ".SH {title}");
    for group in groups {
        keys(text, group);
    }
}

fn keys<T>(text: &mut String, group: &Group<T>) {
    for key in group.keys {
        let _ = writeln!(text, ".TP\n\\fB{}\\fR ({})", escaped(key.name), phrased(&key.shape.written()));
        text.push_str(&phrased(key.doc));
        if !key.default.is_empty() {
            let _ = write!(text, " Default: \\fB{}\\fR.", escaped(key.default));
        }
        text.push('\n');
    }
}

fn paragraph(text: &mut String, words: &str) {
    let _ = writeln!(text, ".PP\n{}", phrased(words));
}

/// Markdown's `code` and *stress* as bold and italic.
fn phrased(words: &str) -> String {
    let mut text = String::new();
    for (nth, part) in words.split('`').enumerate() {
        if nth % 2 == 1 {
            let _ = write!(text, "\\fB{}\\fR", escaped(part));
            continue;
        }
        for (nth, part) in part.split('*').enumerate() {
            let _ = if nth % 2 == 1 {
                write!(text, "\\fI{}\\fR", escaped(part))
            } else {
                write!(text, "{}", escaped(part))
            };
        }
    }
    // A line that begins with a dot or a quote would be an order.
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_paragraph_and_nothing_is_an_order_by_accident() {
        let manual = manual();
        let all = SERVICE.iter().flat_map(|group| group.keys).map(|key| key.name);
        for name in all {
            assert!(manual.contains(&format!(".TP\n\\fB{}\\fR (", escaped(name))), "{name}");
        }
        let known = [".TH ", ".SH ", ".SS ", ".PP", ".TP", ".nf", ".fi", ".RS", ".RE", ".BR ", ".\\\""];
        for line in manual.lines().filter(|line| line.starts_with(['.', '\''])) {
            assert!(known.iter().any(|order| line.starts_with(order)), "{line}");
        }
    }

    #[test]
    fn code_is_bold_and_stress_is_italic() {
        assert_eq!(phrased("a `-b` is *so*"), "a \\fB\\-b\\fR is \\fIso\\fR");
        assert_eq!(phrased(".x\\"), "\\&.x\\e");
    }
}
