//! Tests that cannot run here say so by name, and are listed at the end of `make test`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use crate::binaries::target_dir;

/// The tests that may be skipped in CI, one name a line.
const ALLOWED: &str = include_str!("../allowed-skips.txt");

/// Ends the test with a reason why it cannot run here: a plugin or a right is missing. The arguments are those of
/// `format!`. In CI a test that is not in `e2e/allowed-skips.txt` fails instead.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        $crate::skip::record(module_path!(), &format!($($reason)+));
        return;
    }};
}

/// What a result has, or the test is skipped for the reason that it gives.
#[macro_export]
macro_rules! or_skip {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(reason) => $crate::skip!("{reason}"),
        }
    };
}

/// The file that lists the skipped tests of a run: `name: reason` a line.
pub fn list() -> PathBuf {
    target_dir().join("skipped-tests.txt")
}

/// What [`skip!`](crate::skip!) does before it returns.
pub fn record(module: &str, reason: &str) {
    let thread = std::thread::current();
    // With one test thread the tests run on the main one, and only the module is known.
    let name = match thread.name() {
        None | Some("main") => module.to_owned(),
        // The thread is called by the test's path in its crate.
        Some(test) => format!("{}::{test}", module.split("::").next().unwrap_or_default()),
    };
    assert!(
        std::env::var("CI").is_ok_and(|ci| ci != "true")
            || std::env::var_os("CI").is_none()
            || is_allowed(&name),
        "{name} cannot run here and is not in e2e/allowed-skips.txt: {reason}"
    );
    println!("skipped {name}: {reason}");
    let line = format!("{name}: {reason}\n");
    let file = OpenOptions::new().create(true).append(true).open(list());
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("the list of skipped tests can be written");
}

fn is_allowed(name: &str) -> bool {
    ALLOWED.lines().map(str::trim).any(|line| line == name)
}
