//! Pods during an update, containers that do not run, and the warnings of pods.

use std::fs;

use super::{Kubectl, ONE_POD, exec, expect_error};

const UPDATE: &str = "kube-system plexus-old n1\nkube-system plexus-new n1\n";
const FAILED_UPDATE: &str =
    "kube-system plexus-old n1 \nkube-system plexus-new n1 CrashLoopBackOff\n";

#[test]
fn during_an_update_the_newest_pod_of_a_node_is_used() {
    let kubectl = Kubectl::new(UPDATE);
    let output = kubectl.run(&["status", "n1"]);
    assert!(output.ok(), "{output:?}");
    assert_eq!(
        output.stderr,
        "node n1 has 2 pods of Plexus; using plexus-new\n"
    );
    assert_eq!(kubectl.calls("exec"), [exec("plexus-new", "status")]);
}

#[test]
fn a_pod_whose_container_does_not_run_is_used_only_for_its_log() {
    let kubectl = Kubectl::new(FAILED_UPDATE);
    for arguments in [&["status", "n1"][..], &["status"]] {
        let output = kubectl.run(arguments);
        assert!(output.ok(), "{output:?}");
        let calls = kubectl.calls("exec");
        assert_eq!(calls.last(), Some(&exec("plexus-old", "status")));
    }
    kubectl.run(&["logs", "n1"]);
    assert_eq!(
        kubectl.calls("logs"),
        ["logs|--namespace|kube-system|plexus-new|--container|plexusd"]
    );
    let stopped = Kubectl::new("kube-system plexus-a n1 CrashLoopBackOff\n");
    let words = [
        "plexusd does not run in pod kube-system/plexus-a of node n1 (CrashLoopBackOff)",
        "kubectl plexus logs n1",
    ];
    expect_error(&stopped, &["doctor", "n1"], &words);
    expect_error(&stopped, &["ledger", "n1", "list"], &words);
    let output = stopped.run(&["doctor"]);
    assert_eq!(output.exit, Some(1), "{output:?}");
    for word in words {
        assert!(output.stderr.contains(word), "{word} in {output:?}");
    }
    assert_eq!(stopped.calls("exec"), [""; 0]);
}

#[test]
fn the_inspection_of_a_pod_ends_with_its_newest_warnings() {
    let kubectl = Kubectl::new(ONE_POD);
    kubectl.on(
        "get",
        r#"case $1 in
pod) printf 'uid-1 n1' ;;
events) cat "$dir/events" ;;
*) cat "$dir/pods" ;;
esac"#,
    );
    kubectl.on("exec", "echo inspection");
    let events = "AttachFailed 2026-01-01T10:00:00Z an old error\n\
                  Unhealthy 2026-01-01T10:01:00Z a text of\ntwo lines\n\
                  AttachFailed 2026-01-01T10:02:00Z the last error\n";
    fs::write(kubectl.path("events"), events).expect("write the events");
    let output = kubectl.run(&["inspect", "prod/web"]);
    assert!(output.ok(), "{output:?}");
    assert_eq!(
        output.stdout,
        "inspection\n\nWarnings\n  2026-01-01T10:01:00Z Unhealthy: a text of\n  \
         2026-01-01T10:02:00Z AttachFailed: the last error\n"
    );
    let calls = kubectl.calls("get|events|--namespace|prod|");
    assert!(
        calls[0].contains("|involvedObject.uid=uid-1,type=Warning|"),
        "{calls:?}"
    );
    let output = kubectl.run(&["inspect", "prod/web", "-o", "json"]);
    assert_eq!(output.stdout, "inspection\n");
    fs::remove_file(kubectl.path("events")).expect("remove the events");
    let output = kubectl.run(&["inspect", "prod/web"]);
    assert!(output.ok(), "events that cannot be read: {output:?}");
    assert_eq!((&*output.stdout, &*output.stderr), ("inspection\n", ""));
}
