//! What ADD and DEL gather while the default network or the definitions are not known.

use std::sync::Arc;

use plexus_api::cni::{CniArgs, CniError, Code};
use plexus_api::json::RawMap;
use plexus_api::selection::POD_ANNOTATIONS;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::test_helpers::dir;
use super::*;
use crate::cluster::Definition;
use crate::config::{Fields, MountNamespace};
use crate::host::Hosts;
use crate::telemetry::Metrics;

/// A node with the definition `ns/own`, whose network is `inner`.
struct Node {
    settings: Settings,
    store: Store,
    default_network: DefaultNetwork,
    memory: MemoryBudget,
    kubelet: Kubelet,
    host: Host,
    _state_dir: TempDir,
}

impl Node {
    async fn new(mut keys: Value) -> Self {
        let state_dir = tempfile::tempdir().expect("a directory");
        keys["stateDir"] = json!(state_dir.path());
        let fields = Fields::parse(&keys.to_string()).expect("an object");
        let settings = Settings::read(&fields).expect("settings");
        let store = Store::default();
        let definition = Definition {
            namespace: "ns".to_owned(),
            name: "own".to_owned(),
            config: Some(r#"{"name":"inner","type":"x"}"#.to_owned()),
            ..Definition::default()
        };
        store.replace(Vec::new(), vec![definition]);
        let hosts = Hosts::open(&MountNamespace::Own, None, state_dir.path()).expect("a host");
        let (default_network, _) = DefaultNetwork::open(&settings, &store).await;
        Self {
            settings,
            store,
            default_network,
            memory: MemoryBudget::new(1 << 20),
            kubelet: Kubelet::new(Arc::new(Metrics::new(false))),
            host: hosts.for_cleanup().expect("a host"),
            _state_dir: state_dir,
        }
    }

    fn sources(&self) -> Sources<'_> {
        Sources {
            store: &self.store,
            api: None,
            default_network: &self.default_network,
            memory: &self.memory,
            kubelet: &self.kubelet,
            host: &self.host,
        }
    }

    /// Gathers the input of an ADD of a pod that replaces its default network by `ns/own`.
    async fn add(&self) -> Result<PlanInput, CniError> {
        let (settings, links) = (&self.settings, BTreeSet::new());
        let gathered = plan_input(self.sources(), settings, request(), links, &limits()).await;
        Ok(gathered?.0)
    }
}

fn limits() -> CallLimits {
    CallLimits::background("test", CancellationToken::new())
}

fn request() -> PodRequest {
    let annotations = json!({DEFAULT_NETWORK: "ns/own"});
    PodRequest {
        container_id: "c1".to_owned(),
        ifname: "eth0".to_owned(),
        cni_args: CniArgs::default(),
        runtime_config: RawMap::from([(
            POD_ANNOTATIONS.to_owned(),
            to_raw_value(&annotations).expect("JSON"),
        )]),
        pod: PodRef {
            namespace: "ns".to_owned(),
            name: "pod".to_owned(),
            ..PodRef::default()
        },
    }
}

fn delegate(name: &str) -> Value {
    json!({"cniVersion": "1.0.0", "name": name, "type": name})
}

#[tokio::test]
async fn while_the_indicator_is_missing_add_is_refused_and_del_finds_all_networks() {
    let ready = dir(&[("indicator", "")]);
    let indicator = ready.path().join("indicator");
    let node = |indicator| {
        Node::new(json!({
            "delegates": [delegate("first"), delegate("second")],
            "readinessindicatorfile": indicator,
        }))
    };
    let input = node(indicator).await.add().await.expect("ready");
    let common: Vec<_> = input.common_networks.iter().map(|net| &*net.name).collect();
    assert_eq!(common, ["second"]);

    let node = node(ready.path().join("missing")).await;
    let error = node.add().await.expect_err("not ready");
    assert!(
        error.is(Code::TryAgain) && error.msg.contains("readinessindicatorfile"),
        "{error}"
    );
    let known = known_networks(node.sources(), &node.settings, &request(), &limits()).await;
    let networks = |inputs: &[PlanInput]| -> Vec<_> {
        let name = |input: &PlanInput| format!("{} {}", input.default_network.name, input.ifname);
        inputs.iter().map(name).collect()
    };
    assert_eq!(networks(&known.default), ["ns/own eth0", "first eth0"]);
    assert_eq!(networks(&known.others), ["second net1"]);
    assert!(known.errors.is_empty(), "{:?}", known.errors);
}

#[test]
fn a_default_network_may_have_an_ipam_claim_and_addresses() {
    let element = r#"[{"name": "own", "ips": ["10.0.0.5"], "ipam-claim-reference": "vm1.podnet"}]"#;
    let settings = Settings::read(&Fields::parse("{}").expect("an object")).expect("settings");
    let pod = |annotation: &str| Pod {
        namespace: "ns".to_owned(),
        name: "vm".to_owned(),
        uid: String::new(),
        annotations: [(annotation.to_owned(), element.to_owned())].into(),
    };
    let selection = default_selection(&pod(DEFAULT_NETWORK), &settings).expect("both");
    assert_eq!(selection.expect("an element").ips, ["10.0.0.5"]);
    let error = selections(&pod(NETWORKS), NETWORKS, "ns").expect_err("a selected network");
    assert!(
        error.to_string().contains("ipam-claim-reference"),
        "{error}"
    );
}

#[tokio::test]
async fn isolation_lets_no_name_through_that_cannot_be_compared() {
    let missing = dir(&[]);
    let isolated = |mut keys: Value| {
        keys["namespaceIsolation"] = json!(true);
        Node::new(keys)
    };
    let node = isolated(json!({"multusAutoconfigDir": missing.path()})).await;
    let error = node
        .add()
        .await
        .expect_err("the default network is not known");
    assert!(
        error.is(Code::TryAgain) && error.msg.contains("namespace isolation"),
        "{error}"
    );

    let node = isolated(json!({})).await;
    let input = node.add().await.expect("a node without a default network");
    assert!(
        input
            .network_names
            .is_some_and(|names| names.of_node.is_empty())
    );

    let node = isolated(json!({"delegates": [delegate("first")]})).await;
    let input = node.add().await.expect("all names are known");
    let of_node = input.network_names.as_ref().map(|names| &names.of_node);
    assert_eq!(of_node.expect("names")[0].name, "first");
    let (unsynced, lookup) = (
        Store::default(),
        Lookup::without_waiting(&node.store, &node.settings),
    );
    let sources = Sources {
        store: &unsynced,
        ..node.sources()
    };
    let refused = network_names::collect(&input, sources, &lookup).await;
    let refused = refused.expect_err("the definitions are not known");
    assert!(CniError::from(refused).is(Code::TryAgain));
}
