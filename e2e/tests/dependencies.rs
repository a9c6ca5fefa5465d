//! Dependencies come from crates.io and have an allowed licence.

use std::process::Command;

use serde_json::Value;

/// The allowed licences.
const ALLOWED: [&str; 10] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "ISC",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "0BSD",
];

#[test]
fn dependencies_come_from_crates_io_under_allowed_licences() {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "metadata",
        "--locked",
        "--offline",
        "--format-version",
        "1",
        "--filter-platform",
        &platform,
    ]);
    let output = cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("execute cargo");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    assert!(packages.len() > 4, "only the crates of the workspace");
    let problems: Vec<_> = packages.iter().filter_map(problem).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn problem(package: &Value) -> Option<String> {
    let (name, licence) = (
        &package["name"],
        package["license"].as_str().unwrap_or("none"),
    );
    let source = package["source"].as_str();
    if source
        .is_some_and(|source| source != "registry+https://github.com/rust-lang/crates.io-index")
    {
        return Some(format!("{name} comes from {source:?}"));
    }
    (!is_allowed(licence)).then(|| format!("{name} has the licence {licence:?}"))
}

/// Whether an SPDX expression can be satisfied with allowed licences. Old manifests have a slash
/// for OR.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.trim();
    if ALLOWED.contains(&expression) {
        return true;
    }
    for (operator, any) in [(" OR ", true), ("/", true), (" AND ", false)] {
        let parts = split_outside_brackets(expression, operator);
        if parts.len() > 1 {
            let mut allowed = parts.into_iter().map(is_allowed);
            return if any {
                allowed.any(|part| part)
            } else {
                allowed.all(|part| part)
            };
        }
    }
    expression
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .is_some_and(is_allowed)
}

fn split_outside_brackets<'a>(text: &'a str, operator: &str) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ if depth == 0 && index >= start && text[index..].starts_with(operator) => {
                parts.push(&text[start..index]);
                start = index + operator.len();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[test]
fn licence_expressions_are_parsed() {
    for allowed in [
        "MIT",
        "MIT/Apache-2.0",
        "MIT OR GPL-3.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        "Apache-2.0 AND ISC",
    ] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for rejected in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR GPL-3.0) AND MPL-2.0",
        "none",
        "",
    ] {
        assert!(!is_allowed(rejected), "{rejected}");
    }
}
