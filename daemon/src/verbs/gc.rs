//! GC: delete what belongs to no listed attachment, then let the plugins do the same.

use std::collections::{BTreeMap, BTreeSet};

use plexus_api::cni::{CniError, Code, NetworkConfig};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::Verbs;
use super::call::Incoming;
use super::undo::{Failures, Undo};
use crate::delegate::ValidAttachment;
use crate::gather;

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
}

impl Verbs {
    /// Deletes the recorded sandboxes that the runtime does not list, then forwards GC to each network of ours with
    /// the attachments that live on it (P-107…P-112), unless we do not know all of those. Goes on after
    /// errors and tells them all.
    pub(super) async fn gc(&self, incoming: &Incoming) -> Result<(), CniError> {
        let valid = valid_attachments(incoming)?;
        // What is attached while we wait cannot be in the list, and is not to be deleted for that.
        let settled = self.ledger.settled_keys()?;
        tracing::debug!(valid = valid.len(), settled = settled.len(), "GC waits for the calls in flight");
        let exclusive = self.ledger.exclusive().await;
        let mut errors = Vec::new();
        let mut networks = Networks::default();
        match gather::default_networks(&self.store, &self.primary, &incoming.settings).await {
            Ok(found) => found.iter().for_each(|network| networks.add(&network.config)),
            Err(error) => tracing::warn!(%error, "GC: the default networks are left out"),
        }
        let mut unknown = valid.clone();
        for (container_id, ifname) in exclusive.keys()? {
            let lane = exclusive.lane(&container_id).await;
            let record = match lane.load(&ifname) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error) => {
                    errors.push(CniError::from(error));
                    continue;
                }
            };
            let key = (container_id.clone(), ifname.clone());
            if unknown.remove(&key) || !settled.contains(&key) {
                for attachment in &record.planned.attachments {
                    networks.add(&attachment.config);
                    networks.living.entry(attachment.config.name.clone()).or_default().push(ValidAttachment {
                        container_id: container_id.clone(),
                        ifname: attachment.ifname.clone(),
                    });
                }
                continue;
            }
            tracing::info!(container_id, ifname, pod = %record.planned.pod, "GC: not listed by the runtime");
            let pod = format!("pod {}", record.planned.pod);
            let undo = Undo {
                host: incoming.host.clone(),
                netns: self.recorded_netns(&record, &incoming.host).await,
                path: incoming.env.path.clone(),
                env: incoming.pass_on.clone(),
            };
            if let Err(failures) = self.undo(&lane, record, undo, incoming.settings.del_timeout).await {
                errors.extend(failures.0.into_iter().map(|error| error.context(&pod)));
            }
        }
        if !unknown.is_empty() {
            // Made by another, or its record is damaged: plugins would delete what lives, because we cannot list it.
            let left: Vec<_> =
                unknown.iter().map(|(container_id, ifname)| format!("{container_id}/{ifname}")).collect();
            tracing::warn!(
                unknown = left.join(", "),
                "GC: the plugins are not asked, their attachments are not all known"
            );
            networks.configs.clear();
        }
        let call = incoming.delegate_call(incoming.settings.add_timeout, CancellationToken::new());
        for network in networks.configs.values() {
            let living = networks.living.get(&network.name).map(Vec::as_slice).unwrap_or_default();
            errors.extend(self.delegates.gc(&call, network, living).await.err().unwrap_or_default());
        }
        if errors.is_empty() { Ok(()) } else { Err(CniError::from(Failures(errors)).context("GC")) }
    }
}

/// The networks of which we own every attachment: GC runs once for each distinct configuration, with all that lives
/// on networks of its name (P-111, R-103).
#[derive(Default)]
struct Networks {
    configs: BTreeMap<String, NetworkConfig>,
    living: BTreeMap<String, Vec<ValidAttachment>>,
}

impl Networks {
    fn add(&mut self, config: &NetworkConfig) {
        // What a pod asked for is in its own copy; GC is about the network.
        let mut config = config.clone();
        for plugin in &mut config.plugins {
            for key in ["args", "deviceID", "pciBusID"] {
                plugin.remove(key);
            }
        }
        self.configs.insert(serde_json::to_string(&config).unwrap_or_default(), config);
    }
}

/// The runtime's list, by the key of the specification or the older one. `null` is an empty list; without either key
/// the runtime has not said anything, and nothing is deleted (P-107, P-108).
fn valid_attachments(incoming: &Incoming) -> Result<BTreeSet<(String, String)>, CniError> {
    let keys = ["cni.dev/valid-attachments", "cni.dev/attachments"];
    let Some(key) = keys.into_iter().find(|key| incoming.config.has(key)) else {
        let msg = format!("GC: the configuration has neither {:?} nor {:?}", keys[0], keys[1]);
        return Err(CniError::new(Code::InvalidConfig, msg));
    };
    let listed: Option<Vec<Listed>> = incoming.config.get(key, "a list of objects with containerID and ifname")?;
    Ok(listed.unwrap_or_default().into_iter().map(|listed| (listed.container_id, listed.ifname)).collect())
}
