//! The differences between Plexus and the recordings.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::recording::{Operation, PluginRun, parse_json};

/// A change of a recording to the behaviour of Plexus.
pub enum Difference {
    /// A key is removed from the configuration of plugins.
    NoKey(&'static str),
    /// DEL gets the configuration and the arguments of ADD.
    DelAsAdd,
    /// These pairs are not added to `CNI_ARGS`.
    NoArgs(&'static [&'static str]),
    /// These keys contain the device of the pod as well.
    DeviceKeys(&'static [&'static str]),
    /// A configuration without a version gets this one. DEL then has the result of ADD.
    Version(&'static str),
    /// The first call is rejected before any plugin runs.
    Rejected,
    /// DEL finds nothing to delete.
    NothingToDelete,
    /// ADD has this result.
    AddResult(&'static str),
    /// The keys of the configuration have their usual case.
    NoOtherCase,
    /// network-status has this value.
    Status(&'static str),
}

/// All differences: the scenario (`*` for all), the difference, and the reason.
pub const DIFFERENCES: &[(&str, Difference, &str)] = &[
    (
        "*",
        Difference::NoKey("capabilities"),
        "R-026: the specification does not pass it",
    ),
    (
        "*",
        Difference::DelAsAdd,
        "R-069: Multus builds another one, with an empty `ipam` and the port mappings",
    ),
    (
        "a",
        Difference::NoArgs(&["MAC", "IP"]),
        "R-033: the same values are capability arguments",
    ),
    (
        "a",
        Difference::DeviceKeys(&["deviceID", "pciBusID"]),
        "K-045: plugins read the device from there",
    ),
    ("c_dupif", Difference::Rejected, "K-033: the name is taken"),
    (
        "c_nad_nover",
        Difference::Version("1.0.0"),
        "K-009: plugins take an empty version for 0.1.0",
    ),
    (
        "c_nad_nover_list",
        Difference::Version("1.0.0"),
        "K-009: plugins take an empty version for 0.1.0",
    ),
    (
        "e_multi",
        Difference::Status(MULTI_STATUS),
        "K-083, K-088: `b` is no MAC, so `eth1` is not of the pod; a route has the gateway of its address",
    ),
    (
        "e_noif",
        Difference::AddResult(NOIF_RESULT),
        "P-067: the result has the version of the call",
    ),
    (
        "e_noif",
        Difference::Status(NOIF_STATUS),
        "K-087: a result without interfaces has an entry",
    ),
    (
        "g_fail",
        Difference::NothingToDelete,
        "P-087: the rollback has deleted everything",
    ),
    (
        "z_case",
        Difference::NoOtherCase,
        "R-020: each key has one spelling",
    ),
];

const MULTI_STATUS: &str = r#"[
    {"name": "weave1", "interface": "eth0", "ips": ["10.0.0.2", "fd00::9"], "mtu": 1400,
     "default": true, "dns": {}, "gateway": ["10.1.0.1", "fd00::1"]}
]"#;
const NOIF_RESULT: &str =
    r#"{"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.0.0.1/24"}]}"#;
const NOIF_STATUS: &str = r#"[
    {"name": "weave1", "interface": "eth0", "ips": ["10.0.0.1"], "default": true, "dns": {}},
    {"name": "ns1/mv", "interface": "net1", "dns": {}}
]"#;

/// The result of ADD that DEL gets with [`Difference::Version`].
const NOVER_RESULT: &str = r#"{
    "cniVersion": "1.0.0",
    "interfaces": [{"name": "net1", "mac": "aa:aa:aa:aa:aa:04", "sandbox": "/run/netns/mbx"}],
    "ips": [{"address": "10.1.1.101/24", "interface": 0}]
}"#;

/// The first ADD of each (plugin, interface).
type Adds = BTreeMap<(String, String), PluginRun>;

impl Difference {
    pub fn apply(&self, operations: &mut [Operation]) {
        let mut adds = Adds::new();
        for run in operations.iter().flat_map(|operation| &operation.runs) {
            if run.operation == "ADD" {
                let key = (run.plugin.clone(), run.ifname.clone());
                adds.entry(key).or_insert_with(|| run.clone());
            }
        }
        for operation in operations {
            self.apply_to_operation(operation);
            for run in &mut operation.runs {
                self.apply_to_run(run, &adds);
            }
        }
    }

    fn apply_to_operation(&self, operation: &mut Operation) {
        match self {
            Self::Rejected => {
                *operation = Operation {
                    name: operation.name.clone(),
                    failed: true,
                    ..Operation::default()
                }
            }
            Self::NothingToDelete if operation.name == "DEL" => operation.runs.clear(),
            Self::AddResult(text) if operation.result.is_some() => {
                operation.result = Some(parse_json(text));
            }
            Self::Status(text) if operation.name == "POD" => {
                operation.status = Some(parse_json(text));
            }
            _ => {}
        }
    }

    fn apply_to_run(&self, run: &mut PluginRun, adds: &Adds) {
        if let Self::NoArgs(keys) = self {
            let is_removed =
                |pair: &str| keys.iter().any(|key| pair.starts_with(&format!("{key}=")));
            run.args.retain(|pair| !is_removed(pair));
        }
        if matches!(self, Self::DelAsAdd)
            && run.operation == "DEL"
            && let Some(add) = adds.get(&(run.plugin.clone(), run.ifname.clone()))
        {
            run.args.clone_from(&add.args);
            run.stdin.clone_from(&add.stdin);
            object(&mut run.stdin).remove("prevResult");
        }
        self.apply_to_config(object(&mut run.stdin), run.operation == "DEL");
    }

    fn apply_to_config(&self, config: &mut Map<String, Value>, is_del: bool) {
        match self {
            Self::NoKey(key) => drop(config.remove(*key)),
            Self::DeviceKeys(keys) => {
                let device = config
                    .get("runtimeConfig")
                    .and_then(|args| args.get("deviceID"));
                if let Some(device) = device.cloned() {
                    config.extend(keys.iter().map(|key| ((*key).to_owned(), device.clone())));
                }
            }
            Self::Version(version) if config["name"] == "nov" => {
                config.insert("cniVersion".into(), json!(version));
                if is_del {
                    config.insert("prevResult".into(), parse_json(NOVER_RESULT));
                }
            }
            Self::NoOtherCase => {
                config.retain(|key, _| !["CniVersion", "NAME"].contains(&key.as_str()));
                let kind = config.remove("Type");
                config.extend(kind.map(|kind| ("type".to_owned(), kind)));
            }
            _ => {}
        }
    }
}

fn object(value: &mut Value) -> &mut Map<String, Value> {
    value.as_object_mut().expect("an object")
}
