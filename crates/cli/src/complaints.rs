//! Complaints about a plan, with the lines they are about; or as JSON.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};
use verger_plan::{Complaint, Severity, Sources};

use crate::terminal::Paint;

/// Of a line that is wider than a terminal the renderer shows what is around the place. A longer one is not shown: looking through it for
/// each complaint takes time, and it may be a megabyte.
const LINE_BYTES_MAX: usize = 4000;

/// A complaint for people, without the line's end after it.
pub(crate) fn shown(complaint: &Complaint, sources: &Sources, paint: Paint) -> String {
    let level = match complaint.severity {
        Severity::Error => Level::ERROR.with_name("Error"),
        Severity::Warning => Level::WARNING.with_name("Warning"),
    };
    let text = sources.text_of(&complaint.file).unwrap_or("");
    let line = line_of(text, &complaint.span).filter(|_| complaint.line > 0);
    let expected = complaint.expected.as_ref().map(|expected| format!("expected {expected}"));
    let title = match &expected {
        Some(expected) if line.is_none() => format!("{}, {expected}", complaint.message),
        Some(_) | None => complaint.message.clone(),
    };
    let mut group = Group::with_title(level.primary_title(title));
    group = match line {
        Some(line) => {
            let mark = AnnotationKind::Primary.span(line.within(&complaint.span)).label(expected);
            let snippet = Snippet::source(line.text).line_start(complaint.line as usize).path(&complaint.file);
            group.element(snippet.annotation(mark))
        }
        None => group.element(place(&complaint.file, complaint.line, complaint.column)),
    };
    if let Some(also) = &complaint.also {
        let text = sources.text_of(&also.file).unwrap_or("");
        group = match line_of(text, &also.span) {
            Some(line) => {
                let mark = AnnotationKind::Context.span(line.within(&also.span)).label(&also.label);
                let snippet = Snippet::source(line.text).line_start(also.line as usize).path(&also.file);
                group.element(snippet.annotation(mark))
            }
            None => {
                let note = Level::NOTE.with_name("Also").message(&also.label);
                group.element(place(&also.file, also.line, also.column)).element(note)
            }
        };
    }
    let hint =
        complaint.hint.as_ref().map(|hint| Group::with_title(Level::HELP.with_name("Hint").secondary_title(hint)));
    let renderer = if paint.is_coloured() { Renderer::styled() } else { Renderer::plain() };
    let report: Vec<Group<'_>> = std::iter::once(group).chain(hint).collect();
    renderer.render(&report)
}

/// One line of a text.
struct Line<'t> {
    text: &'t str,
    start: usize,
}

impl Line<'_> {
    /// A stretch of the text, as far as it lies in this line.
    fn within(&self, span: &Range<usize>) -> Range<usize> {
        let length = self.text.len();
        let start = span.start.saturating_sub(self.start).min(length);
        start..span.end.saturating_sub(self.start).clamp(start, length)
    }
}

/// The line in which a stretch begins, if it can be shown.
fn line_of<'t>(text: &'t str, span: &Range<usize>) -> Option<Line<'t>> {
    let (before, after) = text.split_at_checked(span.start)?;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let end = span.start + after.find('\n').unwrap_or(after.len());
    (end - start <= LINE_BYTES_MAX).then_some(Line { text: text.get(start..end)?, start })
}

fn place(file: &str, line: u32, column: u32) -> Origin<'_> {
    let origin = Origin::path(file);
    if line == 0 { origin } else { origin.line(line as usize).char_column(column as usize) }
}

/// A complaint as JSON.
pub(crate) fn as_json(complaint: &Complaint) -> Value {
    let also = complaint
        .also
        .as_ref()
        .map(|also| json!({ "file": also.file, "line": also.line, "column": also.column, "label": also.label }));
    let severity = if complaint.severity == Severity::Error { "error" } else { "warning" };
    let mut value = json!({
        "severity": severity,
        "file": complaint.file,
        "line": complaint.line,
        "column": complaint.column,
        "start": complaint.span.start,
        "end": complaint.span.end,
        "message": complaint.message,
    });
    let more = [
        ("expected", complaint.expected.as_ref().map(|text| json!(text))),
        ("hint", complaint.hint.as_ref().map(|text| json!(text))),
        ("also", also),
    ];
    for (key, more) in more {
        if let (Some(more), Some(fields)) = (more, value.as_object_mut()) {
            fields.insert(key.to_owned(), more);
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_shown(text: &str) -> Vec<String> {
        let reading = verger_plan::read_bytes("x.toml", text.as_bytes(), &verger_plan::NoFiles);
        reading.complaints.iter().map(|it| shown(it, &reading.sources, Paint::PLAIN)).collect()
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        for before in [0, 50, 100, 250, 300, 350, 400, 430, 900] {
            let long = "ä".repeat(before);
            let text = format!("[service.a]\nenvironment = {{ A = \"{long}\", B = [], C = \"{long}\" }}\n");
            let [.., shown] = &*all_shown(&text) else { panic!("nothing is said") };
            let lines: Vec<&str> = shown.lines().collect();
            assert!(lines[1].ends_with(&format!("x.toml:2:{}", 29 + before)), "{shown}");
            assert!(lines[4].ends_with("^^ expected strings only"), "{shown}");
            let column = lines[4].chars().take_while(|it| *it != '^').count();
            assert_eq!(lines[3].chars().skip(column).take(2).collect::<String>(), "[]", "{shown}");
            assert!(lines[3].chars().count() < 150, "{shown}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_to_be_shown_takes_no_word_along() {
        let long = "d".repeat(5000);
        let text = format!("[service.a]\nenvironment = {{ A = \"{long}\", B = [], A = \"\" }}\n");
        let all = all_shown(&text).join("\n");
        assert!(all.contains("holds an array, expected strings only\n"), "{all}");
        for word in ["x.toml:2:5029", "`A` is given twice", "first here", "x.toml:2:17", "take one of them out"] {
            assert!(all.contains(word), "{word}: {all}");
        }
        assert!(all.len() < 1000, "{all}");
    }
}
