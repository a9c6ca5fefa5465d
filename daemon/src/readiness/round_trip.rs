//! A STATUS call as the runtime issues it: executes the installed shim with the published
//! configuration, and the shim calls this daemon over the socket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_api::cni::CniError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::call_limits::CallLimits;
use crate::config::Settings;
use crate::delegate::{Delegates, PluginCall};
use crate::host::Hosts;
use crate::install;

/// The time limit of the round trip. The shim waits for the daemon, and the daemon for the plugins,
/// for less than that.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Issues STATUS as the runtime does. `plugin_dirs` are the plugin directories of the runtime, as far
/// as they are known beside the one of the shim.
///
/// # Errors
/// The error that the runtime would get.
pub(crate) async fn round_trip(
    settings: &Settings,
    hosts: &Hosts,
    delegates: &Delegates,
    plugin_dirs: Vec<PathBuf>,
) -> Result<(), CniError> {
    let shim_dir = settings.shim_dir.iter();
    let mut path: Vec<_> = shim_dir
        .map(|dir| path_from_other_namespaces(hosts, dir))
        .collect();
    for dir in plugin_dirs {
        if !path.contains(&dir) {
            path.push(dir);
        }
    }
    let call = PluginCall {
        host: hosts.for_cleanup()?,
        container_id: String::new(),
        netns: None,
        path,
        env: BTreeMap::new(),
        limits: CallLimits::new(
            "STATUS of plexusd",
            Instant::now(),
            TIME_LIMIT,
            CancellationToken::new(),
        ),
    };
    let published = install::published(settings).await?;
    delegates.status(&call, &published).await
}

/// A path to a directory of this process that works from any mount namespace of the node, where the
/// plain path may lead to another directory.
fn path_from_other_namespaces(hosts: &Hosts, dir: &Path) -> PathBuf {
    if hosts.is_own() {
        return dir.to_owned();
    }
    PathBuf::from(format!("/proc/{}/root", std::process::id()))
        .join(dir.strip_prefix("/").unwrap_or(dir))
}
