//! Patterns over names: `*`, `?` and `[abc]`.

/// Whether this is a pattern rather than a name: no name holds these characters.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a name is one that the pattern means.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut here) = (0, 0);
    // Where the last star stands, and how far it reaches: when what follows does not fit, it takes one more.
    let mut star: Option<(usize, usize)> = None;
    while here < name.len() {
        let step = match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, here));
                at += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class(&pattern[at..], name[here]),
            Some(byte) => (*byte == name[here]).then_some(1),
            None => None,
        };
        match (step, star) {
            (Some(step), _) => (at, here) = (at + step, here + 1),
            (None, Some((from, reach))) => {
                star = Some((from, reach + 1));
                (at, here) = (from + 1, reach + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// The length of the class that the pattern begins with, if the byte is in it. One that is not closed is in nobody's.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let close = pattern.iter().skip(1).position(|byte| *byte == b']')? + 1;
    let inside = &pattern[1..close];
    let (inside, negated) = match inside.split_first() {
        Some((b'!' | b'^', rest)) => (rest, true),
        Some(_) | None => (inside, false),
    };
    let mut found = false;
    let mut at = 0;
    while let Some(first) = inside.get(at) {
        match (inside.get(at + 1), inside.get(at + 2)) {
            (Some(b'-'), Some(last)) => {
                found |= (*first..=*last).contains(&byte);
                at += 3;
            }
            (Some(_) | None, _) => {
                found |= *first == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_names() {
        for (pattern, name, is) in [
            ("*", "", true),
            ("*", "web", true),
            ("w*", "web", true),
            ("w*b", "web", true),
            ("w*b", "wbb", true),
            ("w*b", "wba", false),
            ("*a*b*", "xaxbx", true),
            ("*a*b*", "xbxax", false),
            ("cam-?", "cam-1", true),
            ("cam-?", "cam-", false),
            ("cam-[12]", "cam-2", true),
            ("cam-[0-3]x", "cam-2x", true),
            ("cam-[!12]", "cam-2", false),
            ("cam-[^12]", "cam-3", true),
            ("cam-[12", "cam-1", false),
            ("web", "web", true),
            ("web", "webs", false),
            ("", "", true),
            ("", "a", false),
            ("a**b", "ab", true),
            ("*x", "xxxxxxxxxxy", false),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
        assert!(is_pattern("a*") && is_pattern("[a]") && !is_pattern("cam@1:x+y-z._"));
    }
}
