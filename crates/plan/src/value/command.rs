//! A command written as one string: how it falls into words.
//!
//! Words are separated by blanks. `'…'` keeps everything as it stands; in `"…"` a `\` before `"` or `\` takes that
//! character as it stands; outside of both a `\` does so for any character. Nothing is expanded: no variables, no `~`,
//! no `*`, no redirection. It is not a shell, and what a shell would have acted upon is pointed out ([`shell_word`]).

use std::ops::Range;

use verger_engine::image::ARGUMENTS_MAX;

/// Why a string is no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A quote that is opened and never closed.
    Open {
        /// Where it is opened.
        quote: Range<usize>,
    },
    /// A `\` with nothing after it.
    Hanging {
        /// Where it is.
        backslash: Range<usize>,
    },
}

/// One word of a command, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) at: Range<usize>,
    /// Whether any of it was quoted.
    pub(crate) quoted: bool,
}

/// Splits a command; no further than to the first word that is one too many.
pub(crate) fn split(command: &str) -> Result<Vec<Word>, Flaw> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut chars = command.char_indices();
    while let Some((at, c)) = chars.next() {
        if matches!(c, ' ' | '\t' | '\n' | '\r') {
            words.extend(word.take());
            if words.len() > ARGUMENTS_MAX {
                return Ok(words);
            }
            continue;
        }
        let word = word.get_or_insert_with(|| Word { text: String::new(), at: at..at, quoted: false });
        word.quoted |= matches!(c, '\'' | '"' | '\\');
        match c {
            '\'' | '"' => quoted(c, at, &mut chars, &mut word.text)?,
            '\\' => match chars.next() {
                Some((_, next)) => word.text.push(next),
                None => return Err(Flaw::Hanging { backslash: at..at + 1 }),
            },
            _ => word.text.push(c),
        }
        word.at.end = chars.offset();
    }
    words.extend(word);
    Ok(words)
}

/// Takes what stands between two quotes.
fn quoted(quote: char, opened: usize, chars: &mut std::str::CharIndices<'_>, text: &mut String) -> Result<(), Flaw> {
    while let Some((_, c)) = chars.next() {
        if c == quote {
            return Ok(());
        }
        let escaped = chars.clone().next().filter(|(_, next)| c == '\\' && quote == '"' && matches!(next, '"' | '\\'));
        match escaped {
            Some((_, next)) => {
                chars.next();
                text.push(next);
            }
            None => text.push(c),
        }
    }
    Err(Flaw::Open { quote: opened..opened + 1 })
}

/// Whether an unquoted word is one that a shell would act upon: `|`, `2>&1`, `$HOME`.
pub(crate) fn shell_word(word: &Word) -> bool {
    if word.quoted {
        return false;
    }
    let text = word.text.as_str();
    let redirection = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let variable = text.strip_prefix('$').and_then(|rest| rest.chars().next());
    matches!(text, "|" | "||" | "&&" | "&" | ";" | "`")
        || redirection.starts_with(['>', '<'])
        || variable.is_some_and(|next| next.is_ascii_alphabetic() || matches!(next, '_' | '{' | '('))
        || text.starts_with("~/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(command: &str) -> Vec<String> {
        split(command).unwrap().into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn commands_fall_into_words() {
        for (command, words) in [
            ("web --port 80", &["web", "--port", "80"][..]),
            ("  web\t--port\n80  ", &["web", "--port", "80"]),
            ("", &[]),
            (" \t ", &[]),
            ("say 'two words'", &["say", "two words"]),
            ("say \"two words\"", &["say", "two words"]),
            ("say two\\ words", &["say", "two words"]),
            ("say ''", &["say", ""]),
            ("say \"\"''", &["say", ""]),
            ("a'b'c\"d\"e", &["abcde"]),
            (r#"say "a \"b\" \\ \n $HOME""#, &["say", r#"a "b" \ \n $HOME"#]),
            (r"say 'a \ b'", &["say", r"a \ b"]),
            (r"\'", &["'"]),
            (r"C:\\x", &[r"C:\x"]),
            ("sh -c 'exec >/dev/null; x | y'", &["sh", "-c", "exec >/dev/null; x | y"]),
            ("gr\u{fc}\u{df} '\u{20ac} \u{1f600}'", &["gr\u{fc}\u{df}", "\u{20ac} \u{1f600}"]),
        ] {
            assert_eq!(texts(command), words, "{command}");
        }
    }

    #[test]
    fn what_is_no_command() {
        for (command, flaw) in [
            ("say 'it", Flaw::Open { quote: 4..5 }),
            ("say \"it\\\"", Flaw::Open { quote: 4..5 }),
            ("it's", Flaw::Open { quote: 2..3 }),
            ("say \\", Flaw::Hanging { backslash: 4..5 }),
        ] {
            assert_eq!(split(command), Err(flaw), "{command}");
        }
    }

    #[test]
    fn words_know_where_they_stand() {
        let words = split("ab  'c d'e\\ f").unwrap();
        let at: Vec<Range<usize>> = words.into_iter().map(|word| word.at).collect();
        assert_eq!(at, [0..2, 4..13]);
    }

    #[test]
    fn what_a_shell_would_act_upon() {
        for (word, acts) in [
            ("|", true),
            ("2>&1", true),
            (">/dev/null", true),
            ("<in", true),
            ("$HOME", true),
            ("${X}", true),
            ("$(date)", true),
            ("~/bin", true),
            ("'$HOME'", false),
            ("\\$HOME", false),
            ("$", false),
            ("$5", false),
            ("a|b", false),
            ("5", false),
            ("*", false),
        ] {
            assert_eq!(shell_word(&split(word).unwrap()[0]), acts, "{word}");
        }
    }

    /// Every string of up to six characters out of the five that mean something: whatever can be split has as many
    /// words as it has blanks outside of quotes would make, and quoting each word in `'…'` splits the same way.
    #[test]
    fn splitting_what_was_split_changes_nothing() {
        let alphabet = ['a', ' ', '\'', '"', '\\'];
        let mut taken = 0;
        for length in 0..=6 {
            for number in 0..5usize.pow(length) {
                let mut rest = number;
                let command: String = (0..length)
                    .map(|_| {
                        let c = alphabet[rest % 5];
                        rest /= 5;
                        c
                    })
                    .collect();
                let Ok(words) = split(&command) else { continue };
                let again: Vec<String> =
                    words.iter().map(|word| format!("'{}'", word.text.replace('\'', "'\\''"))).collect();
                let words: Vec<String> = words.into_iter().map(|word| word.text).collect();
                assert_eq!(texts(&again.join(" ")), words, "{command}");
                taken += 1;
            }
        }
        assert!(taken > 5000, "{taken}");
    }
}
