//! The documentation matches the code: names, numbers, defaults, samples, links and commands.

mod claims;
mod devices;
mod document;
mod examples;
mod reference;
mod samples;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Parser as _;
use plexus_e2e::workspace::{files, read, root};
use plexusd::cli::Cli;

use document::Document;

/// The directories that paths in the documentation begin with.
const DIRS: [&str; 7] = [".ci", "api", "daemon", "deploy", "docs", "e2e", "shim"];

#[test]
fn links_are_valid() {
    for document in Document::all() {
        let page = PathBuf::from(&document.name);
        for (label, target) in document.links() {
            let place = format!("{}: [{label}]({target})", document.name);
            if target.starts_with("https://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if path.is_empty() {
                page.clone()
            } else {
                page.with_file_name(path)
            };
            assert!(root().join(&path).exists(), "{place}: no such file");
            if !anchor.is_empty() {
                let anchors = Document::read(&path.to_string_lossy()).anchors();
                assert!(
                    anchors.contains(anchor),
                    "{place}: no such heading in {anchors:?}"
                );
            }
            // A link with the name of a test proves a claim.
            let label = label.trim_matches('`');
            if path.extension().is_some_and(|extension| extension == "rs")
                && !label.contains(['/', '.'])
            {
                let source = read(&path.to_string_lossy());
                assert!(
                    source.contains(&format!("fn {label}(")),
                    "{place}: no such test"
                );
            }
        }
    }
}

/// `make docs` builds the site from the index.
#[test]
fn the_index_lists_each_page_once() {
    let index = Document::read("docs/SUMMARY.md").links().into_iter();
    let mut listed: Vec<_> = index
        .map(|(_, target)| match target.strip_prefix("../") {
            Some(page) => page.to_owned(),
            None => format!("docs/{target}"),
        })
        .collect();
    listed.sort();
    let mut pages = files(&["docs"], &["md"]);
    pages.extend(["CHANGELOG.md", "CONTRIBUTING.md", "README.md"].map(str::to_owned));
    pages.sort();
    assert_eq!(listed, pages);
}

#[test]
fn commands_paths_and_variables_exist() {
    let makefile = read("Makefile");
    let targets: BTreeSet<_> = makefile
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    let sources: String = files(&["api", "shim", "daemon", "e2e"], &["rs", "sh"])
        .iter()
        .map(|name| read(name))
        .collect();
    for document in Document::all() {
        for line in document.code_lines() {
            let place = format!("{}: {line}", document.name);
            let words: Vec<_> = line
                .split_whitespace()
                .skip_while(|word| *word == "sudo")
                .collect();
            check_command(&words, &targets, &place);
            for word in words {
                check_path(word, &place);
                let variable = word.split('=').next().unwrap_or_default();
                assert!(
                    !variable.starts_with("PLEXUS_") || sources.contains(variable),
                    "{place}: {variable} is not used"
                );
            }
        }
    }
}

fn check_command(words: &[&str], targets: &BTreeSet<&str>, place: &str) {
    let variables = words.iter().take_while(|word| word.contains('=')).count();
    let command = &words[variables..];
    match command {
        ["make", target, ..] => assert!(targets.contains(target), "{place}: no such target"),
        ["plexusd", first, ..] if first.starts_with(|c: char| c.is_ascii_lowercase()) => {
            let is_separator = |word: &&&str| ["|", "&&", "&", "#"].contains(*word);
            let words = command.iter().take_while(|word| !is_separator(word));
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{place}: {error}"));
        }
        ["kubectl", "plexus", "--context", _, words @ ..] => {
            check_command(&[&["kubectl", "plexus"], words].concat(), targets, place);
        }
        ["kubectl", "plexus", subcommand, arguments @ ..] => {
            // The plugin replaces the name of the node by the program.
            let arguments = match *subcommand {
                "status" | "doctor" | "ledger" | "loglevel" => {
                    arguments.get(1..).unwrap_or_default()
                }
                "lint" => arguments,
                // Their arguments are those of the plugin and of kubectl.
                "inspect" | "logs" | "help" => return,
                _ => panic!("{place}: no such command"),
            };
            check_command(
                &[&["plexusd", *subcommand], arguments].concat(),
                targets,
                place,
            );
        }
        _ => {}
    }
}

fn check_path(word: &str, place: &str) {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let path = word.trim_matches(|c| !is_part(c));
    let is_pattern = path.contains(['*', '<', '{', '$']);
    let is_path = DIRS.iter().any(|dir| path.starts_with(&format!("{dir}/")));
    assert!(
        !is_path || is_pattern || root().join(path).exists(),
        "{place}: {path} does not exist"
    );
}
