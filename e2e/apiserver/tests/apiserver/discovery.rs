//! Discovery, and content negotiation.

use serde_json::json;

use crate::support::{PODS, install_crd, pod, server};

#[test]
fn discovery_lists_the_served_resources() {
    let (server, client) = server();
    let get = |path: &str| client.get(path).expect("response").json();
    assert_eq!(get("/api")["versions"], json!(["v1"]));
    assert!(
        get("/version")["gitVersion"]
            .as_str()
            .is_some_and(|version| version.starts_with("v1."))
    );
    let names = |list: &serde_json::Value| {
        let resources = list["resources"].as_array().expect("resources").iter();
        resources
            .filter_map(|resource| resource["name"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let core = names(&get("/api/v1"));
    assert!(
        ["pods", "pods/status", "events", "namespaces"]
            .iter()
            .all(|name| core.iter().any(|listed| listed == name))
    );
    let group = |list: &serde_json::Value| {
        let groups = list["groups"].as_array().expect("groups");
        groups
            .iter()
            .find(|group| group["name"] == "k8s.cni.cncf.io")
            .cloned()
    };
    assert_eq!(group(&get("/apis")), None);
    install_crd(&server);
    let version = json!({"groupVersion": "k8s.cni.cncf.io/v1", "version": "v1"});
    let expected =
        json!({"name": "k8s.cni.cncf.io", "versions": [version], "preferredVersion": version});
    assert_eq!(group(&get("/apis")), Some(expected));
    assert_eq!(get("/apis/k8s.cni.cncf.io")["kind"], "APIGroup");
    assert_eq!(
        names(&get("/apis/k8s.cni.cncf.io/v1")),
        ["network-attachment-definitions"]
    );
}

#[test]
fn the_first_supported_media_type_is_used() {
    let (server, client) = server();
    server.create(&pod("a"));
    let get = |path: &str, accept: &str| {
        client
            .send("GET", path, &[("accept", accept)], None)
            .expect("response")
    };
    for accept in [
        "application/vnd.kubernetes.protobuf,application/json",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "*/*",
    ] {
        assert_eq!(get(PODS, accept).json()["kind"], "PodList", "{accept}");
    }
    let refused = get(PODS, "application/vnd.kubernetes.protobuf");
    assert_eq!(
        (refused.code, &refused.json()["reason"]),
        (406, &json!("NotAcceptable"))
    );
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    assert_eq!(get("/apis", aggregated).code, 406);
    assert_eq!(
        get("/apis", &format!("{aggregated},application/json")).json()["kind"],
        "APIGroupList"
    );
}
