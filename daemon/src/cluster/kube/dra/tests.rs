use plexus_api::rows;
use serde_json::{Value, json};

use super::*;

fn slice(value: Value) -> Arc<ResourceSlice> {
    let object: SliceObject = serde_json::from_value(value).expect("a slice");
    NodeSlice::from_api(object).expect("valid").0
}

fn slice_of(driver: &str, devices: &Value) -> Arc<ResourceSlice> {
    slice(json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
        "metadata": {"name": "s", "resourceVersion": "7"},
        "spec": {
            "driver": driver, "nodeName": "node-1",
            "pool": {"name": "node-1", "generation": 2, "resourceSliceCount": 1},
            "devices": devices,
        },
    }))
}

#[test]
fn a_slice_keeps_the_two_attributes_of_its_devices() {
    rows!("D-060", "D-061");
    let string = |value: &str| json!({"string": value});
    let slice = slice_of(
        "nic.example.com",
        &json!([
            {"name": "vf-0", "attributes": {
                "k8s.cni.cncf.io/resourceName": string("x/vf"),
                "k8s.cni.cncf.io/deviceID": string("0000:18:02.0"),
                "numaNode": {"int": 1},
            }, "capacity": {"bandwidth": {"value": "10G"}}},
            {"name": "half", "attributes": {"k8s.cni.cncf.io/resourceName": string("x/vf")}},
            {"name": "number", "attributes": {
                "k8s.cni.cncf.io/resourceName": string("x/vf"), "k8s.cni.cncf.io/deviceID": {"int": 7},
            }},
            {"name": "other-domain", "attributes": {"resourceName": string("x/vf"), "deviceID": string("b")}},
            {"name": "gpu", "attributes": {"model": string("g")}},
            {"name": "bare"},
        ]),
    );
    assert_eq!(
        (slice.driver.as_str(), slice.pool.as_str(), slice.generation),
        ("nic.example.com", "node-1", 2)
    );
    let found = slice.devices.iter().filter(|(_, device)| device.is_some());
    assert_eq!(
        found.collect::<Vec<_>>(),
        [(
            &"vf-0".to_owned(),
            &Some(NetworkDevice {
                resource: "x/vf".into(),
                id: "0000:18:02.0".into(),
            })
        )]
    );
    assert_eq!(slice.devices.len(), 6, "the names of all devices are known");
}

#[test]
fn an_attribute_without_a_domain_has_that_of_the_driver() {
    let devices = json!([{"name": "a", "attributes": {
        "resourceName": {"string": "x/vf"}, "k8s.cni.cncf.io/deviceID": {"string": "id"},
    }}]);
    assert!(slice_of("k8s.cni.cncf.io", &devices).devices["a"].is_some());
    assert!(slice_of("x.example.com", &devices).devices["a"].is_none());
}

#[test]
fn a_slice_of_shared_counters_has_no_devices() {
    let slice = slice(json!({"metadata": {"name": "s"}, "spec": {
        "driver": "d", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 2}, "allNodes": true,
        "sharedCounters": [{"name": "c", "counters": {}}],
    }}));
    assert!(slice.devices.is_empty());
}

#[test]
fn a_pod_has_the_claims_that_it_names_and_those_of_its_templates() {
    rows!("D-062", "D-066");
    let pod: v1::Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "uid": "u"},
        "spec": {"containers": [], "resourceClaims": [
            {"name": "a", "resourceClaimName": "direct"},
            {"name": "b", "resourceClaimTemplateName": "t"},
            {"name": "c", "resourceClaimTemplateName": "t"},
        ]},
        "status": {
            "resourceClaimStatuses": [{"name": "b", "resourceClaimName": "p-b-xyz"}, {"name": "c"}],
            "extendedResourceClaimStatus": {"resourceClaimName": "p-extended", "requestMappings": [
                {"containerName": "main", "resourceName": "x/vf", "requestName": "container-0-request-0"},
            ]},
        },
    }))
    .expect("a pod");
    let extended = ExtendedClaim {
        name: "p-extended".into(),
        requests: [("x/vf".into(), "container-0-request-0".into())].into(),
    };
    let expected = PodClaims {
        uid: "u".into(),
        names: ["direct", "p-b-xyz"].map(str::to_owned).into(),
        extended: Some(extended),
    };
    assert_eq!(PodClaims::from(pod), expected);
}

#[test]
fn a_claim_without_allocation_differs_from_one_without_devices() {
    rows!("D-068");
    let devices = |status: Value| {
        let value = json!({"metadata": {"name": "c"}, "status": status});
        let claim: ClaimObject = serde_json::from_value(value).expect("a claim");
        claim.into_claim().devices
    };
    assert_eq!(devices(json!(null)), None);
    assert_eq!(devices(json!({})), None);
    assert_eq!(devices(json!({"allocation": {}})), Some(Vec::new()));
    let result = json!({
        "request": "nic/fast", "driver": "d", "pool": "p", "device": "vf-0", "adminAccess": false,
    });
    let found = devices(json!({"allocation": {"devices": {"results": [result], "config": []}}}));
    let expected = AllocatedDevice {
        request: "nic/fast".into(),
        driver: "d".into(),
        pool: "p".into(),
        device: "vf-0".into(),
        share: None,
        admin_access: Some(false),
    };
    assert_eq!(found, Some(vec![expected]));
}

#[test]
fn devices_for_administrative_access_are_not_the_pods_and_shares_have_their_ids() {
    rows!("D-063");
    let result = |fields: Value| {
        let mut result = json!({"request": "r", "driver": "d", "pool": "p", "device": "nic-0"});
        let fields = fields.as_object().expect("an object").clone();
        result.as_object_mut().expect("an object").extend(fields);
        result
    };
    let results = [
        result(json!({"adminAccess": true})),
        result(json!({"adminAccess": null, "shareID": "s1"})),
        result(json!({"shareID": "s2"})),
    ];
    let value = json!({"metadata": {"name": "c"}, "status": {"allocation": {"devices": {"results": results}}}});
    let claim: ClaimObject = serde_json::from_value(value).expect("a claim");
    let devices = claim.into_claim().devices.expect("an allocation");
    let shares = devices.iter().map(|device| device.share.as_deref());
    assert_eq!(shares.collect::<Vec<_>>(), [Some("s1"), Some("s2")]);
}
