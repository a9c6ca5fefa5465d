//! The links of attached sandboxes that the kernel no longer has.

use std::path::Path;

use crate::host::Host;
use crate::ledger::Record;
use crate::model::Attachment;
use crate::netns::Netns;

/// The attachments of a record whose links are no longer in the sandbox.
///
/// # Errors
/// Why the network namespace of the sandbox cannot be examined.
pub(super) async fn missing_links<'r>(
    record: &'r Record,
    host: &Host,
) -> Result<Vec<&'r Attachment>, String> {
    // Without this line, nothing says which interfaces ever were links.
    let Some(links) = &record.links else {
        return Ok(Vec::new());
    };
    let attachments = record.planned.attachments.iter().zip(&record.attachments);
    let expected = attachments.filter(|(attachment, state)| {
        let is_attached = state.added.is_some() && !state.detaching && !state.deleted;
        is_attached && !attachment.auxiliary && links.contains(&attachment.ifname)
    });
    let path = &record.planned.netns;
    let netns = Netns::open(Path::new(path), host).await;
    let mut netns = netns.map_err(|error| error.to_string())?;
    let recorded = record.planned.netns_id;
    if recorded.is_some_and(|recorded| !recorded.may_equal(netns.id())) {
        return Err(format!("{path} leads to another network namespace"));
    }
    let mut missing = Vec::new();
    for (attachment, _) in expected {
        // A link that was renamed can have kept its old name as an alternative name.
        let has_link = netns.has_link(&attachment.ifname).await;
        if !has_link.map_err(|error| error.to_string())? {
            missing.push(attachment);
        }
    }
    Ok(missing)
}

/// What is wrong with an attachment without its link.
pub(super) fn explain(attachment: &Attachment) -> String {
    format!(
        "interface {} of network {} is attached, but is no longer in the sandbox: something has removed or renamed it",
        attachment.ifname, attachment.network
    )
}
