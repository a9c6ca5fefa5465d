//! What a pod gets: from a input of all that is known to an ordered list of attachments.
//!
//! Pure: no I/O, no clock. What can be refused is refused here, before any plugin runs.

mod attachments;
mod input;
mod names;
mod policy;
mod routes;

use plexus_api::cni::{CniError, Code};

use crate::model::{Attachment, DefaultRoutes};

pub(crate) use input::{PlanInput, Policy, Selected};
pub(crate) use names::ifname;

#[cfg(test)]
mod tests;

/// The decision: what to attach, in order, and who owns the default routes then.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The attachments: the default network first (K-060), then those of every pod, then those that it selects.
    pub(crate) attachments: Vec<Attachment>,
    /// The owners of the default routes.
    pub(crate) default_routes: DefaultRoutes,
    /// What is done otherwise than asked for.
    pub(crate) warnings: Vec<Warning>,
}

/// Something that is done otherwise than the pod asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    /// What kind of thing.
    pub(crate) kind: WarningKind,
    /// Which network, what, and what to do; one line.
    pub(crate) text: String,
}

/// The kinds of warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WarningKind {
    /// No plugin declares a capability that the pod asks for (decision 1).
    CapabilityMissing,
    /// The default network keeps the runtime's name of its interface (K-063).
    InterfaceNameIgnored,
}

/// The most networks that a pod may have beside its default network. Their plugins run one after the other, within the
/// time that a runtime has for a pod.
pub(crate) const MAX_NETWORKS: usize = 64;

/// Plans the attachments of one sandbox.
///
/// # Errors
/// What is refused, with the network and the place in the annotation; see `docs/troubleshooting.md` for the codes.
pub(crate) fn plan(input: &PlanInput) -> Result<Plan, CniError> {
    let count = input.everywhere.len() + input.selected.len();
    if count > MAX_NETWORKS {
        let msg = format!(
            "the pod would get {count} networks beside its default network, and may have {MAX_NETWORKS}; select fewer"
        );
        return Err(CniError::new(Code::InvalidAnnotation, msg));
    }
    let names = names::wanted(input);
    policy::check(input, &names)?;
    names::check(input, &names)?;
    let default_routes = routes::owners(input, &names)?;
    let mut warnings = Vec::new();
    let mut attachments = Vec::new();
    for (ifname, part) in names.into_iter().zip(input.parts()) {
        attachments.push(attachments::attachment(
            input,
            ifname,
            &part,
            &mut warnings,
        )?);
    }
    Ok(Plan {
        attachments,
        default_routes,
        warnings,
    })
}
