//! What `plexusd` says on its command line.

use std::path::Path;
use std::process::{Command, Output};

use plexus_e2e::binaries::binary;

fn serve(dir: &Path, config: &str, manifests: &Path) -> Output {
    let file = dir.join("daemon-config.json");
    std::fs::write(&file, config).expect("it can be written");
    let mut command = Command::new(binary("plexusd"));
    command.arg("serve").arg("--config").arg(file).arg("--manifests").arg(manifests).env("RUST_BACKTRACE", "1");
    command.output().expect("plexusd can be executed")
}

#[test]
fn a_start_that_fails_ends_with_one_line_that_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("state");
    let paths = format!(r#""stateDir":{state:?},"daemonSocketDir":{:?}"#, dir.path().join("run"));
    let missing = dir.path().join("missing");
    for (config, manifests, words) in [
        ("[]".to_owned(), dir.path(), vec!["daemon-config.json", "not a JSON object"]),
        (
            format!(r#"{{{paths},"addTimeout":30}}"#),
            dir.path(),
            vec!["daemon-config.json", "\"addTimeout\" is 30, but must be a duration like \"30s\""],
        ),
        (format!("{{{paths}}}"), missing.as_path(), vec!["manifests directory", "missing", "cannot be watched"]),
    ] {
        let output = serve(dir.path(), &config, manifests);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let lines: Vec<_> = said.lines().collect();
        assert!(lines.len() == 1 && lines[0].starts_with("plexusd: "), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}
