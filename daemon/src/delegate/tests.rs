//! Complete calls, with shell scripts as plugins.

mod environment;
mod faults;
mod guards;
mod order;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use plexus_api::cni::{Defaults, NetworkConfig, PluginResult, Version};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::host::HostRoot;
use crate::model::Attachment;

/// The start of every script: logs the call and saves stdin. `$dir` is the directory of the script,
/// `$me` its name.
const PRELUDE: &str = "#!/bin/sh\ndir=${0%/*}; me=${0##*/}\necho \"$CNI_COMMAND $me\" >> $dir/log\ncat > $dir/$me.$CNI_COMMAND\n";

/// Longer than anything takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// A plugin directory and `Delegates` that run its plugins.
struct Bench {
    dir: TempDir,
    delegates: Delegates,
}

impl Bench {
    fn new() -> Self {
        Self::with_timeout(PATIENCE)
    }

    fn with_timeout(plugin_timeout: Duration) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let settings = PluginSettings {
            bin_dirs: vec![dir.path().to_owned()],
            plugin_timeout,
            permits: 1,
            marker: ("PLEXUS_MARKER", "1".to_owned()),
            ledger_lock: Weak::new(),
        };
        Self {
            dir,
            delegates: Delegates::new(settings, Arc::new(Metrics::new(false))),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Writes a plugin that logs, saves its stdin, and runs `script`.
    fn plugin(&self, name: &str, script: &str) {
        write_program(&self.path(name), &format!("{PRELUDE}{script}\n"));
    }

    /// Writes a plugin that only runs `script`.
    fn bare(&self, name: &str, script: &str) {
        write_program(
            &self.path(name),
            &format!("#!/bin/sh\ndir=${{0%/*}}\n{script}\n"),
        );
    }

    /// The logged calls, in order.
    fn log(&self) -> Vec<String> {
        if self.path("log").exists() {
            self.read("log").lines().map(str::to_owned).collect()
        } else {
            Vec::new()
        }
    }

    /// The stdin of `plugin` for `verb`.
    fn stdin(&self, plugin: &str, verb: &str) -> Value {
        serde_json::from_str(&self.read(&format!("{plugin}.{verb}"))).expect("an object")
    }

    /// Creates a pipe that scripts write to.
    fn fifo(&self, name: &str) -> pipe::Receiver {
        mkfifo(&self.path(name), Mode::S_IRWXU).expect("mkfifo");
        pipe::OpenOptions::new()
            .open_receiver(self.path(name))
            .expect("open")
    }
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// A script that prints a result with `tag` in an unknown key.
fn prints(tag: &str) -> String {
    format!(
        r#"[ "$CNI_COMMAND" = ADD ] && echo '{{"cniVersion":"1.0.0","x-tag":"{tag}"}}'; exit 0"#
    )
}

/// A network with these plugin types; `keys` precede the plugins.
fn list(version: &str, keys: &str, plugins: &[&str]) -> NetworkConfig {
    let plugins: Vec<_> = plugins
        .iter()
        .map(|name| format!(r#"{{"type":"{name}"}}"#))
        .collect();
    let text = format!(
        r#"{{"name":"net","cniVersion":"{version}",{keys}"plugins":[{}]}}"#,
        plugins.join(",")
    );
    NetworkConfig::parse(
        &text,
        Defaults {
            name: None,
            version: Version::LATEST,
        },
    )
    .expect("a network")
}

fn attach(config: NetworkConfig) -> Attachment {
    Attachment {
        selected: true,
        cni_args: "IgnoreUnknown=1;FOO=1".to_owned(),
        ..Attachment::new("default/net", "net1", config)
    }
}

fn attachment(plugins: &[&str]) -> Attachment {
    attach(list("1.0.0", "", plugins))
}

fn call() -> PluginCall {
    PluginCall {
        host: Host::start(Handle::current(), HostRoot::Own).expect("host"),
        container_id: "c1".to_owned(),
        netns: Some("/run/netns/c1".to_owned()),
        path: Vec::new(),
        env: BTreeMap::new(),
        limits: limits(PATIENCE),
    }
}

/// The limits of a call that may take this long.
fn limits(time: Duration) -> CallLimits {
    CallLimits::new("ADD", Instant::now(), time, CancellationToken::new())
}

fn result(text: &str) -> PluginResult {
    PluginResult::parse(text.as_bytes(), Version::V1_0_0).expect("a result")
}
