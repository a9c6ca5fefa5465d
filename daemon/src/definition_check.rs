//! The definitions that no pod can use: their number in the metrics, and events for those that pods of
//! this node select.
//!
//! Every node counts them, but only a node with a pod that selects a definition emits the event, and
//! all nodes give the event the same name, so that the API server keeps one of them (decision 41).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use plexus_api::cni::{CniError, Code};
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use crate::cluster::Definition;
use crate::context::Context;
use crate::gather::network_of_definition;
use crate::model::Pod;
use crate::report::events::EventReason;

/// Namespace and name.
type Name = (String, String);

/// What is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Defect {
    reason: UnusableReason,
    text: String,
}

/// Why no pod can use a definition: the values of a label of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnusableReason {
    /// The configuration is no JSON, or not the JSON of a network.
    Decode,
    /// `cniVersion` is not supported.
    Version,
    /// Everything else.
    Config,
}

impl UnusableReason {
    const ALL: [Self; 3] = [Self::Decode, Self::Version, Self::Config];

    fn name(self) -> &'static str {
        match self {
            Self::Decode => "not_json",
            Self::Version => "unsupported_version",
            Self::Config => "invalid_config",
        }
    }

    fn of(error: &CniError) -> Self {
        if error.is(Code::Decode) {
            Self::Decode
        } else if error.is(Code::IncompatibleVersion) {
            Self::Version
        } else {
            Self::Config
        }
    }
}

/// Checks the definitions after each change, until `stop`.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    let store = &context.node.store;
    let mut changes = store.changes();
    let mut checked = Checked::default();
    loop {
        if store.is_synced() {
            if checked.update(&context).await {
                checked.set_metric(&context);
            }
            checked.emit_events(&context);
        }
        tokio::select! {
            () = changes.next() => {}
            () = stop.cancelled() => return,
        }
    }
}

/// The definitions as they were checked last.
#[derive(Debug, Default)]
struct Checked {
    /// The revision of the definitions. `None` before the first check.
    revision: Option<u64>,
    /// By their addresses: the store replaces a definition that changes, and there can be thousands.
    definitions: HashMap<usize, (Arc<Definition>, Option<Box<Defect>>)>,
    /// The unusable definitions with the pods for which an event was emitted.
    reported: BTreeMap<Name, (Defect, BTreeSet<Name>)>,
}

impl Checked {
    /// Checks the definitions that have changed. Returns whether there are any.
    async fn update(&mut self, context: &Context) -> bool {
        let (settings, store) = (&context.node.settings, &context.node.store);
        let revision = store.definitions_revision();
        if self.revision == Some(revision) {
            return false;
        }
        let mut definitions = HashMap::new();
        for definition in store.definitions() {
            let address = Arc::as_ptr(&definition).addr();
            let defect = match self.definitions.remove(&address) {
                Some((_, defect)) => defect,
                // A configuration on the disk of the node may appear later.
                None if !definition.has_config() => None,
                None => {
                    // There can be thousands, and calls must not wait for all of them.
                    yield_now().await;
                    let network = network_of_definition(&definition, settings, store).await;
                    let error = network.err().map(CniError::from);
                    error.map(|error| Box::new(Defect::from(error)))
                }
            };
            definitions.insert(address, (definition, defect));
        }
        self.definitions = definitions;
        self.revision = Some(revision);
        true
    }

    fn unusable(&self) -> impl Iterator<Item = (&Definition, &Defect)> {
        let definitions = self.definitions.values();
        definitions.filter_map(|(definition, defect)| Some((&**definition, defect.as_deref()?)))
    }

    fn set_metric(&self, context: &Context) {
        for reason in UnusableReason::ALL {
            let unusable = self
                .unusable()
                .filter(|(_, defect)| defect.reason == reason);
            let metrics = &context.node.metrics;
            metrics.set_unusable_definitions(reason.name(), unusable.count());
        }
    }

    /// Emits an event on each unusable definition for which there is a new pod on this node.
    fn emit_events(&mut self, context: &Context) {
        let mut reported = BTreeMap::new();
        if self.unusable().next().is_some() {
            let node = &context.node;
            let selecting = selecting(&node.store.pods(), &node.settings.multus_namespace);
            for (definition, defect) in self.unusable() {
                let name = (definition.namespace.clone(), definition.name.clone());
                let Some(pods) = selecting.get(&name) else {
                    continue;
                };
                let known = self
                    .reported
                    .get(&name)
                    .filter(|(known, _)| known == defect);
                if !known.is_some_and(|(_, known)| pods.is_subset(known)) {
                    let text = format!("{}; correct spec.config", defect.text);
                    let reason = EventReason::InvalidNetworkConfig;
                    context.reporter.definition_event(definition, reason, text);
                }
                reported.insert(name, (defect.clone(), pods.clone()));
            }
        }
        self.reported = reported;
    }
}

impl From<CniError> for Defect {
    fn from(error: CniError) -> Self {
        Self {
            reason: UnusableReason::of(&error),
            text: error.msg,
        }
    }
}

/// The pods that select each definition.
fn selecting(pods: &[Arc<Pod>], multus_namespace: &str) -> BTreeMap<Name, BTreeSet<Name>> {
    let mut selecting: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
    for pod in pods {
        for definition in pod.selected_definitions(multus_namespace) {
            let pods = selecting.entry(definition).or_default();
            pods.insert((pod.namespace.clone(), pod.name.clone()));
        }
    }
    selecting
}
