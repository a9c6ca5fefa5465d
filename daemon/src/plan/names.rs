//! The interface names: the runtime's for the default network, `@name` where the pod asks, `net<N>` otherwise.

use plexus_api::cni::{CniError, Code};

use super::Snapshot;

/// One name a network, in their order. `N` is the position in the whole list, so an explicit name uses its position
/// up (K-066). A name that is taken is refused before any plugin runs (K-033, K-067, P-080).
pub(super) fn assign(snapshot: &Snapshot) -> Result<Vec<String>, CniError> {
    let mut names: Vec<String> = Vec::new();
    for (position, part) in snapshot.parts().enumerate() {
        let asked = part.selection.and_then(|selection| selection.interface.clone());
        let name = match asked {
            // The runtime reads the result by its own name, so the default network keeps it (K-063).
            _ if part.default => snapshot.ifname.clone(),
            Some(name) => name,
            None => format!("net{position}"),
        };
        let network = &part.network.name;
        let taken = |by: &str| {
            let msg = format!("network {network:?}: interface name {name:?} is already taken by {by}");
            Err(CniError::new(Code::InterfaceTaken, msg))
        };
        if name == "lo" {
            return taken("the loopback interface");
        }
        if let Some(earlier) = names.iter().position(|other| *other == name) {
            return taken(&format!("attachment {earlier} of the same pod"));
        }
        if snapshot.links.contains(&name) {
            return taken("a link in the sandbox");
        }
        names.push(name);
    }
    Ok(names)
}
