//! The command line of plexusd.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Parser, Subcommand};

static VERSION: LazyLock<String> = LazyLock::new(plexus_api::version);

/// The node daemon of Plexus, which attaches pods to additional networks
#[derive(Debug, Parser)]
#[command(name = "plexusd", version = VERSION.as_str())]
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
    /// Print the state of this node: whether it is ready, and if not, why and what to do
    Status(StatusArgs),
    /// List the attachments of this node, and retry or abandon those that cannot be deleted
    Ledger(LedgerArgs),
    /// Check this node, and print what is wrong and what to do
    Doctor(DoctorArgs),
    /// Print what a pod of this node asks for, would get and has, and where these differ
    Inspect(InspectArgs),
    /// Change the log level of the running plexusd, until it is restarted
    #[command(name = "loglevel")]
    LogLevel(LogLevelArgs),
    /// Ask the running plexusd for its health; for the probes of a DaemonSet
    Probe(ProbeArgs),
    /// Check definitions, pods, workloads and configurations for mistakes, without a cluster
    Lint(LintArgs),
    /// Print the networks that pods would get, from files alone
    Plan(PlanArgs),
    /// Print the CustomResourceDefinition of network-attachment-definitions, as YAML
    Crd,
    /// Start CNI plugins for plexusd, which executes this subcommand itself
    #[command(hide = true)]
    LaunchPlugins,
}

/// `plexusd serve` and `plexusd uninstall`.
#[derive(Debug, Clone, clap::Args)]
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

/// `plexusd status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// The directory of the daemon's socket
    #[arg(long, value_name = "DIR", default_value = plexus_api::wire::SOCKET_DIR)]
    pub socket_dir: PathBuf,
    /// The state directory, which is read if no daemon runs
    #[arg(long, value_name = "DIR", default_value = plexus_api::wire::STATE_DIR)]
    pub state_dir: PathBuf,
    /// The format of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: TableFormat,
    /// Print the state again every two seconds, until the command is stopped
    #[arg(short, long)]
    pub watch: bool,
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
    /// Print one line for each record and each spooled DEL, with the number of failed DELs and the
    /// last error
    List(ListArgs),
    /// Remove records without a DEL, if their DEL can never succeed. Their interfaces and addresses
    /// stay on the node
    Abandon(AbandonArgs),
    /// Retry failed DELs at once, without waiting for the backoff
    Retry(RetryArgs),
}

/// `plexusd ledger list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// The format of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: ListFormat,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum ListFormat {
    /// A table
    Text,
    /// A table that also has the UID of the pod and the network namespace
    Wide,
    /// A list of objects
    Json,
}

/// `plexusd ledger abandon`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("records").required(true)))]
pub struct AbandonArgs {
    /// The container ID, as `ledger list` shows it
    #[arg(group = "records")]
    pub container: Option<String>,
    /// The runtime's interface name. Without it, all interfaces of the container are abandoned
    #[arg(requires = "container")]
    pub ifname: Option<String>,
    /// All orphaned records
    #[arg(long, group = "records")]
    pub orphaned: bool,
    /// The records of this pod whose DEL fails
    #[arg(long, value_name = "NAMESPACE/NAME", group = "records")]
    pub pod: Option<String>,
    /// This network in all records whose DEL fails
    #[arg(long, value_name = "NAMESPACE/NAME", group = "records")]
    pub network: Option<String>,
    /// Abandon what --orphaned, --pod or --network selects, instead of only printing it
    #[arg(long)]
    pub yes: bool,
    /// The directory of the daemon's socket
    #[arg(long, value_name = "DIR", default_value = plexus_api::wire::SOCKET_DIR)]
    pub socket_dir: PathBuf,
}

/// `plexusd ledger retry`.
#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    /// The container IDs, as `ledger list` shows them
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    pub containers: Vec<String>,
    /// Retry all failed DELs
    #[arg(long, conflicts_with = "containers")]
    pub all: bool,
    /// The directory of the daemon's socket
    #[arg(long, value_name = "DIR", default_value = plexus_api::wire::SOCKET_DIR)]
    pub socket_dir: PathBuf,
}

/// `plexusd doctor`. The exit code is 0 if everything is in order, 1 if there are only warnings, and
/// 2 if a check has failed.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// The format of the findings
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: TableFormat,
    /// Delete what sandboxes that are gone have left, as far as the ledger proves that it belongs to
    /// Plexus: retries failed DELs
    #[arg(long)]
    pub fix: bool,
}

/// `plexusd inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// The pod
    #[arg(value_name = "NAMESPACE/POD")]
    pub pod: String,
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// The format of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: TableFormat,
}

/// The daemon that a command is about.
#[derive(Debug, Clone, clap::Args)]
pub struct DaemonArgs {
    /// The configuration of the daemon. Without this option, the options of the plexusd that runs
    /// here are used, or /etc/plexus/daemon-config.json if no plexusd runs
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// The directory of manifests of the daemon
    #[arg(long, value_name = "DIR", requires = "config")]
    pub manifests: Option<PathBuf>,
    /// The kubeconfig of the daemon
    #[arg(
        long,
        value_name = "FILE",
        requires = "config",
        conflicts_with = "manifests"
    )]
    pub kubeconfig: Option<PathBuf>,
    /// The name of this node in the cluster
    #[arg(long, value_name = "NAME", requires = "config")]
    pub node_name: Option<String>,
    /// The shim of the daemon
    #[arg(long, value_name = "FILE", requires = "config")]
    pub shim: Option<PathBuf>,
}

/// `plexusd loglevel`.
#[derive(Debug, clap::Args)]
pub struct LogLevelArgs {
    /// A value of `logLevel`, or warn, info, trace or off
    pub level: String,
    /// The directory of the daemon's socket
    #[arg(long, value_name = "DIR", default_value = plexus_api::wire::SOCKET_DIR)]
    pub socket_dir: PathBuf,
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

/// `plexusd plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// A YAML or JSON file with pods, workloads or network-attachment-definitions, or `-` for
    /// standard input. Can be given several times
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The node's configuration, for its restrictions and for the networks of every pod. With
    /// several files, later files override earlier ones
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// The format of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: TableFormat,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum TableFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// `plexusd lint`.
#[derive(Debug, clap::Args)]
pub struct LintArgs {
    /// YAML or JSON files, directories with such files, or `-` for standard input
    #[arg(value_name = "FILE", required_unless_present = "bundle")]
    pub files: Vec<PathBuf>,
    /// Read files from standard input: for each, its length in bytes and its name in a line, then its
    /// content. `kubectl plexus lint` uses this
    #[arg(long, hide = true)]
    pub bundle: bool,
    /// The format of the findings
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: LintFormat,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum LintFormat {
    /// One line each
    Text,
    /// A list of objects
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of a GitHub workflow
    Github,
}
