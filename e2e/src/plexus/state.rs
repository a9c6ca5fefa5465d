//! The state directory of the daemon, and what pods have left behind.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Plexus;
use crate::{CniTarget, NodeWatch, PluginCall, Pod, Sandbox};

const STATE_DIR: &str = "/var/lib/plexus";

impl Plexus<'_> {
    /// The network-status of a pod, if the daemon has written it to the manifests.
    pub fn network_status(&self, pod: &Pod) -> Option<Value> {
        let file = format!("{}.{}.network-status.json", pod.namespace, pod.name);
        let text = fs::read(self.manifests.dir().join(file)).ok()?;
        Some(serde_json::from_slice(&text).expect("network-status is JSON"))
    }

    /// The names in a subdirectory of the state directory, sorted.
    pub fn files(&self, dir: &str) -> Vec<String> {
        self.node.list(Path::new(STATE_DIR).join(dir))
    }

    /// The container of each record.
    pub fn records(&self) -> Vec<String> {
        self.containers_in("ledger")
    }

    /// Waits until there are records of exactly these containers.
    pub fn wait_records(&self, containers: &[&CniTarget]) {
        self.wait_files("ledger", containers);
    }

    /// Waits until the spool has calls of exactly these containers.
    pub fn wait_spool(&self, containers: &[&CniTarget]) {
        self.wait_files("spool", containers);
    }

    fn wait_files(&self, dir: &str, containers: &[&CniTarget]) {
        let mut expected: Vec<_> = containers
            .iter()
            .map(|target| target.container.clone())
            .collect();
        expected.sort();
        NodeWatch::new(self.node, &[Path::new(STATE_DIR).join(dir)])
            .wait_while(|| Some(self.containers_in(dir)).filter(|found| *found != expected));
    }

    fn containers_in(&self, dir: &str) -> Vec<String> {
        self.files(dir)
            .iter()
            .map(|name| name.split(':').next().unwrap_or_default().to_owned())
            .collect()
    }

    /// The content of the only record.
    #[track_caller]
    pub fn record(&self) -> String {
        self.node.read(self.record_path())
    }

    /// Overwrites the only record.
    #[track_caller]
    pub fn write_record(&self, content: &str) {
        self.node.write(self.record_path(), content);
    }

    #[track_caller]
    fn record_path(&self) -> PathBuf {
        let mut records = self.files("ledger");
        // A record that is being replaced has a temporary file beside it.
        records.retain(|name| !name.starts_with('.'));
        assert_eq!(records.len(), 1, "{records:?}");
        Path::new(STATE_DIR).join("ledger").join(&records[0])
    }

    /// Asserts that nothing is left of the pods so far: no record, no network-status, no link in
    /// `sandbox`, no process, and a DEL for each ADD.
    #[track_caller]
    pub fn assert_nothing_left(&self, sandbox: &Sandbox<'_>) {
        assert_eq!(self.files("ledger"), [""; 0], "records");
        let status = fs::read_dir(self.manifests.dir())
            .expect("the manifests")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .find(|file| file.ends_with("network-status.json"));
        assert_eq!(status, None, "network-status");
        assert_eq!(sandbox.link_names(), ["lo"], "links in the sandbox");
        assert_eq!(self.node.processes().len(), 1, "processes besides plexusd");
        let calls = self.node.calls();
        let key = |call: &PluginCall| {
            [
                call.plugin.clone(),
                call.env("CNI_CONTAINERID").to_owned(),
                call.env("CNI_IFNAME").to_owned(),
            ]
        };
        for (index, add) in calls.iter().enumerate() {
            let is_its_del = |call: &PluginCall| call.operation == "DEL" && key(call) == key(add);
            assert!(
                add.operation != "ADD" || calls[index..].iter().any(is_its_del),
                "no DEL follows {} in {:?}",
                add.summary(),
                self.calls()
            );
        }
    }
}
