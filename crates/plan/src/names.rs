//! Names from other systems, which may be freer than ours.
//!
//! One rule for all formats: every character outside `[A-Za-z0-9._@:+-]` becomes `_`; so does a `-` or `.` at the
//! beginning; what is longer than [`NAME_BYTES_MAX`] is cut. An empty name stays empty, and is then none.

use verger_engine::names::{NAME_BYTES_MAX, is_name_byte};

/// The name under which something called `name` elsewhere is known here; itself when it is a name already.
pub fn mapped(name: &str) -> String {
    let may_stand = |c: char| u8::try_from(c).is_ok_and(is_name_byte);
    let mut mapped: String = name.chars().map(|c| if may_stand(c) { c } else { '_' }).collect();
    if mapped.starts_with(['-', '.']) {
        mapped.replace_range(..1, "_");
    }
    mapped.truncate(NAME_BYTES_MAX);
    mapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use verger_engine::names::check_name;

    #[test]
    fn names_from_elsewhere() {
        for (name, here) in [
            ("ping", "ping"),
            ("my app", "my_app"),
            ("a/b", "a_b"),
            ("caf\u{e9} 1", "caf__1"),
            (".hidden", "_hidden"),
            ("-x", "_x"),
            ("--x", "_-x"),
            ("\0", "_"),
            ("", ""),
        ] {
            assert_eq!(mapped(name), here);
        }
        assert_eq!(mapped(&"\u{20ac}".repeat(100)), "_".repeat(64));
    }

    /// What is mapped is a name, and a name is left alone: every character of Latin-1 in every position that counts.
    #[test]
    fn what_is_mapped_is_a_name() {
        for c in (0u8..=255).map(char::from) {
            for name in [format!("{c}"), format!("x{c}"), format!("{c}x")] {
                assert_eq!(check_name(&mapped(&name)), Ok(()), "{name:?}");
                assert_eq!(check_name(&name).is_ok(), mapped(&name) == name, "{name:?}");
            }
        }
    }
}
