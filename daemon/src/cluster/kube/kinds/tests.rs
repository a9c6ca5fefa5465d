use kube::core::ObjectList;
use plexus_api::rows;
use serde_json::json;

use super::*;

#[test]
fn of_a_pod_is_kept_what_it_asks_for_and_where_it_is_from() {
    let wire = json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {
            "name": "p", "namespace": "ns", "uid": "u", "resourceVersion": "7",
            "labels": {"app": "x"},
            "annotations": {
                "k8s.v1.cni.cncf.io/networks": "a",
                "v1.multus-cni.io/default-network": "d",
                "kubernetes.io/config.source": "file",
                "kubernetes.io/config.mirror": "h",
                "k8s.v1.cni.cncf.io/network-status": "[…]",
                "kubectl.kubernetes.io/last-applied-configuration": "{…}",
            },
        },
    });
    let pod = Pod::trim(serde_json::from_value(wire).expect("a pod")).expect("valid");
    assert_eq!(
        (pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()),
        ("ns", "p", "u")
    );
    assert_eq!(pod.annotations.len(), 4, "{:?}", pod.annotations);
    assert_eq!(pod.annotations[NETWORKS], "a");
    assert!(pod.is_static());
}

#[test]
fn the_definitions_resource_is_the_specifications() {
    rows!("K-001");
    type Nad = NetworkAttachmentDefinition;
    assert_eq!(
        (Nad::group(&()), Nad::version(&())),
        ("k8s.cni.cncf.io".into(), "v1".into())
    );
    assert_eq!(Nad::kind(&()), "NetworkAttachmentDefinition");
    assert_eq!(
        Nad::url_path(&(), Some("ns")),
        "/apis/k8s.cni.cncf.io/v1/namespaces/ns/network-attachment-definitions"
    );
}

#[test]
fn a_definition_may_lack_its_spec_and_one_that_is_broken_spoils_no_list() {
    rows!("K-002");
    let object = |name: &str, spec: serde_json::Value| {
        json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": "ns", "annotations": {RESOURCE_NAME: "x.org/vf", "other": "1"}},
            "spec": spec,
        })
    };
    let mut bare = object("bare", json!(null));
    bare.as_object_mut().expect("an object").remove("spec");
    let list = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinitionList",
        "metadata": {"resourceVersion": "9"},
        "items": [
            bare,
            object("null", json!(null)),
            object("empty", json!({})),
            object("number", json!({"config": 5})),
            object("text", json!("no object")),
            object("full", json!({"config": "{\"type\":\"bridge\"}", "later": 1})),
        ],
    });
    let list: ObjectList<<Definition as Kind>::Wire> =
        serde_json::from_value(list).expect("a list");
    let trimmed: Vec<_> = list.items.into_iter().map(Definition::trim).collect();
    let known = |name: &str, config: Option<&str>| Definition {
        namespace: "ns".into(),
        name: name.into(),
        config: config.map(str::to_owned),
        resource_name: Some("x.org/vf".into()),
    };
    for (index, name) in ["bare", "null", "empty"].into_iter().enumerate() {
        assert_eq!(trimmed[index], Ok(known(name, None)));
    }
    assert!(
        trimmed[3].as_ref().is_err_and(|why| why.contains("string")),
        "{:?}",
        trimmed[3]
    );
    assert!(trimmed[4].is_err());
    assert_eq!(trimmed[5], Ok(known("full", Some("{\"type\":\"bridge\"}"))));
}
