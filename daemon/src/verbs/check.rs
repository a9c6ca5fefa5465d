//! CHECK: every attachment of the sandbox is as its ADD left it.

use std::path::Path;

use plexus_api::cni::{CniError, Code};
use tokio_util::sync::CancellationToken;

use super::Verbs;
use super::call::Incoming;
use crate::delegate::Priority;
use crate::netns::Netns;
use crate::telemetry;

impl Verbs {
    /// Asks each plugin in order, and looks for each interface ourselves; changes nothing (P-095, P-096, P-097).
    pub(super) async fn check(&self, incoming: &Incoming) -> Result<(), CniError> {
        self.try_check(incoming).await.map_err(|error| error.context(incoming.subject()))
    }

    async fn try_check(&self, incoming: &Incoming) -> Result<(), CniError> {
        let env = &incoming.env;
        let lane = self.ledger.lane(&env.container_id).await;
        let Some(record) = lane.load(&env.ifname)?.filter(|record| record.completed) else {
            let msg = format!("interface {:?} of this container is not attached", env.ifname);
            return Err(CniError::new(Code::CheckFailed, msg));
        };
        telemetry::Call::record_networks(&record.planned.networks());
        let mut netns = Netns::open(Path::new(env.netns.as_deref().unwrap_or_default())).await?;
        let _slot = self.delegates.slot(Priority::Add).await;
        let call = incoming.delegate_call(incoming.settings.add_timeout, CancellationToken::new());
        for (index, attachment) in record.planned.attachments.iter().enumerate() {
            let context = || format!("network {:?} interface {:?}", attachment.network, attachment.ifname);
            let previous = record.result_for_check(index)?;
            for interface in previous.result().interfaces.iter().filter(|interface| !interface.sandbox.is_empty()) {
                if !netns.has_link(&interface.name).await? {
                    let msg = format!("interface {:?} is gone from the sandbox", interface.name);
                    return Err(CniError::new(Code::CheckFailed, msg).context(context()));
                }
            }
            let outcome = self.delegates.check(&call, attachment, &previous).await;
            outcome.map_err(|error| error.context(context()))?;
        }
        Ok(())
    }
}
