//! TOML as a tree.
//!
//! Lexing, grammar and decoding are `toml_parser`'s; here its events become a [`Table`], under TOML's rules on who may
//! add to a table that is there already ([`Made`]). The text is taken one statement at a time, so that noise costs no
//! more memory than its longest statement, a mistake in one statement leaves the others readable, and reading stops
//! when there is too much to complain of. `toml` is the oracle: see the tests.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "tokens and events that mean nothing here are passed over, and new ones would mean nothing either"
)]

use std::borrow::Cow;
use std::slice::Iter;

use toml_parser::decoder::ScalarKind;
use toml_parser::lexer::{Token, TokenKind};
use toml_parser::parser::{Event, EventKind, ValidateWhitespace, parse_document};
use toml_parser::{Expected, ParseError, Source, Span};

use super::json::too_deep;
use super::{Made, Missing, NESTING_MAX, Node, Table, Tree, Value, complain_of_twice};
use crate::complaint::{COMPLAINTS_MAX, Findings, Said, quoted};
use crate::sources::{FileId, Place};

/// A statement of more tokens than this is an array that was never closed.
const STATEMENT_TOKENS_MAX: usize = 1 << 18;

/// Reads a text. What cannot be read is complained of and left out.
pub(crate) fn parse(file: FileId, text: &str, found: &mut Findings) -> Tree {
    let source = Source::new(text);
    let mut builder = Builder {
        file,
        source,
        found,
        tree: Tree { root: Table::new(Made::Header), missing: Missing::Nothing },
        at: Vec::new(),
        lost: false,
    };
    let mut statement: Vec<Token> = Vec::new();
    let mut brackets = Brackets::default();
    for token in source.lex() {
        statement.push(token);
        if brackets.depth > NESTING_MAX {
            builder.damage(token.span(), Missing::Tables, too_deep);
            return builder.tree;
        }
        if statement.len() > STATEMENT_TOKENS_MAX {
            let start = statement.first().map_or(token.span(), Token::span);
            builder.damage(start, Missing::Tables, || {
                Said::new("this has no end that could be found").expected("`]` or `}`")
            });
            return builder.tree;
        }
        if brackets.end_statement(token.kind()) {
            builder.statement(&statement);
            statement.clear();
            if builder.found.errors() > COMPLAINTS_MAX {
                builder.found.gave_up = true;
                builder.tree.missing = Missing::Tables;
                return builder.tree;
            }
        }
    }
    builder.tree
}

/// Finds where statements end: at a line's end outside of all brackets. A header ends with its line in any case.
#[derive(Default)]
struct Brackets {
    depth: usize,
    begun: bool,
    header: bool,
}

impl Brackets {
    fn end_statement(&mut self, token: TokenKind) -> bool {
        match token {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                self.header |= !self.begun;
                self.depth += 1;
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => self.depth = self.depth.saturating_sub(1),
            TokenKind::Newline if self.depth == 0 || self.header => {
                *self = Brackets::default();
                return true;
            }
            TokenKind::Eof => return true,
            _ => {}
        }
        self.begun |= !is_blank(token);
        false
    }
}

fn is_blank(token: TokenKind) -> bool {
    matches!(token, TokenKind::Whitespace | TokenKind::Newline | TokenKind::Comment)
}

/// A part of a dotted key.
#[derive(Clone)]
struct Part {
    name: String,
    place: Place,
}

/// Why a key cannot be put where it was written.
enum Refused {
    /// There is one already.
    Twice { depth: usize, first: Place },
    /// What is there is no table, or one that is complete.
    Closed { depth: usize, first: Place },
    /// There would be too many tables in each other.
    TooDeep,
}

struct Builder<'a> {
    file: FileId,
    source: Source<'a>,
    found: &'a mut Findings,
    tree: Tree,
    /// The keys to the table that the last header opened.
    at: Vec<Part>,
    /// Whether the last header could not be taken: what follows it belongs nowhere.
    lost: bool,
}

type Events<'e> = std::iter::Peekable<Iter<'e, Event>>;

impl Builder<'_> {
    fn place(&self, span: Span) -> Place {
        Place::new(self.file, span.start()..span.end())
    }

    fn damage(&mut self, span: Span, missing: Missing, said: impl FnOnce() -> Said) {
        self.tree.missing = self.tree.missing.max(missing);
        let place = self.place(span);
        self.found.error(place, said);
    }

    /// Takes one statement: a header, a key with its value, or nothing but a comment.
    fn statement(&mut self, tokens: &[Token]) {
        let mut events: Vec<Event> = Vec::new();
        let mut first_error: Option<ParseError> = None;
        let mut whitespace = ValidateWhitespace::new(&mut events, self.source);
        parse_document(tokens, &mut whitespace, &mut first_error);
        let header =
            events.iter().any(|event| matches!(event.kind(), EventKind::StdTableOpen | EventKind::ArrayTableOpen));
        if first_error.is_none() {
            first_error = self.take(&events);
        }
        if let Some(error) = first_error {
            // One complaint for a statement: the others would follow from the first.
            self.lost |= header;
            let span = error.unexpected().or_else(|| tokens.first().map(Token::span)).unwrap_or_default();
            let first = tokens.iter().find(|token| !is_blank(token.kind())).map_or(span, Token::span);
            let end = tokens.last().map_or(span, Token::span).end();
            let text = self.source.input();
            let spans_lines =
                |to: usize| text.get(first.start()..to).is_some_and(|part| part.trim_end().contains('\n'));
            // A key inside `[service.web]` on a line of its own hides nothing else; whatever is larger may.
            let small = !header && self.at.len() >= 2 && !spans_lines(end);
            let begins = spans_lines(span.end()).then(|| self.place(first));
            let said = said(&error, self.source);
            self.damage(span, if small { Missing::Keys } else { Missing::Tables }, || match begins {
                Some(begins) => said.also(begins, "in what begins here"),
                None => said,
            });
        }
    }

    fn take(&mut self, events: &[Event]) -> Option<ParseError> {
        let mut error = None;
        let mut events = events.iter().peekable();
        while let Some(event) = events.next() {
            match event.kind() {
                EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                    let keys = self.keys(&mut events, &mut error);
                    if error.is_none() {
                        self.header(keys, event.kind() == EventKind::ArrayTableOpen);
                    }
                }
                EventKind::SimpleKey => {
                    let mut keys = vec![self.part(event, &mut error)];
                    keys.extend(self.keys(&mut events, &mut error));
                    let depth = self.at.len() + keys.len();
                    let node = self.value(&mut events, depth, &mut error);
                    if error.is_none() && !self.lost {
                        self.key_value(keys, node);
                    }
                }
                _ => {}
            }
        }
        error
    }

    /// The keys up to a header's end or a value's beginning.
    fn keys(&mut self, events: &mut Events<'_>, error: &mut Option<ParseError>) -> Vec<Part> {
        let mut keys = Vec::new();
        for event in events {
            match event.kind() {
                EventKind::SimpleKey => keys.push(self.part(event, error)),
                EventKind::KeySep | EventKind::Whitespace => {}
                _ => break,
            }
        }
        keys
    }

    fn part(&mut self, event: &Event, error: &mut Option<ParseError>) -> Part {
        let mut name = Cow::Borrowed("");
        if let Some(raw) = self.source.get(event) {
            raw.decode_key(&mut name, error);
        }
        Part { name: name.into_owned(), place: self.place(event.span()) }
    }

    fn value(&mut self, events: &mut Events<'_>, depth: usize, error: &mut Option<ParseError>) -> Node {
        let nothing = Node { place: Place::whole(self.file), value: Value::Null };
        let Some(event) = events.find(|event| {
            matches!(event.kind(), EventKind::Scalar | EventKind::ArrayOpen | EventKind::InlineTableOpen)
        }) else {
            return nothing;
        };
        if depth >= NESTING_MAX && event.kind() != EventKind::Scalar {
            let words = format!("tables and arrays are nested more than {NESTING_MAX} deep");
            error.get_or_insert(ParseError::new(words).with_unexpected(event.span()));
            return nothing;
        }
        match event.kind() {
            EventKind::ArrayOpen => self.array(event, events, depth + 1, error),
            EventKind::InlineTableOpen => self.inline_table(event, events, depth + 1, error),
            _ => self.scalar(event, error),
        }
    }

    fn scalar(&mut self, event: &Event, error: &mut Option<ParseError>) -> Node {
        let mut text = Cow::Borrowed("");
        let kind = self.source.get(event).map(|raw| raw.decode_scalar(&mut text, error));
        let value = match kind {
            Some(ScalarKind::String) => Value::Text(text.into_owned()),
            Some(ScalarKind::Boolean(flag)) => Value::Flag(flag),
            Some(ScalarKind::Integer(radix)) => match i128::from_str_radix(&text, radix.value()) {
                Ok(whole) => Value::Whole(whole),
                Err(_) => Value::Number(text.into_owned()),
            },
            Some(ScalarKind::Float) => Value::Number(text.into_owned()),
            Some(ScalarKind::DateTime) => Value::Date(text.into_owned()),
            None => Value::Null,
        };
        Node { place: self.place(event.span()), value }
    }

    fn array(&mut self, open: &Event, events: &mut Events<'_>, depth: usize, error: &mut Option<ParseError>) -> Node {
        let mut items = Vec::new();
        let mut end = open.span();
        while let Some(event) = events.peek() {
            match event.kind() {
                EventKind::ArrayClose => {
                    end = event.span();
                    events.next();
                    break;
                }
                EventKind::Scalar | EventKind::ArrayOpen | EventKind::InlineTableOpen => {
                    items.push(self.value(events, depth, error));
                }
                _ => {
                    events.next();
                }
            }
        }
        Node { place: self.place(open.span().append(end)), value: Value::Array(items) }
    }

    fn inline_table(
        &mut self,
        open: &Event,
        events: &mut Events<'_>,
        depth: usize,
        error: &mut Option<ParseError>,
    ) -> Node {
        let mut table = Table::new(Made::Whole);
        let mut end = open.span();
        while let Some(event) = events.next() {
            match event.kind() {
                EventKind::InlineTableClose => {
                    end = event.span();
                    break;
                }
                EventKind::SimpleKey => {
                    let mut keys = vec![self.part(event, error)];
                    keys.extend(self.keys(events, error));
                    let node = self.value(events, depth + keys.len(), error);
                    if let Err(refused) = put(&mut table, depth, &keys, node) {
                        let path: Vec<Part> = self.at.clone();
                        self.refuse(&path, &keys, &refused);
                    }
                }
                _ => {}
            }
        }
        Node { place: self.place(open.span().append(end)), value: Value::Table(table) }
    }

    fn header(&mut self, keys: Vec<Part>, is_array: bool) {
        let opened =
            if is_array { open_item(&mut self.tree.root, &keys) } else { open_table(&mut self.tree.root, &keys) };
        self.lost = opened.is_err();
        match opened {
            Ok(()) => self.at = keys,
            Err(refused) => self.refuse(&[], &keys, &refused),
        }
    }

    fn key_value(&mut self, keys: Vec<Part>, node: Node) {
        let at = self.at.clone();
        let put = match descend(&mut self.tree.root, &at, Made::OnTheWay) {
            Ok(table) => put(table, at.len() + 1, &keys, node),
            Err(refused) => Err(refused),
        };
        if let Err(refused) = put {
            self.refuse(&at, &keys, &refused);
        }
    }

    fn refuse(&mut self, at: &[Part], keys: &[Part], refused: &Refused) {
        let whole: Vec<&str> = at.iter().chain(keys).map(|part| part.name.as_str()).collect();
        match refused {
            Refused::Twice { depth, first } => {
                let Some(part) = keys.get(*depth) else { return };
                let path = whole.get(..at.len() + depth).unwrap_or(&[]);
                complain_of_twice(path, &part.name, part.place, *first, self.found);
            }
            Refused::Closed { depth, first } => {
                let Some(part) = keys.get(*depth) else { return };
                self.found.error(part.place, || {
                    Said::new(format!("`{}` is complete and cannot be added to", quoted(&part.name)))
                        .also(*first, "given here")
                });
            }
            Refused::TooDeep => {
                self.tree.missing = Missing::Tables;
                if let Some(part) = keys.last() {
                    self.found.error(part.place, too_deep);
                }
            }
        }
    }
}

/// Goes down from a table along `keys`, making the tables that are not there. `made` says in what manner.
fn descend<'t>(mut table: &'t mut Table, keys: &[Part], made: Made) -> Result<&'t mut Table, Refused> {
    for (depth, part) in keys.iter().enumerate() {
        if table.entry(&part.name).is_none() {
            let node = Node { place: part.place, value: Value::Table(Table::new(made)) };
            table.insert(part.name.clone(), part.place, node).map_err(|first| Refused::Twice { depth, first })?;
        }
        let Some(entry) = table.entry_mut(&part.name) else { return Err(Refused::TooDeep) };
        let first = entry.key_place;
        let below = match &mut entry.node.value {
            Value::Table(below) => Some(below),
            // `[[a]]` makes tables with headers; a header below means the last of them.
            Value::Array(items) if made == Made::OnTheWay => items.last_mut().and_then(|item| match &mut item.value {
                Value::Table(below) if below.made == Made::Header => Some(below),
                _ => None,
            }),
            _ => None,
        };
        let Some(below) = below else { return Err(Refused::Closed { depth, first }) };
        match below.made {
            Made::Whole => return Err(Refused::Closed { depth, first }),
            Made::Header if made == Made::Dotted => return Err(Refused::Twice { depth, first }),
            Made::OnTheWay if made == Made::Dotted => below.made = Made::Dotted,
            Made::OnTheWay | Made::Dotted | Made::Header => {}
        }
        table = below;
    }
    Ok(table)
}

/// Puts a value under a dotted key.
fn put(table: &mut Table, depth: usize, keys: &[Part], node: Node) -> Result<(), Refused> {
    let Some((last, way)) = keys.split_last() else { return Ok(()) };
    if depth + way.len() > NESTING_MAX {
        return Err(Refused::TooDeep);
    }
    let table = descend(table, way, Made::Dotted)?;
    table.insert(last.name.clone(), last.place, node).map_err(|first| Refused::Twice { depth: way.len(), first })
}

/// Opens `[a.b.c]`.
fn open_table(root: &mut Table, keys: &[Part]) -> Result<(), Refused> {
    let Some((last, way)) = keys.split_last() else { return Ok(()) };
    if keys.len() >= NESTING_MAX {
        return Err(Refused::TooDeep);
    }
    let table = descend(root, way, Made::OnTheWay)?;
    match table.entry_mut(&last.name) {
        Some(entry) => match &mut entry.node.value {
            Value::Table(known) if known.made == Made::OnTheWay => {
                known.made = Made::Header;
                entry.key_place = last.place;
                entry.node.place = last.place;
                Ok(())
            }
            _ => Err(Refused::Twice { depth: way.len(), first: entry.key_place }),
        },
        None => {
            let node = Node { place: last.place, value: Value::Table(Table::new(Made::Header)) };
            table
                .insert(last.name.clone(), last.place, node)
                .map_err(|first| Refused::Twice { depth: way.len(), first })
        }
    }
}

/// Opens `[[a.b.c]]`.
fn open_item(root: &mut Table, keys: &[Part]) -> Result<(), Refused> {
    let Some((last, way)) = keys.split_last() else { return Ok(()) };
    if keys.len() + 1 >= NESTING_MAX {
        return Err(Refused::TooDeep);
    }
    let table = descend(root, way, Made::OnTheWay)?;
    let item = Node { place: last.place, value: Value::Table(Table::new(Made::Header)) };
    match table.entry_mut(&last.name) {
        Some(entry) => match &mut entry.node.value {
            Value::Array(items) if items.last().is_some_and(made_by_header) => {
                items.push(item);
                Ok(())
            }
            _ => Err(Refused::Twice { depth: way.len(), first: entry.key_place }),
        },
        None => {
            let node = Node { place: last.place, value: Value::Array(vec![item]) };
            table
                .insert(last.name.clone(), last.place, node)
                .map_err(|first| Refused::Twice { depth: way.len(), first })
        }
    }
}

fn made_by_header(item: &Node) -> bool {
    item.as_table().is_some_and(|table| table.made == Made::Header)
}

/// What the parser says when it expects something (empty: whatever it expects), what we say instead, what we say was
/// expected, and a hint.
const WORDS: [(&str, &str, &str, &str, &str); 12] = [
    ("invalid basic string", "`\"`", "the string has no end", "`\"`", ""),
    ("invalid literal string", "`'`", "the string has no end", "`'`", ""),
    ("invalid multi-line basic string", "`\"`", "the string has no end", "`\"\"\"`", ""),
    ("invalid multi-line literal string", "`'`", "the string has no end", "`'''`", ""),
    ("key with no value", "", "a key without a value", "`=` and a value", ""),
    ("unclosed table", "", "the header has no end", "`]`", ""),
    ("unclosed array table", "", "the header has no end", "`]]`", ""),
    ("unexpected key or value", "", "something follows on the same line", "a new line", ""),
    ("unexpected leading zero", "", "a number begins with 0", "", "what is octal stands in quotes: \"027\""),
    ("unquoted keys cannot be empty", "", "a key is missing", "", ""),
    ("missing escaped value", "", "this escape is not known", "", ESCAPE_HINT),
    ("missing comma between array elements", "", "no comma between two values", "`,` or `]`", ""),
];

const ESCAPE_HINT: &str = "write \\\\ for the character itself, or put the string in '…'";

/// The parser's complaint in our words.
fn said(error: &ParseError, source: Source<'_>) -> Said {
    let written = error.unexpected().and_then(|span| source.get(span)).map_or("", |raw| raw.as_str());
    if error.description() == "string values must be quoted" {
        let word = quoted(written);
        let hint = match written {
            "yes" | "on" => "write true".to_owned(),
            "no" | "off" => "write false".to_owned(),
            _ => format!("write \"{word}\""),
        };
        return match written {
            "" => Said::new("a value is missing"),
            _ => Said::new(format!("`{word}` is a string without quotes")).hint(hint),
        };
    }
    let expected = error.expected().unwrap_or(&[]).iter().filter_map(|expected| match expected {
        Expected::Literal("\n") => Some("a new line".to_owned()),
        Expected::Literal(text) => Some(format!("`{text}`")),
        Expected::Description(text) => Some((*text).to_owned()),
        _ => None,
    });
    let expected: Vec<String> = expected.collect();
    let ours = WORDS.iter().find(|(theirs, when, ..)| {
        *theirs == error.description() && (when.is_empty() || expected.iter().any(|expected| expected == when))
    });
    if let Some((_, _, words, instead, hint)) = ours {
        let said = Said::new(*words).hint_if(Some((*hint).to_owned()).filter(|hint| !hint.is_empty()));
        return if instead.is_empty() { said } else { said.expected(*instead) };
    }
    let said = Said::new(error.description());
    match expected.split_last() {
        Some((last, [])) => said.expected(last),
        Some((last, others)) => said.expected(format!("{} or {last}", others.join(", "))),
        None => said,
    }
}
