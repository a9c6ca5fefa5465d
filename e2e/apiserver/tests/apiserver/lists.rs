//! Lists: snapshots, pages, resource versions.

use serde_json::{Value, json};

use crate::support::{DEFINITIONS, PODS, definition, install_crd, names, pod, server};

#[test]
fn pages_belong_to_one_snapshot() {
    let (server, client) = server();
    for name in ["a", "b", "c", "d", "e"] {
        server.create(&pod(name));
    }
    let page = |token: &str| {
        client
            .get(&format!("{PODS}?limit=2&continue={token}"))
            .expect("response")
            .json()
    };
    let first = page("");
    assert_eq!(
        (names(&first), &first["metadata"]["remainingItemCount"]),
        (vec!["a", "b"], &json!(3))
    );
    server.delete("pods", "default", "c");
    server.delete("pods", "default", "a");
    server.create(&pod("bb"));
    server.create(&pod("f"));
    let second = page(
        first["metadata"]["continue"]
            .as_str()
            .expect("continue token"),
    );
    assert_eq!(
        (names(&second), &second["metadata"]["remainingItemCount"]),
        (vec!["c", "d"], &json!(1))
    );
    let third = page(
        second["metadata"]["continue"]
            .as_str()
            .expect("continue token"),
    );
    assert_eq!(names(&third), ["e"]);
    assert!(third["metadata"].get("continue").is_none(), "{third}");
    let versions =
        [&first, &second, &third].map(|page| page["metadata"]["resourceVersion"].clone());
    assert!(
        versions.iter().all(|version| *version == versions[0]),
        "{versions:?}"
    );
    assert_eq!(names(&page("")), ["b", "bb"]);
    // With a selector there is no remainingItemCount.
    let selected = client
        .get(&format!("{PODS}?limit=1&fieldSelector=metadata.name!%3Db"))
        .expect("response")
        .json();
    assert_eq!(selected["metadata"].get("remainingItemCount"), None);
    assert_eq!(
        client
            .get(&format!("{PODS}?limit=1&continue=garbage"))
            .expect("response")
            .code,
        400
    );
}

#[test]
fn a_continue_token_expires_with_its_snapshot() {
    let (server, client) = server();
    for name in ["a", "b", "c"] {
        server.create(&pod(name));
    }
    let first = client
        .get(&format!("{PODS}?limit=1"))
        .expect("response")
        .json();
    let token = first["metadata"]["continue"]
        .as_str()
        .expect("continue token");
    server.compact();
    server.create(&pod("aa"));
    let expired = client
        .get(&format!("{PODS}?limit=1&continue={token}"))
        .expect("response");
    let status = expired.json();
    assert_eq!(
        (expired.code, &status["reason"], &status["code"]),
        (410, &json!("Expired"), &json!(410)),
        "{status}"
    );
    let token = status["metadata"]["continue"]
        .as_str()
        .expect("token to continue at the current resource version");
    let rest = client
        .get(&format!("{PODS}?continue={token}"))
        .expect("response")
        .json();
    assert_eq!(names(&rest), ["aa", "b", "c"]);
}

#[test]
fn a_resource_version_limits_the_age_of_a_list() {
    let (server, client) = server();
    server.create(&pod("a"));
    let old = server.resource_version();
    server.create(&pod("b"));
    server.create(&pod("c"));
    let current = server.resource_version();
    let list = |query: &str| client.get(&format!("{PODS}?{query}")).expect("response");
    for (query, expected) in [
        // kube-apiserver answers this from its watch cache, without pages.
        ("resourceVersion=0&limit=1".to_owned(), vec!["a", "b", "c"]),
        (format!("resourceVersion={old}"), vec!["a", "b", "c"]),
        (
            format!("resourceVersion={old}&resourceVersionMatch=NotOlderThan"),
            vec!["a", "b", "c"],
        ),
        (
            format!("resourceVersion={old}&resourceVersionMatch=Exact"),
            vec!["a"],
        ),
        (format!("resourceVersion={old}&limit=5"), vec!["a"]),
    ] {
        let response = list(&query).json();
        assert_eq!(names(&response), expected, "{query}");
        let version = if expected.len() == 1 { old } else { current };
        assert_eq!(
            response["metadata"]["resourceVersion"],
            version.to_string(),
            "{query}"
        );
    }
    server.compact();
    let expired = list(&format!("resourceVersion={old}&resourceVersionMatch=Exact"));
    assert_eq!(
        (expired.code, &expired.json()["reason"]),
        (410, &json!("Expired"))
    );
}

#[test]
fn invalid_list_options_are_refused() {
    let (server, client) = server();
    server.create(&pod("a"));
    let future = server.resource_version() + 100;
    for (query, code, text) in [
        (
            format!("resourceVersion={future}"),
            504,
            "Too large resource version",
        ),
        ("resourceVersion=x".to_owned(), 400, "Invalid value"),
        (
            "resourceVersionMatch=Exact".to_owned(),
            422,
            "forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact".to_owned(),
            422,
            "forbidden for resourceVersion",
        ),
        (
            "resourceVersion=1&resourceVersionMatch=Newest".to_owned(),
            422,
            "Unsupported value",
        ),
        (
            "sendInitialEvents=true".to_owned(),
            422,
            "sendInitialEvents is forbidden for list",
        ),
    ] {
        let response = client.get(&format!("{PODS}?{query}")).expect("response");
        assert_eq!(response.code, code, "{query}: {}", response.text);
        assert!(
            response.json()["message"]
                .as_str()
                .is_some_and(|message| message.contains(text)),
            "{}",
            response.text
        );
    }
    let get = client
        .get(&format!("{PODS}/a?resourceVersion={future}"))
        .expect("response");
    assert_eq!(
        get.json()["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
}

#[test]
fn items_of_custom_resources_have_kind_and_version() {
    let (server, client) = server();
    install_crd(&server);
    server.create(&pod("a"));
    server.create(&definition("n"));
    let pods = client.get("/api/v1/pods").expect("response").json();
    assert_eq!(
        (&pods["kind"], &pods["apiVersion"]),
        (&json!("PodList"), &json!("v1"))
    );
    assert_eq!(
        (
            pods["items"][0].get("kind"),
            pods["items"][0].get("apiVersion")
        ),
        (None, None)
    );
    let definitions = client.get(DEFINITIONS).expect("response").json();
    assert_eq!(definitions["kind"], "NetworkAttachmentDefinitionList");
    assert_eq!(
        definitions["items"][0]["kind"],
        "NetworkAttachmentDefinition"
    );
    assert_eq!(definitions["items"][0]["apiVersion"], "k8s.cni.cncf.io/v1");
    let empty = client.get("/api/v1/configmaps").expect("response").json();
    assert_eq!(empty["items"], Value::Array(Vec::new()));
}
