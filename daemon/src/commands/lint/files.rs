//! The files of the command line: files, directories, standard input, and a bundle of files.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, Read as _};
use std::path::Path;

use anyhow::{Context as _, bail};

use super::source::{MAX_SIZE, Source};
use crate::cli::LintArgs;
use crate::cluster::manifests::objects;

/// The extensions of the files in a directory that are checked.
const EXTENSIONS: [&str; 4] = ["conflist", "json", "yaml", "yml"];
/// The number of skipped files that are named.
const MAX_NAMED: usize = 5;

/// The files, and what was skipped in each directory, one line each.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) sources: Vec<Source>,
    pub(super) skipped: Vec<String>,
}

/// What was skipped in a directory.
#[derive(Debug, Default)]
struct Skipped {
    other_types: usize,
    hidden: usize,
    links: Vec<String>,
    templates: Vec<String>,
    unreadable: Vec<String>,
}

impl Files {
    /// Reads the files of the command line.
    ///
    /// # Errors
    /// A file cannot be read, or a directory has none.
    pub(super) fn read(args: &LintArgs) -> anyhow::Result<Self> {
        let mut files = Self::default();
        if args.bundle {
            files.sources = bundle(&mut io::stdin().lock())?;
        }
        for path in &args.files {
            if path.is_dir() {
                files.read_directory(path)?;
            } else {
                files.sources.push(Source::read(path)?);
            }
        }
        // A file may be named beside its directory.
        let mut names = BTreeSet::new();
        files
            .sources
            .retain(|source| names.insert(source.name.clone()));
        Ok(files)
    }

    fn read_directory(&mut self, dir: &Path) -> anyhow::Result<()> {
        let (mut sources, mut skipped) = (Vec::new(), Skipped::default());
        walk(dir, &mut sources, &mut skipped)?;
        let skipped = skipped.describe();
        if sources.is_empty() {
            let hint = skipped.map(|text| format!("; skipped {text}"));
            let extensions = EXTENSIONS.join(", ");
            bail!(
                "{} has no file to check ({extensions}){}",
                dir.display(),
                hint.unwrap_or_default()
            );
        }
        let skipped = skipped.map(|text| format!("skipped in {}: {text}", dir.display()));
        self.skipped.extend(skipped);
        self.sources.extend(sources);
        Ok(())
    }
}

/// Reads the files of a directory in the order of their names. Links are not followed: they may lead
/// out of the directory, or back into it.
fn walk(dir: &Path, sources: &mut Vec<Source>, skipped: &mut Skipped) -> anyhow::Result<()> {
    let list = || fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>();
    let mut entries = list().with_context(|| format!("{} cannot be read", dir.display()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type();
        let kind = kind.with_context(|| format!("{} cannot be read", path.display()))?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_checked = extension.is_some_and(|extension| EXTENSIONS.contains(&extension));
        if kind.is_symlink() {
            skipped.links.push(path.display().to_string());
        } else if entry.file_name().as_encoded_bytes().starts_with(b".") {
            skipped.hidden += 1;
        } else if kind.is_dir() {
            walk(&path, sources, skipped)?;
        } else if !is_checked {
            skipped.other_types += 1;
        } else {
            match Source::read(&path) {
                Ok(source) if is_template(&source.text) => skipped.templates.push(source.name),
                Ok(source) => sources.push(source),
                Err(error) => skipped.unreadable.push(format!("{error:#}")),
            }
        }
    }
    Ok(())
}

/// Whether a text is a template, which has to be rendered before it is YAML.
fn is_template(text: &str) -> bool {
    text.contains("{{") && objects(text).is_err()
}

impl Skipped {
    fn describe(self) -> Option<String> {
        let count = |number: usize, text: &str| (number > 0).then(|| format!("{number} {text}"));
        let list = |names: Vec<String>, text: &str| {
            let named: Vec<_> = names.iter().take(MAX_NAMED).map(String::as_str).collect();
            let more = match names.len() - named.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            (!named.is_empty()).then(|| format!("{text} ({}{more})", named.join(", ")))
        };
        let texts = [
            count(self.other_types, "files of other types"),
            count(self.hidden, "hidden files or directories"),
            list(self.links, "symbolic links"),
            list(self.templates, "templates, which must be rendered first"),
            list(self.unreadable, "unreadable files"),
        ];
        let texts: Vec<_> = texts.into_iter().flatten().collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

/// The files in a bundle: for each, a line with its length in bytes and its name, then its content.
fn bundle(input: &mut impl BufRead) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut input = input.take(MAX_SIZE);
    loop {
        let mut line = String::new();
        if input
            .read_line(&mut line)
            .context("standard input cannot be read")?
            == 0
        {
            return Ok(sources);
        }
        let header = line.trim_end_matches('\n').split_once(' ');
        let header = header.and_then(|(length, name)| Some((length.parse().ok()?, name)));
        let Some((length, name)) = header else {
            bail!("standard input is not a bundle: {line:?} is not a length and a name");
        };
        let mut bytes = Vec::new();
        let read = (&mut input).take(length).read_to_end(&mut bytes);
        let read = read.context("standard input cannot be read")?;
        if read as u64 != length {
            bail!("the bundle ends within {name}");
        }
        let text = String::from_utf8(bytes).with_context(|| format!("{name} is not text"))?;
        sources.push(Source {
            name: name.to_owned(),
            text,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;
    use crate::cli::LintFormat;

    fn read(paths: &[PathBuf]) -> anyhow::Result<Files> {
        Files::read(&LintArgs {
            files: paths.to_vec(),
            bundle: false,
            output: LintFormat::Text,
        })
    }

    #[test]
    fn a_directory_is_read_in_the_order_of_names_and_skipped_files_are_reported() {
        let root = tempfile::tempdir().expect("a directory");
        let at = |name: &str| root.path().join(name);
        for dir in ["sub", ".git", "empty"] {
            fs::create_dir(at(dir)).expect(dir);
        }
        for (name, text) in [
            ("b.yaml", "kind: Pod"),
            ("a.yml", "kind: Pod"),
            ("sub/c.json", "{}"),
            ("sub/d.conflist", "{}"),
            ("README.md", "text"),
            (".git/e.yaml", "kind: Pod"),
            ("template.yaml", "name: {{ .Values.name }}\n{{- end }}"),
        ] {
            fs::write(at(name), text).expect(name);
        }
        fs::write(at("binary.json"), b"\xff\xfe").expect("a file");
        symlink(root.path(), at("loop")).expect("a link");
        symlink(at("b.yaml"), at("link.yaml")).expect("a link");
        let files = read(&[root.path().to_owned(), at("b.yaml")]).expect("files");
        let names: Vec<_> = files.sources.iter().map(|source| &source.name).collect();
        let expected = ["a.yml", "b.yaml", "sub/c.json", "sub/d.conflist"];
        let expected = expected.map(|name| at(name).display().to_string());
        assert_eq!(names, expected.iter().collect::<Vec<_>>());
        let [skipped] = files.skipped.as_slice() else {
            panic!("{files:?}")
        };
        for part in [
            "1 files of other types",
            "1 hidden",
            "loop",
            "link.yaml",
            "template.yaml",
            "binary.json is not text",
        ] {
            assert!(skipped.contains(part), "{part}: {skipped}");
        }
        let error = read(&[at("empty")]).expect_err("nothing to check");
        assert!(
            error.to_string().contains("has no file to check"),
            "{error}"
        );
        read(&[at("missing.yaml")]).expect_err("no such file");
    }

    #[test]
    fn a_bundle_has_several_files() {
        let read = |text: &str| bundle(&mut text.as_bytes());
        let sources = read("5 a b.yaml\nx: 1\n0 empty.yaml\n3 c.yaml\n1 d").expect("a bundle");
        let found: Vec<_> = sources
            .iter()
            .map(|source| (source.name.as_str(), source.text.as_str()))
            .collect();
        let expected = [
            ("a b.yaml", "x: 1\n"),
            ("empty.yaml", ""),
            ("c.yaml", "1 d"),
        ];
        assert_eq!(found, expected);
        for (text, part) in [("x", "not a length"), ("9 a\nx", "ends within a")] {
            let error = read(text).expect_err(text);
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
