//! STATUS: can ADD be served?

use std::time::Duration;

use plexus_api::cni::{CniError, Code};
use plexus_api::wire::Request;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::request::CniRequest;
use crate::cluster::Store;
use crate::config::Fields;
use crate::delegate::Delegates;
use crate::gather;
use crate::gather::default_network::DefaultNetwork;
use crate::host::Host;

/// The longest that it takes: runtimes ask every few seconds and hold a lock meanwhile (P-105).
const TIME: Duration = Duration::from_secs(5);

/// What STATUS works with. It needs no ledger: a daemon that waits for the one before it to finish its calls answers
/// already, or a plugin that is slow there would make the node `NotReady`.
#[derive(Debug)]
pub(crate) struct Availability {
    /// The keys of the daemon's own file, which win over those of a call.
    pub(crate) file: Fields,
    /// The default network.
    pub(crate) default_network: DefaultNetwork,
    /// The plugins.
    pub(crate) delegates: Delegates,
    /// The node's pods and the definitions.
    pub(crate) store: Store,
}

impl Availability {
    /// Waits until a daemon can do all that one can that runs already.
    pub(crate) async fn complete(&self) {
        let (mut pods, mut default_network) = (self.store.changes(), self.default_network.clone());
        let mut told = false;
        while !self.store.synced() || self.default_network.for_call().is_err() {
            if !std::mem::replace(&mut told, true) {
                tracing::info!(
                    "the pods, definitions, or default network are not known yet; a plexusd that runs serves on"
                );
            }
            tokio::select! {
                () = pods.next() => {}
                () = default_network.changed() => {}
            }
        }
    }

    /// Serves STATUS, with plugins on `host`. `gone` is cancelled when the caller is gone.
    ///
    /// # Errors
    /// Why ADD cannot be served: ready once the pods and definitions are known (decision 17), the networks of every pod
    /// are there, and their plugins say so (P-102). A plugin's code is kept (P-101).
    pub(crate) async fn serve(
        &self,
        request: &Request,
        host: Host,
        gone: CancellationToken,
    ) -> Result<Option<Box<RawValue>>, CniError> {
        let incoming = CniRequest::read(request, host, &self.file)?;
        self.status(&incoming, gone)
            .await
            .map_err(|error| error.context("STATUS"))?;
        Ok(None)
    }

    async fn status(&self, incoming: &CniRequest, gone: CancellationToken) -> Result<(), CniError> {
        let end = Instant::now() + TIME;
        // A daemon that has just started will know them in a moment.
        if !self.store.wait_synced(end).await {
            let msg = "the pods and definitions of this node are not known yet";
            return Err(CniError::new(Code::NotAvailable, msg));
        }
        let networks =
            gather::default_networks(&self.store, &self.default_network, &incoming.settings).await;
        let networks = networks.map_err(|error| CniError {
            code: Code::NotAvailable as u32,
            ..error
        })?;
        let left = end.saturating_duration_since(Instant::now());
        let call = incoming.delegate_call(left.min(incoming.settings.plugin_timeout), gone);
        for network in networks {
            let found = self.delegates.find(&call, &network.config).await.map(drop);
            let ready = match found {
                Ok(()) => self.delegates.status(&call, &network.config).await,
                Err(missing) => Err(missing),
            };
            ready.map_err(|error| {
                not_available(error).context(format!("network {:?}", network.name))
            })?;
        }
        Ok(())
    }
}

/// A plugin that is missing or takes too long is one that cannot serve ADD now.
fn not_available(error: CniError) -> CniError {
    if error.is(Code::PluginMissing) || error.is(Code::TryAgain) {
        return CniError {
            code: Code::NotAvailable as u32,
            ..error
        };
    }
    error
}
