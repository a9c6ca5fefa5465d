//! The logs of a running daemon.

use std::fs;

use plexus_e2e::{Plexus, Pod, Script, Step, attaches, node};
use serde_json::{Value, json};

const SECRET: &str = "s3cr3t-t0k3n";

#[test]
fn a_call_is_logged_in_one_line() {
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("lan", &attaches());
    let (_, target) = plexus.attached("web", "lan");
    plexus.runtime.status().expect_success();
    plexus.runtime.del(&target).expect_success();
    let log = plexus.daemon.log();
    let about = format!(
        "cni{{verb=\"ADD\" pod=\"default/web\" container_id=\"{}\" ifname=\"eth0\"",
        target.container
    );
    let adds: Vec<_> = log.lines().filter(|line| line.contains(&about)).collect();
    assert_eq!(adds.len(), 1, "{log}");
    for part in [
        " INFO ",
        "networks=\"eth0=pods,net1=default/lan\"",
        "done duration_ms=",
    ] {
        assert!(adds[0].contains(part), "{part} in {}", adds[0]);
    }
    assert_eq!(
        log.lines()
            .filter(|line| line.contains("verb=\"DEL\""))
            .count(),
        1,
        "{log}"
    );
    assert!(!log.contains("STATUS"), "{log}");
}

#[test]
fn a_failed_call_is_logged_in_one_line() {
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"logLevel": "error"}));
    node.plugin("main", &Script::new().fails("ADD", 123, "out of luck"));
    plexus
        .runtime
        .add(&plexus.target(&Pod::new("web")))
        .expect_code(123);
    let log = plexus.daemon.log();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 1, "{log}");
    for part in [
        "ERROR",
        "pod=\"default/web\"",
        "networks=\"eth0=pods\"",
        "code=123",
        "out of luck",
    ] {
        assert!(lines[0].contains(part), "{part} in {log}");
    }
}

#[test]
fn secrets_are_not_logged_at_the_debug_level() {
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"logLevel": "debug"}));
    plexus.network("lan", &attaches());
    // The secret is in the definition, the pod, and the runtime's arguments and environment. The
    // plugin succeeds, fails, and prints invalid output.
    plexus.manifests.definition(
        "secret",
        &json!({"cniVersion": "1.0.0", "type": "lan", "token": SECRET}),
    );
    let pod = Pod::new("web").annotated(
        "k8s.v1.cni.cncf.io/networks",
        json!([{"name": "secret", "cni-args": {"password": SECRET}}]).to_string(),
    );
    let target = plexus
        .target(&pod)
        .with_arg("KEY", SECRET)
        .with_env("PLUGIN_TOKEN", Some(SECRET));
    plexus.runtime.add(&target).result();
    plexus.runtime.check(&target).expect_success();
    plexus.runtime.del(&target).expect_success();
    for step in [
        Step::error(123, "no"),
        Step::Stdout("nonsense".into()),
        Step::Exit(3),
    ] {
        node.plugin("lan", &Script::new().on("ADD", [step]));
        assert!(!plexus.runtime.add(&target).ok());
    }
    let broken = [
        format!(r#"{{"type":"lan","token":"{SECRET}" oops"#),
        format!(r#"["{SECRET}"]"#),
        format!(r#"{{"cniVersion":"1.0.0","plugins":[{{"type":"lan"}},"{SECRET}"]}}"#),
    ];
    for (number, config) in broken.iter().enumerate() {
        let name = format!("broken{number}");
        plexus
            .manifests
            .definition_in("default", &name, Some(config));
        let output = plexus
            .runtime
            .add(&plexus.target(&Pod::new(&name).with_networks(&*name)));
        assert!(!output.ok(), "{output:?}");
    }
    assert!(
        node.calls()
            .iter()
            .any(|call| call.config()["token"] == SECRET),
        "the plugin gets the secret"
    );
    let log = plexus.daemon.log();
    assert!(log.contains(" ERROR "), "{log}");
    assert!(!log.contains(SECRET), "{log}");
}

#[test]
fn the_log_level_can_be_changed_at_run_time() {
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"logLevel": "error"}));
    let (_, target) = plexus.attached("web", "");
    assert_eq!(plexus.daemon.log(), "");
    for (level, status) in [("loud", 400), ("", 400), ("debug\n", 200)] {
        let reply = plexus
            .daemon
            .put("/loglevel", level.as_bytes())
            .expect("a reply");
        assert_eq!(reply.status, status, "{level:?}: {reply:?}");
        assert_eq!(reply.body.contains("verbose"), status == 400, "{reply:?}");
    }
    plexus.runtime.status().expect_success();
    let log = plexus.daemon.log();
    assert!(
        log.contains("verb=\"STATUS\"") && log.contains(" DEBUG "),
        "{log}"
    );
    plexus.daemon.put("/loglevel", b"panic").expect("a reply");
    plexus.runtime.del(&target).expect_success();
    assert_eq!(plexus.daemon.log(), log);
}

#[test]
fn the_log_level_can_be_changed_by_a_command() {
    let node = node!();
    let mut plexus = Plexus::start_with(&node, json!({"logLevel": "error"}));
    let output = plexus.daemon.subcommand(&["loglevel", "loud"]);
    assert!(
        !output.ok()
            && output
                .stderr
                .starts_with("plexusd: unknown log level \"loud\""),
        "{output:?}"
    );
    let output = plexus.daemon.subcommand(&["loglevel", "debug"]);
    assert!(output.ok() && output.stdout.contains("debug"), "{output:?}");
    plexus.runtime.status().expect_success();
    assert!(plexus.daemon.log().contains(" DEBUG "));
    plexus.daemon.stop();
    let output = plexus.daemon.subcommand(&["loglevel", "debug"]);
    assert!(
        !output.ok() && output.stderr.contains("no plexusd listens at"),
        "{output:?}"
    );
}

#[test]
fn each_run_of_a_plugin_is_one_line_at_the_debug_level() {
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"logLevel": "debug"}));
    plexus.network("lan", &attaches());
    let (_, target) = plexus.attached("web", "lan");
    node.plugin("lan", &attaches().fails("DEL", 120, "no"));
    plexus.runtime.del(&target).expect_code(120);
    let log = plexus.daemon.log();
    let runs: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once(" DEBUG ")?.1.split_once("plugin run "))
        .collect();
    let fields = |verb: &str, plugin: &str, network: &str, interface: &str| {
        format!(
            "verb={verb} plugin=\"{plugin}\" network=\"{network}\" interface=\"{interface}\" ms="
        )
    };
    let expected = [
        (fields("ADD", "main", "pods", "eth0"), "succeeded"),
        (fields("ADD", "lan", "lan", "net1"), "succeeded"),
        (fields("DEL", "lan", "lan", "net1"), "failed"),
        (fields("DEL", "main", "pods", "eth0"), "succeeded"),
    ];
    assert_eq!(runs.len(), expected.len(), "{log}");
    for ((span, run), (fields, outcome)) in runs.iter().zip(expected) {
        assert!(span.contains("pod=\"default/web\""), "{span}");
        let outcome = format!("outcome=\"{outcome}\"");
        assert!(
            run.starts_with(&fields) && run.ends_with(&outcome),
            "{fields}{outcome} in {run}"
        );
    }
}

#[test]
fn the_log_can_be_written_to_a_file_as_json() {
    let node = node!();
    let file = node.scratch().join("plexusd-file.log");
    let keys = json!({"logFormat": "json", "logFile": file, "logToStderr": false});
    let plexus = Plexus::start_with(&node, keys);
    plexus.attached("web", "");
    assert_eq!(plexus.daemon.log(), "");
    let text = fs::read_to_string(&file).expect("read the log");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let done = lines
        .iter()
        .find(|line| line["message"] == "done")
        .expect("a line for the call");
    assert_eq!(
        (&done["span"]["pod"], &done["span"]["networks"]),
        (&json!("default/web"), &json!("eth0=pods"))
    );
    assert!(
        done["duration_ms"].is_number() && done["timestamp"].is_string(),
        "{done}"
    );
}

#[test]
fn pods_are_served_if_the_log_file_cannot_be_written() {
    let node = node!();
    let plexus = Plexus::start_with(
        &node,
        json!({"logFile": "/dev/null/plexusd.log", "logToStderr": false}),
    );
    plexus.attached("web", "");
    let log = plexus.daemon.log();
    assert!(
        log.contains("/dev/null/plexusd.log") && log.contains("done"),
        "{log}"
    );
}
