//! Integers out of their range: each is answered with the range.

use super::{reading, said};
use crate::keys::{Group, HANDLE, LIMITS, PLAN, SERVICE, Shape};

/// Checks that each integer key of a table, below its least and above its greatest, is answered with both.
#[track_caller]
fn check_ranges<T>(groups: &[Group<T>], before: &str, after: &str) {
    let mut count = 0;
    for key in groups.iter().flat_map(|group| group.keys) {
        let Shape::Whole { min, max, .. } = key.shape else { continue };
        count += 1;
        for number in [i128::from(min) - 1, i128::from(max) + 1] {
            let text = format!("{before}\n{} = {number}\n{after}", key.name);
            let said = said(&reading(&text)).join("\n");
            let range = format!("is the number {number}, expected an integer from {min} to {max}");
            assert!(said.contains(&range), "{text}: {said}");
        }
    }
    assert!(count > 0);
}

#[test]
fn an_integer_out_of_its_range_is_answered_with_the_range() {
    let service = "[service.x]\ncommand = 'x'";
    check_ranges(SERVICE, service, "");
    check_ranges(PLAN, "", service);
    check_ranges(LIMITS, "[limits]", service);
    check_ranges(HANDLE, "[handle.h]\nlisten = 'tcp:80'", service);
    for (line, range) in [
        ("scheduling = { policy = 'fifo', priority = 100 }", "a priority from 1 to 99"),
        ("success_exit_codes = [256]", "exit statuses from 0 to 255"),
        ("groups = [-1]", "a name, or a number from 0 to 4294967294"),
        ("umask = '1000'", "an octal string like \"027\", up to \"777\""),
        ("replicas = 0", "an integer from 1 to 100000"),
    ] {
        let said = said(&reading(&format!("{service}\n{line}"))).join("\n");
        assert!(said.contains(&format!("expected {range}")), "{said}");
    }
}
