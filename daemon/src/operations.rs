//! The order of steps of each verb. The only room that knows the rooms below it.
//!
//! DEL, CHECK and GC start from the ledger and never ask the API server.

mod add;
mod adopt;
mod check;
mod del;
mod del_without_record;
mod errors;
mod gauges;
mod gc;
mod installation;
mod network_status;
mod recover;
mod request;
mod round_trip;
mod routes;
mod status;
mod time_shares;
mod undo;

use std::sync::Arc;

use plexus_api::cni::{CniError, Verb};
use plexus_api::wire::Request;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::host::Host;
pub(crate) use recover::{CleanupReason, Leftover};
use request::CniRequest;
pub(crate) use status::Availability;

impl Context {
    /// What keeps the node from being ready, one line each.
    pub(crate) fn problems(&self) -> Vec<String> {
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
    /// other context run to their end (decision 15).
    ///
    /// # Errors
    /// What goes to the runtime; the message names pod, network, interface and cause.
    pub(crate) async fn serve(
        self: Arc<Self>,
        request: Request,
        host: Host,
        gone: CancellationToken,
    ) -> Result<Option<Box<RawValue>>, CniError> {
        let incoming = CniRequest::read(&request, host, &self.file)?;
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
