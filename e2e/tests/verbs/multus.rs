//! What Multus v4.3.0 did with a configuration, a pod and its definitions, recorded: Plexus does the same, but for the
//! differences that are listed here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;

use plexus_e2e::binaries::vectors;
use plexus_e2e::{Node, Pod, Script, Step, node, or_skip};
use serde_json::{Value, json};

use crate::plexus::{Plexus, write};

/// How we differ.
enum Difference {
    /// A key of the configuration does not reach the plugin.
    NoKey(&'static str),
    /// DEL gets the configuration and the arguments of ADD.
    DelAsAdd,
    /// These pairs are not added to `CNI_ARGS`.
    NoArgs(&'static [&'static str]),
    /// The device that the pod names stands in these keys as well.
    DeviceKeys(&'static [&'static str]),
    /// A configuration without a version is called in this one, from which on DEL has the result of ADD.
    Version(&'static str),
    /// The first call is refused, before a plugin runs.
    Refused,
    /// DEL finds nothing to delete any more.
    NothingToDelete,
    /// The answer of ADD is this one.
    Answer(&'static str),
    /// The keys of the configuration are in their usual case.
    NoOtherCase,
    /// network-status is this one.
    Status(&'static str),
}

/// All of them: scenario (`*` for all), difference, and the decision behind it.
const DIFFERENCES: &[(&str, Difference, &str)] = &[
    (
        "*",
        Difference::NoKey("capabilities"),
        "R-026: the specification does not send it",
    ),
    (
        "*",
        Difference::DelAsAdd,
        "R-069: Multus rebuilds it, with an empty `ipam` and the runtime's port mappings",
    ),
    (
        "a",
        Difference::NoArgs(&["MAC", "IP"]),
        "R-033: they are capability arguments already, and never said twice",
    ),
    (
        "a",
        Difference::DeviceKeys(&["deviceID", "pciBusID"]),
        "K-045: plugins look for a device there",
    ),
    ("c_dupif", Difference::Refused, "K-033: the name is taken"),
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
        "K-088: a default route without a gateway has none to show",
    ),
    (
        "e_noif",
        Difference::Answer(NOIF_ANSWER),
        "P-067: the answer is in the version of the call",
    ),
    (
        "e_noif",
        Difference::Status(NOIF_STATUS),
        "K-087: a result without interfaces has an entry too",
    ),
    (
        "g_fail",
        Difference::NothingToDelete,
        "P-087: the rollback has deleted all of it",
    ),
    (
        "z_case",
        Difference::NoOtherCase,
        "R-020: one key is written in one way",
    ),
];

const MULTI_STATUS: &str = r#"[
    {"name": "weave1", "interface": "eth0", "ips": ["10.0.0.2"], "mac": "a", "mtu": 1400, "dns": {},
     "gateway": ["fd00::1"]},
    {"name": "weave1", "interface": "eth1", "ips": ["10.1.0.2", "fd00::9"], "mac": "b", "mtu": 1500, "default": true,
     "dns": {}, "gateway": ["fd00::1"]}
]"#;
const NOIF_ANSWER: &str =
    r#"{"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.0.0.1/24"}]}"#;
const NOIF_STATUS: &str = r#"[
    {"name": "weave1", "interface": "eth0", "ips": ["10.0.0.1"], "default": true, "dns": {}},
    {"name": "ns1/mv", "interface": "net1", "dns": {}}
]"#;

/// From version 0.4.0 on, DEL has the result of ADD.
const NOVER_RESULT: &str = r#"{
    "cniVersion": "1.0.0",
    "interfaces": [{"name": "net1", "mac": "aa:aa:aa:aa:aa:04", "sandbox": "/run/netns/mbx"}],
    "ips": [{"address": "10.1.1.101/24", "interface": 0}]
}"#;

/// One operation of a scenario, as it was recorded or as we do it.
#[derive(Debug, Default, PartialEq)]
struct Operation {
    name: String,
    calls: Vec<Exec>,
    /// The operation failed.
    failed: bool,
    /// What ADD answered.
    answer: Option<Value>,
    /// The pod's network-status.
    status: Option<Value>,
}

/// A plugin that was executed.
#[derive(Debug, Clone, PartialEq)]
struct Exec {
    verb: String,
    plugin: String,
    ifname: String,
    args: BTreeSet<String>,
    stdin: Value,
}

#[test]
fn what_multus_did_is_done() {
    let dir = or_skip!(vectors());
    drop(node!());
    let inputs = fs::read_dir(dir.join("inputs"))
        .expect("there are scenarios")
        .flatten();
    let names: Vec<_> = inputs
        .filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    assert!(names.len() >= 20, "{names:?}");
    for (scenario, _, why) in DIFFERENCES {
        assert!(
            *scenario == "*" || names.iter().any(|name| name == scenario),
            "{scenario} is no scenario: {why}"
        );
    }
    let failures: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = names
            .iter()
            .map(|name| scope.spawn(|| compare(&dir, name)))
            .collect();
        running
            .into_iter()
            .filter_map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err("it panicked".into()))
                    .err()
            })
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn compare(dir: &Path, name: &str) -> Result<(), String> {
    let read = |path: String| {
        fs::read_to_string(dir.join(path)).map_err(|error| format!("{name}: {error}"))
    };
    let input: Value =
        serde_json::from_str(&read(format!("inputs/{name}.json"))?).expect("a scenario is JSON");
    let mut expected = recorded(&read(format!("multus-v4.3.0/{name}.txt"))?);
    for (scenario, difference, why) in DIFFERENCES
        .iter()
        .filter(|(scenario, ..)| ["*", name].contains(scenario))
    {
        let changed = apply(difference, &mut expected);
        if !changed && *scenario != "*" {
            return Err(format!("{name}: a difference that is none: {why}"));
        }
    }
    let done = replay(name, &input);
    for (done, expected) in done.iter().zip(&expected) {
        if done != expected {
            return Err(format!("{name}: we did\n{done:#?}\nnot\n{expected:#?}"));
        }
    }
    if done.len() == expected.len() {
        Ok(())
    } else {
        Err(format!("{name}: {} operations", done.len()))
    }
}

/// Changes what was recorded to what we do; whether that changes anything.
fn apply(difference: &Difference, operations: &mut [Operation]) -> bool {
    let before = format!("{operations:?}");
    let added: BTreeMap<_, _> = operations
        .iter()
        .flat_map(|operation| operation.calls.clone())
        .rev()
        .collect::<Vec<_>>()
        .into_iter()
        .filter(|call| call.verb == "ADD")
        .map(|call| ((call.plugin.clone(), call.ifname.clone()), call))
        .collect();
    for operation in operations.iter_mut() {
        match difference {
            Difference::Refused => {
                *operation = Operation {
                    name: operation.name.clone(),
                    failed: true,
                    ..Operation::default()
                }
            }
            Difference::NothingToDelete if operation.name == "DEL" => operation.calls.clear(),
            Difference::Answer(text) if operation.answer.is_some() => {
                operation.answer = Some(parsed(text));
            }
            Difference::Status(text) if operation.name == "POD" => {
                operation.status = Some(parsed(text));
            }
            _ => {}
        }
        for call in &mut operation.calls {
            let config = call
                .stdin
                .as_object_mut()
                .expect("a configuration is an object");
            match difference {
                Difference::NoKey(key) => drop(config.remove(*key)),
                Difference::NoArgs(keys) => {
                    call.args.retain(|pair| {
                        !keys.iter().any(|key| pair.starts_with(&format!("{key}=")))
                    });
                }
                Difference::DeviceKeys(keys) => {
                    if let Some(device) = config
                        .get("runtimeConfig")
                        .and_then(|args| args.get("deviceID"))
                        .cloned()
                    {
                        config.extend(keys.iter().map(|key| ((*key).to_owned(), device.clone())));
                    }
                }
                Difference::Version(version) if call.verb == "DEL" && config["name"] == "nov" => {
                    config.insert("cniVersion".into(), json!(version));
                    config.insert("prevResult".into(), parsed(NOVER_RESULT));
                }
                Difference::Version(version) if config["name"] == "nov" => {
                    config["cniVersion"] = json!(version);
                }
                Difference::NoOtherCase => {
                    config.retain(|key, _| !["CniVersion", "NAME"].contains(&key.as_str()));
                    let kind = config.remove("Type");
                    config.extend(kind.map(|kind| ("type".to_owned(), kind)));
                }
                Difference::DelAsAdd if call.verb == "DEL" => {
                    if let Some(add) = added.get(&(call.plugin.clone(), call.ifname.clone())) {
                        call.args.clone_from(&add.args);
                        call.stdin.clone_from(&add.stdin);
                        call.stdin
                            .as_object_mut()
                            .expect("an object")
                            .remove("prevResult");
                    }
                }
                _ => {}
            }
        }
    }
    format!("{operations:?}") != before
}

fn replay(name: &str, input: &Value) -> Vec<Operation> {
    let node = Node::new().expect("another one was made");
    let scratch = node.scratch().to_str().expect("it is text").to_owned();
    let plugins = [
        json!({"type": "flannel", "delegate": {"hairpinMode": true, "isDefaultGateway": true}}),
        json!({"type": "portmap", "capabilities": {"portMappings": true}}),
    ];
    let flannel = json!({"name": "cbr0", "cniVersion": "0.3.1", "plugins": plugins});
    write(&node, "cn/10-flannel.conflist", &flannel);
    for (plugin, result) in input["results"].as_object().into_iter().flatten() {
        let result = result.as_str().expect("a result is text");
        let script = match result.strip_prefix("ERR:") {
            Some(msg) => Script::new().fails("ADD", 999, msg),
            None => Script::new().on("ADD", [Step::Stdout(result.to_owned())]),
        };
        node.plugin(plugin, &script);
    }
    let plexus = Plexus::configured(
        &node,
        json!({"clusterNetwork": null, "binDir": node.bin_dir(), "lookupWait": "20ms"}),
    );
    for definition in input["nads"].as_array().into_iter().flatten() {
        let text = |key: &str| definition[key].as_str().expect("it is text");
        plexus
            .manifests
            .definition_in(text("NS"), text("Name"), Some(text("Config")));
    }
    let annotations = serde_json::from_value(input["podAnn"].clone()).unwrap_or_default();
    let pod = Pod {
        namespace: "ns1".into(),
        name: "p1".into(),
        uid: "uid-1".into(),
        annotations,
    };
    plexus.manifests.pod(&pod);
    let mut plexus = plexus;
    plexus.daemon.restart();
    let _sandbox = node.sandbox("mbx");
    let config = input["conf"]
        .as_str()
        .expect("it is text")
        .replace("@DIR@", &scratch)
        .replace("@W@", &scratch);
    // A directory that the runtime's own plugins are in, and a shim of another name.
    let config = config.replace("/opt/cni/bin", node.bin_dir().to_str().expect("it is text"));
    let env: BTreeMap<_, _> = [
        ("CNI_CONTAINERID", "cid1"),
        ("CNI_NETNS", "/run/netns/mbx"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", ARGS),
    ]
    .map(|(key, value)| (key.to_owned(), Some(value.to_owned())))
    .into();
    let mut operations = Vec::new();
    for operation in input["ops"].as_array().expect("a list") {
        let operation = operation.as_str().expect("it is text");
        node.forget_calls();
        let mut done = Operation {
            name: operation.to_owned(),
            ..Operation::default()
        };
        match operation {
            "ADD" | "DEL" => {
                let answer = plexus
                    .runtime
                    .execute_raw(operation, &env, config.clone().into())
                    .wait();
                done.failed = !answer.ok();
                done.answer = answer.json.filter(|_| !done.failed).map(without_empty_dns);
                done.calls = node.calls().iter().map(exec).collect();
            }
            "POD" => done.status = plexus.status(&pod),
            "RMPOD" => plexus.manifests.remove_pod(&pod),
            _ => continue,
        }
        operations.push(done);
    }
    assert!(!operations.is_empty(), "{name}");
    operations
}

/// As recorded.
const ARGS: &str = "IgnoreUnknown=true;K8S_POD_NAMESPACE=ns1;K8S_POD_NAME=p1;K8S_POD_INFRA_CONTAINER_ID=sbx1;K8S_POD_UID=uid-1";

fn exec(call: &plexus_e2e::Call) -> Exec {
    Exec {
        verb: call.verb.clone(),
        plugin: call.plugin.clone(),
        ifname: call.env("CNI_IFNAME").to_owned(),
        args: call.env("CNI_ARGS").split(';').map(str::to_owned).collect(),
        stdin: call.config(),
    }
}

/// The operations of a recording, without its dumps of files and its events.
fn recorded(text: &str) -> Vec<Operation> {
    let mut operations = Vec::new();
    for section in text.split("### ").skip(1) {
        let (name, rest) = section.split_once('\n').unwrap_or((section, ""));
        let mut operation = Operation {
            name: name.to_owned(),
            ..Operation::default()
        };
        match name {
            "ADD" | "DEL" => read_call(rest, &mut operation),
            "POD" => {
                let status = rest
                    .split_once("<<")
                    .and_then(|(_, rest)| rest.rsplit_once(">>"));
                operation.status = status
                    .map(|(status, _)| status)
                    .filter(|status| !status.is_empty())
                    .map(parsed);
            }
            "RMPOD" => {}
            _ => continue,
        }
        operations.push(operation);
    }
    operations
}

fn read_call(text: &str, operation: &mut Operation) {
    operation.failed = !text.contains("ERR: <nil>");
    let answer = text
        .split_once("ERR: <nil>\n")
        .map(|(_, answer)| answer.trim())
        .filter(|answer| !answer.is_empty());
    operation.answer = answer.map(parsed).map(without_empty_dns);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(call) = line.strip_prefix("  EXEC ") else {
            continue;
        };
        let words: Vec<_> = call.split(' ').collect();
        let value = |key: &str| {
            words
                .iter()
                .find_map(|word| word.strip_prefix(key))
                .unwrap_or_default()
        };
        let stdin = lines
            .next()
            .and_then(|line| line.trim().strip_prefix("stdin="))
            .expect("its stdin follows");
        operation.calls.push(Exec {
            verb: words[0].to_owned(),
            plugin: words[1].to_owned(),
            ifname: value("IF=").to_owned(),
            args: value("ARGS=").split(';').map(str::to_owned).collect(),
            stdin: parsed(stdin),
        });
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Go prints an empty `dns` in some versions.
fn without_empty_dns(mut result: Value) -> Value {
    if let Some(map) = result.as_object_mut() {
        map.retain(|key, value| key != "dns" || *value != json!({}));
    }
    result
}
