//! `plexusd crd`: the kind of the definitions, for a cluster that does not have it yet.

use std::io::Write;

/// What `deploy/crd` applies (K-001).
const CRD: &str = include_str!("../../../deploy/crd/network-attachment-definitions.yaml");

/// Prints it.
///
/// # Errors
/// Those of `out`.
pub fn crd(out: &mut impl Write) -> anyhow::Result<()> {
    Ok(out.write_all(CRD.as_bytes())?)
}
