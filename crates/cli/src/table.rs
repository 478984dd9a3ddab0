//! Columns as wide as they need to be.

use crate::terminal::Paint;
use crate::words::Tone;

/// One cell: a text and how it feels.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), tone: Tone::Plain }
    }

    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: text.into(), tone }
    }

    /// `-` where there is nothing.
    pub(crate) fn maybe(text: Option<impl ToString>) -> Cell {
        text.map_or_else(|| Cell::toned("-", Tone::Faint), |text| Cell::new(text.to_string()))
    }
}

/// A table with a heading. The last column is as long as it likes; no line ends in blanks.
pub(crate) fn table(heads: &[&str], rows: &[Vec<Cell>], paint: Paint) -> String {
    let wide = |text: &str| text.chars().count();
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(at, head)| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| wide(&cell.text));
            cells.max().unwrap_or(0).max(wide(head))
        })
        .collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = (String, usize)>| {
        let mut blanks = 0;
        for ((shown, length), width) in cells.zip(&widths) {
            if length > 0 {
                text.extend(std::iter::repeat_n(' ', blanks));
                text.push_str(&shown);
                blanks = 0;
            }
            blanks += width - length + 2;
        }
        text.push('\n');
    };
    line(&mut heads.iter().map(|head| (paint.strong(head), wide(head))));
    for row in rows {
        line(&mut row.iter().map(|cell| (paint.tone(cell.tone, &cell.text), wide(&cell.text))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let row = |a: &str, b: Option<u32>, c: &str| vec![Cell::new(a), Cell::maybe(b), Cell::new(c)];
        let rows = [row("camera", Some(4711), "waits for db"), row("db", None, ""), row("x", Some(1), "y")];
        let expected = "NAME    PID   NOTE\ncamera  4711  waits for db\ndb      -\nx       1     y\n";
        assert_eq!(table(&["NAME", "PID", "NOTE"], &rows, Paint::PLAIN), expected);
        assert_eq!(table(&["A"], &[], Paint::PLAIN), "A\n");
    }
}
