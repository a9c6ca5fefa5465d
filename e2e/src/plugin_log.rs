//! What the scripted plugins were asked.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A line of the log. A plugin that is killed has no [`Entry::End`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A plugin has read its stdin.
    Start(Box<Call>),
    /// The plugin with this process ID ends by itself, at this time.
    End(u32, u64),
}

/// One call of a scripted plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    /// The plugin's name: the `type` of the configuration.
    pub plugin: String,
    /// `CNI_COMMAND`.
    pub verb: String,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// Its stdin; empty where the script ignores it.
    pub stdin: String,
    /// When it started, in nanoseconds of the system's clock.
    pub start: u64,
    /// When it ended; none where it was killed or still runs.
    #[serde(default)]
    pub end: Option<u64>,
    /// Its process ID.
    pub pid: u32,
    /// The inode of the network namespace that it ran in.
    pub netns: u64,
    /// Its open file descriptors, and what each refers to.
    pub fds: BTreeMap<String, String>,
    /// Its working directory.
    pub cwd: String,
    /// Its file mode creation mask, in octal digits.
    pub umask: String,
    /// Its blocked signals, in hexadecimal digits.
    pub blocked_signals: String,
}

impl Call {
    /// The configuration on its stdin.
    pub fn config(&self) -> Value {
        serde_json::from_str(&self.stdin)
            .unwrap_or_else(|error| panic!("{} {}: {error}", self.plugin, self.verb))
    }

    /// A variable of its environment; empty where it is not set.
    pub fn env(&self, key: &str) -> &str {
        self.env.get(key).map_or("", String::as_str)
    }

    /// Open file descriptors beyond stdin, stdout and stderr, without those that this very process was started with:
    /// a shell or `make` may leave some open, and then everything below has them.
    pub fn leaked_fds(&self) -> BTreeMap<String, String> {
        let inherited = |fd: &str, target: &str| {
            fs::read_link(Path::new("/proc/self/fd").join(fd))
                .is_ok_and(|own| own == Path::new(target))
        };
        let mut fds = self.fds.clone();
        fds.retain(|fd, target| !matches!(fd.as_str(), "0" | "1" | "2") && !inherited(fd, target));
        fds
    }

    /// `verb plugin ifname`: what a test compares a sequence of calls with.
    pub fn summary(&self) -> String {
        format!("{} {} {}", self.verb, self.plugin, self.env("CNI_IFNAME"))
            .trim_end()
            .to_owned()
    }
}

/// Reads the log; none is an empty one.
pub fn read(path: &Path) -> Vec<Call> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut calls: Vec<Call> = Vec::new();
    for line in text.lines() {
        match serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{}: {error}: {line}", path.display()))
        {
            Entry::Start(call) => calls.push(*call),
            // The last call with this process ID: the kernel uses them again.
            Entry::End(pid, time) => {
                if let Some(call) = calls.iter_mut().rfind(|call| call.pid == pid) {
                    call.end = Some(time);
                }
            }
        }
    }
    calls.sort_by_key(|call| call.start);
    calls
}
