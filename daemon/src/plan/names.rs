//! Interface names: the runtime's for the default network, `@name` if the pod requests one,
//! otherwise `net<N>`.

use plexus_api::cni::{CniError, Code};
use plexus_api::selection::Selection;

use super::input::PlanInput;
use crate::model::attachment_label;

/// The interface name of a network other than the default network. `position` counts all networks,
/// the default network being 0, so a network with a requested name uses up a number (K-066).
pub(crate) fn ifname(selection: Option<&Selection>, position: usize) -> String {
    selection
        .and_then(|selection| selection.interface.clone())
        .unwrap_or_else(|| format!("net{position}"))
}

/// The interface name of the auxiliary chain: the first name that no other network or link has. The
/// chain usually creates no interface, so its name must not be a reason to refuse a pod.
pub(crate) fn auxiliary_ifname(position: usize, is_taken: impl Fn(&str) -> bool) -> String {
    let mut names = (position..).map(|position| ifname(None, position));
    names.find(|name| !is_taken(name)).unwrap_or_default()
}

/// The interface name of each network. The default network has the runtime's name, because the
/// runtime looks for that interface in the result (K-063).
pub(super) fn assign(input: &PlanInput) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (position, network) in input.networks().enumerate() {
        let name = if network.default {
            input.ifname.clone()
        } else if network.auxiliary {
            auxiliary_ifname(position, |name| {
                names.iter().any(|other| other == name) || input.links.contains(name)
            })
        } else {
            ifname(network.selection, position)
        };
        names.push(name);
    }
    names
}

/// Refuses a name that is already taken (K-033, K-067, P-080).
pub(super) fn check(input: &PlanInput, names: &[String]) -> Result<(), CniError> {
    for (position, (planned, name)) in input.networks().zip(names).enumerate() {
        let taken = |by: &str| {
            let label = attachment_label(&planned.network.name, name);
            let msg = format!("{label}: the name is taken by {by}");
            Err(CniError::new(Code::InterfaceTaken, msg))
        };
        if name == "lo" {
            return taken("the loopback interface");
        }
        if let Some(earlier) = names[..position].iter().position(|other| other == name) {
            let network = input
                .networks()
                .nth(earlier)
                .map(|earlier| earlier.network.name.as_str())
                .unwrap_or_default();
            return taken(&format!("network {network:?} of the same pod"));
        }
        if input.links.contains(name) {
            return taken("a link in the sandbox");
        }
    }
    Ok(())
}
