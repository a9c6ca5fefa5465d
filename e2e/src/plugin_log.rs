//! The log of the scripted plugins.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A line of the log. A plugin that is killed writes no [`LogEntry::End`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogEntry {
    /// A plugin has read its stdin.
    Start(Box<PluginCall>),
    /// The plugin with this process ID exits at this time.
    End(u32, u64),
}

/// One call of a scripted plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PluginCall {
    /// The plugin's name: the `type` of the configuration.
    pub plugin: String,
    /// `CNI_COMMAND`.
    pub operation: String,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Empty if the script ignores stdin.
    pub stdin: String,
    /// The content of the file `runtimeConfig.CNIDeviceInfoFile`, if the file exists.
    #[serde(default)]
    pub device_info: Option<String>,
    /// Start time in nanoseconds since the epoch.
    pub start: u64,
    /// End time. `None` if the plugin was killed or still runs.
    #[serde(default)]
    pub end: Option<u64>,
    pub pid: u32,
    /// The inode of the network namespace in which the plugin ran.
    pub netns: u64,
    /// The open file descriptors and their targets.
    pub fds: BTreeMap<String, String>,
    pub cwd: String,
    /// The file mode creation mask in octal digits.
    pub umask: String,
    /// The content of `/proc/self/cgroup`.
    #[serde(default)]
    pub cgroups: String,
    /// The blocked signals in hexadecimal digits.
    pub blocked_signals: String,
}

impl PluginCall {
    /// The configuration on stdin.
    pub fn config(&self) -> Value {
        serde_json::from_str(&self.stdin)
            .unwrap_or_else(|error| panic!("{} {}: {error}", self.plugin, self.operation))
    }

    /// An environment variable, or an empty string.
    pub fn env(&self, key: &str) -> &str {
        self.env.get(key).map_or("", String::as_str)
    }

    /// Open file descriptors except stdin, stdout, stderr, and those with which this process was
    /// started: a shell or `make` may leave some open, and all children inherit them.
    pub fn leaked_fds(&self) -> BTreeMap<String, String> {
        let inherited = |fd: &str, target: &str| {
            fs::read_link(Path::new("/proc/self/fd").join(fd))
                .is_ok_and(|own| own == Path::new(target))
        };
        let mut fds = self.fds.clone();
        fds.retain(|fd, target| !matches!(fd.as_str(), "0" | "1" | "2") && !inherited(fd, target));
        fds
    }

    /// `OPERATION plugin ifname`.
    pub fn summary(&self) -> String {
        format!(
            "{} {} {}",
            self.operation,
            self.plugin,
            self.env("CNI_IFNAME")
        )
        .trim_end()
        .to_owned()
    }
}

/// Reads the log. A missing file is an empty log.
pub fn read(path: &Path) -> Vec<PluginCall> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut calls: Vec<PluginCall> = Vec::new();
    for line in text.lines() {
        match serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{}: {error}: {line}", path.display()))
        {
            LogEntry::Start(call) => calls.push(*call),
            // The last call with this process ID, because the kernel reuses process IDs.
            LogEntry::End(pid, time) => {
                if let Some(call) = calls.iter_mut().rfind(|call| call.pid == pid) {
                    call.end = Some(time);
                }
            }
        }
    }
    calls.sort_by_key(|call| call.start);
    calls
}
