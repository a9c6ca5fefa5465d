//! The process of the daemon: its privileges, where plugins run, and its limits.

use std::fs;

use inotify::{Inotify, WatchMask};
use nix::errno::Errno;

use super::facts::{Facts, Plugins};
use super::finding::{Finding, Outcome};
use crate::delegate::Delegates;
use crate::host::Hosts;
use crate::serve::{plugin_settings, preflight};

/// The privileges that the daemon needs. This process has those of the daemon if both run in the
/// same container.
pub(super) async fn privileges(facts: &Facts) -> Outcome {
    let settings = facts.settings().clone();
    let checked = tokio::task::spawn_blocking(move || preflight(&settings)).await;
    let error = match checked {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("{error:#}")),
        Err(panic) => Some(panic.to_string()),
    };
    error.map(|error| Finding::failed("plexusd", error)).into()
}

/// Enters the mount namespace of the runtime, as the daemon does.
pub(super) fn mount_namespace(facts: &mut Facts) -> Outcome {
    let settings = facts.settings();
    let opened = Hosts::open(
        &settings.mount_namespace,
        settings.chroot_dir.as_deref(),
        &settings.state_dir,
    );
    let opened = opened.and_then(|hosts| Ok((hosts.for_cleanup()?, hosts)));
    match opened {
        Ok((host, hosts)) => {
            let plugins = plugin_settings(settings, &hosts, None);
            let delegates = Delegates::new(plugins, facts.metrics.clone());
            facts.plugins = Some(Plugins {
                hosts,
                host,
                delegates,
            });
            Vec::new().into()
        }
        Err(error) => Some(Finding::failed("mountNamespace", error.to_string())).into(),
    }
}

/// The limits of the daemon and of the node.
pub(super) fn limits(facts: &Facts) -> Outcome {
    let mut findings = Vec::from_iter(inotify());
    if let Some(daemon) = &facts.daemon
        && let Some((open, limit)) = open_files(daemon.pid)
    {
        findings.extend(judge_files(
            &format!("plexusd (pid {})", daemon.pid),
            open,
            limit,
            "raise its limit, such as LimitNOFILE of systemd",
        ));
    }
    if let Some((open, limit)) = files_of_node() {
        findings.extend(judge_files(
            "node",
            open,
            limit,
            "raise the sysctl fs.file-max",
        ));
    }
    findings.into()
}

/// Without inotify, the daemon looks for changes every two seconds.
fn inotify() -> Option<Finding> {
    let tried = Inotify::init().and_then(|inotify| inotify.watches().add("/", WatchMask::CREATE));
    let error = tried.err()?;
    let (what, sysctl) = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE) => ("instance", "max_user_instances"),
        Some(Errno::ENOSPC) => ("watch", "max_user_watches"),
        _ => return Some(Finding::warning("inotify", error.to_string())),
    };
    let text = format!(
        "the user of plexusd has no inotify {what} left, so plexusd notices changes of files only after seconds"
    );
    let remedy = format!("raise the sysctl fs.inotify.{sysctl}, or stop what uses them up");
    Some(Finding::warning("inotify", text).with_remedy(remedy))
}

/// The number of open files of a process, and their limit.
fn open_files(pid: i32) -> Option<(u64, u64)> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    Some((open as u64, soft_limit(&limits)?))
}

/// The soft limit of open files in `/proc/PID/limits`.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The number of open files of all processes, and their limit.
fn files_of_node() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.nth(1)?.ok()?))
}

fn judge_files(subject: &str, open: u64, limit: u64, remedy: &str) -> Option<Finding> {
    let is_near = u128::from(open) * 10 >= u128::from(limit) * 9;
    let text = format!("{open} of {limit} files are open, so calls fail or wait");
    is_near.then(|| Finding::failed(subject, text).with_remedy(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_tenths_of_the_open_files_are_too_many() {
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(soft_limit(""), None);
        assert!(judge_files("node", 921, 1024, "").is_none());
        let finding = judge_files("node", 922, 1024, "raise it").expect("a finding");
        assert!(finding.cause.contains("922 of 1024"), "{finding:?}");
    }
}
