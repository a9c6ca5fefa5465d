//! The command line of `plexusd`.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};
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
fn credentials_that_cannot_be_used_are_one_line_without_repetitions() {
    let dir = tempfile::tempdir().expect("a directory");
    let [config, broken, missing] =
        ["config.json", "broken", "missing"].map(|name| dir.path().join(name));
    std::fs::write(&config, "{}").expect("write the configuration");
    std::fs::write(&broken, "a: [").expect("write a kubeconfig");
    for (kubeconfig, text) in [
        (
            None,
            "plexusd: not in a cluster, which needs KUBERNETES_SERVICE_HOST",
        ),
        (Some(&broken), "cannot be used: failed to parse kubeconfig"),
        (Some(&missing), "cannot be used: failed to read kubeconfig"),
    ] {
        let mut command = Command::new(binary("plexusd"));
        command
            .args(["serve", "--node-name", "node-1", "--config"])
            .arg(&config);
        command.env_remove("KUBERNETES_SERVICE_HOST");
        if let Some(kubeconfig) = kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        let output = command.output().expect("execute plexusd");
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert!(
            stderr.contains(text) && stderr.lines().count() == 1,
            "{stderr}"
        );
        let mut causes: Vec<_> = stderr.trim_end().split(": ").collect();
        let count = causes.len();
        causes.dedup();
        assert_eq!(causes.len(), count, "{stderr}");
    }
}

#[test]
fn the_error_that_ends_the_daemon_is_in_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let file = dir.join("plexusd.log");
    let missing = dir.join("missing");
    let json_error = |text: &str| {
        let lines = text.lines().map(serde_json::from_str::<serde_json::Value>);
        let lines: Vec<_> = lines.map(|line| line.expect("JSON")).collect();
        assert!(
            lines.iter().any(|line| line["level"] == "ERROR"
                && line["message"]
                    .as_str()
                    .is_some_and(|text| text.starts_with("plexusd ends: "))),
            "{lines:?}"
        );
    };
    for (keys, is_valid) in [
        (json!({"logFormat": "json"}), true),
        (json!({"logFormat": "json", "addTimeout": 30}), false),
    ] {
        let manifests = if is_valid { missing.as_path() } else { dir };
        let output = serve(dir, &keys.to_string(), manifests);
        assert_eq!(output.status.code(), Some(1));
        json_error(&String::from_utf8_lossy(&output.stderr));
    }
    let keys =
        json!({"logFormat": "json", "logFile": file, "logToStderr": false, "addTimeout": 30});
    let output = serve(dir, &keys.to_string(), dir);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.starts_with("plexusd: ") && stderr.lines().count() == 1,
        "{stderr}"
    );
    json_error(&std::fs::read_to_string(&file).expect("a log"));
    // Without a level that shows errors, the error is still printed.
    let keys = json!({"logFormat": "json", "logLevel": "panic", "addTimeout": 30});
    let output = serve(dir, &keys.to_string(), dir);
    assert!(output.stderr.starts_with(b"plexusd: "), "{output:?}");
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

#[test]
fn the_settings_of_the_allocator_apply_unless_the_environment_has_one_of_them() {
    const SETTINGS: [&str; 3] = [
        "MALLOC_ARENA_MAX",
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_TRIM_THRESHOLD_",
    ];
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("daemon-config.json");
    let made = Command::new("mkfifo").arg(&config).status();
    assert!(made.expect("mkfifo").success());
    for (own, expected) in [
        (None, SETTINGS.map(|_| true)),
        (Some((SETTINGS[1], "99999")), [false, true, false]),
    ] {
        let mut command = Command::new(binary("plexusd"));
        for name in SETTINGS {
            command.env_remove(name);
        }
        let mut daemon = command
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .envs(own)
            .stderr(Stdio::null())
            .spawn()
            .expect("execute plexusd");
        // Opened as soon as the daemon reads its configuration, which it does with its settings.
        let writer = File::options().write(true).open(&config);
        let environ = std::fs::read_to_string(format!("/proc/{}/environ", daemon.id()));
        drop(writer.expect("open the FIFO"));
        daemon.wait().expect("an end");
        let environ = environ.expect("the environment of the daemon");
        let is_set = |name| {
            environ
                .split('\0')
                .any(|variable| variable.starts_with(name))
        };
        assert_eq!(SETTINGS.map(is_set), expected, "{environ:?}");
        assert_eq!(own.is_some(), environ.contains("=99999"), "{environ:?}");
    }
}
