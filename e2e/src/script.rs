//! How a scripted plugin behaves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a scripted plugin does, by verb. A verb without steps gets the plain answer: for ADD `prevResult` where there
/// is one, else one interface with one address; for VERSION every version; for the others nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Script {
    verbs: BTreeMap<String, Vec<Step>>,
}

/// One step. They run in order; the plain answer follows unless a step has printed to stdout or has ended the plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Prints this result, with `$IFNAME`, `$NETNS`, `$CONTAINERID` and `$CNIVERSION` replaced.
    Result(Value),
    /// Prints this error object and exits with 1.
    Error(Value),
    /// Prints this to stdout.
    Stdout(String),
    /// Prints this to stderr.
    Stderr(String),
    /// Exits with this status.
    Exit(i32),
    /// Kills itself by this signal.
    Signal(i32),
    /// Never ends.
    Hang,
    /// Prints this many bytes, all blanks.
    Flood(Stream, u64),
    /// Leaves a child behind that keeps stdout and stderr open and never ends.
    HoldOutput,
    /// Does not read stdin; counts wherever it stands.
    IgnoreStdin,
    /// Runs a command; if that fails, prints an error and exits with 1.
    Run(Vec<String>),
    /// Makes `CNI_IFNAME` in `CNI_NETNS`: a link of this type, as `ip link add` knows it.
    Link(String),
    /// Deletes `CNI_IFNAME` in `CNI_NETNS`, where both are there.
    Unlink,
    /// Waits at a gate.
    Gate(PathBuf),
}

/// An output of the plugin.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Its result.
    Stdout,
    /// Its log.
    Stderr,
}

/// The file beside the plugin: `NAME.script.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ScriptFile {
    /// Where it appends what it was asked.
    pub log: PathBuf,
    /// What it does.
    pub script: Script,
}

impl Script {
    /// The plain answer to every verb.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what it does on `verb`.
    #[must_use]
    pub fn on(mut self, verb: &str, steps: impl IntoIterator<Item = Step>) -> Self {
        self.verbs
            .insert(verb.to_owned(), steps.into_iter().collect());
        self
    }

    /// Answers `verb` with an error.
    #[must_use]
    pub fn fails(self, verb: &str, code: u32, msg: &str) -> Self {
        self.on(verb, [Step::error(code, msg)])
    }

    /// What it does on `verb`.
    pub fn steps(&self, verb: &str) -> &[Step] {
        self.verbs.get(verb).map_or(&[], Vec::as_slice)
    }
}

impl Step {
    /// An error object with `code` and `msg`.
    pub fn error(code: u32, msg: &str) -> Self {
        Self::Error(json!({"cniVersion": "$CNIVERSION", "code": code, "msg": msg}))
    }

    /// A result of one interface with `address` and, where it is not empty, a default route by `gateway`, in the shape
    /// of version 1.0.0.
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
    /// Where the script of the plugin at `program` is.
    pub fn path_beside(program: &Path) -> PathBuf {
        let mut name = program.file_name().unwrap_or_default().to_owned();
        name.push(".script.json");
        program.with_file_name(name)
    }
}
