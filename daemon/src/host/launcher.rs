//! Launchers: processes that wait in the control groups of plugins and then execute a plugin.
//!
//! The kernel takes 10 to 20 ms to move a process to another control group if none was moved shortly
//! before. A launcher is therefore started and moved ahead of the plugin, and becomes the plugin by
//! execve. The first bytes on its stdin are the order; the plugin reads what follows.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;

use serde::{Deserialize, Serialize};

use super::BUSY_PAUSES;

/// The subcommand of plexusd that runs a launcher.
const SUBCOMMAND: &str = "launch-plugin";

/// The command line of a launcher, as `/proc/PID/cmdline` has it.
pub(crate) const LAUNCHER_CMDLINE: &[u8] = b"plexusd\0launch-plugin\0";

/// Precedes the error number on stdout of a launcher that could not execute its plugin.
const NOT_EXECUTED: &str = "plexusd launch-plugin: errno ";

/// The plugin to execute.
#[derive(Debug, Serialize, Deserialize)]
struct Order<P, E> {
    program: P,
    env: E,
}

/// The command that starts a launcher. `env` is the environment of a plugin: the launcher has its
/// marker, so that a later daemon finds a launcher that survived this one.
pub(super) fn command(env: &BTreeMap<String, String>) -> Command {
    let marker = env.iter().filter(|(key, _)| key.starts_with("PLEXUS_"));
    let mut command = Command::new("/proc/self/exe");
    command.arg0("plexusd").arg(SUBCOMMAND);
    command.env_clear().envs(marker);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The bytes that make a launcher execute a plugin.
pub(super) fn order(program: &Path, env: &BTreeMap<String, String>) -> io::Result<Vec<u8>> {
    let order = serde_json::to_vec(&Order { program, env })?;
    let length = u32::try_from(order.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes()[..], &order].concat())
}

/// The error of a launcher that could not execute its plugin. Returns `None` if `stdout` is the
/// output of the plugin.
pub(crate) fn launch_error(stdout: &[u8]) -> Option<io::Error> {
    let number = stdout.strip_prefix(NOT_EXECUTED.as_bytes())?;
    let number = str::from_utf8(number).ok()?.trim_end().parse().ok()?;
    Some(io::Error::from_raw_os_error(number))
}

/// Reads an order from stdin and becomes the plugin.
///
/// # Errors
/// There is no order, because the daemon has ended, or the plugin cannot be executed.
pub(crate) fn launch_plugin() -> io::Result<Infallible> {
    // Unbuffered: what follows the order is for the plugin.
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut length = [0; 4];
    stdin.read_exact(&mut length)?;
    let mut order = Vec::new();
    stdin
        .by_ref()
        .take(u32::from_be_bytes(length).into())
        .read_to_end(&mut order)?;
    drop(stdin);
    let Order { program, env }: Order<PathBuf, BTreeMap<String, String>> =
        serde_json::from_slice(&order)?;
    let mut pauses = BUSY_PAUSES.iter();
    loop {
        let error = Command::new(&program).env_clear().envs(&env).exec();
        match pauses.next() {
            Some(pause) if error.kind() == io::ErrorKind::ExecutableFileBusy => sleep(*pause),
            _ => {
                if let Some(number) = error.raw_os_error() {
                    println!("{NOT_EXECUTED}{number}");
                }
                return Err(error);
            }
        }
    }
}
