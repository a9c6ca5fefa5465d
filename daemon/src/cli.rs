//! The command line of plexusd.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The node daemon of Plexus, which attaches pods to additional networks
#[derive(Debug, Parser)]
#[command(name = "plexusd", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the calls of the container runtime
    Serve(ServeArgs),
    /// Uninstall Plexus from this node: remove the runtime's configuration, detach pods as they
    /// end, remove the shim
    Uninstall(ServeArgs),
    /// List the attachments of this node, and abandon those that cannot be deleted
    Ledger(LedgerArgs),
    /// Ask the running plexusd for its health; for the probes of a DaemonSet
    Probe(ProbeArgs),
    /// Print the CustomResourceDefinition of network-attachment-definitions, as YAML
    Crd,
    /// Wait for an order of plexusd and execute a CNI plugin; for plexusd itself
    #[command(hide = true)]
    LaunchPlugin,
}

/// `plexusd serve` and `plexusd uninstall`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// The node's configuration: the keys of Multus' daemon-config.json and those of Plexus. With
    /// several files, later files override earlier ones
    #[arg(long, value_name = "FILE", required = true)]
    pub config: Vec<PathBuf>,
    /// A directory of YAML files with pods and network-attachment-definitions, instead of a cluster
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// The kubeconfig of the cluster. Without this option and --manifests, plexusd uses the cluster
    /// that it runs in
    #[arg(long, value_name = "FILE", conflicts_with = "manifests")]
    pub kubeconfig: Option<PathBuf>,
    /// The name of this node in the cluster [env: `NODE_NAME`, `MULTUS_NODE_NAME`]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// The shim to install in `shimDir`. Without this option, the file `plexus` next to plexusd
    #[arg(long, value_name = "FILE")]
    pub shim: Option<PathBuf>,
}

/// `plexusd ledger`.
#[derive(Debug, clap::Args)]
pub struct LedgerArgs {
    /// The state directory, which contains the ledger and the spool
    #[arg(long, value_name = "DIR", default_value = plexus_api::wire::STATE_DIR, global = true)]
    pub state_dir: PathBuf,
    #[command(subcommand)]
    pub command: LedgerCommand,
}

/// `plexusd ledger …`.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Print one line for each sandbox: state, age, container, interface, pod, networks, and the
    /// last DEL error below
    List,
    /// Remove the record of a sandbox without a DEL, if its DEL can never succeed. Its interfaces
    /// and addresses stay on the node
    Abandon {
        /// The container ID, as `ledger list` shows it
        container: String,
        /// The runtime's interface name. Without it, all interfaces of the container are abandoned
        ifname: Option<String>,
        /// The directory of the daemon's socket
        #[arg(long, value_name = "DIR", default_value = plexus_api::wire::SOCKET_DIR)]
        socket_dir: PathBuf,
    },
}

/// `plexusd probe`.
#[derive(Debug, clap::Args)]
pub struct ProbeArgs {
    /// The probe
    pub probe: ProbeKind,
    /// The directory of the daemon's socket
    #[arg(long, value_name = "DIR", default_value = plexus_api::wire::SOCKET_DIR)]
    pub socket_dir: PathBuf,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum ProbeKind {
    /// Whether the daemon responds
    Live,
    /// Whether the daemon can serve ADD. Prints the problems if not
    Ready,
}
