//! The running daemon, found by its command line.

use std::fs;
use std::path::Path;

use clap::Parser as _;

use crate::cli::{Cli, Command, ServeArgs};
use crate::file_id::FileId;
use crate::serve::NODE_NAME_VARIABLES;

/// A `plexusd serve` in the mount namespace of this process: in a pod of the DaemonSet, the one of
/// this container.
#[derive(Debug, Clone)]
pub(super) struct DaemonProcess {
    pub(super) pid: i32,
    /// The options of its command line, and the node's name from its environment.
    pub(super) args: ServeArgs,
}

impl DaemonProcess {
    /// Finds the daemon. Returns `None` if no daemon runs, or if `/proc` does not show it.
    pub(super) fn find() -> Option<Self> {
        let namespace = FileId::of("/proc/self/ns/mnt").ok()?;
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find_map(|pid: i32| {
            let args = args(&strings(pid, "cmdline"))?;
            let found = FileId::of(format!("/proc/{pid}/ns/mnt")).ok()?;
            (found == namespace).then(|| Self {
                pid,
                args: ServeArgs {
                    node_name: args.node_name.clone().or_else(|| node_name(pid)),
                    ..args
                },
            })
        })
    }
}

/// The strings in a file of a process, each of which ends with a zero byte.
fn strings(pid: i32, file: &str) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// The options of a command line, if it is the one of a daemon.
fn args(words: &[String]) -> Option<ServeArgs> {
    let program = Path::new(words.first()?).file_name()?;
    if program != "plexusd" {
        return None;
    }
    match Cli::try_parse_from(words).ok()?.command {
        Command::Serve(args) | Command::Uninstall(args) => Some(args),
        _ => None,
    }
}

fn node_name(pid: i32) -> Option<String> {
    let variables = strings(pid, "environ");
    NODE_NAME_VARIABLES.into_iter().find_map(|name| {
        let mut values = variables
            .iter()
            .filter_map(|variable| variable.strip_prefix(name)?.strip_prefix('='));
        values
            .next()
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_command_line_of_a_daemon_has_its_options() {
        let args = |line: &str| {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            args(&words)
        };
        let found = args("/plexusd serve --config a.json --config b.json --node-name n");
        let found = found.expect("a daemon");
        assert_eq!(found.config, [Path::new("a.json"), Path::new("b.json")]);
        assert_eq!(found.node_name.as_deref(), Some("n"));
        assert!(args("/bin/plexusd uninstall --config a.json").is_some());
        for other in [
            "/plexusd launch-plugins",
            "/plexusd doctor --config a.json",
            "/bin/caddy serve --config a.json",
            "sh -c plexusd",
            "",
        ] {
            assert!(args(other).is_none(), "{other}");
        }
    }
}
