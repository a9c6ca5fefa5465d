//! What is there before the play begins: the node's uplink, the examples, the plugins.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use plexus_api::selection;
use plexus_e2e::binaries::{binary, plugin_dir};
use plexus_e2e::{Node, Pod, Sandbox, ip};
use serde_json::{Value, json};

/// The examples of this repository.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples");
/// The plugins without which there is no demo.
const PLUGINS: [&str; 3] = ["bridge", "macvlan", "host-local"];

/// The networks of the examples.
pub const NETWORKS: &str = "\
pods             the default network: bridge, addresses by host-local
default/lan      macvlan on the node's uplink0
default/storage  another bridge of the node";

/// Everything that the play needs.
pub struct Stage {
    /// The directory of the CNI plugins: `binDir` and `CNI_PATH`.
    pub plugins: PathBuf,
    /// The shim.
    pub shim: PathBuf,
    /// The daemon's configuration.
    pub config: Value,
    /// The directory for `--manifests`.
    pub manifests: PathBuf,
    /// The network configuration that the runtime has.
    pub runtime_config: Value,
    /// The pod.
    pub pod: Pod,
    /// Its manifest.
    pub pod_manifest: String,
}

impl Stage {
    /// Sets it up on `node`.
    pub fn set(node: &Node) -> Result<Self> {
        let plugins = plugin_dir(&PLUGINS).map_err(|reason| anyhow!(reason))?;
        node.uplink("uplink0");
        // A copy, because network-status is written beside the manifests.
        let manifests = node.scratch().join("examples");
        copy(Path::new(EXAMPLES), &manifests)?;
        let default_network = manifests.join("default-network.conflist");
        if !plugins.join("portmap").exists() {
            without_portmap(&default_network)?;
        }
        let mut config = read_json(&manifests.join("daemon-config.json"))?;
        config["binDir"] = json!(plugins);
        config["clusterNetwork"] = json!(default_network);
        let pod_manifest = fs::read_to_string(manifests.join("pod.yaml")).context("pod.yaml")?;
        Ok(Self {
            shim: binary("plexus"),
            runtime_config: json!({
                "cniVersion": "1.1.0",
                "name": "plexus",
                "type": "plexus",
                "capabilities": {"io.kubernetes.cri.pod-annotations": true, "portMappings": true},
            }),
            pod: pod(&pod_manifest)?,
            plugins,
            config,
            manifests,
            pod_manifest,
        })
    }

    /// The network-status that the daemon has written for the pod.
    pub fn network_status(&self) -> Result<String> {
        let name = format!(
            "{}.{}.network-status.json",
            self.pod.namespace, self.pod.name
        );
        let path = self.manifests.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }
}

/// The output of `ip` in the sandbox.
pub fn run_in(sandbox: &Sandbox<'_>, arguments: &str) -> Result<String> {
    let output = sandbox
        .run(|| ip::command(arguments).output())
        .context("ip")?;
    ensure!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        fs::copy(&path, to.join(path.file_name().unwrap_or_default()))
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn without_portmap(conflist: &Path) -> Result<()> {
    let mut list = read_json(conflist)?;
    if let Some(plugins) = list["plugins"].as_array_mut() {
        plugins.retain(|plugin| plugin["type"] != "portmap");
    }
    fs::write(conflist, list.to_string()).with_context(|| conflist.display().to_string())
}

fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

/// The pod of the example, as the runtime knows it from kubelet.
fn pod(manifest: &str) -> Result<Pod> {
    let value = |key: &str| {
        let line = manifest
            .lines()
            .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "));
        line.map(str::to_owned)
            .with_context(|| format!("pod.yaml has no {key}"))
    };
    let pod = Pod {
        namespace: value("namespace")?,
        name: value("name")?,
        uid: value("uid")?,
        annotations: [].into(),
    };
    Ok(pod.annotated(selection::NETWORKS, value(selection::NETWORKS)?))
}
