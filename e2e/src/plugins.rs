//! The CNI plugins of a node: scripted ones, and the reference plugins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binaries::binary;
use crate::{Gate, Node, PluginCall, Script, ScriptFile, plugin_log};

impl Node {
    /// Installs a scripted plugin under `name`, or gives it another script.
    pub fn plugin(&self, name: &str, script: &Script) {
        let program = self.bin_dir().join(name);
        if !program.exists() {
            install(&binary("scripted-plugin"), &program);
        }
        let file = ScriptFile {
            log: self.call_log(),
            script: script.clone(),
        };
        let text = serde_json::to_vec(&file).expect("script as JSON");
        // A plugin that starts now must not read half a script.
        let temporary = self.bin_dir().join(format!(".{name}.new"));
        fs::write(&temporary, text).expect("write the script");
        fs::rename(&temporary, ScriptFile::path_beside(&program)).expect("rename the script");
    }

    /// Installs the reference plugins `names` from `dir`.
    pub fn real_plugins(&self, dir: &Path, names: &[&str]) {
        for name in names {
            install(&dir.join(name), &self.bin_dir().join(name));
        }
    }

    /// The calls of the scripted plugins so far, in the order in which they started.
    pub fn calls(&self) -> Vec<PluginCall> {
        plugin_log::read(&self.call_log())
    }

    /// The calls for one container.
    pub fn calls_for(&self, container: &str) -> Vec<PluginCall> {
        let mut calls = self.calls();
        calls.retain(|call| call.env("CNI_CONTAINERID") == container);
        calls
    }

    /// All calls as `OPERATION plugin ifname`.
    pub fn call_summaries(&self) -> Vec<String> {
        self.calls().iter().map(PluginCall::summary).collect()
    }

    /// Deletes the log of the calls so far.
    pub fn forget_calls(&self) {
        let _ = fs::remove_file(self.call_log());
    }

    /// Makes a place where a scripted plugin waits until the test releases it.
    pub fn gate(&self, name: &str) -> Gate {
        Gate::new(self.scratch().join(format!("{name}.gate")))
    }

    fn call_log(&self) -> PathBuf {
        self.scratch().join("calls.jsonl")
    }
}

/// Makes a hard link at `to`, because a lookup that resolves symbolic links would find another
/// name. If linking fails, runs `cp`: if this process had the file open for writing while another
/// thread forks, the program could not be executed.
fn install(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        let status = Command::new("cp").arg(from).arg(to).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "cannot copy {} to {}",
            from.display(),
            to.display()
        );
    }
}
