//! The behaviour of a scripted plugin.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The steps of a scripted plugin for each CNI operation. Without steps the plugin prints the
/// default output: for ADD `prevResult` if there is one, else one interface with one address; for
/// VERSION all versions; otherwise nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Script {
    steps: BTreeMap<String, Vec<Step>>,
}

/// One step. Steps run in order. The default output follows unless a step has printed to stdout or
/// ended the plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Prints a result. `$IFNAME`, `$NETNS`, `$CONTAINERID` and `$CNIVERSION` are replaced.
    Result(Value),
    /// Prints an error object and exits with 1.
    Error(Value),
    Stdout(String),
    Stderr(String),
    /// Exits with this status.
    Exit(i32),
    /// Sends this signal to itself.
    Signal(i32),
    /// Never returns.
    Hang,
    /// Prints this many spaces.
    Flood(Stream, u64),
    /// Leaves a child running that keeps stdout and stderr open.
    HoldOutput,
    /// Does not read stdin, wherever the step is in the list.
    IgnoreStdin,
    /// Runs a command. If the command fails, prints an error and exits with 1.
    Run(Vec<String>),
    /// Runs `ip` in `CNI_NETNS` with these arguments, which spaces separate; `$IFNAME` is replaced.
    /// If the command fails, prints an error and exits with 1.
    Ip(String),
    /// Deletes the link `CNI_IFNAME` in `CNI_NETNS` if both exist.
    Unlink,
    /// Writes this text to the file `runtimeConfig.CNIDeviceInfoFile`.
    WriteDeviceInfo(String),
    /// Waits at a gate.
    Gate(PathBuf),
}

/// An output stream of a plugin.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// The file `NAME.script.json` beside the plugin.
#[derive(Debug, Serialize, Deserialize)]
pub struct ScriptFile {
    /// The file to which the plugin appends its calls.
    pub log: PathBuf,
    pub script: Script,
}

/// A plugin that makes its interface on ADD and removes it on DEL.
pub fn attaches() -> Script {
    Script::new()
        .on("ADD", [Step::link()])
        .on("DEL", [Step::Unlink])
}

impl Script {
    /// The default output for every operation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the steps for `operation`.
    #[must_use]
    pub fn on(mut self, operation: &str, steps: impl IntoIterator<Item = Step>) -> Self {
        self.steps
            .insert(operation.to_owned(), steps.into_iter().collect());
        self
    }

    /// Fails `operation` with an error.
    #[must_use]
    pub fn fails(self, operation: &str, code: u32, msg: &str) -> Self {
        self.on(operation, [Step::error(code, msg)])
    }

    /// The steps for `operation`.
    pub fn steps(&self, operation: &str) -> &[Step] {
        self.steps.get(operation).map_or(&[], Vec::as_slice)
    }
}

impl Step {
    /// Makes the link `CNI_IFNAME` as a bridge, which needs no other link.
    pub fn link() -> Self {
        Self::ip("link add $IFNAME type bridge")
    }

    /// Runs `ip` in the sandbox.
    pub fn ip(arguments: &str) -> Self {
        Self::Ip(arguments.into())
    }

    /// An error object with `code` and `msg`.
    pub fn error(code: u32, msg: &str) -> Self {
        Self::Error(json!({"cniVersion": "$CNIVERSION", "code": code, "msg": msg}))
    }

    /// A result of version 1.0.0 with one interface and `address`, and with a default route through
    /// `gateway` unless that is empty.
    pub fn result(address: &str, gateway: &str) -> Self {
        let mut result = json!({
            "cniVersion": "$CNIVERSION",
            "interfaces": [{"name": "$IFNAME", "sandbox": "$NETNS"}],
            "ips": [{"address": address, "interface": 0}],
        });
        if !gateway.is_empty() {
            result["ips"][0]["gateway"] = gateway.into();
            let dst = if gateway.contains(':') {
                "::/0"
            } else {
                "0.0.0.0/0"
            };
            result["routes"] = json!([{"dst": dst, "gw": gateway}]);
        }
        Self::Result(result)
    }
}

impl ScriptFile {
    /// The path of the script of the plugin at `program`.
    pub fn path_beside(program: &Path) -> PathBuf {
        let mut name = program.file_name().unwrap_or_default().to_owned();
        name.push(".script.json");
        program.with_file_name(name)
    }
}
