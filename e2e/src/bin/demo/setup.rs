//! The node of the demo: the examples of this repository, the CNI plugins.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use plexus_api::selection;
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::daemon::Source;
use plexus_e2e::{Node, Plexus, Pod, Sandbox, ip, workspace};
use serde_json::{Value, json};

/// The plugins that the demo needs.
const PLUGINS: [&str; 2] = ["bridge", "host-local"];

/// The networks of the examples.
pub const NETWORKS: &str = "\
pods             the default network: bridge, addresses by host-local
default/lan      a bridge of the node
default/storage  another bridge of the node";

/// The node with Plexus. The daemon is not running.
pub struct Setup<'n> {
    pub plexus: Plexus<'n>,
    /// The directory of the CNI plugins: `binDir` and `CNI_PATH`.
    pub plugins: PathBuf,
    /// The directory of the manifests.
    manifests: PathBuf,
    pub pod: Pod,
    pub pod_manifest: String,
}

impl<'n> Setup<'n> {
    pub fn new(node: &'n Node) -> Result<Self> {
        let plugins = plugin_dir(&PLUGINS).map_err(|reason| anyhow!(reason))?;
        // A copy, because network-status is written beside the manifests.
        let manifests = node.scratch().join("examples");
        copy(&workspace::root().join("deploy/examples"), &manifests)?;
        let settings = node.scratch().join("standalone");
        copy(&workspace::root().join("deploy/standalone"), &settings)?;
        let default_network = settings.join("default-network.conflist");
        if !plugins.join("portmap").exists() {
            remove_portmap(&default_network)?;
        }
        let pod_manifest = fs::read_to_string(manifests.join("pod.yaml")).context("pod.yaml")?;
        let mut plexus = Plexus::on(node)
            .config(read_json(&settings.join("daemon-config.json"))?)
            .config(json!({"binDir": plugins, "clusterNetwork": default_network}))
            .source(Source::Manifests(manifests.clone()))
            .build();
        plexus.runtime = plexus.runtime.with_cni_path(plugins.to_string_lossy());
        Ok(Self {
            plexus,
            pod: parse_pod(&pod_manifest)?,
            plugins,
            manifests,
            pod_manifest,
        })
    }

    /// The network-status that the daemon has written for the pod.
    pub fn network_status(&self) -> Result<String> {
        let Pod {
            namespace, name, ..
        } = &self.pod;
        let path = self
            .manifests
            .join(format!("{namespace}.{name}.network-status.json"));
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }
}

/// The output of `ip` in the sandbox.
pub fn run_in(sandbox: &Sandbox<'_>, arguments: &str) -> String {
    let output = sandbox.run(|| ip::command(arguments).output());
    String::from_utf8_lossy(&ip::expect_success(arguments, output).stdout).into_owned()
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

fn remove_portmap(conflist: &Path) -> Result<()> {
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

/// The pod of a manifest.
fn parse_pod(manifest: &str) -> Result<Pod> {
    let value = |key: &str| {
        manifest
            .lines()
            .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "))
            .with_context(|| format!("pod.yaml has no {key}"))
    };
    Ok(Pod::new(value("name")?)
        .in_namespace(value("namespace")?)
        .with_networks(value(selection::NETWORKS)?))
}
