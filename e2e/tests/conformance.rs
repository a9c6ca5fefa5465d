//! `docs/conformance.md` is generated: each row of the specifications that a test carries, with those tests.
//!
//! A test names its rows by `rows!(...)`; `docs/conformance-rows.txt` says in one line each what they demand.
//! `PLEXUS_BLESS=1` writes the page (`make conformance`), without it the page is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The chapters of the page, by the letter of their rows.
const CHAPTERS: [(&str, &str); 5] = [
    ("P", "Towards the container runtime: Plexus as a CNI plugin"),
    ("T", "Results and their conversion"),
    ("R", "Towards the plugins: Plexus as a CNI runtime"),
    ("K", "The multi-network specification"),
    ("C", "On the node: runtimes and their directory"),
];

const HEAD: &str = "\
# Conformance

What the CNI specification 1.1.0, the multi-network specification 1.3 and the programs around them demand, row by row,
and the tests that fail when it is not so. A row without a test is not listed. The page is generated from the tests by
`make conformance`; what a row says stands in [conformance-rows.txt](conformance-rows.txt).
";

#[test]
fn the_page_lists_what_tests_cover() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace is above");
    let text =
        fs::read_to_string(root.join("docs/conformance-rows.txt")).expect("the rows can be read");
    let requirements =
        requirements(&text).unwrap_or_else(|error| panic!("docs/conformance-rows.txt: {error}"));
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in sources(root) {
        let text = fs::read_to_string(&file).expect("a source can be read");
        let name = file
            .strip_prefix(root)
            .expect("it is below")
            .to_string_lossy()
            .into_owned();
        for (row, test) in rows_in(&text).unwrap_or_else(|error| panic!("{name}: {error}")) {
            assert!(
                requirements.contains_key(&row),
                "{name}: {test}: docs/conformance-rows.txt has no row {row}"
            );
            tests
                .entry(row)
                .or_default()
                .insert(format!("[`{test}`](../{name})"));
        }
    }
    let page = page(&requirements, &tests);
    let path = root.join("docs/conformance.md");
    if std::env::var_os("PLEXUS_BLESS").is_some() {
        fs::write(&path, page).expect("the page can be written");
    } else if fs::read_to_string(&path).unwrap_or_default() != page {
        panic!(
            "docs/conformance.md is not what the tests say: run `make conformance` and commit it"
        );
    }
}

/// `ID | requirement` a line, in order.
fn requirements(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut requirements = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (id, requirement) = line
            .split_once(" | ")
            .ok_or_else(|| format!("not `ID | requirement`: {line}"))?;
        if !CHAPTERS.iter().any(|(letter, _)| id.starts_with(letter)) {
            return Err(format!("{id} belongs to no chapter"));
        }
        if requirements
            .insert(id.to_owned(), requirement.to_owned())
            .is_some()
        {
            return Err(format!("{id} stands twice"));
        }
    }
    Ok(requirements)
}

/// The Rust sources of the workspace, without this one, whose samples are no tests.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs: Vec<_> = ["api", "shim", "daemon", "e2e"]
        .iter()
        .map(|dir| root.join(dir))
        .collect();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir)
            .expect("a directory can be read")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with(file!())
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The rows in a source, each with the test function that names it.
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
            rows.push((
                id.ok_or_else(|| format!("rows!({list}) is not a list of strings"))?
                    .to_owned(),
                test.clone(),
            ));
        }
    }
    if open.is_some() {
        Err("rows!( is not closed".into())
    } else {
        Ok(rows)
    }
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

fn page(
    requirements: &BTreeMap<String, String>,
    tests: &BTreeMap<String, BTreeSet<String>>,
) -> String {
    let mut page = format!("{HEAD}\n{} rows of {}.\n", tests.len(), requirements.len());
    for (letter, title) in CHAPTERS {
        let covered: Vec<_> = tests
            .iter()
            .filter(|(id, _)| id.starts_with(letter))
            .collect();
        if covered.is_empty() {
            continue;
        }
        let _ = write!(
            page,
            "\n## {title}\n\n| Row | Requirement | Tests |\n|---|---|---|\n"
        );
        for (id, tests) in covered {
            let tests = tests
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ");
            let _ = writeln!(
                page,
                "| {id} | {} | {tests} |",
                requirements[id].replace('|', "\\|")
            );
        }
    }
    page
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
