//! What a service, handle or target may be called.

use core::fmt;

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFlaw {
    /// It has no bytes.
    Empty,
    /// It has more than [`NAME_BYTES_MAX`] bytes.
    TooLong,
    /// It begins with `-` (would read as an option) or `.` (would hide as a file).
    BadStart(char),
    /// It holds a byte outside `[A-Za-z0-9._@:+-]`.
    BadByte(u8),
}

impl fmt::Display for NameFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameFlaw::Empty => f.write_str("a name needs at least one character"),
            NameFlaw::TooLong => write!(f, "a name has at most {NAME_BYTES_MAX} bytes"),
            NameFlaw::BadStart(c) => write!(f, "a name does not begin with `{c}`"),
            NameFlaw::BadByte(b) if b.is_ascii_graphic() => {
                write!(f, "a name holds only letters, digits and . _ @ : + -, not `{}`", char::from(*b))
            }
            NameFlaw::BadByte(b) => write!(f, "a name holds only letters, digits and . _ @ : + -, not byte 0x{b:02x}"),
        }
    }
}

/// Says whether `name` is 1 to 64 bytes of `[A-Za-z0-9._@:+-]` that do not begin with `-` or `.`.
///
/// # Errors
/// The first flaw found.
pub fn check_name(name: &str) -> Result<(), NameFlaw> {
    let Some(first) = name.chars().next() else { return Err(NameFlaw::Empty) };
    if name.len() > NAME_BYTES_MAX {
        return Err(NameFlaw::TooLong);
    }
    if first == '-' || first == '.' {
        return Err(NameFlaw::BadStart(first));
    }
    match name.bytes().find(|b| !is_name_byte(*b)) {
        Some(bad) => Err(NameFlaw::BadByte(bad)),
        None => Ok(()),
    }
}

/// Says whether a byte may stand in a name.
pub fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._@:+-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_of_names() {
        let long = "x".repeat(64);
        for good in ["a", "9", "db", "camera@left", "A.b_c:d+e-f", "_x", "@", long.as_str()] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        assert_eq!(check_name(""), Err(NameFlaw::Empty));
        assert_eq!(check_name(&"x".repeat(65)), Err(NameFlaw::TooLong));
        assert_eq!(check_name("-x"), Err(NameFlaw::BadStart('-')));
        assert_eq!(check_name(".x"), Err(NameFlaw::BadStart('.')));
        assert_eq!(check_name("a b"), Err(NameFlaw::BadByte(b' ')));
        assert_eq!(check_name("a/b"), Err(NameFlaw::BadByte(b'/')));
        assert_eq!(check_name("a\0"), Err(NameFlaw::BadByte(0)));
        assert_eq!(check_name("caf\u{e9}"), Err(NameFlaw::BadByte(0xc3)));
    }
}
