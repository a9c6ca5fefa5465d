//! The files, and the positions of values in them.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use plexus_api::json::PathStep;

use super::json_text;
use crate::cluster::manifests::{Position, position};
use crate::regular_file;

/// The largest file that is read, in bytes.
pub(super) const MAX_SIZE: u64 = 32 << 20;

/// The name of standard input on the command line.
const STDIN: &str = "-";

/// A file.
#[derive(Debug)]
pub(super) struct Source {
    /// The path as given, or `<stdin>`.
    pub(super) name: String,
    pub(super) text: String,
}

impl Source {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let (name, bytes) = if path == Path::new(STDIN) {
            let mut bytes = Vec::new();
            let stdin = std::io::stdin().lock();
            let read = stdin.take(MAX_SIZE).read_to_end(&mut bytes);
            ("<stdin>".to_owned(), read.map(|_| bytes))
        } else {
            let bytes = regular_file::read(path, MAX_SIZE);
            (path.display().to_string(), bytes)
        };
        let bytes = bytes.with_context(|| format!("{name} cannot be read"))?;
        let text = String::from_utf8(bytes).with_context(|| format!("{name} is not text"))?;
        Ok(Self { name, text })
    }

    /// The directory of the file.
    pub(super) fn directory(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(dir, _)| dir)
    }

    /// The position of the value at `path` in a YAML document, or of the innermost value around it.
    pub(super) fn value(&self, document: usize, path: &[PathStep]) -> Position {
        self.find(document, path, false)
    }

    /// Like [`Source::value`], but the position of the key of the value.
    pub(super) fn key(&self, document: usize, path: &[PathStep]) -> Position {
        self.find(document, path, true)
    }

    fn find(&self, document: usize, path: &[PathStep], of_key: bool) -> Position {
        let text = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text);
        if let Some(found) = position(text, document, path, of_key) {
            return found;
        }
        let around = (0..path.len()).rev();
        let mut around = around.filter_map(|depth| position(text, document, &path[..depth], false));
        around.next().unwrap_or(Position::START)
    }

    /// The position of a byte of the file.
    fn at(&self, offset: usize) -> Position {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// The byte at a position.
    fn offset(&self, position: Position) -> usize {
        let lines = self.text.split_inclusive('\n');
        let before: usize = lines.take(position.line - 1).map(str::len).sum();
        let line = &self.text[before..];
        let column = line.char_indices().nth(position.column - 1);
        before + column.map_or(0, |(offset, _)| offset)
    }
}

/// A text inside a file: a string in a YAML document, or the whole file.
#[derive(Debug, Clone)]
pub(super) struct Embedded<'a> {
    pub(super) source: &'a Source,
    /// The document, and the path of the string in it. `None` for the whole file.
    place: Option<(usize, Vec<PathStep>)>,
    pub(super) text: &'a str,
}

impl<'a> Embedded<'a> {
    pub(super) fn file(source: &'a Source) -> Self {
        Self {
            source,
            place: None,
            text: &source.text,
        }
    }

    pub(super) fn string(
        source: &'a Source,
        document: usize,
        path: Vec<PathStep>,
        text: &'a str,
    ) -> Self {
        Self {
            source,
            place: Some((document, path)),
            text,
        }
    }

    /// Whether the text is only a part of its file.
    pub(super) fn is_inside(&self) -> bool {
        self.place.is_some()
    }

    /// The position of the text.
    pub(super) fn start(&self) -> Position {
        match &self.place {
            Some((document, path)) => self.source.value(*document, path),
            None => Position::START,
        }
    }

    /// The position of a byte of the text.
    pub(super) fn at(&self, offset: usize) -> Position {
        if self.place.is_none() {
            return self.source.at(offset);
        }
        let start = self.start();
        let raw = &self.source.text[self.source.offset(start)..];
        match align(raw, &self.text[..self.text.floor_char_boundary(offset)]) {
            Some(length) => self.source.at(self.source.offset(start) + length),
            None => start,
        }
    }

    /// The position of a value in the text, which is JSON, or of the innermost value around it.
    pub(super) fn value(&self, path: &[PathStep]) -> Position {
        let paths = (0..=path.len()).rev().map(|depth| &path[..depth]);
        let mut found = paths.filter_map(|path| json_text::value(self.text, path));
        let offset = found
            .next()
            .map(|value| json_text::offset(self.text, value));
        self.at(offset.unwrap_or_default())
    }

    /// The position of the key of a value.
    pub(super) fn key(&self, path: &[PathStep]) -> Position {
        let value = json_text::value(self.text, path);
        match value.and_then(|value| json_text::key_offset(self.text, value)) {
            Some(offset) => self.at(offset),
            None => self.value(path),
        }
    }

    /// The position of a syntax error.
    pub(super) fn syntax_error(&self) -> Position {
        self.at(json_text::syntax_error(self.text).unwrap_or_default())
    }
}

/// The length of the start of `raw`, a YAML string as written, that has the content `content`, with
/// the white space and the quotes before the next character. Returns `None` if the string has an
/// escape other than of a quote, a backslash or white space.
///
/// White space is skipped in both, because YAML folds lines.
fn align(raw: &str, content: &str) -> Option<usize> {
    let style = raw.chars().next()?;
    let mut at = match style {
        '"' | '\'' => 1,
        '|' | '>' => raw.find('\n')?,
        '&' | '!' => return None,
        _ => 0,
    };
    for wanted in content.chars().filter(|c| !c.is_whitespace()) {
        at += skipped(&raw[at..], style);
        let rest = &raw[at..];
        let escaped = match style {
            '"' => rest.starts_with('\\'),
            '\'' => rest.starts_with("''"),
            _ => false,
        };
        at += usize::from(escaped);
        if !raw[at..].starts_with(wanted) {
            return None;
        }
        at += wanted.len_utf8();
    }
    Some(at + skipped(&raw[at..], style))
}

/// The length of the white space at the start of `raw`, escaped white space included, and of the
/// escape of the next character.
fn skipped(raw: &str, style: char) -> usize {
    let mut at = 0;
    loop {
        let rest = &raw[at..];
        at += match rest.chars().next() {
            Some(c) if c.is_whitespace() => c.len_utf8(),
            Some('\\') if style == '"' => match rest[1..].chars().next() {
                Some('n' | 't' | 'r' | ' ' | '\n') => 2,
                _ => return at,
            },
            _ => return at,
        };
    }
}

#[cfg(test)]
mod tests;
