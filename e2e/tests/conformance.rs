//! `docs/conformance.md` is generated: every row of the specifications, with the tests that cover
//! it or the reason why no test does.
//!
//! A test names its rows with `rows!(...)`, and `docs/conformance-rows.txt` lists all rows.
//! `PLEXUS_BLESS=1` writes the page (`make conformance`); without it the page is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use plexus_e2e::workspace::{files, read, root};

const ROWS: &str = "docs/conformance-rows.txt";
const PAGE: &str = "docs/conformance.md";

/// The chapters of the page, by the letter of their rows.
const CHAPTERS: [(char, &str); 6] = [
    (
        'P',
        "Calls from the container runtime: Plexus as a CNI plugin",
    ),
    ('T', "Results and their conversion"),
    ('R', "Calls to plugins: Plexus as a CNI runtime"),
    ('C', "Container runtimes and their configuration directory"),
    ('K', "The multi-network specification"),
    ('D', "Devices"),
];

/// The letter of the points that the specifications leave open. They are not counted as
/// requirements.
const AMBIGUOUS: char = 'A';

const HEAD: &str = "\
# Conformance

The requirements of the CNI specification 1.1.0, the multi-network specification 1.3, the device-info specification
1.1.0 and the programs around them, row by row. Each row is in one of three states:

- *Covered*: the tests named beside the row fail if Plexus does not meet the requirement.
- *Open*: Plexus does not meet the requirement yet, or no test shows that it does.
- *Not applicable*: Plexus has nothing to do for the requirement.

`make conformance` generates this page from the tests and from [conformance-rows.txt](conformance-rows.txt), which has
the text of the rows. A row that is neither covered by a test nor marked there fails a test.
";

const AMBIGUOUS_TITLE: &str = "\
Points that the specifications leave open

How Plexus reads the specifications where they are ambiguous. The last column names the rows above and the
[decisions](decisions.md) that have the details.";

struct Row {
    id: String,
    state: State,
    requirement: String,
}

enum State {
    /// Tests have to cover the row.
    Testable,
    /// Why the row is not covered yet.
    Open(String),
    /// Why the row does not apply.
    NotApplicable(String),
    /// The rows and decisions that settle an ambiguous point.
    See(String),
}

/// Links to the tests that cover a row, by row.
type Tests = BTreeMap<String, BTreeSet<String>>;

#[test]
fn every_row_is_covered_or_marked_and_the_page_is_up_to_date() {
    let rows = parse(&read(ROWS)).unwrap_or_else(|error| panic!("{ROWS}: {error}"));
    let tests = tests();
    let problems = problems(&rows, &tests);
    assert!(problems.is_empty(), "{ROWS}:\n{}", problems.join("\n"));
    let page = page(&rows, &tests);
    if std::env::var_os("PLEXUS_BLESS").is_some() {
        fs::write(root().join(PAGE), page).expect("the page can be written");
    } else if fs::read_to_string(root().join(PAGE)).unwrap_or_default() != page {
        panic!("{PAGE} is out of date: run `make conformance` and commit the result");
    }
}

/// Reads the list of rows; the head of the file explains its format.
fn parse(text: &str) -> Result<Vec<Row>, String> {
    let lines = text.lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(parse_row).collect()
}

fn parse_row(line: &str) -> Result<Row, String> {
    let (id, state, requirement) = match line.split(" | ").collect::<Vec<_>>()[..] {
        [id, requirement] => (id, State::Testable, requirement),
        [id, state, requirement] => (id, parse_state(state)?, requirement),
        _ => return Err(format!("not `ID | requirement`: {line}")),
    };
    let is_ambiguous = id.starts_with(AMBIGUOUS);
    if !is_ambiguous && !CHAPTERS.iter().any(|(letter, _)| id.starts_with(*letter)) {
        return Err(format!("{id} belongs to no chapter"));
    }
    if is_ambiguous != matches!(state, State::See(_)) {
        return Err(format!("{id}: `see:` is for ambiguous points only"));
    }
    Ok(Row {
        id: id.to_owned(),
        state,
        requirement: requirement.to_owned(),
    })
}

fn parse_state(text: &str) -> Result<State, String> {
    match text.split_once(": ") {
        Some(("open", reason)) => Ok(State::Open(reason.to_owned())),
        Some(("n/a", reason)) => Ok(State::NotApplicable(reason.to_owned())),
        Some(("see", references)) => Ok(State::See(references.to_owned())),
        _ => Err(format!("not `open:`, `n/a:` or `see:`: {text}")),
    }
}

/// The rows that the tests of the workspace name. The samples in this file are not tests.
fn tests() -> Tests {
    let mut tests = Tests::new();
    for file in files(&["api", "shim", "daemon", "e2e"], &["rs"]) {
        if file == file!() {
            continue;
        }
        for (row, test) in rows_in(&read(&file)).unwrap_or_else(|error| panic!("{file}: {error}")) {
            let link = format!("[`{test}`](../{file})");
            tests.entry(row).or_default().insert(link);
        }
    }
    tests
}

/// What is wrong with the list of rows, one line each.
fn problems(rows: &[Row], tests: &Tests) -> Vec<String> {
    let mut problems = Vec::new();
    let mut listed = BTreeSet::new();
    for row in rows {
        let id = row.id.as_str();
        if !listed.insert(id) {
            problems.push(format!("{id} is listed twice"));
        }
        match (&row.state, tests.get(id)) {
            (State::Testable, None) => {
                problems.push(format!("{id} is neither covered by a test nor marked"));
            }
            (State::Testable, Some(_)) | (_, None) => {}
            (_, Some(by)) => {
                problems.push(format!("{id} is marked, but covered by {}", joined(by)));
            }
        }
    }
    for row in rows {
        let State::See(references) = &row.state else {
            continue;
        };
        let rows = references
            .split(", ")
            .filter(|reference| !reference.starts_with("decision "));
        let unknown = rows.filter(|reference| !listed.contains(reference));
        problems.extend(unknown.map(|unknown| format!("{}: there is no row {unknown}", row.id)));
    }
    let unlisted = tests.iter().filter(|(id, _)| !listed.contains(id.as_str()));
    problems
        .extend(unlisted.map(|(id, by)| format!("{id}, named by {}, is not listed", joined(by))));
    problems
}

fn joined(tests: &BTreeSet<String>) -> String {
    let tests: Vec<_> = tests.iter().map(String::as_str).collect();
    tests.join(", ")
}

/// The rows that a source file names, each with the test function that names it.
fn rows_in(text: &str) -> Result<Vec<(String, String)>, String> {
    let (mut rows, mut attribute, mut test) = (Vec::new(), false, None);
    let mut open: Option<String> = None;
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
    {
        if let Some(name) = function(line) {
            test = attribute.then(|| name.to_owned());
            attribute = false;
        }
        attribute |= line.starts_with("#[") && line.contains("test") && !line.contains("cfg(");
        let begun = line.find("rows!(").map(|at| &line[at + "rows!(".len()..]);
        let part = match (&open, begun) {
            (Some(before), _) => format!("{before}{line}"),
            (None, Some(rest)) => rest.to_owned(),
            (None, None) => continue,
        };
        let Some((list, _)) = part.split_once(')') else {
            open = Some(part);
            continue;
        };
        open = None;
        let test = test
            .clone()
            .ok_or_else(|| format!("rows!({list}) is not in a test"))?;
        for id in list.split(',').map(str::trim).filter(|id| !id.is_empty()) {
            let id = id.strip_prefix('"').and_then(|id| id.strip_suffix('"'));
            let id = id.ok_or_else(|| format!("rows!({list}) is not a list of strings"))?;
            rows.push((id.to_owned(), test.clone()));
        }
    }
    if open.is_some() {
        return Err("rows!( is not closed".into());
    }
    Ok(rows)
}

/// The name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    let mut words = line
        .split_whitespace()
        .skip_while(|word| word.starts_with("pub") || *word == "async");
    if words.next() != Some("fn") {
        return None;
    }
    words.next()?.split(['(', '<']).next()
}

fn page(rows: &[Row], tests: &Tests) -> String {
    let mut page = format!("{HEAD}{}", summary(rows));
    for (letter, title) in CHAPTERS {
        let rows = rows.iter().filter(|row| row.id.starts_with(letter));
        let covered = rows.filter_map(|row| Some((row, joined(tests.get(&row.id)?))));
        page += &table(title, ["Row", "Requirement", "Tests"], covered);
    }
    let open = rows.iter().filter_map(|row| match &row.state {
        State::Open(reason) => Some((row, reason.clone())),
        _ => None,
    });
    page += &table("Open", ["Row", "Requirement", "Why it is open"], open);
    let not_applicable = rows.iter().filter_map(|row| match &row.state {
        State::NotApplicable(reason) => Some((row, reason.clone())),
        _ => None,
    });
    let columns = ["Row", "Requirement", "Why it does not apply"];
    page += &table("Not applicable", columns, not_applicable);
    let ambiguous = rows.iter().filter_map(|row| match &row.state {
        State::See(references) => Some((row, references.clone())),
        _ => None,
    });
    page += &table(
        AMBIGUOUS_TITLE,
        ["Point", "What Plexus does", "See"],
        ambiguous,
    );
    page
}

/// The numbers of rows by chapter and state.
fn summary(rows: &[Row]) -> String {
    let mut summary =
        "\n| Chapter | Covered | Open | Not applicable | Total |\n|---|---|---|---|---|\n"
            .to_owned();
    let mut total = [0; 3];
    let mut line = |title: &str, [covered, open, not_applicable]: [usize; 3]| {
        let all = covered + open + not_applicable;
        let _ = writeln!(
            summary,
            "| {title} | {covered} | {open} | {not_applicable} | {all} |"
        );
    };
    for (letter, title) in CHAPTERS {
        let mut counts = [0; 3];
        for row in rows.iter().filter(|row| row.id.starts_with(letter)) {
            let column = match row.state {
                State::Testable => 0,
                State::Open(_) => 1,
                State::NotApplicable(_) | State::See(_) => 2,
            };
            counts[column] += 1;
            total[column] += 1;
        }
        line(title, counts);
    }
    line("All", total);
    summary
}

/// A section with a table of rows, each with its last cell.
fn table<'a>(
    title: &str,
    columns: [&str; 3],
    rows: impl Iterator<Item = (&'a Row, String)>,
) -> String {
    let mut table = format!(
        "\n## {title}\n\n| {} |\n|---|---|---|\n",
        columns.join(" | ")
    );
    for (
        Row {
            id, requirement, ..
        },
        last,
    ) in rows
    {
        let _ = writeln!(table, "| {id} | {requirement} | {last} |");
    }
    table
}

#[test]
fn the_list_of_rows_and_the_tests_must_agree() {
    let rows = "# A comment\nP-001 | One.\nP-002 | open: later | Two.\nA-01 | see: P-001, decision 1 | Three.\n";
    let agree = |text: &str, named: &[&str]| {
        let test = |id: &&str| ((*id).to_owned(), BTreeSet::from(["test".to_owned()]));
        problems(
            &parse(text).expect("a list of rows"),
            &named.iter().map(test).collect(),
        )
    };
    assert_eq!(agree(rows, &["P-001"]), [""; 0]);
    for (text, named, expected) in [
        (
            rows.to_owned(),
            &[][..],
            "P-001 is neither covered by a test nor marked",
        ),
        (
            rows.to_owned(),
            &["P-001", "P-002"],
            "P-002 is marked, but covered by test",
        ),
        (
            rows.to_owned(),
            &["P-001", "P-003"],
            "P-003, named by test, is not listed",
        ),
        (
            format!("{rows}P-001 | One."),
            &["P-001"],
            "P-001 is listed twice",
        ),
        (
            rows.replace("see: P-001", "see: P-004"),
            &["P-001"],
            "A-01: there is no row P-004",
        ),
    ] {
        assert_eq!(agree(&text, named), [expected]);
    }
    for wrong in [
        "P-001",
        "X-001 | One.",
        "P-001 | later: reason | One.",
        "P-001 | see: P-002 | One.",
        "A-01 | One.",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn rows_are_found_in_tests_only() {
    let source = r#"
        // rows!("P-999");
        #[test]
        fn one() {
            plexus_api::rows!("P-001", "P-002");
        }
        #[tokio::test(flavor = "current_thread")]
        async fn two() {
            rows!(
                "T-001",
            );
        }
        proptest! {
            #[test]
            fn three(x in 0..3) { rows!("R-001"); }
        }
    "#;
    let rows = rows_in(source).expect("all are in tests");
    let rows: Vec<_> = rows
        .iter()
        .map(|(row, test)| (row.as_str(), test.as_str()))
        .collect();
    assert_eq!(
        rows,
        [
            ("P-001", "one"),
            ("P-002", "one"),
            ("T-001", "two"),
            ("R-001", "three")
        ]
    );
    for wrong in [
        "fn helper() {\n rows!(\"P-001\");\n}",
        "#[test]\nfn a() {\n rows!(P);\n}",
        "#[test]\nfn a() {\n rows!(",
    ] {
        assert!(rows_in(wrong).is_err(), "{wrong}");
    }
}
