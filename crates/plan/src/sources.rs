//! The texts that were read, and places in them.
//!
//! A [`Place`] is three numbers; it becomes a line and a column only when somebody wants to print it.

use std::cmp::Ordering;
use std::ops::Range;

/// Which of the files that were read, in the order they were opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(crate) u32);

/// A stretch of bytes in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

/// The end of a place that means its file as a whole.
const WHOLE: u32 = u32::MAX;

impl Place {
    /// A stretch of `file`. Files are refused long before an offset could pass 32 bits.
    pub(crate) fn new(file: FileId, span: Range<usize>) -> Place {
        let offset = |at: usize| u32::try_from(at).unwrap_or(WHOLE - 1);
        Place { file, start: offset(span.start), end: offset(span.end) }
    }

    /// A file as a whole: it has no line, and comes before every place in it.
    pub(crate) fn whole(file: FileId) -> Place {
        Place { file, start: 0, end: WHOLE }
    }

    /// The stretch as a range of byte offsets; empty when the file as a whole is meant.
    pub fn span(&self) -> Range<usize> {
        if self.end == WHOLE { 0..0 } else { self.start as usize..self.end as usize }
    }
}

/// In the order of files, then of first bytes; a file as a whole comes before what is in it.
impl Ord for Place {
    fn cmp(&self, other: &Place) -> Ordering {
        let key = |place: &Place| (place.file, place.end != WHOLE, place.start, place.end);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Place) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A place as people count: lines and columns from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineColumn {
    /// The line; 0 when the file as a whole is meant.
    pub line: u32,
    /// The column, in characters; 0 when the file as a whole is meant.
    pub column: u32,
}

/// Every text that was read, by its number and by its name.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<File>,
}

#[derive(Clone, Debug)]
struct File {
    name: String,
    text: String,
    /// Where each line begins.
    lines: Vec<u32>,
}

impl Sources {
    /// Takes a text in. One that could not be read is taken in empty, so that it can be named.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> FileId {
        let id = FileId(self.files.len() as u32);
        let mut lines = vec![0];
        lines.extend((1u32..).zip(text.bytes()).filter(|(_, byte)| *byte == b'\n').map(|(next, _)| next));
        self.files.push(File { name: name.to_owned(), text: text.to_owned(), lines });
        id
    }

    /// How much text there is.
    pub(crate) fn bytes(&self) -> usize {
        self.files.iter().map(|file| file.text.len()).sum()
    }

    fn file(&self, id: FileId) -> Option<&File> {
        self.files.get(id.0 as usize)
    }

    /// The name a file was asked for by; empty for a number that no file has.
    pub fn name(&self, id: FileId) -> &str {
        self.file(id).map_or("", |file| &file.name)
    }

    /// The text of a file: as much of it as is UTF-8, and none when it was too large or not readable.
    pub fn text(&self, id: FileId) -> &str {
        self.file(id).map_or("", |file| &file.text)
    }

    /// The text of the file with this name.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.files.iter().find(|file| file.name == name).map(|file| file.text.as_str())
    }

    /// The names of all files, in the order they were opened.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// The line on which a place begins, counted from 1.
    pub fn line(&self, place: Place) -> u32 {
        self.file(place.file).map_or(0, |file| file.lines.partition_point(|start| *start <= place.start) as u32)
    }

    /// The line and column at which a place begins.
    pub fn line_column(&self, place: Place) -> LineColumn {
        const NOWHERE: LineColumn = LineColumn { line: 0, column: 0 };
        let Some(file) = self.file(place.file).filter(|_| place.end != WHOLE) else { return NOWHERE };
        let line = self.line(place);
        let start = file.lines.get(line.saturating_sub(1) as usize).copied().unwrap_or(0) as usize;
        let before = file.text.get(start..place.start as usize).unwrap_or("");
        // A byte order mark at the beginning is no character that anybody sees.
        LineColumn { line, column: before.chars().filter(|c| *c != '\u{feff}').count() as u32 + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_are_counted_as_people_do() {
        let mut sources = Sources::default();
        let id = sources.add("x", "one\nzw\u{f6}lf\u{20ac}!\n\nend");
        for (at, line, column) in
            [(0, 1, 1), (2, 1, 3), (3, 1, 4), (4, 2, 1), (8, 2, 4), (13, 2, 7), (15, 3, 1), (16, 4, 1), (19, 4, 4)]
        {
            let place = Place::new(id, at..at);
            assert_eq!(sources.line_column(place), LineColumn { line, column }, "byte {at}");
        }
        assert_eq!(sources.text_of("x").map(str::len), Some(19));
        assert_eq!(sources.text_of("z"), None);
        let marked = sources.add("y", "\u{feff}ab");
        assert_eq!(sources.line_column(Place::new(marked, 4..5)), LineColumn { line: 1, column: 2 });
        let nowhere = Place::new(FileId(9), 4..5);
        assert_eq!((sources.name(nowhere.file), sources.line_column(nowhere).line), ("", 0));
    }
}
