//! The operations of a scenario, parsed from a recording or replayed.

use std::collections::BTreeSet;

use plexus_e2e::PluginCall;
use serde_json::{Value, json};

/// `CNI_ARGS` in all recordings.
pub const ARGS: &str = "IgnoreUnknown=true;K8S_POD_NAMESPACE=ns1;K8S_POD_NAME=p1;\
                        K8S_POD_INFRA_CONTAINER_ID=sbx1;K8S_POD_UID=uid-1";

/// An operation: ADD, DEL, POD (a read of network-status) or RMPOD.
#[derive(Debug, Default, PartialEq)]
pub struct Operation {
    pub name: String,
    pub runs: Vec<PluginRun>,
    pub failed: bool,
    /// The result of ADD.
    pub result: Option<Value>,
    /// The pod's network-status.
    pub status: Option<Value>,
}

/// An execution of a plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginRun {
    pub operation: String,
    pub plugin: String,
    pub ifname: String,
    pub args: BTreeSet<String>,
    pub stdin: Value,
}

impl From<&PluginCall> for PluginRun {
    fn from(call: &PluginCall) -> Self {
        Self {
            operation: call.operation.clone(),
            plugin: call.plugin.clone(),
            ifname: call.env("CNI_IFNAME").to_owned(),
            args: args(call.env("CNI_ARGS")),
            stdin: call.config(),
        }
    }
}

/// Parses a recording. Dumps of files and events are skipped.
pub fn parse(text: &str) -> Vec<Operation> {
    let mut operations = Vec::new();
    for section in text.split("### ").skip(1) {
        let (name, rest) = section.split_once('\n').unwrap_or((section, ""));
        let mut operation = Operation {
            name: name.to_owned(),
            ..Operation::default()
        };
        match name {
            "ADD" | "DEL" => parse_call(rest, &mut operation),
            "POD" => {
                operation.status = rest
                    .split_once("<<")
                    .and_then(|(_, rest)| rest.rsplit_once(">>"))
                    .map(|(status, _)| status)
                    .filter(|status| !status.is_empty())
                    .map(parse_json);
            }
            "RMPOD" => {}
            _ => continue,
        }
        operations.push(operation);
    }
    operations
}

fn parse_call(text: &str, operation: &mut Operation) {
    operation.failed = !text.contains("ERR: <nil>");
    operation.result = text
        .split_once("ERR: <nil>\n")
        .map(|(_, result)| result.trim())
        .filter(|result| !result.is_empty())
        .map(|result| without_empty_dns(parse_json(result)));
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(call) = line.strip_prefix("  EXEC ") else {
            continue;
        };
        let words: Vec<_> = call.split(' ').collect();
        let value = |key: &str| {
            let value = words.iter().find_map(|word| word.strip_prefix(key));
            value.unwrap_or_default()
        };
        let stdin = lines
            .next()
            .and_then(|line| line.trim().strip_prefix("stdin="))
            .expect("a line with stdin");
        operation.runs.push(PluginRun {
            operation: words[0].to_owned(),
            plugin: words[1].to_owned(),
            ifname: value("IF=").to_owned(),
            args: args(value("ARGS=")),
            stdin: parse_json(stdin),
        });
    }
}

fn args(text: &str) -> BTreeSet<String> {
    text.split(';').map(str::to_owned).collect()
}

pub fn parse_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Removes an empty `dns`, which Multus prints in some CNI versions.
pub fn without_empty_dns(mut result: Value) -> Value {
    if let Some(map) = result.as_object_mut() {
        map.retain(|key, value| key != "dns" || *value != json!({}));
    }
    result
}
