//! GC: deletes the sandboxes that the runtime does not list, then runs the GC of the plugins.
//!
//! An unlisted sandbox is deleted like any other, under the lock of its container. The plugins of a
//! network run GC while no call attaches to or detaches from that network (P-113), because they
//! delete what is not on their list. An ADD records its plan before it locks its networks, so a
//! list that is read under the exclusive lock is complete.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use plexus_api::cni::{CniError, Code, NetworkConfig};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::record_lock::{RecordMemory, lock_for_record};
use super::request::CniRequest;
use super::undo::{Failures, UndoArgs, recorded_netns, undo_within};
use crate::call_limits::CallLimits;
use crate::config::Fields;
use crate::context::Context;
use crate::delegate::{GcLock, PluginCall, ValidAttachment, wants_gc};
use crate::gather;
use crate::ledger::{LedgerError, Planned, RecordKey, RecordSummary};

/// The largest sum of the configurations of networks whose plugins run GC, in bytes.
const MAX_CONFIGS: usize = 8 << 20;

/// An attachment in the runtime's list.
#[derive(Deserialize)]
struct ListedAttachment {
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
}

/// Deletes the recorded sandboxes that the runtime does not list, then runs GC on each of our
/// networks with the attachments that remain (P-107…P-112), unless some of these are unknown
/// . Continues after errors, and returns them all.
pub(super) async fn gc(context: &Context, request: &CniRequest) -> Result<(), CniError> {
    let listed = listed_attachments(&request.config)?;
    let limits = request.limits(CancellationToken::new());
    let (stale, mut errors) = find_stale(context, &listed, &limits).await?;
    for (key, created_unix_ms) in &stale {
        if let Err(failures) = delete_stale(context, request, key, *created_unix_ms, &limits).await
        {
            errors.extend(failures);
        }
    }
    let scope = Scope { listed, stale };
    errors.extend(run_plugins(context, request, &scope, &limits).await);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(CniError::from(Failures(errors)).context("GC"))
    }
}

/// The recorded sandboxes that are not on the list. An ADD in flight is not on the list yet, and is
/// kept.
async fn find_stale(
    context: &Context,
    listed: &BTreeSet<RecordKey>,
    limits: &CallLimits,
) -> Result<(StaleSandboxes, Vec<CniError>), CniError> {
    let (keys, adds) = context.ledger.keys_and_adds()?;
    let (mut stale, mut errors) = (StaleSandboxes::new(), Vec::new());
    for key in keys.into_iter().filter(|key| !adds.contains(key)) {
        match context.ledger.summary(&key) {
            Ok(record) => {
                let record = record.filter(|_| !listed.contains(&key));
                stale.extend(record.map(|record| (key, record.planned.created_unix_ms)));
            }
            Err(LedgerError::Corrupt { .. }) => {
                // Loading a damaged record under the lock of its container moves the record aside.
                match context
                    .ledger
                    .lock_container(&key.container_id, limits)
                    .await
                {
                    Ok(lock) => errors.extend(lock.load(&key.ifname).err().map(CniError::from)),
                    Err(error) => errors.push(error.into()),
                }
            }
            // `for_each_remaining` returns this error before the plugins run.
            Err(_) => {}
        }
    }
    Ok((stale, errors))
}

/// Deletes a stale sandbox, unless its record has been removed or replaced in the meantime.
async fn delete_stale(
    context: &Context,
    request: &CniRequest,
    key: &RecordKey,
    created_unix_ms: u64,
    limits: &CallLimits,
) -> Result<(), Vec<CniError>> {
    let RecordKey {
        container_id,
        ifname,
    } = key;
    let limits = limits.within(request.settings.del_timeout);
    let locked = lock_for_record(context, key, &limits).await;
    let (lock, _memory) = locked.map_err(|error| vec![error.into()])?;
    let record = lock.load(ifname).map_err(|error| vec![error.into()])?;
    let Some(record) = record.filter(|record| record.planned.created_unix_ms == created_unix_ms)
    else {
        return Ok(());
    };
    tracing::info!(container_id, ifname, pod = %record.planned.pod, "GC: not listed by the runtime");
    let pod = format!("pod {}", record.planned.pod);
    let args = UndoArgs {
        host: request.host.clone(),
        netns: recorded_netns(context, &record, &request.host).await,
        path: request.env.path.clone(),
        env: request.plugin_env.clone(),
        sandbox_gone: false,
    };
    undo_within(context, &lock, record, args, &limits)
        .await
        .map_err(|Failures(errors)| {
            errors
                .into_iter()
                .map(|error| error.context(&pod))
                .collect()
        })
}

/// Runs GC on the default networks and on all networks with attachments, one after the other. A
/// network that has to wait for its lock does not delay the others.
async fn run_plugins(
    context: &Context,
    request: &CniRequest,
    scope: &Scope,
    limits: &CallLimits,
) -> Vec<CniError> {
    let gc_lock = match context.node.delegates.lock_gc(limits).await {
        Ok(lock) => lock,
        Err(error) => return vec![error.into()],
    };
    let mut networks = Networks::default();
    match gather::default_networks(
        &context.node.store,
        &context.node.default_network,
        &request.settings,
    )
    .await
    {
        Ok(found) => found
            .iter()
            .for_each(|network| networks.add(&network.config)),
        Err(error) => tracing::warn!(%error, "GC skips the default networks"),
    }
    // Most records have no such network, and need not be read as a whole.
    let mut with_gc = Vec::new();
    let complete = for_each_remaining(context, scope, |key, planned| {
        let mut attachments = planned.attachments.iter();
        if attachments.any(|attachment| wants_gc(&attachment.config)) {
            with_gc.push(key.clone());
        }
        Ok(())
    });
    match complete {
        Ok(true) => {}
        Ok(false) => return Vec::new(),
        Err(error) => return vec![error.into()],
    }
    for key in &with_gc {
        if let Err(error) = networks.add_recorded(context, key, limits).await {
            return vec![error];
        }
    }
    let runs = networks.configs.iter().map(|(name, configs)| {
        run_plugins_of_network(context, &gc_lock, request, (name, configs), scope, limits)
    });
    join_all(runs).await.into_iter().flatten().collect()
}

async fn run_plugins_of_network(
    context: &Context,
    gc_lock: &GcLock<'_>,
    request: &CniRequest,
    (name, configs): (&str, &BTreeMap<String, NetworkConfig>),
    scope: &Scope,
    limits: &CallLimits,
) -> Vec<CniError> {
    let delegates = &context.node.delegates;
    let _guard = match delegates.gc_guard(gc_lock, name, limits).await {
        Ok(guard) => guard,
        Err(error) => {
            return vec![CniError::from(error).context(format_args!("network {name:?}"))];
        }
    };
    let mut attachments = Vec::new();
    let complete = for_each_remaining(context, scope, |_, planned| {
        attachments.extend(attachments_of(planned, name));
        Ok(())
    });
    match complete {
        Ok(true) => {}
        Ok(false) => return Vec::new(),
        Err(error) => return vec![error.into()],
    }
    let call = request.plugin_call(limits.within(request.settings.add_timeout));
    let mut errors = Vec::new();
    for network in configs.values() {
        if let Err(failures) = delegates.gc(&call, network, &attachments).await {
            errors.extend(failures);
        }
    }
    errors
}

/// The attachments of a sandbox to the network of this name.
fn attachments_of(planned: &Planned, network: &str) -> impl Iterator<Item = ValidAttachment> {
    let attachments = planned.attachments.iter();
    let of_network = attachments.filter(move |attachment| attachment.config.name == network);
    of_network.map(|attachment| ValidAttachment {
        container_id: planned.container_id.clone(),
        ifname: attachment.ifname.clone(),
    })
}

/// Runs GC of the plugins of one network. All its recorded attachments are kept, and those in
/// `valid` as well.
pub(super) async fn gc_network(
    context: &Context,
    call: &PluginCall,
    network: &NetworkConfig,
    mut valid: Vec<ValidAttachment>,
) -> Result<(), CniError> {
    let delegates = &context.node.delegates;
    let gc_lock = delegates.lock_gc(&call.limits).await?;
    let _guard = delegates
        .gc_guard(&gc_lock, &network.name, &call.limits)
        .await?;
    for key in context.ledger.keys()? {
        let record = context.ledger.summary(&key)?;
        let planned = record.as_ref().map(|record| &record.planned);
        valid.extend(
            planned
                .into_iter()
                .flat_map(|planned| attachments_of(planned, &network.name)),
        );
    }
    valid.sort();
    valid.dedup();
    let done = delegates.gc(call, network, &valid).await;
    done.map_err(|errors| Failures(errors).into())
}

/// Calls `each` for all recorded sandboxes except the stale ones, with the key and the plan without
/// its configurations. Returns false if the runtime lists a sandbox that the ledger does not know,
/// because another program attached the sandbox or its record is damaged: plugins would delete its
/// attachments.
fn for_each_remaining(
    context: &Context,
    scope: &Scope,
    mut each: impl FnMut(&RecordKey, &Planned) -> Result<(), LedgerError>,
) -> Result<bool, LedgerError> {
    let (keys, adds) = context.ledger.keys_and_adds()?;
    let mut unknown: BTreeSet<_> = scope
        .listed
        .difference(&adds.into_iter().collect())
        .cloned()
        .collect();
    for key in keys {
        let record = context.ledger.summary(&key)?;
        let is_stale =
            |record: &RecordSummary| scope.stale.get(&key) == Some(&record.planned.created_unix_ms);
        if let Some(record) = record.filter(|record| !is_stale(record)) {
            unknown.remove(&key);
            each(&key, &record.planned)?;
        }
    }
    unknown.retain(|key| !context.ledger.recently_deleted(key));
    if unknown.is_empty() {
        return Ok(true);
    }
    let unknown: Vec<_> = unknown.iter().map(RecordKey::to_string).collect();
    tracing::warn!(
        unknown = unknown.join(", "),
        "GC skips the plugins, because the ledger does not know all listed attachments"
    );
    Ok(false)
}

/// The sandboxes to keep and to delete.
struct Scope {
    listed: BTreeSet<RecordKey>,
    stale: StaleSandboxes,
}

/// The recorded sandboxes that the runtime does not list, with the time of their plan: a later
/// sandbox can reuse the key.
type StaleSandboxes = BTreeMap<RecordKey, u64>;

/// The networks whose attachments are all ours, by name. GC runs once for each distinct
/// configuration, with all attachments of networks with that name (P-111, R-103).
#[derive(Default)]
struct Networks {
    configs: BTreeMap<String, BTreeMap<String, NetworkConfig>>,
    /// The sum of the sizes of the configurations, in bytes.
    size: usize,
}

impl Networks {
    /// Adds the networks of a record, which is loaded as a whole.
    ///
    /// # Errors
    /// The limits ended the wait for memory, or the record cannot be read.
    async fn add_recorded(
        &mut self,
        context: &Context,
        key: &RecordKey,
        limits: &CallLimits,
    ) -> Result<(), CniError> {
        let _memory = RecordMemory::reserve(context, key, limits).await?;
        if let Some(record) = context.ledger.read(key)? {
            let attachments = record.planned.attachments.iter();
            attachments.for_each(|attachment| self.add(&attachment.config));
        }
        Ok(())
    }

    fn add(&mut self, config: &NetworkConfig) {
        if !wants_gc(config) {
            return;
        }
        // The configuration of an attachment has keys for its pod, which GC of the network does not
        // need.
        let mut config = config.clone();
        for plugin in &mut config.plugins {
            for key in ["args", "deviceID", "pciBusID"] {
                plugin.remove(key);
            }
        }
        let text = serde_json::to_string(&config).unwrap_or_default();
        let configs = self.configs.entry(config.name.clone()).or_default();
        if configs.contains_key(&text) {
            return;
        }
        if self.size.saturating_add(text.len()) > MAX_CONFIGS {
            let network = config.name;
            tracing::warn!(
                network,
                "GC skips a configuration: all of them have more than 8 MiB"
            );
            return;
        }
        self.size += text.len();
        configs.insert(text, config);
    }
}

/// The runtime's list, under the key of the specification or its older name. `null` is an empty
/// list. Without either key, GC fails, because a missing list must not delete everything (P-107,
/// P-108).
pub(super) fn listed_attachments(config: &Fields) -> Result<BTreeSet<RecordKey>, CniError> {
    let keys = ["cni.dev/valid-attachments", "cni.dev/attachments"];
    let Some(key) = keys.into_iter().find(|key| config.has(key)) else {
        let msg = format!(
            "GC: the configuration has neither {:?} nor {:?}",
            keys[0], keys[1]
        );
        return Err(CniError::new(Code::InvalidConfig, msg));
    };
    let listed: Option<Vec<ListedAttachment>> =
        config.get(key, "a list of objects with containerID and ifname")?;
    Ok(listed
        .unwrap_or_default()
        .into_iter()
        .map(|listed| RecordKey::new(&listed.container_id, &listed.ifname))
        .collect())
}
