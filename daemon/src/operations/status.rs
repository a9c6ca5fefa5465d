//! STATUS: whether ADD can be served.

use plexus_api::cni::{CniError, Code};
use tokio_util::sync::CancellationToken;

use super::request::CniRequest;
use crate::conditions::Condition;
use crate::context::NodeContext;
use crate::delegate::PluginCall;
use crate::gather;
use crate::model::Network;
use crate::problem::Problem;

const UNKNOWN_OBJECTS: &str = "the pods and definitions of this node are not known yet";

/// Waits until this daemon can serve ADD: the pods and definitions are known, and there is a
/// default network.
pub(crate) async fn wait_until_able_to_add(node: &NodeContext) {
    let (mut objects, mut default_network) = (node.store.changes(), node.default_network.clone());
    let mut logged = false;
    loop {
        let cause = match node.default_network.for_call() {
            Err(error) => error.to_string(),
            Ok(_) if !node.store.is_synced() => UNKNOWN_OBJECTS.to_owned(),
            Ok(_) => return,
        };
        if !std::mem::replace(&mut logged, true) {
            tracing::info!(
                "not able to serve ADD yet, so a running plexusd keeps serving: {cause}"
            );
        }
        tokio::select! {
            () = objects.next() => {}
            () = default_network.changed() => {}
        }
    }
}

/// Serves STATUS. `cancel` is cancelled when the caller is gone.
///
/// # Errors
/// The reason why ADD cannot be served: the pods and definitions are not known (decision 17), a
/// default network is missing, or its plugins are not ready (P-102). A plugin's code is kept
/// (P-101).
pub(super) async fn status(
    node: &NodeContext,
    request: &CniRequest,
    cancel: CancellationToken,
) -> Result<(), CniError> {
    try_status(node, request, cancel)
        .await
        .map_err(|error| error.context("STATUS"))
}

async fn try_status(
    node: &NodeContext,
    request: &CniRequest,
    cancel: CancellationToken,
) -> Result<(), CniError> {
    let limits = request.limits(cancel);
    // A daemon that has just started syncs within moments.
    if !node.store.wait_synced(limits.deadline).await {
        return Err(CniError::new(Code::NotAvailable, UNKNOWN_OBJECTS));
    }
    let networks = gather::default_networks(&node.store, &node.default_network, &request.settings)
        .await
        .map_err(|error| CniError {
            code: Code::NotAvailable as u32,
            ..error.into()
        })?;
    let call = request.plugin_call(limits.within(request.settings.plugin_timeout));
    let plugins = check_plugins(node, &call, networks).await;
    // `/readyz` says the same, without running the plugins again.
    let problem = plugins.as_ref().err().map(|error| {
        let remedy = "install the plugin, or repair what it depends on";
        Problem::new(format!("STATUS: {}", error.msg), remedy)
    });
    node.conditions.set(Condition::Plugins, problem);
    plugins
}

/// Checks that the plugins of each network are installed and ready.
pub(super) async fn check_plugins(
    node: &NodeContext,
    call: &PluginCall,
    networks: Vec<Network>,
) -> Result<(), CniError> {
    for network in networks {
        let ready = match node.delegates.find(call, &network.config).await {
            Ok(_) => node.delegates.status(call, &network.config).await,
            Err(missing) => Err(missing),
        };
        ready
            .map_err(|error| not_available(error).context(format!("network {:?}", network.name)))?;
    }
    Ok(())
}

/// A plugin that is missing or too slow cannot serve ADD now, which is code 50 of STATUS.
fn not_available(error: CniError) -> CniError {
    if error.is(Code::PluginMissing) || error.is(Code::TryAgain) {
        return CniError {
            code: Code::NotAvailable as u32,
            ..error
        };
    }
    error
}
