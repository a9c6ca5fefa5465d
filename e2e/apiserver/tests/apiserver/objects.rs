//! Objects: how they are made, changed and removed.

use plexus_apiserver::{Client, ClientResponse, network_attachment_definition_crd};
use serde_json::{Value, json};

use crate::support::{DEFINITIONS, PODS, definition, pod, pod_on, server, with_definitions};

fn expect(answer: &ClientResponse, code: u16, reason: &str, text: &str) {
    let status = answer.json();
    assert_eq!(
        (answer.code, &status["code"]),
        (code, &json!(code)),
        "{status}"
    );
    assert_eq!(
        (&status["kind"], &status["reason"]),
        (&json!("Status"), &json!(reason)),
        "{status}"
    );
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|message| message.contains(text)),
        "{status}"
    );
}

fn patch(client: &Client, path: &str, media_type: &str, patch: &Value) -> ClientResponse {
    client
        .send(
            "PATCH",
            path,
            &[],
            Some((media_type, patch.to_string().as_bytes())),
        )
        .expect("response")
}

#[test]
fn what_is_created_gets_what_the_server_gives() {
    let (_server, client) = server();
    let mut body = pod("a");
    body["metadata"]["uid"] = "mine".into();
    body["status"] = json!({"phase": "Running"});
    let created = client.post(PODS, &body).expect("response");
    assert_eq!(created.code, 201);
    let object = created.json();
    let metadata = &object["metadata"];
    assert_eq!(metadata["uid"].as_str().map(str::len), Some(36));
    assert!(
        metadata["creationTimestamp"]
            .as_str()
            .is_some_and(|time| time.len() == 20 && time.ends_with('Z'))
    );
    assert!(
        metadata["resourceVersion"]
            .as_str()
            .is_some_and(|version| version.parse::<u64>().is_ok())
    );
    assert_eq!(
        object["status"]["phase"], "Pending",
        "the status is the server's"
    );
    let mut body = pod("");
    body["metadata"] = json!({"generateName": "gen-"});
    let names = [(); 2]
        .map(|()| client.post(PODS, &body).expect("response").json()["metadata"]["name"].clone());
    assert!(names.iter().all(|name| {
        name.as_str()
            .is_some_and(|name| name.len() == 9 && name.starts_with("gen-"))
    }));
    assert_ne!(names[0], names[1]);
}

#[test]
fn what_cannot_be_created_is_refused_in_kubernetes_words() {
    let (server, client) = server();
    with_definitions(&server);
    server.create(&pod("a"));
    let post = |path: &str, body: &Value| client.post(path, body).expect("response");
    let with = |pointer: &str, value: Value| {
        let mut body = pod("b");
        *body.pointer_mut(pointer).expect("the pod has it") = value;
        body
    };
    expect(
        &post(PODS, &pod("a")),
        409,
        "AlreadyExists",
        "pods \"a\" already exists",
    );
    expect(
        &post(
            "/api/v1/namespaces/none/pods",
            &with("/metadata/namespace", Value::Null),
        ),
        404,
        "NotFound",
        "namespaces \"none\" not found",
    );
    expect(
        &post(PODS, &with("/metadata/namespace", json!("kube-system"))),
        400,
        "BadRequest",
        "does not match the namespace",
    );
    expect(
        &post(PODS, &with("/metadata/name", Value::Null)),
        422,
        "Invalid",
        "name or generateName is required",
    );
    expect(
        &post(PODS, &with("/metadata/name", json!("Up_"))),
        422,
        "Invalid",
        "RFC 1123",
    );
    expect(
        &post(PODS, &with("/spec/containers", json!([]))),
        422,
        "Invalid",
        "spec.containers: Required value",
    );
    expect(
        &post(PODS, &with("/kind", json!("Node"))),
        400,
        "BadRequest",
        "cannot be handled as a Pod",
    );
    expect(
        &post(PODS, &with("/apiVersion", json!("v2"))),
        400,
        "BadRequest",
        "does not match the expected API version",
    );
    expect(
        &post(
            PODS,
            &with("/metadata", json!({"name": "b", "annotations": {"k": 1}})),
        ),
        400,
        "BadRequest",
        "cannot unmarshal number",
    );
    let long = "x".repeat(256 * 1024);
    expect(
        &post(
            PODS,
            &with(
                "/metadata",
                json!({"name": "b", "annotations": {"k": long}}),
            ),
        ),
        422,
        "Invalid",
        "Too long",
    );
    expect(
        &post(&format!("{PODS}/b"), &pod("b")),
        405,
        "MethodNotAllowed",
        "",
    );
    expect(
        &post("/api/v1/pods", &pod("b")),
        405,
        "MethodNotAllowed",
        "",
    );
    let huge = client
        .post(PODS, &with("/metadata/name", json!("x".repeat(4 << 20))))
        .expect("response");
    expect(&huge, 413, "RequestEntityTooLarge", "");
    let send = |media_type: &str, body: &[u8]| {
        client
            .send("POST", PODS, &[], Some((media_type, body)))
            .expect("response")
    };
    expect(
        &send("application/vnd.kubernetes.protobuf", b"k8s\0"),
        415,
        "UnsupportedMediaType",
        "accepted media types",
    );
    expect(&send("application/json", b"{"), 400, "BadRequest", "");
    assert_eq!(server.list("pods").len(), 1, "nothing was made");
}

#[test]
fn a_path_that_nobody_serves_is_no_status() {
    let (server, client) = server();
    for path in [
        DEFINITIONS.to_owned(),
        "/apis/k8s.cni.cncf.io/v1".into(),
        "/api/v1/nothings".into(),
        "/api/v2/pods".into(),
        "/api/v1/pods/a".into(),
        "/api/v1/namespaces/default/nodes".into(),
        format!("{PODS}/a/nothing"),
        "/nothing".into(),
    ] {
        let answer = client.get(&path).expect("response");
        assert_eq!(
            (answer.code, answer.text.as_str()),
            (404, "404 page not found\n"),
            "{path}"
        );
    }
    with_definitions(&server);
    let answer = client
        .get(&format!("{DEFINITIONS}/none"))
        .expect("response");
    expect(
        &answer,
        404,
        "NotFound",
        "network-attachment-definitions.k8s.cni.cncf.io \"none\" not found",
    );
    let details = json!({"name": "none", "group": "k8s.cni.cncf.io", "kind": "network-attachment-definitions"});
    assert_eq!(answer.json()["details"], details);
    expect(
        &client.get(&format!("{PODS}/none")).expect("response"),
        404,
        "NotFound",
        "pods \"none\" not found",
    );
}

#[test]
fn an_update_must_know_what_it_replaces() {
    let (server, client) = server();
    with_definitions(&server);
    let first = server.create(&pod("a"));
    let path = format!("{PODS}/a");
    let put = |body: &Value| client.put(&path, body).expect("response");
    let with = |key: &str, value: Value| {
        let mut body = first.clone();
        body["metadata"][key] = value;
        body
    };
    let second = put(&with("labels", json!({"x": "1"})));
    assert_eq!(
        (second.code, &second.json()["metadata"]["labels"]["x"]),
        (200, &json!("1"))
    );
    expect(
        &put(&with("labels", json!({"x": "2"}))),
        409,
        "Conflict",
        "the object has been modified",
    );
    let mut unchanged = second.json();
    unchanged["metadata"]["resourceVersion"].take();
    let again = put(&unchanged).json();
    assert_eq!(
        again["metadata"]["resourceVersion"],
        second.json()["metadata"]["resourceVersion"],
        "nothing changed"
    );
    expect(
        &put(&with("uid", json!("other"))),
        409,
        "Conflict",
        "Precondition failed: UID in precondition: other",
    );
    expect(
        &put(&with("name", json!("b"))),
        400,
        "BadRequest",
        "does not match the name on the URL",
    );
    let mut moved = second.json();
    moved["spec"]["nodeName"] = "n1".into();
    expect(
        &put(&moved),
        422,
        "Invalid",
        "pod updates may not change fields",
    );
    expect(
        &client
            .put(&format!("{PODS}/none"), &pod("none"))
            .expect("response"),
        404,
        "NotFound",
        "",
    );
    server.create(&definition("n"));
    let blind = client
        .put(&format!("{DEFINITIONS}/n"), &definition("n"))
        .expect("response");
    expect(&blind, 422, "Invalid", "must be specified for an update");
}

#[test]
fn patches_of_each_type_are_applied_or_refused() {
    let (server, client) = server();
    with_definitions(&server);
    let mut body = pod("a");
    body["metadata"]["annotations"] = json!({"keep": "1", "drop": "1"});
    server.create(&body);
    server.create(&definition("n"));
    let (pod, custom) = (format!("{PODS}/a"), format!("{DEFINITIONS}/n"));
    let annotations = |answer: &ClientResponse| answer.json()["metadata"]["annotations"].clone();
    let (merge, json_patch, strategic) = (
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/strategic-merge-patch+json",
    );
    let merged = patch(
        &client,
        &pod,
        merge,
        &json!({"metadata": {"annotations": {"drop": null, "new": "2"}}}),
    );
    assert_eq!(annotations(&merged), json!({"keep": "1", "new": "2"}));
    let operations = json!([
        {"op": "test", "path": "/metadata/annotations/new", "value": "2"},
        {"op": "add", "path": "/metadata/annotations/a~1b", "value": "3"},
        {"op": "remove", "path": "/metadata/annotations/new"},
    ]);
    assert_eq!(
        annotations(&patch(&client, &pod, json_patch, &operations)),
        json!({"keep": "1", "a/b": "3"})
    );
    let failed = patch(&client, &pod, json_patch, &operations);
    expect(
        &failed,
        422,
        "Invalid",
        "the server rejected our request due to an error in our request",
    );
    let note = json!({"metadata": {"annotations": {"s": "4"}}});
    assert_eq!(
        annotations(&patch(&client, &pod, strategic, &note))["s"],
        "4"
    );
    let lists = json!({"spec": {"containers": [{"name": "main", "image": "new"}]}});
    expect(
        &patch(&client, &pod, strategic, &lists),
        415,
        "UnsupportedMediaType",
        "",
    );
    expect(
        &patch(&client, &custom, strategic, &note),
        415,
        "UnsupportedMediaType",
        "merge-patch+json",
    );
    expect(
        &patch(&client, &pod, "application/apply-patch+yaml", &note),
        415,
        "UnsupportedMediaType",
        "",
    );
    expect(
        &patch(&client, &pod, "application/json", &note),
        415,
        "UnsupportedMediaType",
        "",
    );
    expect(
        &patch(&client, &format!("{PODS}/none"), merge, &note),
        404,
        "NotFound",
        "pods \"none\" not found",
    );
    let old = json!({"metadata": {"resourceVersion": "2", "annotations": {"x": "1"}}});
    expect(
        &patch(&client, &pod, merge, &old),
        409,
        "Conflict",
        "the object has been modified",
    );
    let other = json!({"metadata": {"uid": "other"}});
    expect(
        &patch(&client, &custom, merge, &other),
        422,
        "Invalid",
        "metadata.uid: Invalid value: \"other\": field is immutable",
    );
    expect(
        &patch(&client, &pod, merge, &json!({"metadata": {"name": "b"}})),
        400,
        "BadRequest",
        "",
    );
    expect(
        &patch(&client, &pod, merge, &json!([])),
        400,
        "BadRequest",
        "",
    );
    let again = patch(
        &client,
        &custom,
        merge,
        &json!({"spec": {"config": "{\"a\":1}"}}),
    )
    .json();
    assert_eq!(
        (&again["spec"]["config"], &again["metadata"]["generation"]),
        (&json!("{\"a\":1}"), &json!(2))
    );
}

#[test]
fn a_taint_is_removed_from_where_it_is_or_not_at_all() {
    let (server, client) = server();
    let taints = json!([{"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "NoExecute"}]);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {"taints": taints, "podCIDR": "c"}});
    server.create(&node);
    let remove = |index: usize, key: &str| {
        let operations = json!([
            {"op": "test", "path": format!("/spec/taints/{index}/key"), "value": key},
            {"op": "remove", "path": format!("/spec/taints/{index}")},
        ]);
        patch(
            &client,
            "/api/v1/nodes/n",
            "application/json-patch+json",
            &operations,
        )
    };
    // Another is there, or none, or there are none at all.
    for (index, key) in [(0, "b"), (2, "b")] {
        expect(&remove(index, key), 422, "Invalid", "");
    }
    assert_eq!(
        server.get("nodes", "", "n").expect("it is there")["spec"]["taints"],
        taints
    );
    assert_eq!(
        remove(0, "a").json()["spec"]["taints"],
        json!([{"key": "b", "effect": "NoExecute"}])
    );
    assert_eq!(remove(0, "b").json()["spec"], json!({"podCIDR": "c"}));
    expect(&remove(0, "b"), 422, "Invalid", "");
}

#[test]
fn a_delete_takes_its_time_and_its_conditions() {
    let (server, client) = server();
    with_definitions(&server);
    let send = |path: &str, options: &Value| {
        client
            .send(
                "DELETE",
                path,
                &[],
                Some(("application/json", options.to_string().as_bytes())),
            )
            .expect("response")
    };
    server.create(&pod_on("a", "n1"));
    let path = format!("{PODS}/a");
    expect(
        &send(&path, &json!({"preconditions": {"uid": "other"}})),
        409,
        "Conflict",
        "the UID in the precondition (other)",
    );
    // Kubelet has to say that it has ended.
    let ending = client.delete(&path).expect("response").json();
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    let gone = client
        .delete(&format!("{path}?gracePeriodSeconds=0"))
        .expect("response");
    assert_eq!((gone.code, &gone.json()["kind"]), (200, &json!("Pod")));
    expect(
        &client.delete(&path).expect("response"),
        404,
        "NotFound",
        "",
    );
    // Nobody runs a pod that is bound to no node.
    server.create(&pod("b"));
    client.delete(&format!("{PODS}/b")).expect("response");
    assert_eq!(server.get("pods", "default", "b"), None);

    let mut held = definition("n");
    held["metadata"]["finalizers"] = json!(["example.com/held"]);
    server.create(&held);
    let path = format!("{DEFINITIONS}/n");
    assert!(
        client.delete(&path).expect("response").json()["metadata"]["deletionTimestamp"].is_string()
    );
    assert_eq!(client.get(&path).expect("response").code, 200);
    client
        .merge_patch(&path, &json!({"metadata": {"finalizers": null}}))
        .expect("response");
    assert_eq!(client.get(&path).expect("response").code, 404);
    server.create(&definition("n"));
    let status = client.delete(&path).expect("response").json();
    assert_eq!(
        (&status["kind"], &status["status"]),
        (&json!("Status"), &json!("Success"))
    );
}

#[test]
fn many_go_at_once() {
    let (server, client) = server();
    with_definitions(&server);
    for name in ["a", "b", "c"] {
        server.create(&pod(name));
    }
    let gone = client
        .delete(&format!("{PODS}?fieldSelector=metadata.name!%3Db"))
        .expect("response");
    assert_eq!((gone.code, &gone.json()["kind"]), (200, &json!("PodList")));
    assert_eq!(server.list("pods").len(), 1);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}});
    assert_eq!(
        client
            .post("/api/v1/namespaces", &namespace)
            .expect("response")
            .code,
        201
    );
    for mut object in [pod_on("a", "n1"), definition("n")] {
        object["metadata"]["namespace"] = "other".into();
        server.create(&object);
    }
    client.delete("/api/v1/namespaces/other").expect("response");
    assert_eq!(
        (
            server.list("pods").len(),
            server
                .list("network-attachment-definitions.k8s.cni.cncf.io")
                .len()
        ),
        (1, 0)
    );
}

#[test]
fn events_are_the_same_in_both_apis() {
    let (_server, client) = server();
    let new = "/apis/events.k8s.io/v1/namespaces/default/events";
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"generateName": "p-"},
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}, "note": "what happened",
        "type": "Normal", "reason": "AddedInterface", "action": "Add", "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "plexusd", "reportingInstance": "n1",
    });
    assert_eq!(client.post(new, &event).expect("response").code, 201);
    let old = client
        .get("/api/v1/events?fieldSelector=involvedObject.name%3Dp")
        .expect("response")
        .json();
    assert_eq!(
        (
            &old["items"][0]["message"],
            &old["items"][0]["reportingComponent"]
        ),
        (&json!("what happened"), &json!("plexusd"))
    );
    let shown = client
        .get(&format!("{new}?fieldSelector=regarding.name%3Dp"))
        .expect("response")
        .json();
    assert_eq!(
        (
            &shown["items"][0]["note"],
            &shown["items"][0]["regarding"]["name"]
        ),
        (&json!("what happened"), &json!("p"))
    );
    let wrong = |event: Value| client.post(new, &event).expect("response");
    for (member, value, text) in [
        ("eventTime", Value::Null, "eventTime: Required value"),
        ("reason", Value::Null, "reason: Required value"),
        ("note", json!("x".repeat(1025)), "at most 1024"),
        ("type", json!("Odd"), "type: Invalid value"),
        (
            "regarding",
            json!({"kind": "Pod", "namespace": "other", "name": "p"}),
            "does not match event.namespace",
        ),
    ] {
        let mut event = event.clone();
        event[member] = value;
        expect(&wrong(event), 422, "Invalid", text);
    }
    let core = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "Any", "message": "m", "count": 1,
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}, "type": "Warning",
    });
    assert_eq!(
        client
            .post("/api/v1/namespaces/default/events", &core)
            .expect("response")
            .code,
        201
    );
    let counted = patch(
        &client,
        "/api/v1/namespaces/default/events/e",
        "application/strategic-merge-patch+json",
        &json!({"count": 2}),
    );
    assert_eq!((counted.code, &counted.json()["count"]), (200, &json!(2)));
}

#[test]
fn a_definition_must_be_named_after_what_it_defines() {
    let (_server, client) = server();
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let mut wrong = network_attachment_definition_crd();
    wrong["metadata"]["name"] = "nets.example.com".into();
    expect(
        &client.post(path, &wrong).expect("response"),
        422,
        "Invalid",
        "must be spec.names.plural",
    );
    let made = client
        .post(path, &network_attachment_definition_crd())
        .expect("response")
        .json();
    assert_eq!(
        made["status"]["acceptedNames"]["kind"],
        "NetworkAttachmentDefinition"
    );
    assert_eq!(client.get(DEFINITIONS).expect("response").code, 200);
}
