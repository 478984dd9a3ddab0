//! CPU lists as the kernel writes them: `"0-3,8"`.

use verger_engine::image::CPUS_MAX;

/// Why a text is no CPU list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It is not numbers and ranges with commas between them.
    NotOne,
    /// A number is not below [`CPUS_MAX`].
    TooLarge,
    /// A range that ends before it begins.
    Backwards,
}

/// Reads a CPU list into numbers, sorted, each once.
pub(crate) fn parse(text: &str) -> Result<Vec<u32>, Flaw> {
    // How many more ranges begin than end at each number; so a long list costs no more than it is long.
    let mut begun = vec![0i32; CPUS_MAX as usize + 1];
    let mut count = |at: u32, by: i32| {
        if let Some(begun) = begun.get_mut(at as usize) {
            *begun += by;
        }
    };
    for part in text.split(',') {
        let part = part.trim();
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(Flaw::Backwards);
        }
        count(first, 1);
        count(last + 1, -1);
    }
    let mut open = 0;
    let is_in = |(cpu, begun): (u32, i32)| {
        open += begun;
        (open > 0).then_some(cpu)
    };
    Ok((0..).zip(begun).filter_map(is_in).collect())
}

fn number(text: &str) -> Result<u32, Flaw> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Flaw::NotOne);
    }
    text.parse().ok().filter(|cpu| *cpu < CPUS_MAX).ok_or(Flaw::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_read() {
        for (text, cpus) in [
            ("0", Ok(vec![0])),
            ("0-3,8", Ok(vec![0, 1, 2, 3, 8])),
            ("8, 0-1", Ok(vec![0, 1, 8])),
            ("1,1,0-1", Ok(vec![0, 1])),
            ("8191", Ok(vec![8191])),
            ("8192", Err(Flaw::TooLarge)),
            ("99999999999", Err(Flaw::TooLarge)),
            ("3-1", Err(Flaw::Backwards)),
            ("", Err(Flaw::NotOne)),
            ("0,", Err(Flaw::NotOne)),
            ("-1", Err(Flaw::NotOne)),
            ("+1", Err(Flaw::NotOne)),
            ("0-", Err(Flaw::NotOne)),
            ("0-1-2", Err(Flaw::NotOne)),
            ("all", Err(Flaw::NotOne)),
        ] {
            assert_eq!(parse(text), cpus, "{text}");
        }
        assert_eq!(parse(&["0-8191"; 1000].join(",")).map(|cpus| cpus.len()), Ok(8192));
    }
}
