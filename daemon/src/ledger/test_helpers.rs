//! Fixtures for the tests of the ledger.

use std::path::PathBuf;
use std::time::Duration;

use plexus_api::cni::{Defaults, NetworkConfig, Version};
use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{AddLock, ContainerLock, FORMAT, Ledger, LedgerError, PLEXUSD, Planned};
use crate::call_limits::CallLimits;
use crate::model::{Attachment, DefaultRoutes, NetnsId, PodRef, RouteOwner};

/// The boot of all plans.
pub(super) const BOOT: &str = "9d4a1f0e-0000-4000-8000-000000000001";

/// Opens the ledger of a new state directory.
pub(super) fn open() -> (TempDir, Ledger) {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::open(dir.path(), Duration::ZERO).expect("a ledger");
    (dir, ledger)
}

/// The limits of a call that waits for ever.
pub(super) fn no_limits() -> CallLimits {
    CallLimits::background("test", CancellationToken::new())
}

impl Ledger {
    pub(super) async fn wait_for_container(&self, container_id: &str) -> ContainerLock {
        let lock = self.lock_container(container_id, &no_limits()).await;
        lock.expect("no limits")
    }

    pub(super) async fn wait_for_add(
        &self,
        container_id: &str,
        ifname: &str,
    ) -> Result<AddLock, LedgerError> {
        self.lock_for_add(container_id, ifname, &no_limits()).await
    }
}

/// A plan of `count` attachments with a value in every field.
pub(super) fn planned(container_id: &str, ifname: &str, count: usize) -> Planned {
    Planned {
        format: FORMAT,
        plexusd: PLEXUSD.to_owned(),
        container_id: container_id.to_owned(),
        ifname: ifname.to_owned(),
        netns: "/run/netns/a b".to_owned(),
        netns_id: Some(NetnsId {
            dev: 4,
            ino: 4_026_532_190,
            cookie: Some(7),
        }),
        boot_id: BOOT.to_owned(),
        created_unix_ms: 1_700_000_000_123,
        created_boottime_ns: Some(5_000_000_000),
        pod: PodRef {
            namespace: "ns".to_owned(),
            name: "pod".to_owned(),
            uid: "u-1".to_owned(),
            is_static: false,
        },
        cni_path: vec![PathBuf::from("/opt/cni/bin"), PathBuf::from("/usr/lib/cni")],
        executable_path: Some("/sbin".to_owned()),
        attachments: (0..count).map(attachment).collect(),
        default_routes: DefaultRoutes {
            v4: Some(RouteOwner {
                attachment: 0,
                gateway: Some("10.0.0.1".parse().expect("an address")),
            }),
            v6: Some(RouteOwner {
                attachment: 0,
                gateway: None,
            }),
        },
        revision: 0,
    }
}

fn attachment(index: usize) -> Attachment {
    let text = r#"{"cniVersion": "1.0.0", "name": "net", "type": "bridge",
        "exact": 1e400, "layout": {
            "kept": [ 1.50,
                2 ]
        }}"#;
    let config = NetworkConfig::parse(
        text,
        Defaults {
            name: None,
            version: Version::V1_0_0,
        },
    );
    Attachment {
        default: index == 0,
        selected: index > 0,
        cni_args: "IgnoreUnknown=1;K8S_POD_NAME=pod".to_owned(),
        capability_args: [("mac".to_owned(), raw("\"02:00:00:00:00:01\""))].into(),
        ..Attachment::new(
            format!("ns/net{index}"),
            format!("net{index}"),
            config.expect("a network configuration"),
        )
    }
}

pub(super) fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON")
}

/// The number of complete lines.
pub(super) fn line_breaks(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

/// The path of a record.
pub(super) fn record_path(dir: &TempDir, container_id: &str, ifname: &str) -> PathBuf {
    dir.path()
        .join(format!("ledger/{container_id}:{ifname}.jsonl"))
}
