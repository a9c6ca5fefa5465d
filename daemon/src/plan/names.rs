//! The interface names: the runtime's for the default network, `@name` where the pod asks, `net<N>` otherwise.

use plexus_api::cni::{CniError, Code};
use plexus_api::selection::Selection;

use super::PlanInput;
use crate::model::place;

/// The name of a network that is not the default one. `position` is that in the whole list, the default being 0, so an
/// explicit name uses its position up (K-066).
pub(crate) fn ifname(selection: Option<&Selection>, position: usize) -> String {
    selection
        .and_then(|selection| selection.interface.clone())
        .unwrap_or_else(|| format!("net{position}"))
}

/// The names that the networks are to have, in their order. The runtime reads the result by its own name, so the
/// default network keeps it (K-063).
pub(super) fn wanted(input: &PlanInput) -> Vec<String> {
    let name = |(position, part): (usize, super::input::Part<'_>)| {
        if part.default {
            input.ifname.clone()
        } else {
            ifname(part.selection, position)
        }
    };
    input.parts().enumerate().map(name).collect()
}

/// Refuses a name that is taken, before any plugin runs (K-033, K-067, P-080).
pub(super) fn check(input: &PlanInput, names: &[String]) -> Result<(), CniError> {
    for (position, (part, name)) in input.parts().zip(names).enumerate() {
        let taken = |by: &str| {
            let msg = format!(
                "{}: the name is taken by {by}",
                place(&part.network.name, name)
            );
            Err(CniError::new(Code::InterfaceTaken, msg))
        };
        if name == "lo" {
            return taken("the loopback interface");
        }
        if let Some(earlier) = names[..position].iter().position(|other| other == name) {
            let network = input
                .parts()
                .nth(earlier)
                .map(|part| part.network.name.as_str())
                .unwrap_or_default();
            return taken(&format!("network {network:?} of the same pod"));
        }
        if input.links.contains(name) {
            return taken("a link in the sandbox");
        }
    }
    Ok(())
}
