//! What an annotation asks for beyond, and no longer, of what a running sandbox has.

use plexus_api::selection::Selection;

use super::attachments::parameters_digest;
use crate::model::{Attachment, Origin};

/// The difference between the elements of an annotation and the attachments of a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The indexes of the attachments that no element asks for.
    pub(crate) detach: Vec<usize>,
    /// The positions of the elements without an attachment.
    pub(crate) attach: Vec<usize>,
    /// The indexes of the attachments whose parameters in the annotation have changed.
    pub(crate) changed: Vec<usize>,
}

impl Difference {
    /// Compares the attachments, with their indexes, and the elements (decision 34).
    ///
    /// An element matches an attachment of the same network and the same requested name of the
    /// interface. Elements without a name match attachments that were made from such elements, in
    /// order.
    pub(crate) fn of<'a>(
        attachments: impl Iterator<Item = (usize, &'a Attachment)>,
        elements: &[Selection],
    ) -> Self {
        let mut unmatched: Vec<_> = attachments
            .filter(|(_, attachment)| attachment.selected && !attachment.default)
            .collect();
        let mut difference = Self::default();
        // Names first, so that an element without one does not take the attachment of another.
        let (named, unnamed): (Vec<_>, Vec<_>) = elements
            .iter()
            .enumerate()
            .partition(|(_, element)| element.interface.is_some());
        for (position, element) in named.into_iter().chain(unnamed) {
            let found = unmatched.iter().position(|(_, attachment)| {
                attachment.network == format!("{}/{}", element.namespace, element.name)
                    && match &element.interface {
                        Some(name) => attachment.ifname == *name,
                        None => !attachment.interface_requested,
                    }
            });
            match found.map(|at| unmatched.remove(at)) {
                Some((index, attachment)) if has_changed(attachment, element) => {
                    difference.changed.push(index);
                }
                Some(_) => {}
                None => difference.attach.push(position),
            }
        }
        difference.attach.sort_unstable();
        // Programs detach what they have attached.
        let of_annotation = unmatched
            .into_iter()
            .filter(|(_, attachment)| attachment.origin != Origin::Delegate);
        difference.detach = of_annotation.map(|(index, _)| index).collect();
        difference
    }

    /// Whether the sandbox has what the annotation asks for.
    pub(crate) fn is_empty(&self) -> bool {
        self.detach.is_empty() && self.attach.is_empty()
    }
}

fn has_changed(attachment: &Attachment, element: &Selection) -> bool {
    let recorded = attachment.parameters_digest;
    recorded.is_some() && recorded != parameters_digest(element)
}

/// The name of the interface of each of `elements`: the requested one, else the lowest free `netN`.
/// `taken` are the names of other interfaces.
pub(crate) fn free_ifnames<'a>(
    elements: impl Iterator<Item = &'a Selection> + Clone,
    is_taken: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut names: Vec<_> = elements
        .clone()
        .filter_map(|one| one.interface.clone())
        .collect();
    let mut free = |requested: &Option<String>| {
        if let Some(name) = requested {
            return name.clone();
        }
        let candidates = (1_u32..).map(|number| format!("net{number}"));
        let name = candidates
            .into_iter()
            .find(|name| !names.contains(name) && !is_taken(name))
            .unwrap_or_default();
        names.push(name.clone());
        name
    };
    elements.map(|element| free(&element.interface)).collect()
}
