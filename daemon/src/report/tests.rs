use std::fs;
use std::future::ready;

use plexus_api::cni::{Defaults, NetworkConfig, Version};
use serde_json::json;

use super::*;
use crate::telemetry::CapturedLog;

#[tokio::test]
async fn a_status_that_is_too_large_is_reported_and_not_written_beside_manifests() {
    plexus_api::rows!("K-097");
    let dir = tempfile::tempdir().expect("directory");
    let reporter = Reporter::for_manifests(dir.path().to_owned());
    let attachment = Attachment {
        default: true,
        ..Attachment::new(
            "pods",
            "eth0",
            NetworkConfig::parse(
                r#"{"name":"pods","type":"x"}"#,
                Defaults {
                    name: None,
                    version: Version::V1_0_0,
                },
            )
            .expect("a configuration"),
        )
    };
    let domain = "d".repeat(200);
    let interfaces = json!([{"name": "eth0", "sandbox": "/n"}]);
    let dns = json!({"search": vec![domain; 2_000]});
    let result = json!({"cniVersion": "1.0.0", "interfaces": interfaces, "dns": dns}).to_string();
    let result = PluginResult::parse(result.as_bytes(), Version::V1_0_0).expect("a result");
    let sandbox = PodSandbox {
        pod: PodRef {
            namespace: "default".to_owned(),
            name: "p".to_owned(),
            ..PodRef::default()
        },
        container_id: "c".to_owned(),
        ifname: "eth0".to_owned(),
    };
    let content = StatusContent {
        entries: vec![StatusEntry {
            attachment: &attachment,
            result: &result,
            device_info: None,
        }],
        complete: true,
    };

    let log = CapturedLog::start();
    let mut write = reporter
        .write_network_status(
            sandbox.clone(),
            &content,
            Box::new(|| Box::pin(ready(None))),
            Duration::ZERO,
            || true,
        )
        .await;
    assert_eq!(write.done_within(Duration::ZERO, true).await, Ok(()));
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 0);
    let log = log.text();
    for part in ["WARN", "default/p", "NetworkStatusRefused", "256 KiB"] {
        assert!(log.contains(part), "{log}");
    }

    // The file of a newer sandbox of the pod stays.
    manifests::write_status(dir.path(), "default", "p", "[]").expect("write");
    reporter
        .remove_network_status(sandbox, &content, true)
        .await;
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
}
