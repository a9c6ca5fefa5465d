//! The inspection of a pod as text.

use std::io::{self, Write};

use super::PodInspection;
use super::asked::Asked;
use super::from_daemon::LastError;
use super::has::{Attached, Sandbox};
use crate::commands::age;

pub(super) fn print(inspection: &PodInspection, out: &mut impl Write) -> io::Result<()> {
    let PodInspection {
        pod,
        source,
        problems,
        asks,
        asks_error,
        would_get,
        has,
        network_status,
        last_errors,
        // Among the problems.
        network_status_write: _,
        hotplug_round: _,
    } = inspection;
    writeln!(out, "Pod {pod}, from {source}")?;
    writeln!(out, "\nProblems")?;
    for problem in problems {
        writeln!(out, "  {problem}")?;
    }
    if problems.is_empty() {
        writeln!(out, "  none")?;
    }
    writeln!(out, "\nAsks for")?;
    for Asked {
        network,
        interface,
        keys,
    } in asks
    {
        let interface = interface.as_deref().unwrap_or("any interface");
        writeln!(out, "  {network} ({interface}{})", further(keys))?;
    }
    if let Some(error) = asks_error {
        writeln!(out, "  the annotation is invalid: {error}")?;
    } else if asks.is_empty() {
        writeln!(out, "  no network beside those of every pod")?;
    }
    if let Some(plan) = would_get {
        writeln!(out, "\nWould get")?;
        plan.print_content(out)?;
    }
    writeln!(out, "\nHas")?;
    has.iter()
        .try_for_each(|sandbox| print_sandbox(sandbox, out))?;
    if has.is_empty() {
        writeln!(out, "  no sandbox")?;
    }
    writeln!(out, "\nNetwork-status")?;
    for entry in network_status.iter().flatten() {
        let default = if entry.default { ", default" } else { "" };
        let (interface, ips) = (&entry.interface, further(&entry.ips));
        writeln!(out, "  {interface:15} {}{ips}{default}", entry.name)?;
    }
    if network_status.is_none() {
        writeln!(out, "  none")?;
    }
    print_last_errors(last_errors, out)
}

fn print_last_errors(last_errors: &[LastError], out: &mut impl Write) -> io::Result<()> {
    if !last_errors.is_empty() {
        writeln!(out, "\nLast errors")?;
    }
    for LastError {
        age_seconds,
        reason,
        message,
    } in last_errors
    {
        let age = age::seconds(*age_seconds);
        writeln!(out, "  {age} ago {reason}: {message}")?;
    }
    Ok(())
}

fn print_sandbox(sandbox: &Sandbox, out: &mut impl Write) -> io::Result<()> {
    let Sandbox {
        container_id,
        ifname,
        state,
        attachments,
        network_status_written,
        last_error,
    } = sandbox;
    let pending = if *network_status_written {
        ""
    } else {
        ", network-status not written yet"
    };
    writeln!(out, "  container {container_id} {ifname}: {state}{pending}")?;
    for Attached {
        interface,
        network,
        state,
        ips,
        device,
    } in attachments
    {
        let device = device.as_ref().map(|id| format!(", device {id}"));
        let device = device.unwrap_or_default();
        let ips = further(ips);
        writeln!(out, "    {interface:15} {network}: {state}{ips}{device}")?;
    }
    if let Some(error) = last_error {
        writeln!(out, "    last error: {error}")?;
    }
    Ok(())
}

/// The texts as the rest of a list.
fn further(texts: &[String]) -> String {
    if texts.is_empty() {
        String::new()
    } else {
        format!(", {}", texts.join(", "))
    }
}
