//! Parses Markdown files.

use std::collections::BTreeSet;

use plexus_e2e::workspace::{files, read};

/// A Markdown file.
pub struct Document {
    pub name: String,
    /// The lines outside fenced code blocks.
    prose: Vec<String>,
    pub fences: Vec<Fence>,
}

/// A fenced code block.
pub struct Fence {
    /// The text after the three backticks: the language and, after a space, the kind of the sample.
    pub info: String,
    pub body: String,
}

impl Document {
    pub fn read(name: &str) -> Self {
        let (mut prose, mut fences) = (Vec::new(), Vec::new());
        let mut open: Option<Fence> = None;
        for line in read(name).lines() {
            match (line.trim_start().strip_prefix("```"), open.take()) {
                (Some(_), Some(fence)) => fences.push(fence),
                (Some(info), None) => {
                    open = Some(Fence {
                        info: info.to_owned(),
                        body: String::new(),
                    });
                }
                (None, Some(mut fence)) => {
                    fence.body.push_str(line);
                    fence.body.push('\n');
                    open = Some(fence);
                }
                (None, None) => prose.push(line.to_owned()),
            }
        }
        assert!(open.is_none(), "{name}: a code block is not closed");
        Self {
            name: name.to_owned(),
            prose,
            fences,
        }
    }

    pub fn all() -> Vec<Self> {
        let mut names = files(&["docs"], &["md"]);
        names.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(str::to_owned));
        names.iter().map(|name| Self::read(name)).collect()
    }

    /// The text and the target of each link.
    pub fn links(&self) -> Vec<(String, String)> {
        let text = self.prose.join("\n");
        let link = |at: usize| {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            let label = text[..at].rsplit('[').next().unwrap_or_default();
            (label.to_owned(), target.to_owned())
        };
        text.match_indices("](").map(|(at, _)| link(at)).collect()
    }

    /// The code spans, and the lines of code blocks with shell commands.
    pub fn code_lines(&self) -> Vec<String> {
        let spans = self
            .prose
            .iter()
            .flat_map(|line| line.split('`').skip(1).step_by(2));
        let commands = self
            .fences
            .iter()
            .filter(|fence| fence.info.starts_with("sh"))
            .flat_map(|fence| fence.body.lines().map(str::trim));
        spans.chain(commands).map(str::to_owned).collect()
    }

    /// The anchors of the headings, as GitHub generates them.
    pub fn anchors(&self) -> BTreeSet<String> {
        let anchor = |heading: &str| {
            heading
                .trim()
                .to_lowercase()
                .replace(' ', "-")
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
                .collect()
        };
        self.prose
            .iter()
            .filter(|line| line.starts_with('#'))
            .map(|line| anchor(line.trim_start_matches('#')))
            .collect()
    }

    /// The rows of the tables between a heading and the next one, without their header rows. Cells
    /// have no backticks around them.
    pub fn rows(&self, heading: &str) -> Vec<Vec<String>> {
        self.rows_until(heading, |_, _| true)
    }

    /// The rows of the tables of a section and its subsections.
    pub fn rows_of_section(&self, heading: &str) -> Vec<Vec<String>> {
        self.rows_until(heading, |start, next| next <= start)
    }

    /// `ends` gets the levels of the heading and of a later one.
    fn rows_until(&self, heading: &str, ends: fn(usize, usize) -> bool) -> Vec<Vec<String>> {
        let level = |line: &str| line.chars().take_while(|c| *c == '#').count();
        let mut lines = self
            .prose
            .iter()
            .skip_while(|line| line.trim_start_matches('#').trim() != heading);
        let start = lines.next().map(|line| level(line));
        let start = start.unwrap_or_else(|| panic!("{}: no heading {heading:?}", self.name));
        let lines: Vec<_> = lines
            .take_while(|line| level(line) == 0 || !ends(start, level(line)))
            .collect();
        let cells = |line: &String| -> Vec<_> {
            line.trim()
                .trim_matches('|')
                .split(" | ")
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect()
        };
        // A line of dashes follows a header row.
        let is_header = |next: Option<&&String>| next.is_some_and(|line| line.starts_with("|-"));
        let rows: Vec<_> = lines
            .iter()
            .enumerate()
            .filter(|(at, line)| line.starts_with("| ") && !is_header(lines.get(at + 1)))
            .map(|(_, line)| cells(line))
            .collect();
        assert!(
            !rows.is_empty(),
            "{}: no table under {heading:?}",
            self.name
        );
        rows
    }

    /// The first cell of each of those rows.
    pub fn keys(&self, heading: &str) -> BTreeSet<String> {
        self.rows(heading)
            .into_iter()
            .filter_map(|row| row.into_iter().next())
            .collect()
    }
}
