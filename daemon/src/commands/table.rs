//! Tables and JSON on stdout.

use std::io::{self, Write};

use serde::Serialize;

/// The cell of a value that is missing.
const EMPTY: &str = "-";

/// Prints rows below a header. Each cell is one word, except that the last one of a row is one line,
/// so that `awk` and `sort` can read the table.
pub(super) fn print<const N: usize>(
    header: [&str; N],
    rows: &[[String; N]],
    out: &mut impl Write,
) -> io::Result<()> {
    let rows: Vec<[String; N]> = rows.iter().map(cells).collect();
    let mut widths = header.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths);
        let padded: Vec<_> = padded
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    line(header)?;
    rows.iter()
        .try_for_each(|row| line(row.each_ref().map(String::as_str)))
}

/// Prints a value as indented JSON.
pub(super) fn print_json(value: &impl Serialize, out: &mut impl Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}

fn cells<const N: usize>(row: &[String; N]) -> [String; N] {
    let mut last = N;
    row.each_ref().map(|text| {
        last -= 1;
        words(text, if last == 0 { " " } else { "_" })
    })
}

/// The words of the text, without control characters.
fn words(text: &str, separator: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        EMPTY.to_owned()
    } else {
        words.join(separator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_word_and_the_last_one_is_one_line() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [
            row(["a b\nc", "", "no\n answer \u{1b}[31m"]),
            row(["é", "x", ""]),
        ];
        let mut out = Vec::new();
        print(["NAME", "EMPTY", "ERROR"], &rows, &mut out).expect("written");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "NAME   EMPTY  ERROR\na_b_c  -      no answer [31m\né      x      -\n"
        );
    }
}
