//! The command line of plexusd.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Attaches pods to many networks.
#[derive(Debug, Parser)]
#[command(name = "plexusd", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What plexusd does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the calls of the container runtime
    Serve(Serve),
    /// Leave this node: withdraw the runtime's configuration, delete what is attached as its pods end, remove the shim
    Uninstall(Serve),
    /// Look at what is attached on this node, and give up what cannot be detached
    Ledger(LedgerArgs),
    /// Ask the running plexusd whether it is well; for the probes of a DaemonSet
    Probe(Probe),
    /// Print the CustomResourceDefinition of network-attachment-definitions, as YAML
    Crd,
}

/// `plexusd serve` and `plexusd uninstall`.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// The node's configuration: the keys of Multus' daemon-config.json and those of Plexus. Of several files the keys of
    /// the later ones win
    #[arg(long, value_name = "FILE", required = true)]
    pub config: Vec<PathBuf>,
    /// YAML files with pods and network-attachment-definitions, in place of a cluster
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// The cluster to serve, from outside it; without this and --manifests it is the one that plexusd runs in
    #[arg(long, value_name = "FILE", conflicts_with = "manifests")]
    pub kubeconfig: Option<PathBuf>,
    /// The name by which the cluster knows this node [env: `NODE_NAME`, `MULTUS_NODE_NAME`]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// The shim that is installed where `shimDir` says so; without this, the file `plexus` beside plexusd
    #[arg(long, value_name = "FILE")]
    pub shim: Option<PathBuf>,
}

/// `plexusd ledger`.
#[derive(Debug, clap::Args)]
pub struct LedgerArgs {
    /// Where ledger and spool are
    #[arg(long, value_name = "DIR", default_value = plexus_api::wire::STATE_DIR, global = true)]
    pub state_dir: PathBuf,
    /// What to do with it.
    #[command(subcommand)]
    pub command: LedgerCommand,
}

/// `plexusd ledger …`.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// One line for each sandbox: state, age, container, interface, pod, networks; then what its DEL says
    List,
    /// Forget a sandbox without a DEL. What it has on the node stays there; for one whose DEL can never succeed
    Abandon {
        /// The container ID, as `ledger list` shows it
        container: String,
        /// The runtime's interface; all of the container without it
        ifname: Option<String>,
        /// Where the daemon's socket is
        #[arg(long, value_name = "DIR", default_value = plexus_api::wire::SOCKET_DIR)]
        socket_dir: PathBuf,
    },
}

/// `plexusd probe`.
#[derive(Debug, clap::Args)]
pub struct Probe {
    /// What to ask.
    pub what: ProbeWhat,
    /// Where the daemon's socket is
    #[arg(long, value_name = "DIR", default_value = plexus_api::wire::SOCKET_DIR)]
    pub socket_dir: PathBuf,
}

/// What a probe asks.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum ProbeWhat {
    /// Does it answer?
    Live,
    /// Can it serve ADD? What it lacks is told otherwise
    Ready,
}
