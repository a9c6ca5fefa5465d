//! Who may do what, and the record of what was done.

use plexus_apiserver::{AuditEntry, PolicyRule};
use serde_json::json;

use crate::support::{PODS, TIMEOUT, client, pod_on, server};

#[test]
fn a_token_counts_until_it_is_revoked() {
    let (server, admin) = server();
    let status = admin.with_token(Some("wrong")).get(PODS).expect("response");
    assert_eq!(
        (status.code, &status.json()["reason"]),
        (401, &json!("Unauthorized"))
    );
    let old = server.token("node");
    assert_eq!(server.token("node"), old);
    let new = server.issue_token("node");
    for token in [&old, &new] {
        assert_eq!(
            client(&server, "x")
                .with_token(Some(token))
                .get(PODS)
                .expect("response")
                .code,
            200
        );
    }
    server.revoke_token(&old);
    assert_eq!(
        client(&server, "x")
            .with_token(Some(&old))
            .get(PODS)
            .expect("response")
            .code,
        401
    );
    assert_eq!(server.token("node"), new);
    let dir = tempfile::tempdir().expect("a directory");
    server.service_account_dir(dir.path(), "node", "kube-system");
    let read = |file: &str| std::fs::read_to_string(dir.path().join(file)).expect("it is there");
    assert_eq!(
        (read("token"), read("namespace"), read("ca.crt")),
        (new, "kube-system".into(), server.ca_pem().into())
    );
}

#[test]
fn without_a_token_only_health_and_version_are_seen() {
    let (server, _) = server();
    let nobody = || client(&server, "x").with_token(None);
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(nobody().get(path).expect("response").code, 200, "{path}");
    }
    let refused = nobody().get(PODS).expect("response");
    let message = "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the \
                   namespace \"default\"";
    assert_eq!(
        (refused.code, &refused.json()["message"]),
        (403, &json!(message))
    );
    assert_eq!(nobody().get("/apis").expect("response").code, 403);
}

#[test]
fn rules_bound_what_a_user_may_do() {
    let (server, _) = server();
    server.create(&pod_on("a", "n1"));
    let rules: Vec<PolicyRule> = serde_json::from_value(json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["one"]},
    ]))
    .expect("rules as a ClusterRole has them");
    server.restrict("node", rules);
    let node = client(&server, "node");
    let code = |path: &str| node.get(path).expect("response").code;
    assert_eq!(code("/api/v1/pods"), 200);
    assert_eq!(code(&format!("{PODS}/a")), 403);
    assert_eq!(code("/api/v1/namespaces/default/configmaps/one"), 404);
    assert_eq!(code("/api/v1/namespaces/default/configmaps/two"), 403);
    assert_eq!(code("/apis"), 200);
    let annotate = json!({"metadata": {"annotations": {"a": "b"}}});
    assert_eq!(
        node.merge_patch(&format!("{PODS}/a/status"), &annotate)
            .expect("response")
            .code,
        200
    );
    let refused = node
        .merge_patch(&format!("{PODS}/a"), &annotate)
        .expect("response");
    let status = refused.json();
    let message = "pods \"a\" is forbidden: User \"node\" cannot patch resource \"pods\" in API group \"\" in the \
                   namespace \"default\"";
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&json!(403), &json!("Forbidden"))
    );
    assert_eq!(
        (&status["message"], &status["details"]),
        (&json!(message), &json!({"name": "a", "kind": "pods"}))
    );
}

#[test]
fn every_request_is_written_down() {
    let (server, admin) = server();
    server.create(&pod_on("a", "n1"));
    let lines = admin.stream(
        &format!("{PODS}?watch=true&fieldSelector=spec.nodeName%3Dn1"),
        &[("user-agent", "agent/1")],
    );
    let lines = lines.expect("response");
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
    let shown = |entry: &AuditEntry| {
        format!(
            "{} {} {} {:?}",
            entry.summary(),
            entry.path.name,
            entry.user,
            entry.code
        )
    };
    assert_eq!(
        entries.iter().map(shown).collect::<Vec<_>>(),
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
    drop(lines);
    server.wait(TIMEOUT, |entries| entries[0].finished.is_some());
    assert_eq!(server.watches("*"), 0);
}
