use std::fs;

use plexus_api::rows;
use tokio::runtime::Handle;

use super::*;
use crate::host::HostRoot;

const TEXT: &str = r#"{
    "Data": {
        "PodDeviceEntries": [
            {"PodUID": "u1", "ContainerName": "a", "ResourceName": "x/vf",
             "DeviceIDs": {"0": ["d1", "d2"], "1": ["d1"]}, "AllocResp": "Eg=="},
            {"PodUID": "u2", "ContainerName": "a", "ResourceName": "x/vf", "DeviceIDs": {"-1": ["d3"]}},
            {"PodUID": "u1", "ContainerName": "b", "ResourceName": "x/vf", "DeviceIDs": {"1": ["d2", "d0"]}},
            {"PodUID": "u1", "ContainerName": "b", "ResourceName": "x/gpu", "DeviceIDs": {"0": ["g"]}},
            {"PodUID": "u1", "ContainerName": "c", "ResourceName": "x/none", "DeviceIDs": {"0": null}},
            {"PodUID": "u1", "ContainerName": "c", "ResourceName": "x/none", "DeviceIDs": null}
        ],
        "RegisteredDevices": {"x/vf": ["d0", "d1"], "x/free": ["f"]}
    },
    "Checksum": 1234
}"#;

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn the_devices_of_a_pod_are_those_of_its_uid_each_of_them_once() {
    rows!("D-050");
    let checkpoint = parse(TEXT.as_bytes(), "u1").expect("a checkpoint");
    let expected = [("x/gpu", set(&["g"])), ("x/vf", set(&["d0", "d1", "d2"]))];
    let expected = expected.map(|(resource, ids)| (resource.to_owned(), ids));
    assert_eq!(checkpoint.by_resource, BTreeMap::from(expected));
    assert_eq!(checkpoint.node_resources, set(&["x/free", "x/vf"]));
    let other = parse(TEXT.as_bytes(), "u3").expect("a checkpoint");
    assert_eq!(other.by_resource, BTreeMap::new());
}

#[test]
fn keys_match_in_any_case_and_missing_keys_are_empty() {
    let text = r#"{"data":{"poddeviceentries":[{"podUid":"u","resourcename":"r","deviceIds":{"0":["d"]}}]}}"#;
    let checkpoint = parse(text.as_bytes(), "u").expect("a checkpoint");
    assert_eq!(checkpoint.by_resource["r"], set(&["d"]));
    for empty in ["{}", r#"{"Data":null}"#, r#"{"Data":{}}"#] {
        let checkpoint = parse(empty.as_bytes(), "u").expect(empty);
        assert_eq!(checkpoint, Checkpoint::default(), "{empty}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_checkpoint_is_an_error_of_one_line() {
    let host = Host::start(Handle::current(), HostRoot::Own).expect("a host");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("checkpoint");
    let error = read(&host, &path, "u").await.expect_err("missing");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    for (text, expected) in [
        ("", "not a JSON object"),
        (r#"{"Data":[]}"#, "Data has another type"),
        (
            r#"{"Data":{"PodDeviceEntries":[{"PodUID":7}]}}"#,
            "PodUID has another type",
        ),
    ] {
        fs::write(&path, text).expect("a file");
        let error = read(&host, &path, "u").await.expect_err(text).to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
    let large = fs::File::create(&path).expect("a file");
    large.set_len(MAX_FILE + 1).expect("a large file");
    let error = read(&host, &path, "u").await.expect_err("too large");
    assert!(regular_file::is_unusable(&error), "{error}");
}
