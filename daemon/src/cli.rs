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
}

/// `plexusd serve` and `plexusd uninstall`.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// The node's configuration: the keys of Multus' daemon-config.json and those of Plexus
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// YAML files with pods and network-attachment-definitions, in place of a cluster
    #[arg(long, value_name = "DIR")]
    pub manifests: PathBuf,
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
    /// One line for each sandbox: container, interface, pod, networks, state
    List,
}
