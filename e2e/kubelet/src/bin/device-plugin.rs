//! A device plugin for kubelet, with devices that do not exist.

use std::path::Path;

use anyhow::Context as _;
use plexus_kubelet::{DevicePlugin, PluginDevice};

const USAGE: &str = "usage: device-plugin KUBELET_DIR RESOURCE DEVICE...
  DEVICE is ID, or ID=NUMA_NODE[,NUMA_NODE...]";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [kubelet_dir, resource, devices @ ..] = args.as_slice() else {
        anyhow::bail!(USAGE);
    };
    let devices: Result<Vec<PluginDevice>, _> = devices.iter().map(|one| one.parse()).collect();
    let plugin = DevicePlugin::new(Path::new(kubelet_dir), resource, devices.context(USAGE)?);
    plugin.run().await
}
