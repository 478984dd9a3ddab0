//! A plan's digest as text: 16 hexadecimal digits.

/// As it is said.
pub fn to_text(digest: u64) -> String {
    format!("{digest:016x}")
}

/// As it is read; `None`: it is no digest.
pub fn from_text(text: &str) -> Option<u64> {
    let is_one = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_said() {
        for digest in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(from_text(&to_text(digest)), Some(digest));
        }
        for no_digest in ["", "0", "+123456789abcdef", "0123456789abcdefg", "0123456789abcde\u{e9}"] {
            assert_eq!(from_text(no_digest), None, "{no_digest}");
        }
    }
}
