//! The state of the node as text.

use std::fmt::Display;
use std::io::{self, Write};

use crate::commands::age::seconds;
use crate::server::{DaemonStatus, InstalledFile, LedgerStatus, NodeStatus, Reading};

const MIB: u64 = 1 << 20;

pub(super) fn print(status: &NodeStatus, out: &mut impl Write) -> io::Result<()> {
    if let Some(daemon) = &status.daemon {
        print_daemon(daemon, out)?;
    } else {
        let text = "is not running; the rest of this screen is read from disk";
        line(out, "plexusd", text)?;
    }
    match &status.ledger {
        Reading::Known(ledger) => print_ledger(ledger, out),
        Reading::Unknown { error } => line(out, "sandboxes", format_args!("unknown: {error}")),
    }
}

/// A line with its subject in the first column.
fn line(out: &mut impl Write, subject: &str, text: impl Display) -> io::Result<()> {
    writeln!(out, "{subject:16} {text}")
}

fn print_daemon(daemon: &DaemonStatus, out: &mut impl Write) -> io::Result<()> {
    let uptime = seconds(daemon.uptime_seconds);
    let memory = daemon
        .resident_memory_bytes
        .map(|bytes| bytes.div_ceil(MIB));
    let memory = memory.map_or(String::new(), |mib| format!(", {mib} MiB of memory"));
    let text = format!(
        "{}, pid {}, up {uptime}{memory}",
        daemon.version, daemon.pid
    );
    line(out, "plexusd", text)?;
    let is_ready = daemon.not_ready.is_empty();
    line(out, "ready", if is_ready { "yes" } else { "no" })?;
    for reason in &daemon.not_ready {
        line(out, "", format_args!("- {}", reason.problem.text))?;
        line(out, "", format_args!("  remedy: {}", reason.problem.remedy))?;
    }
    for warning in &daemon.warnings {
        line(out, "warning", &warning.problem.text)?;
        line(out, "", format_args!("remedy: {}", warning.problem.remedy))?;
    }
    match &daemon.default_network {
        Reading::Known(network) => {
            let file = network.file.as_ref();
            let file = file.map_or(String::new(), |file| format!(", from {file}"));
            let text = format!("{}: {}{file}", network.name, network.plugins.join(", "));
            line(out, "default network", text)?;
        }
        Reading::Unknown { error } => line(out, "default network", error)?,
    }
    line(
        out,
        "configuration",
        installed(daemon.configuration.as_ref()),
    )?;
    line(out, "shim", installed(daemon.shim.as_ref()))?;
    print_sources(daemon, out)?;
    let plugins = &daemon.plugins;
    let text = format!(
        "{} of {} permits in use, {} calls wait",
        plugins.running_calls, plugins.limit, plugins.waiting_calls
    );
    line(out, "plugins", text)?;
    let hotplug = &daemon.hotplug;
    match (hotplug.enabled, hotplug.pending_pods) {
        (false, _) => line(out, "hot-plug", "off")?,
        (true, 0) => line(out, "hot-plug", "on")?,
        (true, pods) => line(out, "hot-plug", format_args!("on, {pods} pods pending"))?,
    }
    if daemon.network_status_overdue {
        let text = "a write is overdue: the API server is slow, or refuses the write";
        line(out, "network-status", text)?;
    }
    if daemon.events_dropped > 0 {
        let text = format!("{} could not be sent", daemon.events_dropped);
        line(out, "events", text)?;
    }
    Ok(())
}

fn installed(file: Option<&InstalledFile>) -> String {
    match file {
        Some(InstalledFile { path, in_place }) => {
            let state = if *in_place {
                "in place"
            } else {
                "not in place"
            };
            format!("{path}, {state}")
        }
        None => "not installed by Plexus".to_owned(),
    }
}

/// The objects of the cluster, and kubelet.
fn print_sources(daemon: &DaemonStatus, out: &mut impl Write) -> io::Result<()> {
    let objects = &daemon.objects;
    let age = match objects.snapshot_age_seconds {
        Some(age) => format!(", definitions from a snapshot of {} ago", seconds(age)),
        None => confirmed(objects.age_seconds),
    };
    let text = format!(
        "{} pods, {} definitions{age}",
        objects.pods, objects.definitions
    );
    line(out, "objects", text)?;
    if let Some(error) = &objects.error {
        line(out, "", format_args!("error: {error}"))?;
    }
    let devices = &daemon.devices;
    let exists = match &devices.kubelet_socket_exists {
        Reading::Known(true) => "in place",
        Reading::Known(false) => "missing; kubelet's checkpoint is used",
        Reading::Unknown { error } => error,
    };
    line(
        out,
        "devices",
        format_args!("{}, {exists}", devices.kubelet_socket),
    )?;
    if let Some(dra) = &devices.dra {
        let age = confirmed(dra.age_seconds);
        line(out, "", format_args!("{} ResourceSlices{age}", dra.slices))?;
        if let Some(error) = &dra.error {
            line(out, "", format_args!("error: {error}"))?;
        }
    }
    Ok(())
}

fn confirmed(age: Option<u64>) -> String {
    match age {
        Some(age) => format!(", confirmed {} ago", seconds(age)),
        None => ", not listed yet".to_owned(),
    }
}

fn print_ledger(ledger: &LedgerStatus, out: &mut impl Write) -> io::Result<()> {
    let counts = counted(&[
        (ledger.attached, "attached"),
        (ledger.adding, "adding"),
        (ledger.deleting, "deleting"),
        (ledger.orphaned, "orphaned"),
        (ledger.unreadable, "unreadable"),
    ]);
    line(
        out,
        "sandboxes",
        counts.as_deref().unwrap_or("no sandboxes"),
    )?;
    if let Some(oldest) = &ledger.oldest_failure {
        let text = format!(
            "DEL of {} {} (pod {}) has failed for {}, {} times: {}",
            oldest.container_id,
            oldest.ifname,
            oldest.pod,
            seconds(oldest.failing_seconds),
            oldest.failures,
            oldest.error
        );
        line(out, "", text)?;
        let text = "remedy: repair the cause, then run `plexusd ledger retry --all`";
        line(out, "", text)?;
    }
    let other = counted(&[
        (ledger.network_status_pending, "without network-status"),
        (ledger.spooled, "spooled DELs"),
        (ledger.retired, "retired records"),
        (ledger.quarantined, "files in the quarantine"),
    ]);
    if let Some(other) = other {
        line(out, "", other)?;
    }
    line(out, "state directory", &ledger.state_dir)
}

/// The counts that are not zero. `None` if all are.
fn counted(counts: &[(usize, &str)]) -> Option<String> {
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts
        .map(|(count, noun)| format!("{count} {noun}"))
        .collect();
    (!counts.is_empty()).then(|| counts.join(", "))
}

#[cfg(test)]
mod tests;
