//! `/delegate`: one network of a running pod, for programs that change the networks of running
//! pods, such as multus-dynamic-networks-controller.
//!
//! The changes are those of hot-plug, and go into the record of the pod's sandbox: its DEL, CHECK and
//! GC cover them. network-status is left to the program.

mod request;

use std::collections::BTreeMap;
use std::path::Path;

use plexus_api::cni::{CniError, Code, Verb, Version};
use plexus_api::wire;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::add::caller_gone;
use super::change::Change;
use super::check::check_links;
use super::dispatch::no_ledger;
use super::gc::gc_network;
use super::record_lock::{loaded_size, lock_within};
use super::request::time_limit;
use super::status::check_plugins;
use super::undo::Failures;
use crate::call_limits::CallLimits;
use crate::context::{Context, NodeContext};
use crate::delegate::{AttachGuard, GuardScope, PluginCall, Priority};
use crate::ledger::{ContainerLock, Record, RecordKey};
use crate::memory_budget::Reservation;
use crate::model::{Attachment, Network, Origin};
use crate::plan::plan_addition;
use crate::telemetry::CallSpan;
use request::DelegateRequest;

/// Serves a request of `/delegate`. `context` is `None` until this daemon owns the ledger. `cancel` is
/// cancelled when the program is gone: an ADD is then undone, the other verbs run to their end
/// (decision 15).
///
/// # Errors
/// The error for the program. Its message names pod, network, interface, cause and the next step.
pub(super) async fn serve_delegate(
    node: &NodeContext,
    context: Option<&Context>,
    request: &wire::DelegateRequest,
    arrived: Instant,
    cancel: CancellationToken,
) -> Result<Option<Box<RawValue>>, CniError> {
    let request = DelegateRequest::read(request).map_err(|error| error.context("/delegate"))?;
    CallSpan::record_networks(&request.config.name);
    let verb = request.env.verb;
    let time = time_limit(verb, &node.settings);
    let limits = CallLimits::new(request.subject(), arrived, time, cancel);
    let served = async {
        match (verb, context) {
            (Verb::Status, _) => status(node, &request, &limits).await.map(|()| None),
            (_, None) => Err(no_ledger(verb)),
            (Verb::Gc, Some(context)) => {
                let call = network_call(node, &request, &limits)?;
                let listed = request.listed.clone();
                let done = gc_network(context, &call, &request.config, listed).await;
                done.map(|()| None)
            }
            (_, Some(context)) => {
                let delegate = Delegate {
                    context,
                    request: &request,
                    limits: &limits,
                };
                Box::pin(delegate.serve()).await
            }
        }
    };
    served
        .await
        .map_err(|error| error.context(request.subject()))
}

/// Checks that the plugins of the network can serve ADD.
async fn status(
    node: &NodeContext,
    request: &DelegateRequest,
    limits: &CallLimits,
) -> Result<(), CniError> {
    let network = Network {
        name: request.config.name.clone(),
        namespace: None,
        resource_name: None,
        config: request.config.clone(),
    };
    let call = network_call(node, request, limits)?;
    check_plugins(node, &call, vec![network]).await
}

/// The arguments of plugins that run for the network as a whole.
fn network_call(
    node: &NodeContext,
    request: &DelegateRequest,
    limits: &CallLimits,
) -> Result<PluginCall, CniError> {
    Ok(PluginCall {
        host: node.hosts.for_cleanup()?,
        container_id: String::new(),
        netns: None,
        path: request.env.path.clone(),
        env: BTreeMap::new(),
        limits: CallLimits {
            cancel: CancellationToken::new(),
            ..limits.clone()
        },
    })
}

/// ADD, DEL or CHECK of one interface.
struct Delegate<'a> {
    context: &'a Context,
    request: &'a DelegateRequest,
    limits: &'a CallLimits,
}

/// The locks under which a sandbox is changed, and the memory for the change.
type Guards = (ContainerLock, AttachGuard, Reservation);

impl Delegate<'_> {
    async fn serve(&self) -> Result<Option<Box<RawValue>>, CniError> {
        let (context, env) = (self.context, &self.request.env);
        let boot_id = &context.node.boot_id;
        let key = context.ledger.sandbox_of(&env.container_id, boot_id);
        let locked = match key {
            None => None,
            Some(key) => self.lock(&key).await?,
        };
        let Some((record, (lock, _guard, _memory))) = locked else {
            return self.without_record().map(|()| None);
        };
        let change = self.begin(&lock, record).await?;
        match env.verb {
            Verb::Add => self.add(change).await.map(Some),
            Verb::Del => self.del(change).await.map(|()| None),
            _ => self.check(change).await.map(|()| None),
        }
    }

    /// What a container without a record means: nothing is attached.
    fn without_record(&self) -> Result<(), CniError> {
        let env = &self.request.env;
        if env.verb == Verb::Del {
            return Ok(());
        }
        let msg = format!(
            "container {} has no sandbox that Plexus has attached; send the container ID of the pod's current \
             sandbox, and create a pod again that was attached by another program",
            env.container_id
        );
        Err(CniError::new(Code::UnknownContainer, msg))
    }

    /// The record of the sandbox, with the locks and the memory for its change. The locks depend on
    /// the record, which is therefore read before and after the wait. `None` if there is no record.
    async fn lock(&self, key: &RecordKey) -> Result<Option<(Record, Guards)>, CniError> {
        let (context, limits, request) = (self.context, self.limits, self.request);
        let priority = match request.env.verb {
            Verb::Del => Priority::Del,
            _ => Priority::Add,
        };
        let attributes = request.config.plugins.len() * request.selection.size();
        let size = 2 * request.config.size() + attributes;
        let identity = |record: &Record| (record.planned.created_unix_ms, record.planned.revision);
        loop {
            let file_size = context.ledger.size(key);
            let bytes = size.saturating_add(loaded_size(file_size));
            let memory = context.node.memory.reserve(bytes, limits).await?;
            let Some(record) = context.ledger.read(key)? else {
                return Ok(None);
            };
            let network = &request.config.name;
            let own = Attachment {
                selected: true,
                ..Attachment::new(network, &request.env.ifname, request.config.clone())
            };
            let attachments = record.planned.attachments.iter().cloned().chain([own]);
            let scope = GuardScope::new(&record.planned.pod, &attachments.collect::<Vec<_>>());
            let read = identity(&record);
            drop(record);
            let locked = lock_within(context, priority, key, &scope, file_size, limits);
            let Some((lock, guard)) = locked.await? else {
                continue;
            };
            match lock.load(&key.ifname)? {
                None => return Ok(None),
                Some(record) if identity(&record) == read => {
                    return Ok(Some((record, (lock, guard, memory))));
                }
                // Something has changed during the waits.
                Some(_) => {}
            }
        }
    }

    /// Begins a change of the sandbox, if the request is about the record's pod and namespace.
    async fn begin<'c>(
        &'c self,
        lock: &'c ContainerLock,
        record: Record,
    ) -> Result<Change<'c>, CniError> {
        let env = &self.request.env;
        self.request.check_pod(&record.planned)?;
        // Not the program's mount namespace, which is that of its container.
        let host = self.context.node.hosts.for_cleanup()?;
        let begun = Change::begin(self.context, lock, record, host).await?;
        let change = begun.ok_or_else(|| {
            let msg = format!(
                "the sandbox of container {} is not attached, or is being deleted; retry if the pod keeps running",
                env.container_id
            );
            CniError::new(Code::TryAgain, msg)
        })?;
        if let Some(netns) = &env.netns
            && !change.is_netns(Path::new(netns)).await?
        {
            let msg = format!(
                "CNI_NETNS {netns:?} is not the network namespace of container {}, which is {:?}",
                env.container_id,
                change.record().planned.netns
            );
            return Err(CniError::new(Code::InvalidEnvironment, msg));
        }
        Ok(change)
    }

    async fn add(&self, change: Change<'_>) -> Result<Box<RawValue>, CniError> {
        let mut change = change.for_program(self.limits.clone());
        if let Some(index) = self.find(change.record())? {
            let result = change.record().result_for_check(index)?;
            return Ok(result.to_version(Version::LATEST)?.raw().to_owned());
        }
        for error in change.clean_up().await {
            let pod = &self.request.pod;
            tracing::warn!(%pod, %error, "an interrupted change of a running pod cannot be undone yet");
        }
        let added = self.attach(&mut change).await;
        change.finish().await;
        added
    }

    async fn attach(&self, change: &mut Change<'_>) -> Result<Box<RawValue>, CniError> {
        let attachment = self.plan(change).await?;
        change.check_installed(&attachment).await?;
        let is_wanted = || !self.limits.cancel.is_cancelled();
        let results = change.attach(vec![attachment], is_wanted).await?;
        let result = results.into_iter().next();
        let result = result.unwrap_or_else(|| Err(caller_gone()))?;
        Ok(result.to_version(Version::LATEST)?.raw().to_owned())
    }

    /// Plans the attachment. Emits the warnings as events.
    async fn plan(&self, change: &mut Change<'_>) -> Result<Attachment, CniError> {
        let context = self.context;
        let mut links = change.links().await?;
        let planned = &change.record().planned;
        let current = change.record().current();
        let current: Vec<_> = current.map(|(_, attachment)| attachment).collect();
        links.extend(current.iter().map(|attachment| attachment.ifname.clone()));
        let host = context.node.hosts.for_cleanup()?;
        let sources = context.node.sources(&host);
        let sandbox = (&planned.pod, planned.container_id.as_str(), &links);
        let network = self.request.network();
        let input = network
            .input(sources, &context.node.settings, sandbox, self.limits)
            .await?;
        let (attachment, warnings) = plan_addition(&input, &current)?;
        for warning in warnings {
            context
                .reporter
                .event(&planned.pod, warning.kind.into(), warning.text);
        }
        Ok(Attachment {
            origin: Origin::Delegate,
            interface_requested: true,
            // The program knows which parameters it has sent.
            parameters_digest: None,
            ..attachment
        })
    }

    async fn del(&self, change: Change<'_>) -> Result<(), CniError> {
        let mut change = change.for_program(self.limits.clone());
        let env = &self.request.env;
        let of_network = |attachment: &Attachment| {
            attachment.ifname == env.ifname && attachment.config.name == self.request.config.name
        };
        let found = change
            .record()
            .current()
            .find(|(_, attachment)| of_network(attachment));
        let Some((index, attachment)) = found else {
            return Ok(());
        };
        if attachment.default {
            return Err(default_network(attachment));
        }
        let failures = change.detach(&[index]).await;
        change.finish().await;
        if failures.is_empty() {
            Ok(())
        } else {
            Err(Failures(failures).into())
        }
    }

    async fn check(&self, mut change: Change<'_>) -> Result<(), CniError> {
        let Some(index) = self.find(change.record())? else {
            let msg = format!("interface {:?} is not attached", self.request.env.ifname);
            return Err(CniError::new(Code::CheckFailed, msg));
        };
        let links = change.links().await?;
        let record = change.record();
        let attachment = &record.planned.attachments[index];
        let checked = async {
            let previous = record.result_for_check(index)?;
            check_links(record, &links, &previous)?;
            let call = change.plugin_call();
            let delegates = &self.context.node.delegates;
            delegates.check(&call, attachment, &previous).await
        };
        checked
            .await
            .map_err(|error: CniError| error.context(attachment.label()))
    }

    /// The index of the attachment of the request's interface to its network, if there is one with a
    /// result.
    ///
    /// # Errors
    /// [`Code::InterfaceTaken`] if the interface belongs to another network, or to the default network.
    fn find(&self, record: &Record) -> Result<Option<usize>, CniError> {
        let unfinished = record.unfinished_changes();
        let found = record.current().find(|(index, attachment)| {
            attachment.ifname == self.request.env.ifname && !unfinished.contains(index)
        });
        let Some((index, attachment)) = found else {
            return Ok(None);
        };
        if attachment.default {
            return Err(default_network(attachment));
        }
        if attachment.config.name != self.request.config.name {
            let msg = format!(
                "the interface is attached to another network than {:?}; name another interface, or detach this one first",
                self.request.config.name
            );
            return Err(CniError::new(Code::InterfaceTaken, msg).context(attachment.label()));
        }
        Ok(Some(index))
    }
}

/// The error for the interface of the default network, which stays as long as the sandbox.
fn default_network(attachment: &Attachment) -> CniError {
    let msg = "this is the pod's default network, which does not change while the pod runs; name another interface";
    CniError::new(Code::InterfaceTaken, msg).context(attachment.label())
}
