//! STATUS: can ADD be served?

use plexus_api::cni::{CniError, Code};
use tokio_util::sync::CancellationToken;

use super::Verbs;
use super::call::Incoming;
use crate::gather;

impl Verbs {
    /// Ready once the pods and definitions are known (decision 17), the default network is there, and its plugins say
    /// so (P-102). A plugin's code is kept (P-101).
    pub(super) async fn status(&self, incoming: &Incoming) -> Result<(), CniError> {
        if !self.store.synced() {
            let msg = "STATUS: the pods and definitions of this node are not known yet";
            return Err(CniError::new(Code::NotAvailable, msg));
        }
        let network = gather::default_network(&self.store, &incoming.settings)
            .await
            .map_err(|error| CniError::new(Code::NotAvailable, format!("STATUS: {}", error.msg)))?;
        let call = incoming.delegate_call(incoming.settings.plugin_timeout, CancellationToken::new());
        let outcome = self.delegates.status(&call, &network.config).await;
        outcome.map_err(|error| error.context(format!("STATUS: network {:?}", network.name)))
    }
}
