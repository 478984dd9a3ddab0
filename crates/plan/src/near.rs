//! Which of the known words somebody may have meant.

use verger_engine::names::check_name;

use crate::complaint::quoted;

/// What else is to be done about a name in a list that nobody has.
pub(crate) const TAKE_NAME_OUT: &str = "take the name out";
/// What else is to be done about the one name that there is, when nobody has it.
pub(crate) const NAME_ANOTHER: &str = "name another service";

/// A word longer than this is not a slip of the fingers for one of ours.
const WORD_MAX: usize = 64;
/// At most this many known words are looked at: comparing is quadratic in their lengths.
const WORDS_MAX: usize = 2000;

/// The known word nearest to `wrong`, if one is near enough to be worth suggesting: one slip in three characters.
/// Among equally near ones the first. Case, `-` and `_` do not count.
pub fn nearest<'w>(wrong: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let wrong = plain(wrong)?;
    let slips_max = (wrong.len() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for word in known.into_iter().take(WORDS_MAX) {
        let Some(right) = plain(word) else { continue };
        if right.len().abs_diff(wrong.len()) > slips_max {
            continue;
        }
        let slips = slips(&wrong, &right);
        // A word that has nothing of the known one is another word, however short both are.
        if slips <= slips_max && slips < right.len().max(wrong.len()) && best.is_none_or(|(least, _)| slips < least) {
            best = Some((slips, word));
        }
    }
    best.map(|(_, word)| word)
}

/// `did you mean `web`?`
pub(crate) fn did_you_mean<'w>(wrong: &str, known: impl IntoIterator<Item = &'w str>) -> Option<String> {
    nearest(wrong, known).map(|word| format!("did you mean `{}`?", quoted(word)))
}

/// The same for the name of a service; where none is near, what would make it one, or `otherwise`.
pub(crate) fn near_or_new<'w>(wrong: &str, known: impl IntoIterator<Item = &'w str>, otherwise: &str) -> String {
    did_you_mean(wrong, known).unwrap_or_else(|| {
        if let Err(flaw) = check_name(wrong) {
            return format!("it is no name for one: {flaw}");
        }
        let is_bare = wrong.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let key = if is_bare { quoted(wrong) } else { format!("\"{}\"", quoted(wrong)) };
        format!("add [service.{key}], or {otherwise}")
    })
}

/// The same; where none is near, which there are. `None` where there is nothing that could be meant.
pub(crate) fn near_or_there_are<'w>(
    wrong: &str,
    things: &str,
    known: impl IntoIterator<Item = &'w str> + Clone,
) -> Option<String> {
    let is_any = known.clone().into_iter().next().is_some();
    did_you_mean(wrong, known.clone()).or_else(|| is_any.then(|| there_are(things, known)))
}

/// `the targets are `drive`, `Off``; of many the first.
pub(crate) fn there_are<'w>(things: &str, known: impl IntoIterator<Item = &'w str>) -> String {
    const SHOWN_MAX: usize = 8;
    let mut names: Vec<String> =
        known.into_iter().take(SHOWN_MAX + 1).map(|name| format!("`{}`", quoted(name))).collect();
    if names.len() > SHOWN_MAX {
        names.truncate(SHOWN_MAX);
        names.push("…".to_owned());
    }
    format!("the {things} are {}", names.join(", "))
}

/// `the keys are `uid`, `gid``: all of them, so it is for tables that have few.
pub(crate) fn keys_are<'w>(known: impl IntoIterator<Item = &'w str>) -> String {
    let known: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
    match known.as_slice() {
        [only] => format!("the only key is {only}"),
        _ => format!("the keys are {}", known.join(", ")),
    }
}

fn plain(word: &str) -> Option<Vec<char>> {
    if word.len() > WORD_MAX {
        return None;
    }
    Some(word.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect())
}

/// How many insertions, deletions, changes and swaps of neighbours lead from one word to the other (the optimal string
/// alignment distance).
fn slips(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (row, from) in a.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, to) in b.iter().enumerate() {
            let at = |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX / 2);
            let mut least = (at(&above, column) + usize::from(from != to))
                .min(at(&above, column + 1) + 1)
                .min(at(&line, column) + 1);
            let swapped = row > 0 && column > 0 && a.get(row - 1) == Some(to) && b.get(column - 1) == Some(from);
            if swapped {
                least = least.min(at(&before, column - 1) + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_meant() {
        let known = ["command", "user", "umask", "restart", "restart_delay", "stop", "on-failure", "db"];
        for (wrong, right) in [
            ("comand", Some("command")),
            ("commnad", Some("command")),
            ("Command", Some("command")),
            ("restartDelay", Some("restart_delay")),
            ("restart-delay", Some("restart_delay")),
            ("onfailure", Some("on-failure")),
            ("stpo", Some("stop")),
            ("usr", Some("user")),
            ("bd", Some("db")),
            ("x", None),
            ("xy", None),
            ("", None),
            ("environment", None),
        ] {
            assert_eq!(nearest(wrong, known), right, "{wrong}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), known), None);
    }

    /// The distance is one in all small cases: every pair of words of up to three letters out of two.
    #[test]
    fn the_distance_is_symmetric_and_zero_only_for_the_same() {
        let mut words: Vec<Vec<char>> = vec![Vec::new()];
        for length in 0..3 {
            let longer: Vec<Vec<char>> = words
                .iter()
                .filter(|word| word.len() == length)
                .flat_map(|word| ['a', 'b'].map(|letter| word.iter().copied().chain([letter]).collect()))
                .collect();
            words.extend(longer);
        }
        assert_eq!(words.len(), 15);
        for a in &words {
            for b in &words {
                assert_eq!(slips(a, b), slips(b, a));
                assert_eq!(slips(a, b) == 0, a == b);
                assert!(slips(a, b) <= a.len().max(b.len()));
            }
        }
    }
}
