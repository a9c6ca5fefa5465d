//! `plexusd crd`: prints the CRD of network-attachment-definitions, for clusters without it.

use std::io::Write;

/// The CRD in `deploy/crd` (K-001).
const CRD: &str = include_str!("../../../deploy/crd/network-attachment-definitions.yaml");

/// Prints the CRD.
///
/// # Errors
/// `out` cannot be written.
pub fn crd(out: &mut impl Write) -> anyhow::Result<()> {
    Ok(out.write_all(CRD.as_bytes())?)
}
