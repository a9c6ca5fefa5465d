//! Decisions and rows that code and documents cite exist in `docs/decisions.md` and
//! `docs/conformance-rows.txt`.

use std::collections::BTreeSet;

use plexus_e2e::workspace::{files, read};

/// Files that cite decisions and rows.
const DIRS: [&str; 7] = [".ci", "api", "daemon", "deploy", "docs", "e2e", "shim"];
const EXTENSIONS: [&str; 6] = ["md", "rs", "sh", "toml", "txt", "yaml"];
/// Has samples of rows that do not exist.
const SAMPLES: [&str; 2] = ["e2e/tests/citations.rs", "e2e/tests/conformance.rs"];

#[test]
fn every_cited_decision_has_an_entry() {
    let entries: BTreeSet<u32> = read("docs/decisions.md")
        .lines()
        .filter_map(|line| line.strip_prefix("### ")?.split_once(". ")?.0.parse().ok())
        .collect();
    assert_eq!(missing(decisions, &entries), [""; 0]);
}

#[test]
fn every_cited_row_is_listed() {
    let listed: BTreeSet<String> = read("docs/conformance-rows.txt")
        .lines()
        .filter_map(|line| Some(line.split_once(" | ")?.0.to_owned()))
        .collect();
    assert_eq!(missing(rows, &listed), [""; 0]);
}

/// Citations that do not exist, with the file that has them.
fn missing<T: Ord + std::fmt::Debug>(
    cited: fn(&str) -> BTreeSet<T>,
    existing: &BTreeSet<T>,
) -> Vec<String> {
    let mut names = files(&DIRS, &EXTENSIONS);
    names.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].map(str::to_owned));
    names.retain(|name| !SAMPLES.contains(&name.as_str()));
    let missing = |name: &String| {
        let cited = cited(&read(name));
        let missing = cited.difference(existing);
        missing
            .map(|missing| format!("{name}: {missing:?}"))
            .collect::<Vec<_>>()
    };
    names.iter().flat_map(missing).collect()
}

/// The numbers after the word "decision" or "decisions", as in "decisions 18 and 22", also across
/// line breaks.
fn decisions(text: &str) -> BTreeSet<u32> {
    let marker = |word: &&str| !["//", "///", "//!", "#", ">"].contains(word);
    let mut words = text.split_whitespace().filter(marker);
    let mut found = BTreeSet::new();
    while let Some(word) = words.next() {
        let word = word
            .trim_matches(|c: char| !c.is_alphanumeric())
            .to_lowercase();
        if word != "decision" && word != "decisions" {
            continue;
        }
        for word in words.clone() {
            let number: String = word.chars().take_while(char::is_ascii_digit).collect();
            let rest = &word[number.len()..];
            match number.parse() {
                Ok(number) => found.insert(number),
                Err(_) if ["and", "or", "to"].contains(&word) => continue,
                Err(_) => break,
            };
            if !["", ","].contains(&rest) {
                break;
            }
        }
    }
    found
}

/// The words of the form `P-080`.
fn rows(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
        .filter(|word| {
            let mut bytes = word.bytes();
            bytes.next().is_some_and(|byte| byte.is_ascii_uppercase())
                && bytes.next() == Some(b'-')
                && (2..=3).contains(&bytes.len())
                && bytes.all(|byte| byte.is_ascii_digit())
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn citations_are_found() {
    let text = "/// Refused (decision 6, K-012), see decisions 18 and 22.\n\
                //! An order (decision\n//! 11): the rest. Decision 26: rebuilds 5 pods.\n\
                [decision 23](#23-proof) and a decision of 3 people, decisions 1, 2 or 3";
    assert_eq!(decisions(text), [1, 2, 3, 6, 11, 18, 22, 23, 26].into());
    let text = "UTF-8 SHA-256 (P-080, R-020…R-028), K-1, K-0123, x-P-001, C-09.";
    let expected = ["C-09", "P-080", "R-020", "R-028"].map(str::to_owned);
    assert_eq!(rows(text), expected.into());
}
