//! DEL without a record: best effort from what is known.

use std::collections::BTreeSet;

use plexus_api::cni::CniError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Verbs;
use super::call::Incoming;
use crate::delegate::Priority;
use crate::gather;
use crate::plan::{Attachment, Pod, PodRef, plan};

impl Verbs {
    /// Decision 26: rebuilds the attachments from the known pod of that UID, else from the default network alone, and
    /// deletes them. Errors are only logged: there is no record to keep (P-088).
    pub(super) async fn delete_without_record(&self, incoming: &Incoming) {
        let attachments = match self.rebuild(incoming).await {
            Ok(attachments) => attachments,
            Err(error) => {
                tracing::info!(%error, "DEL of an unknown container: nothing is known to delete");
                return;
            }
        };
        let _slot = self.delegates.slot(Priority::Del).await;
        let time = incoming.settings.del_timeout / u32::try_from(attachments.len().max(1)).unwrap_or(u32::MAX);
        for attachment in attachments.iter().rev() {
            let call = incoming.delegate_call(time, CancellationToken::new());
            if let Err(error) = self.delegates.del(&call, attachment, None).await {
                tracing::warn!(network = attachment.network, %error, "DEL of an unknown container");
            }
        }
    }

    async fn rebuild(&self, incoming: &Incoming) -> Result<Vec<Attachment>, CniError> {
        let mut asked = incoming.asked()?;
        let PodRef { namespace, name, uid, .. } = &incoming.pod;
        // Without a UID in the call, a pod that has one may be another.
        let same = |pod: &Pod| pod.answers_to(uid) && (pod.uid.is_empty() || !uid.is_empty());
        if !asked.has_annotations() && !self.store.pod(namespace, name).is_some_and(|pod| same(&pod)) {
            // Another pod of that name, or none: its annotations are not this sandbox's (P-019).
            asked = asked.without_annotations();
        }
        let now = Instant::now();
        let snapshot =
            gather::snapshot(&self.store, None, &self.primary, &incoming.settings, &asked, BTreeSet::new(), now)
                .await?;
        Ok(plan(&snapshot)?.attachments)
    }
}
