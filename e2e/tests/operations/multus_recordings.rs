//! Replays recorded scenarios of Multus v4.3.0. Plexus calls the same plugins with the same input,
//! except for the listed differences.

mod difference;
mod recording;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;

use plexus_e2e::binaries::vectors;
use plexus_e2e::{Node, Plexus, Pod, Script, Step, node, or_skip};
use serde_json::{Value, json};

use difference::DIFFERENCES;
use recording::{ARGS, Operation, PluginRun, without_empty_dns};

#[test]
fn plugins_get_the_same_calls_as_from_multus() {
    let dir = or_skip!(vectors());
    drop(node!());
    let names: Vec<_> = fs::read_dir(dir.join("inputs"))
        .expect("the scenarios")
        .flatten()
        .filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    assert!(names.len() >= 20, "{names:?}");
    for (scenario, _, reason) in DIFFERENCES {
        assert!(
            *scenario == "*" || names.iter().any(|name| name == scenario),
            "no scenario {scenario}: {reason}"
        );
    }
    let failures: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = names
            .iter()
            .map(|name| scope.spawn(|| compare(&dir, name)))
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().unwrap_or_else(|_| Err("panic".into())).err())
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Replays a scenario and compares it with its recording.
fn compare(dir: &Path, name: &str) -> Result<(), String> {
    let read = |path: String| {
        fs::read_to_string(dir.join(path)).map_err(|error| format!("{name}: {error}"))
    };
    let input: Value =
        serde_json::from_str(&read(format!("inputs/{name}.json"))?).expect("a scenario is JSON");
    let mut expected = recording::parse(&read(format!("multus-v4.3.0/{name}.txt"))?);
    for (scenario, difference, reason) in DIFFERENCES
        .iter()
        .filter(|(scenario, ..)| ["*", name].contains(scenario))
    {
        let before = format!("{expected:?}");
        difference.apply(&mut expected);
        if *scenario != "*" && before == format!("{expected:?}") {
            return Err(format!("{name}: a difference without effect: {reason}"));
        }
    }
    let replayed = replay(name, &input);
    for (replayed, expected) in replayed.iter().zip(&expected) {
        if replayed != expected {
            return Err(format!("{name}:\n{replayed:#?}\nexpected:\n{expected:#?}"));
        }
    }
    if replayed.len() == expected.len() {
        Ok(())
    } else {
        Err(format!("{name}: {} operations", replayed.len()))
    }
}

/// Runs the operations of a scenario.
fn replay(name: &str, input: &Value) -> Vec<Operation> {
    let node = Node::new().expect("a node");
    let (plexus, pod) = set_up(&node, input);
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let scratch = node.scratch().to_str().expect("UTF-8");
    let bin_dir = node.bin_dir();
    let config = text(&input["conf"])
        .replace("@DIR@", scratch)
        .replace("@W@", scratch)
        .replace("/opt/cni/bin", bin_dir.to_str().expect("UTF-8"));
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
        node.forget_calls();
        let mut replayed = Operation {
            name: text(operation),
            ..Operation::default()
        };
        match replayed.name.as_str() {
            operation @ ("ADD" | "DEL") => {
                let stdin = config.clone().into();
                let output = plexus.runtime.execute_raw(operation, &env, stdin).wait();
                replayed.failed = !output.ok();
                if replayed.failed {
                    println!("{name}: {operation}: {:?}", output.json);
                }
                replayed.result = output.json.filter(|_| !replayed.failed);
                replayed.result = replayed.result.map(without_empty_dns);
                replayed.runs = node.calls().iter().map(PluginRun::from).collect();
            }
            "POD" => replayed.status = plexus.network_status(&pod),
            "RMPOD" => plexus.manifests.remove_pod(&pod),
            _ => continue,
        }
        operations.push(replayed);
    }
    assert!(!operations.is_empty(), "{name}");
    operations
}

/// Starts Plexus with the plugins, definitions, pod and sandbox of a scenario.
fn set_up<'n>(node: &'n Node, input: &Value) -> (Plexus<'n>, Pod) {
    let plugins = [
        json!({"type": "flannel", "delegate": {"hairpinMode": true, "isDefaultGateway": true}}),
        json!({"type": "portmap", "capabilities": {"portMappings": true}}),
    ];
    let flannel = json!({"name": "cbr0", "cniVersion": "0.3.1", "plugins": plugins});
    node.write_json("cn/10-flannel.conflist", &flannel);
    for (plugin, result) in input["results"].as_object().into_iter().flatten() {
        let result = result.as_str().expect("a string");
        let script = match result.strip_prefix("ERR:") {
            Some(msg) => Script::new().fails("ADD", 999, msg),
            None => Script::new().on("ADD", [Step::Stdout(result.to_owned())]),
        };
        node.plugin(plugin, &script);
    }
    // The IPAM plugin of the definitions, which no plugin of the scenarios runs.
    node.plugin("static", &Script::new());
    let keys = json!({"clusterNetwork": null, "binDir": node.bin_dir(), "lookupWait": "20ms"});
    let mut plexus = Plexus::on(node).config(keys).build();
    for definition in input["nads"].as_array().into_iter().flatten() {
        let text = |key: &str| definition[key].as_str().expect("a string");
        let manifests = &plexus.manifests;
        manifests.definition_in(text("NS"), text("Name"), Some(text("Config")));
    }
    let pod = Pod {
        annotations: serde_json::from_value(input["podAnn"].clone()).unwrap_or_default(),
        ..Pod::new("p1").in_namespace("ns1").with_uid("uid-1")
    };
    plexus.manifests.pod(&pod);
    plexus.daemon.restart();
    node.sandbox("mbx");
    (plexus, pod)
}
