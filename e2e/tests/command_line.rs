//! What `plexusd` says on its command line.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use plexus_e2e::Daemon;
use plexus_e2e::binaries::binary;
use serde_json::json;

fn serve(dir: &Path, config: &str, manifests: &Path) -> Output {
    let file = dir.join("daemon-config.json");
    std::fs::write(&file, config).expect("it can be written");
    let mut command = Command::new(binary("plexusd"));
    command
        .arg("serve")
        .arg("--config")
        .arg(file)
        .arg("--manifests")
        .arg(manifests)
        .env("RUST_BACKTRACE", "1");
    command.output().expect("plexusd can be executed")
}

#[test]
fn a_start_that_fails_ends_with_one_line_that_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("state");
    let paths = format!(
        r#""stateDir":{state:?},"daemonSocketDir":{:?}"#,
        dir.path().join("run")
    );
    let missing = dir.path().join("missing");
    for (config, manifests, words) in [
        (
            "[]".to_owned(),
            dir.path(),
            vec!["daemon-config.json", "not a JSON object"],
        ),
        (
            format!(r#"{{{paths},"addTimeout":30}}"#),
            dir.path(),
            vec![
                "daemon-config.json",
                "\"addTimeout\" is 30, but must be a duration like \"30s\"",
            ],
        ),
        (
            format!("{{{paths}}}"),
            missing.as_path(),
            vec!["manifests directory", "missing", "cannot be watched"],
        ),
    ] {
        let output = serve(dir.path(), &config, manifests);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let lines: Vec<_> = said.lines().collect();
        assert!(
            lines.len() == 1 && lines[0].starts_with("plexusd: "),
            "{said}"
        );
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}

#[test]
fn of_several_configurations_the_keys_of_the_last_one_win() {
    let dir = tempfile::tempdir().expect("a directory");
    let [first, last] = ["first.json", "last.json"].map(|name| dir.path().join(name));
    let written = [
        (&first, r#"{"statusWait":1,"addTimeout":1}"#),
        (&last, r#"{"ADDTIMEOUT":"1s","statusWait":2}"#),
    ];
    for (file, text) in written {
        std::fs::write(file, text).expect("it can be written");
    }
    let mut command = Command::new(binary("plexusd"));
    command
        .arg("serve")
        .args(["--manifests", "."])
        .arg("--config")
        .arg(&first)
        .arg("--config")
        .arg(&last);
    let output = command.output().expect("plexusd can be executed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let files = format!("{}, {}: ", first.display(), last.display());
    assert!(
        said.contains(&files) && said.contains("\"statusWait\" is 2"),
        "{said}"
    );
}

#[test]
fn a_probe_asks_the_daemon_over_its_socket() {
    let node = plexus_e2e::node!();
    let probe = |what: &str| {
        let mut command = Command::new(binary("plexusd"));
        command.args(["probe", what]);
        let output = node
            .run(|| command.output())
            .expect("plexusd can be executed");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    for what in ["live", "ready"] {
        let (well, said) = probe(what);
        assert!(
            !well && said.starts_with("plexusd: plexusd at /run/plexus/plexus.sock"),
            "{said}"
        );
    }
    // The default network is not there yet.
    let dir = node.scratch().join("net.d");
    let manifests = node.scratch().join("manifests");
    for dir in [&dir, &manifests] {
        std::fs::create_dir(dir).expect("it can be made");
    }
    let mut daemon = Daemon::new(
        &node,
        &json!({"cniConfigDir": dir, "multusAutoconfigDir": dir}),
        &manifests,
    );
    daemon.launch();
    let end = Instant::now() + Duration::from_secs(20);
    while !probe("live").0 {
        assert!(
            Instant::now() < end,
            "plexusd does not serve: {}",
            daemon.log()
        );
    }
    let (well, said) = probe("ready");
    assert!(!well && said.contains("net.d"), "{said}");
    let network = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge"}]});
    std::fs::write(dir.join("10-pods.conflist"), network.to_string()).expect("it can be written");
    daemon.wait_ready();
    assert_eq!(probe("ready"), (true, String::new()));
}
