//! Authentication and authorization.

use plexus_apiserver::PolicyRule;
use serde_json::json;

use crate::support::{PODS, client, pod_on, server};

#[test]
fn a_token_is_valid_until_it_is_revoked() {
    let (server, admin) = server();
    let status = admin.with_token(Some("wrong")).get(PODS).expect("response");
    assert_eq!(
        (status.code, &status.json()["reason"]),
        (401, &json!("Unauthorized"))
    );
    let old = server.token("node");
    assert_eq!(server.token("node"), old);
    let new = server.issue_token("node");
    let code = |token: &str| {
        client(&server, "x")
            .with_token(Some(token))
            .get(PODS)
            .expect("response")
            .code
    };
    assert_eq!((code(&old), code(&new)), (200, 200));
    server.revoke_token(&old);
    assert_eq!(code(&old), 401);
    assert_eq!(server.token("node"), new);
    let dir = tempfile::tempdir().expect("temporary directory");
    server.service_account_dir(dir.path(), "node", "kube-system");
    let read = |file: &str| std::fs::read_to_string(dir.path().join(file)).expect("file");
    assert_eq!(
        (read("token"), read("namespace"), read("ca.crt")),
        (new, "kube-system".into(), server.ca_pem().into())
    );
}

#[test]
fn only_health_and_version_are_public() {
    let (server, _) = server();
    let anonymous = || client(&server, "x").with_token(None);
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(anonymous().get(path).expect("response").code, 200, "{path}");
    }
    let refused = anonymous().get(PODS).expect("response");
    let message = "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the \
                   namespace \"default\"";
    assert_eq!(
        (refused.code, &refused.json()["message"]),
        (403, &json!(message))
    );
    assert_eq!(anonymous().get("/apis").expect("response").code, 403);
}

#[test]
fn rules_limit_what_a_user_may_do() {
    let (server, _) = server();
    server.create(&pod_on("a", "n1"));
    let rules: Vec<PolicyRule> = serde_json::from_value(json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["one"]},
    ]))
    .expect("rules as in a ClusterRole");
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
