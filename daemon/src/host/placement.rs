//! Starts plugins in the control groups of the runtime.

use std::collections::{BTreeMap, VecDeque};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use super::cgroup::{Cgroups, PluginCgroups};
use super::{Host, Process, launcher};
use crate::mutex::lock;

/// How many launchers are kept ready: as many as a pod with two networks needs.
const READY_LAUNCHERS: usize = 4;

/// The control groups of the plugins of one host thread, and launchers that are already there.
#[derive(Debug, Default)]
pub(super) struct Placement(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The runtime's control groups. `None` before the first call.
    target: Option<Arc<Cgroups>>,
    /// Whether `groups` are those of `target`. False after a failure to join them.
    is_open: bool,
    /// Empty if plugins are to stay in the daemon's control groups.
    groups: Arc<PluginCgroups>,
    launchers: VecDeque<Process>,
    is_starting: bool,
    has_warned: bool,
}

impl State {
    fn warn(&mut self, error: &str) {
        if !self.has_warned {
            tracing::warn!(
                error,
                "plugins cannot join the control group of the runtime: they end with the container \
                 of plexusd, and their memory counts against its limit"
            );
        }
        self.has_warned = true;
    }
}

impl Host {
    /// Makes later plugins join the control groups of a runtime.
    pub(super) fn set_cgroups(&self, target: &Arc<Cgroups>) {
        let mut state = lock(&self.0.placement.0);
        if state.target.as_ref() != Some(target) {
            state.target = Some(Arc::clone(target));
            state.is_open = false;
        }
    }

    /// Ends the launchers. The next plugin opens the control groups again.
    pub(super) fn stop_launchers(&self) {
        let mut state = lock(&self.0.placement.0);
        state.is_open = false;
        state.launchers.clear();
    }

    /// The control groups that plugins join. Opens them if the runtime's are others than before.
    async fn plugin_cgroups(&self) -> Arc<PluginCgroups> {
        let placement = &self.0.placement.0;
        let target = {
            let state = lock(placement);
            match &state.target {
                Some(target) if !state.is_open => Arc::clone(target),
                _ => return Arc::clone(&state.groups),
            }
        };
        let wanted = Arc::clone(&target);
        // On the thread, because the daemon's container may have no mount of the control groups, or
        // a read-only one.
        let opened = self.send(move || PluginCgroups::open(&wanted)).await;
        let mut state = lock(placement);
        if let Ok((groups, errors)) = opened
            && state.target.as_ref() == Some(&target)
        {
            if let Some(error) = errors.first() {
                state.warn(error);
            }
            state.is_open = true;
            state.groups = Arc::new(groups);
            state.launchers.clear();
        }
        Arc::clone(&state.groups)
    }

    /// A launcher in the control groups of plugins, for a plugin with this environment. `None` if
    /// plugins are to be started directly.
    pub(super) async fn launcher(&self, env: &BTreeMap<String, String>) -> Option<Process> {
        let groups = self.plugin_cgroups().await;
        if groups.is_empty() {
            return None;
        }
        let ready = {
            let mut state = lock(&self.0.placement.0);
            // Another program may have killed a launcher.
            let mut launchers = state.launchers.drain(..).filter_map(Process::if_running);
            let ready = launchers.next();
            let others = launchers.collect();
            state.launchers = others;
            ready
        };
        let launcher = match ready {
            Some(launcher) => Some(launcher),
            None => {
                self.start_launcher(launcher::command(env), Arc::clone(&groups))
                    .await
            }
        };
        self.prepare_launchers(env.clone(), groups);
        launcher
    }

    /// Starts launchers for the next plugins in the background, until enough are ready.
    fn prepare_launchers(&self, env: BTreeMap<String, String>, groups: Arc<PluginCgroups>) {
        {
            let mut state = lock(&self.0.placement.0);
            if state.is_starting || !state.is_open || state.launchers.len() >= READY_LAUNCHERS {
                return;
            }
            state.is_starting = true;
        }
        let thread = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            while let Some(host) = Weak::upgrade(&thread).map(Host) {
                let command = launcher::command(&env);
                let launcher = host.start_launcher(command, Arc::clone(&groups)).await;
                let mut state = lock(&host.0.placement.0);
                let is_current = state.is_open && Arc::ptr_eq(&state.groups, &groups);
                let has_failed = launcher.is_none();
                state.launchers.extend(launcher.filter(|_| is_current));
                if has_failed || !is_current || state.launchers.len() >= READY_LAUNCHERS {
                    state.is_starting = false;
                    return;
                }
            }
        });
    }

    async fn start_launcher(
        &self,
        command: Command,
        groups: Arc<PluginCgroups>,
    ) -> Option<Process> {
        let process = match self.spawn(command).await {
            Ok(process) => process,
            Err(error) => {
                lock(&self.0.placement.0).warn(&format!("cannot start a launcher: {error}"));
                return None;
            }
        };
        let pid = process.id()?;
        let joined = tokio::task::spawn_blocking(move || groups.join(pid)).await;
        if let Ok(Err(error)) = joined {
            let mut state = lock(&self.0.placement.0);
            state.warn(&error);
            // The control group may have been made again. The next plugin opens it.
            state.is_open = false;
        }
        Some(process)
    }
}
