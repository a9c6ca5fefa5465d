//! The command line of `plexusd`.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use plexus_e2e::binaries::binary;
use plexus_e2e::{Plexus, node};
use serde_json::json;

fn serve(dir: &Path, config: &str, manifests: &Path) -> Output {
    let file = dir.join("daemon-config.json");
    std::fs::write(&file, config).expect("write the configuration");
    let mut command = Command::new(binary("plexusd"));
    command
        .arg("serve")
        .arg("--config")
        .arg(file)
        .arg("--manifests")
        .arg(manifests)
        .env("RUST_BACKTRACE", "1");
    command.output().expect("execute plexusd")
}

#[test]
fn a_failed_start_prints_one_line_with_the_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let paths = format!(
        r#""stateDir":{:?},"daemonSocketDir":{:?}"#,
        dir.join("state"),
        dir.join("run")
    );
    let missing = dir.join("missing");
    for (config, manifests, words) in [
        (
            "[]".to_owned(),
            dir,
            vec!["daemon-config.json", "not a JSON object"],
        ),
        (
            format!(r#"{{{paths},"addTimeout":30}}"#),
            dir,
            vec![
                "daemon-config.json",
                "\"addTimeout\" is 30, but must be a duration like \"30s\"",
            ],
        ),
        (
            format!("{{{paths}}}"),
            missing.as_path(),
            vec!["manifests directory", "missing", "cannot be read"],
        ),
    ] {
        let output = serve(dir, &config, manifests);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        let lines: Vec<_> = stderr.lines().collect();
        assert!(
            lines.len() == 1 && lines[0].starts_with("plexusd: "),
            "{stderr}"
        );
        assert!(words.iter().all(|word| stderr.contains(word)), "{stderr}");
    }
}

#[test]
fn of_several_configuration_files_the_last_one_wins() {
    let dir = tempfile::tempdir().expect("a directory");
    let [first, last] = ["first.json", "last.json"].map(|name| dir.path().join(name));
    for (file, text) in [
        (&first, r#"{"statusWait":1,"addTimeout":1}"#),
        (&last, r#"{"ADDTIMEOUT":"1s","statusWait":2}"#),
    ] {
        std::fs::write(file, text).expect("write the configuration");
    }
    let mut command = Command::new(binary("plexusd"));
    command
        .arg("serve")
        .args(["--manifests", "."])
        .arg("--config")
        .arg(&first)
        .arg("--config")
        .arg(&last);
    let output = command.output().expect("execute plexusd");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let files = format!("{}, {}: ", first.display(), last.display());
    assert!(
        stderr.contains(&files) && stderr.contains("\"statusWait\" is 2"),
        "{stderr}"
    );
}

#[test]
fn probe_queries_the_daemon_over_its_socket() {
    let node = node!();
    let probe = |what: &str| {
        let mut command = Command::new(binary("plexusd"));
        command.args(["probe", what]);
        let output = node.run(|| command.output()).expect("execute plexusd");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    for what in ["live", "ready"] {
        let (success, stderr) = probe(what);
        assert!(
            !success
                && stderr
                    == "plexusd: no plexusd listens at /run/plexus/plexus.sock; is it running? \
                        --socket-dir names another directory\n",
            "{stderr}"
        );
    }
    // There is no default network yet.
    let net_d = node.scratch().join("net.d");
    std::fs::create_dir(&net_d).expect("create the directory");
    let keys = json!({
        "clusterNetwork": null, "cniConfigDir": net_d, "multusAutoconfigDir": net_d,
    });
    let Plexus { mut daemon, .. } = Plexus::on(&node).config(keys).build();
    daemon.launch();
    let end = Instant::now() + Duration::from_secs(20);
    while !probe("live").0 {
        assert!(
            Instant::now() < end,
            "plexusd does not serve: {}",
            daemon.log()
        );
    }
    let (success, stderr) = probe("ready");
    assert!(!success && stderr.contains("net.d"), "{stderr}");
    let network = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge"}]});
    node.write(net_d.join("10-pods.conflist"), network.to_string());
    daemon.wait_ready();
    assert_eq!(probe("ready"), (true, String::new()));
}
