use kube::core::ObjectList;
use plexus_api::rows;
use plexus_api::selection::NETWORKS;
use serde_json::json;

use super::*;

#[test]
fn a_pod_keeps_its_network_annotations_and_its_source() {
    let object = json!({
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
    let pod = Pod::from_api(serde_json::from_value(object).expect("a pod")).expect("valid");
    assert_eq!(
        (pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()),
        ("ns", "p", "u")
    );
    assert_eq!(pod.annotations.len(), 4, "{:?}", pod.annotations);
    assert_eq!(pod.annotations[NETWORKS], "a");
    assert!(pod.is_static());
}

#[test]
fn definitions_have_the_group_and_version_of_the_specification() {
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
fn a_list_tolerates_definitions_without_spec_and_broken_ones() {
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
    let list: ObjectList<<Definition as WatchedKind>::Api> =
        serde_json::from_value(list).expect("a list");
    let kept: Vec<_> = list.items.into_iter().map(Definition::from_api).collect();
    let known = |name: &str, config: Option<&str>| Definition {
        namespace: "ns".into(),
        name: name.into(),
        config: config.map(str::to_owned),
        resource_name: Some("x.org/vf".into()),
        ..Definition::default()
    };
    for (index, name) in ["bare", "null", "empty"].into_iter().enumerate() {
        assert_eq!(kept[index], Ok(known(name, None)));
    }
    assert!(
        kept[3].as_ref().is_err_and(|why| why.contains("string")),
        "{:?}",
        kept[3]
    );
    assert!(kept[4].is_err());
    assert_eq!(kept[5], Ok(known("full", Some("{\"type\":\"bridge\"}"))));
}
