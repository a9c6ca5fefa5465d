//! The audit log.

use plexus_apiserver::AuditEntry;
use serde_json::json;

use crate::support::{PODS, TIMEOUT, pod_on, server};

#[test]
fn every_request_is_in_the_audit_log() {
    let (server, admin) = server();
    server.create(&pod_on("a", "n1"));
    let stream = admin
        .stream(
            &format!("{PODS}?watch=true&fieldSelector=spec.nodeName%3Dn1"),
            &[("user-agent", "agent/1")],
        )
        .expect("response");
    admin
        .merge_patch(
            &format!("{PODS}/a/status"),
            &json!({"status": {"phase": "Running"}}),
        )
        .expect("response");
    admin.get("/api/v1/nodes/none").expect("response");
    admin.get("/version").expect("response");
    admin.with_token(Some("wrong")).get(PODS).expect("response");
    let entries = server.wait(TIMEOUT, |entries| {
        entries.len() == 5 && entries.iter().all(|entry| entry.code.is_some())
    });
    let line = |entry: &AuditEntry| {
        format!(
            "{} {} {} {:?}",
            entry.summary(),
            entry.path.name,
            entry.user,
            entry.code
        )
    };
    assert_eq!(
        entries.iter().map(line).collect::<Vec<_>>(),
        [
            "watch pods  admin Some(200)",
            "patch pods/status a admin Some(200)",
            "get nodes none admin Some(404)",
            "get   admin Some(200)",
            "list pods   Some(401)",
        ]
    );
    let watch = &entries[0];
    assert_eq!(
        (watch.user_agent.as_str(), watch.path.namespace.as_str()),
        ("agent/1", "default")
    );
    assert!(
        watch
            .uri
            .ends_with("?watch=true&fieldSelector=spec.nodeName%3Dn1"),
        "{}",
        watch.uri
    );
    assert_eq!(entries[1].body, "{\"status\":{\"phase\":\"Running\"}}");
    assert!(
        entries[1]
            .finished
            .is_some_and(|end| end >= entries[1].started)
    );
    assert_eq!(
        (
            watch.finished,
            server.watches("pods"),
            server.count("patch", "*")
        ),
        (None, 1, 1)
    );
    drop(stream);
    server.wait(TIMEOUT, |entries| entries[0].finished.is_some());
    assert_eq!(server.watches("*"), 0);
}
