//! The order of steps of each verb. The only room that knows the rooms below it.
//!
//! DEL, CHECK and GC start from the ledger and never ask the API server.

mod add;
mod adopt;
mod call;
mod check;
mod del;
mod gauges;
mod gc;
mod installation;
mod network_status;
mod rebuild;
mod recover;
mod round_trip;
mod routes;
mod shares;
mod status;
mod undo;

use std::sync::Arc;

use plexus_api::cni::{CniError, Verb};
use plexus_api::wire::Request;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::cluster::Store;
use crate::cluster::kube::Live;
use crate::config::{Fields, Settings};
use crate::delegate::Delegates;
use crate::gather::primary::Primary;
use crate::host::{Host, Hosts};
use crate::install::Status;
use crate::ledger::Ledger;
use crate::report::Reporter;
use crate::telemetry::Metrics;
use call::Incoming;
pub use recover::{Leftover, Reason};
pub use status::Availability;

/// All that the verbs work with; one for the daemon's life.
#[derive(Debug)]
pub struct Verbs {
    /// The keys of the daemon's own file, which win over those of a call.
    pub file: Fields,
    /// The daemon's configuration, from its file alone.
    pub settings: Settings,
    /// What is attached.
    pub ledger: Ledger,
    /// The default network.
    pub primary: Primary,
    /// What is installed on the node.
    pub installed: Status,
    /// The plugins.
    pub delegates: Delegates,
    /// Where plugins run.
    pub hosts: Hosts,
    /// The node's pods and the definitions.
    pub store: Store,
    /// The API server that they come from, where there is one.
    pub live: Option<Arc<Live>>,
    /// Where network-status goes.
    pub reporter: Reporter,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// What identifies this boot of the machine.
    pub boot_id: String,
}

impl Verbs {
    /// What keeps the node from being ready, one line each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<_> = self
            .installed
            .get()
            .not_ready()
            .map(str::to_owned)
            .collect();
        if !self.store.synced() {
            problems.insert(
                0,
                "the pods and definitions of this node are not known yet".to_owned(),
            );
        }
        problems
    }

    /// Serves one call, with plugins on `host`. `gone` is cancelled when the caller is gone: an ADD is undone then, the
    /// other verbs run to their end (decision 15).
    ///
    /// # Errors
    /// What goes to the runtime; the message names pod, network, interface and cause.
    pub async fn serve(
        self: Arc<Self>,
        request: Request,
        host: Host,
        gone: CancellationToken,
    ) -> Result<Option<Box<RawValue>>, CniError> {
        let incoming = Incoming::read(&request, host, &self.file)?;
        match incoming.env.verb {
            Verb::Add => self.add(&incoming, gone).await.map(Some),
            Verb::Del => self.del(&incoming).await.map(|()| None),
            Verb::Check => self.check(&incoming).await.map(|()| None),
            Verb::Gc => self.gc(&incoming).await.map(|()| None),
            // `Availability` serves STATUS, and the shim answers VERSION itself.
            Verb::Status | Verb::Version => Ok(None),
        }
    }
}
