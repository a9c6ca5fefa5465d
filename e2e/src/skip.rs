//! Skips tests that cannot run here. `make test` lists them at the end.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use crate::binaries::target_dir;

/// The tests that may be skipped in CI, one name per line.
const ALLOWED: &str = include_str!("../allowed-skips.txt");

/// Ends the test with the reason why it cannot run here: a plugin or a right is missing. The
/// arguments are those of `format!`. In CI a test that is not in `e2e/allowed-skips.txt` fails
/// instead.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        $crate::skip::record(module_path!(), &format!($($reason)+));
        return;
    }};
}

/// Evaluates to the value of a `Result`, or skips the test with the error as the reason.
#[macro_export]
macro_rules! or_skip {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(reason) => $crate::skip!("{reason}"),
        }
    };
}

/// The file that lists the skipped tests of a run, one `name: reason` per line.
fn list() -> PathBuf {
    target_dir().join("skipped-tests.txt")
}

/// Records that the running test is skipped. Used by [`skip!`](crate::skip!).
pub fn record(module: &str, reason: &str) {
    let thread = std::thread::current();
    // The thread has the name of the test. With one test thread, tests run on the main thread and
    // only the module is known.
    let name = match thread.name() {
        None | Some("main") => module.to_owned(),
        Some(test) => format!("{}::{test}", module.split("::").next().unwrap_or_default()),
    };
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(
        !in_ci || is_allowed(&name),
        "{name} cannot run here and is not in e2e/allowed-skips.txt: {reason}"
    );
    println!("skipped {name}: {reason}");
    let file = OpenOptions::new().create(true).append(true).open(list());
    file.and_then(|mut file| file.write_all(format!("{name}: {reason}\n").as_bytes()))
        .expect("write the list of skipped tests");
}

fn is_allowed(name: &str) -> bool {
    ALLOWED.lines().map(str::trim).any(|line| line == name)
}
