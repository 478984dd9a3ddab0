//! Rust source with what is not code blanked out, so that a rule about code does not trip over prose.
//!
//! Not a parser: it knows comments, strings, characters and braces, and keeps every line where it was.

/// `source` with comments and the insides of literals replaced by spaces. Has as many lines as before.
pub(super) fn code(source: &str) -> String {
    let mut blanker = Blanker { rest: source, out: String::with_capacity(source.len()), after_word: false };
    while !blanker.rest.is_empty() {
        blanker.step();
    }
    blanker.out
}

struct Blanker<'a> {
    rest: &'a str,
    out: String,
    /// Whether what was kept last belongs to a word: the `r` in `for"` begins no raw string.
    after_word: bool,
}

impl Blanker<'_> {
    fn step(&mut self) {
        if self.rest.starts_with("//") {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.blank(end);
        } else if self.rest.starts_with("/*") {
            self.blank(block_comment(self.rest));
        } else if let Some((open, length)) = self.literal() {
            self.keep(open);
            self.blank(length);
        } else {
            let next = self.rest.chars().next().map_or(0, char::len_utf8);
            self.keep(next);
        }
    }

    /// If a literal begins here: how much of it to keep (its opening quote), and the length of the rest.
    fn literal(&self) -> Option<(usize, usize)> {
        let prefix = match self.rest.as_bytes() {
            [b'b' | b'c', b'r', b'"' | b'#', ..] => 2,
            [b'r', b'"' | b'#', ..] | [b'b' | b'c', b'"', ..] | [b'b', b'\'', ..] => 1,
            _ => 0,
        };
        if prefix > 0 && self.after_word {
            return None;
        }
        let raw = self.rest[..prefix].contains('r');
        let body = &self.rest[prefix..];
        let hashes = if raw { body.bytes().take_while(|byte| *byte == b'#').count() } else { 0 };
        let inside = body[hashes..].strip_prefix('"');
        let length = match (inside, raw) {
            (Some(inside), true) => {
                let close = format!("\"{}", "#".repeat(hashes));
                inside.find(&close).map_or(inside.len(), |at| at + close.len())
            }
            (Some(inside), false) => up_to(inside, b'"'),
            (None, _) => character(body)?,
        };
        Some((prefix + hashes + 1, length))
    }

    fn keep(&mut self, length: usize) {
        let (kept, rest) = self.rest.split_at(length);
        self.after_word = kept.ends_with(is_word);
        self.out.push_str(kept);
        self.rest = rest;
    }

    fn blank(&mut self, length: usize) {
        let (gone, rest) = self.rest.split_at(length);
        self.out.extend(gone.chars().map(|it| if it == '\n' { '\n' } else { ' ' }));
        self.after_word = false;
        self.rest = rest;
    }
}

/// The length up to and with an unescaped `quote`.
fn up_to(text: &str, quote: u8) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal after its opening quote; none when it is a lifetime.
fn character(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    let closes = inside[first.len_utf8()..].starts_with('\'');
    if first == '\\' || closes { Some(up_to(inside, b'\'')) } else { None }
}

/// The length of a block comment, comments inside it included.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let here = &text[at..];
        if here.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Code (as [`code`] returns it) with the modules that only tests see blanked out as well.
pub(super) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let length = item(from);
        out.extend(from[..length].chars().map(|it| if it == '\n' { '\n' } else { ' ' }));
        rest = &from[length..];
    }
    out.push_str(rest);
    out
}

/// The length of an item: up to its closing brace, or to a semicolon before any brace.
fn item(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b';' if depth == 0 => return at + 1,
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

pub(super) fn is_word(it: char) -> bool {
    it.is_alphanumeric() || it == '_'
}

/// Where `word` stands as a whole word in a line: byte offsets.
pub(super) fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    line.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !line[..*at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        assert_eq!(code(source), expected);
    }

    #[test]
    fn comments_are_no_code() {
        check("a // b\nc", "a     \nc");
        check("a /* b /* c */ d */ e", "a                   e");
        check("/* no end", "         ");
    }

    #[test]
    fn insides_of_literals_are_no_code() {
        check(r#"f("unsafe \" x") + g"#, r#"f("            ) + g"#);
        check(r##"r#"a "b" c"# + d"##, r##"r#"          + d"##);
        check("b\"x\" b'y' 'z' '\\'' e", "b\"   b'   '   '    e");
        check("for x in c\"a\"", "for x in c\"  ");
    }

    #[test]
    fn lifetimes_and_names_that_end_in_r_stay() {
        check("fn f<'a>(x: &'a str) -> &'static str", "fn f<'a>(x: &'a str) -> &'static str");
        check("for\"x\"", "for\"  ");
        check("let r#type = 1;", "let r#type = 1;");
    }

    #[test]
    fn test_modules_are_left_out_and_lines_stay() {
        let source = "a\n#[cfg(test)]\nmod tests {\n    fn f() { b }\n}\nc\n#[cfg(test)]\nextern crate std;\nd\n";
        assert_eq!(without_tests(source).split_whitespace().collect::<Vec<_>>(), ["a", "c", "d"]);
        assert_eq!(without_tests(source).lines().count(), source.lines().count());
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(words("life lifetime a.life _life", "life").collect::<Vec<_>>(), [0, 16]);
    }
}
