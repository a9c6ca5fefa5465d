//! Lists: snapshots, pages, resource versions, selectors.

use serde_json::{Value, json};

use crate::support::{
    DEFINITIONS, PODS, definition, encoded, labelled, names, pod, pod_on, server, with_definitions,
};

#[test]
fn pages_show_one_snapshot() {
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
            .expect("there is more"),
    );
    assert_eq!(
        (names(&second), &second["metadata"]["remainingItemCount"]),
        (vec!["c", "d"], &json!(1))
    );
    let third = page(
        second["metadata"]["continue"]
            .as_str()
            .expect("there is more"),
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
    // A selection does not know how much is left.
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
fn a_page_whose_snapshot_is_gone_is_refused() {
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
        .expect("there is more");
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
        .expect("a token to go on with what is there");
    let rest = client
        .get(&format!("{PODS}?continue={token}"))
        .expect("response")
        .json();
    assert_eq!(names(&rest), ["aa", "b", "c"]);
}

#[test]
fn a_resource_version_says_how_old_a_list_may_be() {
    let (server, client) = server();
    server.create(&pod("a"));
    let old = server.resource_version();
    server.create(&pod("b"));
    server.create(&pod("c"));
    let (now, far) = (server.resource_version(), server.resource_version() + 100);
    let list = |query: &str| client.get(&format!("{PODS}?{query}")).expect("response");
    for (query, expected) in [
        // From the cache, which knows no pages.
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
        let answer = list(&query).json();
        assert_eq!(names(&answer), expected, "{query}");
        let version = if expected.len() == 1 { old } else { now };
        assert_eq!(
            answer["metadata"]["resourceVersion"],
            version.to_string(),
            "{query}"
        );
    }
    for (query, code, text) in [
        (
            format!("resourceVersion={far}"),
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
        let answer = list(&query);
        assert_eq!(answer.code, code, "{query}: {}", answer.text);
        assert!(
            answer.json()["message"]
                .as_str()
                .is_some_and(|message| message.contains(text)),
            "{}",
            answer.text
        );
    }
    let ahead = client
        .get(&format!("{PODS}/a?resourceVersion={far}"))
        .expect("response");
    assert_eq!(
        ahead.json()["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    server.compact();
    let gone = list(&format!("resourceVersion={old}&resourceVersionMatch=Exact"));
    assert_eq!(
        (gone.code, &gone.json()["reason"]),
        (410, &json!("Expired"))
    );
}

#[test]
fn selectors_select() {
    let (server, client) = server();
    server.create(&labelled("a", &json!({"app": "web", "tier": "1"})));
    server.create(&labelled("b", &json!({"app": "db", "tier": "2"})));
    server.create(&labelled("c", &json!({"app": "db"})));
    server.create(&pod_on("d", "n1"));
    server.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}));
    let mut elsewhere = pod_on("e", "n1");
    elsewhere["metadata"]["namespace"] = "other".into();
    server.create(&elsewhere);
    server.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "d", "namespace": "default"},
        "status": {"phase": "Running"},
    }));
    let list = |parameter: &str, selector: &str| {
        client
            .get(&format!("/api/v1/pods?{parameter}={}", encoded(selector)))
            .expect("response")
    };
    for (selector, expected) in [
        ("app=db", "b c"),
        ("app==db", "b c"),
        ("app!=db", "a d e"),
        ("app=db,tier=2", "b"),
        ("app in (web, db)", "a b c"),
        ("app in (web,db),tier notin (2)", "a c"),
        ("app", "a b c"),
        ("!app", "d e"),
        ("tier>1", "b"),
        ("tier<2", "a"),
        ("", "a b c d e"),
    ] {
        assert_eq!(
            names(&list("labelSelector", selector).json()).join(" "),
            expected,
            "{selector}"
        );
    }
    for (selector, expected) in [
        ("metadata.name=a", "a"),
        ("metadata.name!=a", "b c d e"),
        ("metadata.namespace=other", "e"),
        ("spec.nodeName=n1", "d e"),
        ("spec.nodeName==n1,metadata.namespace=default", "d"),
        ("spec.nodeName=", "a b c"),
        ("status.phase=Running", "d"),
        ("status.phase!=Running,spec.nodeName=n1", "e"),
        ("spec.hostNetwork=false", "a b c d e"),
    ] {
        assert_eq!(
            names(&list("fieldSelector", selector).json()).join(" "),
            expected,
            "{selector}"
        );
    }
    assert_eq!(
        names(
            &client
                .get("/api/v1/namespaces/other/pods")
                .expect("response")
                .json()
        ),
        ["e"]
    );
    for (parameter, selector) in [
        ("fieldSelector", "spec.foo=1"),
        ("fieldSelector", "metadata.name"),
        ("labelSelector", "app in web"),
        ("labelSelector", "a b=c"),
        ("labelSelector", "app in (web"),
    ] {
        assert_eq!(list(parameter, selector).code, 400, "{selector}");
    }
    with_definitions(&server);
    assert_eq!(
        client
            .get(&format!("{DEFINITIONS}?fieldSelector=spec.config%3Dx"))
            .expect("response")
            .code,
        400
    );
}

#[test]
fn lists_have_the_form_of_their_api() {
    let (server, client) = server();
    with_definitions(&server);
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
