//! STATUS: can ADD be served?

use std::time::Duration;

use plexus_api::cni::{CniError, Code};
use tokio_util::sync::CancellationToken;

use super::Verbs;
use super::call::Incoming;
use crate::gather;

/// The longest that it takes: runtimes ask every few seconds and hold a lock meanwhile (P-105).
const TIME: Duration = Duration::from_secs(5);

impl Verbs {
    /// Ready once the pods and definitions are known (decision 17), the networks of every pod are there, and their
    /// plugins say so (P-102). A plugin's code is kept (P-101).
    pub(super) async fn status(&self, incoming: &Incoming, gone: CancellationToken) -> Result<(), CniError> {
        self.try_status(incoming, gone).await.map_err(|error| error.context("STATUS"))
    }

    async fn try_status(&self, incoming: &Incoming, gone: CancellationToken) -> Result<(), CniError> {
        if !self.store.synced() {
            let msg = "the pods and definitions of this node are not known yet";
            return Err(CniError::new(Code::NotAvailable, msg));
        }
        let networks = gather::default_networks(&self.store, &self.primary, &incoming.settings).await;
        let networks = networks.map_err(|error| CniError { code: Code::NotAvailable as u32, ..error })?;
        let call = incoming.delegate_call(TIME.min(incoming.settings.plugin_timeout), gone);
        for network in networks {
            let found = self.delegates.find(&call, &network.config).await.map(drop);
            let ready = match found {
                Ok(()) => self.delegates.status(&call, &network.config).await,
                Err(missing) => Err(missing),
            };
            ready.map_err(|error| not_available(error).context(format!("network {:?}", network.name)))?;
        }
        Ok(())
    }
}

/// A plugin that is missing or takes too long is one that cannot serve ADD now.
fn not_available(error: CniError) -> CniError {
    if error.is(Code::PluginMissing) || error.is(Code::TryAgain) {
        return CniError { code: Code::NotAvailable as u32, ..error };
    }
    error
}
