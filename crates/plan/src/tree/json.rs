//! JSON with comments, as a tree.
//!
//! Strict JSON plus `//` and `/* */`; a comma may follow the last item of an array but not the last key of an object.
//! That is the dialect of AOS, and native plans in JSON are read the same way. The parser is `jsonc-parser`; what it
//! lets pass and the dialect does not (a comma before `}`, a control character in a string) is looked for here.

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, ParseStringErrorKind, parse_to_ast};

use super::{Made, Missing, NESTING_MAX, Node, Table, Tree, Value, complain_of_twice};
use crate::complaint::{Findings, Said, quoted};
use crate::sources::{FileId, Place};

/// More values than this are refused before a tree is made of them: 100 000 services of 20 keys.
const VALUES_MAX: usize = 4_000_000;

/// Reads a text; `None` when it is no JSON, of which the one complaint says where and why.
pub(crate) fn parse(file: FileId, text: &str, found: &mut Findings) -> Option<Tree> {
    let whole = Place::whole(file);
    if text.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count() > VALUES_MAX {
        found.error(whole, || Said::new(format!("the file holds more than {VALUES_MAX} values")));
        return None;
    }
    let options = ParseOptions {
        allow_comments: true,
        allow_loose_object_property_names: false,
        allow_trailing_commas: true,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let (bom, json) = match text.strip_prefix('\u{feff}') {
        Some(rest) => (text.len() - rest.len(), rest),
        None => (0, text),
    };
    let value = match parse_to_ast(json, &CollectOptions::default(), &options) {
        Ok(parsed) => parsed.value,
        Err(error) => {
            let range = error.range();
            let begins = json.get(range.start..).and_then(|rest| rest.chars().next());
            // The parser takes `five}` for one token.
            let word =
                matches!(error.kind(), ParseErrorKind::UnexpectedToken) && begins.is_some_and(char::is_alphabetic);
            let kind = if word { &ParseErrorKind::UnexpectedWord } else { error.kind() };
            found.error(Place::new(file, bom + range.start..bom + range.end), || said(kind));
            return None;
        }
    };
    let mut builder = Builder { file, bom, json, found, path: Vec::new(), missing: Missing::Nothing };
    match value {
        Some(ast::Value::Object(object)) => {
            let root = builder.object(&object, 1);
            Some(Tree { root, missing: builder.missing })
        }
        other => {
            let place = other.map_or(whole, |value| builder.place(&value));
            found.error(place, || Said::new("the file does not hold an object").expected("{ … }"));
            None
        }
    }
}

struct Builder<'a> {
    file: FileId,
    bom: usize,
    json: &'a str,
    found: &'a mut Findings,
    path: Vec<String>,
    missing: Missing,
}

impl Builder<'_> {
    fn place(&self, node: &impl Ranged) -> Place {
        let range = node.range();
        Place::new(self.file, self.bom + range.start..self.bom + range.end)
    }

    fn object(&mut self, object: &ast::Object<'_>, depth: usize) -> Table {
        let mut table = Table::new(Made::Whole);
        for property in &object.properties {
            let key = property.name.as_str();
            let key_place = self.place(&property.name);
            self.refuse_control(&property.name, key_place);
            self.path.push(key.to_owned());
            let node = self.node(&property.value, depth);
            self.path.pop();
            if let Err(first) = table.insert(key.to_owned(), key_place, node) {
                let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
                complain_of_twice(&path, key, key_place, first, self.found);
            }
        }
        if let Some(last) = object.properties.last() {
            self.refuse_comma(last.range.end, object.range.end);
        }
        table
    }

    fn node(&mut self, value: &ast::Value<'_>, depth: usize) -> Node {
        let place = self.place(value);
        let value = match value {
            ast::Value::StringLit(text) => {
                self.refuse_control(text, place);
                Value::Text(text.value.as_ref().to_owned())
            }
            ast::Value::NumberLit(number) => match number.value.parse::<i128>() {
                Ok(whole) => Value::Whole(whole),
                Err(_) => Value::Number(number.value.to_owned()),
            },
            ast::Value::BooleanLit(flag) => Value::Flag(flag.value),
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::Object(_) | ast::Value::Array(_) if depth >= NESTING_MAX => {
                self.missing = Missing::Tables;
                self.found.error(place, too_deep);
                Value::Null
            }
            ast::Value::Object(object) => Value::Table(self.object(object, depth + 1)),
            ast::Value::Array(array) => {
                Value::Array(array.elements.iter().map(|item| self.node(item, depth + 1)).collect())
            }
        };
        Node { place, value }
    }

    /// A comma between the end of the last property and the closing brace, outside of comments.
    fn refuse_comma(&mut self, from: usize, to: usize) {
        let mut rest = self.json.get(from..to).unwrap_or("");
        loop {
            rest = rest.trim_start();
            let comment_end = if rest.starts_with("//") { "\n" } else { "*/" };
            if rest.starts_with("//") || rest.starts_with("/*") {
                rest = rest.get(2..).and_then(|comment| comment.split_once(comment_end)).map_or("", |(_, after)| after);
            } else {
                break;
            }
        }
        if rest.starts_with(',') {
            let at = self.bom + to - rest.len();
            self.found.error(Place::new(self.file, at..at + 1), || {
                Said::new("a comma before `}`").hint("JSON has no comma after the last key of an object")
            });
        }
    }

    fn refuse_control(&mut self, text: &impl Ranged, place: Place) {
        let range = text.range();
        let written = self.json.get(range.start..range.end).unwrap_or("");
        if let Some(at) = written.bytes().position(|byte| byte < 0x20) {
            let at = place.span().start + at;
            self.found.error(Place::new(self.file, at..at + 1), || {
                Said::new("a line break or other control character inside a string")
                    .hint("write it as \\n, \\t or \\u00XX")
            });
        }
    }
}

pub(super) fn too_deep() -> Said {
    Said::new(format!("tables and arrays are nested more than {NESTING_MAX} deep"))
}

/// The parser's complaint in our words.
fn said(kind: &ParseErrorKind) -> Said {
    use ParseErrorKind as Kind;
    match kind {
        Kind::BareDecimalPointNumbersNotAllowed => {
            Said::new("a number begins or ends with its point").expected("digits on both sides")
        }
        Kind::CommentsNotAllowed => Said::new("a comment is not allowed here"),
        Kind::ExpectedColonAfterObjectKey => Said::new("no colon after the key").expected("`:` and a value"),
        Kind::ExpectedObjectValue => Said::new("no value after the colon").expected("a value"),
        Kind::ExpectedDigit
        | Kind::ExpectedDigitFollowingNegativeSign
        | Kind::ExpectedPlusMinusOrDigitInNumberLiteral => Said::new("this is no number").expected("a digit"),
        Kind::ExpectedStringObjectProperty => {
            Said::new("a key without quotes").hint("JSON keys stand in double quotes")
        }
        Kind::HexadecimalNumbersNotAllowed => Said::new("a hexadecimal number").expected("a decimal one"),
        Kind::ExpectedComma => Said::new("no comma between two values").expected("`,`"),
        Kind::MultipleRootJsonValues => {
            Said::new("something follows the end of the object").expected("the end of the file")
        }
        Kind::NonFiniteNumbersNotAllowed => Said::new("JSON has no infinity and no NaN"),
        Kind::SingleQuotedStringsNotAllowed => {
            Said::new("a string in single quotes").hint("JSON strings stand in double quotes")
        }
        Kind::String(ParseStringErrorKind::UnterminatedStringLiteral) => {
            Said::new("the string has no end").expected("`\"`")
        }
        Kind::String(ParseStringErrorKind::InvalidUnicodeEscapeSequence(code)) => {
            Said::new(format!("\\u{} is no character", quoted(code)))
        }
        Kind::String(_) => {
            Said::new("this escape is not known").hint("JSON has \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX")
        }
        Kind::TrailingCommasNotAllowed => Said::new("a comma after the last item"),
        Kind::UnaryPlusNumbersNotAllowed => Said::new("a number begins with `+`").hint("leave the `+` out"),
        Kind::UnexpectedCloseBrace => Said::new("`}` closes nothing").expected("a value"),
        Kind::UnexpectedCloseBracket => Said::new("`]` closes nothing").expected("a value"),
        Kind::UnexpectedColon => Said::new("a colon where a value should be").expected("a value"),
        Kind::UnexpectedComma => Said::new("a comma where a value should be").expected("a value"),
        Kind::UnexpectedWord => {
            Said::new("a bare word").expected("a value").hint("JSON strings stand in double quotes")
        }
        Kind::UnexpectedToken => Said::new("this is not JSON").expected("a value"),
        Kind::UnexpectedTokenInObject => {
            Said::new("this cannot stand here in an object").expected("a key in double quotes")
        }
        Kind::UnterminatedArray => Said::new("the array has no end").expected("`]`"),
        Kind::UnterminatedCommentBlock => Said::new("the comment has no end").expected("`*/`"),
        Kind::UnterminatedObject => Said::new("the object has no end").expected("`}`"),
        Kind::NestingDepthExceeded => too_deep(),
    }
}
