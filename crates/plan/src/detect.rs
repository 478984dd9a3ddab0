//! Tells by its content what a text is written in.

/// What a text looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looks {
    Toml,
    Json,
    Neither,
}

/// Looks at the beginning of a text, behind comments and blanks. The file's name decides only where the content leaves
/// it open.
pub(crate) fn looks(name: &str, text: &str) -> Looks {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let named = |extension: &str| {
        name.get(name.len().saturating_sub(5)..).is_some_and(|end| end.eq_ignore_ascii_case(extension))
    };
    let json = skip_comments(text, &[("//", "\n"), ("/*", "*/")]);
    if json.starts_with('{') {
        return Looks::Json;
    }
    let toml = skip_comments(text, &[("#", "\n")]);
    let line = toml.lines().next().unwrap_or("");
    let key = line.split('=').next().filter(|key| key.len() < line.len()).unwrap_or("").trim_end();
    let key_like = !key.is_empty()
        && (key.starts_with(['"', '\'']) || key.chars().all(|c| c.is_ascii_alphanumeric() || "_-. \"'$".contains(c)));
    match toml.chars().next() {
        Some('[') if named(".json") => Looks::Json,
        None | Some('[') => Looks::Toml,
        Some(_) if key_like || named(".toml") => Looks::Toml,
        Some(_) if named(".json") => Looks::Json,
        Some(_) => Looks::Neither,
    }
}

/// The text behind blanks and comments, each of which has a beginning and an end.
fn skip_comments<'t>(text: &'t str, comments: &[(&str, &str)]) -> &'t str {
    let mut rest = text.trim_start();
    while let Some((begin, end)) = comments.iter().find(|(begin, _)| rest.starts_with(begin)) {
        let inside = rest.get(begin.len()..).unwrap_or("");
        rest = inside.split_once(end).map_or("", |(_, after)| after).trim_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_looks_like() {
        for (name, text, looks_like) in [
            ("x", "", Looks::Toml),
            ("x", "# only a comment", Looks::Toml),
            ("x", "{}", Looks::Json),
            ("x.toml", " \n\t{ \"service\": 1", Looks::Json),
            ("x", "// AOS\n/* and more */ {", Looks::Json),
            ("x", "\u{feff}{", Looks::Json),
            ("x", "[service.web]", Looks::Toml),
            ("x.json", "[1, 2]", Looks::Json),
            ("x", "name = \"x\"", Looks::Toml),
            ("x", "\"a b\".c = 1", Looks::Toml),
            ("x", "# c\n# c\n\n a.b='1'", Looks::Toml),
            ("x.toml", "name \"x\"", Looks::Toml),
            ("x.JSON", "name", Looks::Json),
            ("x", "name", Looks::Neither),
            ("x", "= 5", Looks::Neither),
            ("x", "#!/bin/sh\necho hello", Looks::Neither),
            ("x", "<?xml version=\"1.0\"?>", Looks::Neither),
            ("x", "// not JSON", Looks::Neither),
            ("x", "/* never closed", Looks::Neither),
            ("\u{f6}\u{f6}", "x: 1", Looks::Neither),
        ] {
            assert_eq!(looks(name, text), looks_like, "{name} {text}");
        }
    }
}
