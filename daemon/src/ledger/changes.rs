//! Changes of the attachments of a sandbox that stays attached. Pure.
//!
//! The changed record replaces the file as a whole, in the same format: an older plexusd detaches
//! what this one attached later.

use std::io;

use super::format::{FORMAT, Line, PLEXUSD, write_line};
use super::record::{AttachmentState, Record};
use crate::model::{Attachment, DefaultRoutes, Origin, RouteOwner};

impl Record {
    /// The attachments that an interrupted change has left behind, in the order of DEL: those that
    /// were to be detached, and those that were added later and have no result. Empty if a line cannot
    /// be read, which may have been the result.
    pub(crate) fn unfinished_changes(&self) -> Vec<usize> {
        if !self.is_attached() || self.unreadable > 0 {
            return Vec::new();
        }
        let is_unfinished = |index: &usize| {
            let (state, attachment) =
                (&self.attachments[*index], &self.planned.attachments[*index]);
            let never_added = attachment.origin != Origin::Add && state.added.is_none();
            !state.deleted && (state.detaching || never_added)
        };
        (0..self.attachments.len())
            .rev()
            .filter(is_unfinished)
            .collect()
    }

    /// Whether a change was interrupted: attachments are left behind, or detached ones are still in
    /// the plan and in network-status.
    pub(crate) fn has_unfinished_change(&self) -> bool {
        let is_attached = self.is_attached() && self.unreadable == 0;
        let has_deleted = self.attachments.iter().any(|state| state.deleted);
        is_attached && (has_deleted || !self.unfinished_changes().is_empty())
    }

    /// The attachments that are a part of the sandbox, with their indexes in the plan.
    pub(crate) fn current(&self) -> impl Iterator<Item = (usize, &Attachment)> {
        let attachments = self.planned.attachments.iter().enumerate();
        attachments.filter(|(index, _)| !self.attachments[*index].deleted)
    }

    /// Removes the deleted attachments from the plan and adds `further` ones. `outdates_status` says
    /// whether the network-status of the sandbox has to be written again.
    pub(crate) fn change(&mut self, further: Vec<Attachment>, outdates_status: bool) {
        // The new index of each attachment.
        let mut kept = 0;
        let indexes: Vec<_> = self
            .attachments
            .iter()
            .map(|state| {
                (!state.deleted).then(|| {
                    kept += 1;
                    kept - 1
                })
            })
            .collect();
        let owner = |owner: Option<RouteOwner>| {
            let owner = owner?;
            let attachment = indexes.get(owner.attachment).copied().flatten()?;
            Some(RouteOwner {
                attachment,
                ..owner
            })
        };
        let DefaultRoutes { v4, v6 } = self.planned.default_routes;
        self.planned.default_routes = DefaultRoutes {
            v4: owner(v4),
            v6: owner(v6),
        };
        let mut remain = indexes.iter().map(Option::is_some);
        self.planned
            .attachments
            .retain(|_| remain.next().unwrap_or_default());
        self.attachments.retain(|state| !state.deleted);
        let states = further.iter().map(|_| AttachmentState::default());
        self.attachments.extend(states);
        self.planned.attachments.extend(further);
        self.planned.format = FORMAT;
        PLEXUSD.clone_into(&mut self.planned.plexusd);
        self.planned.revision += 1;
        self.status_written &= !outdates_status;
    }

    /// The file of an attached record.
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.planned.write_to(&mut bytes)?;
        let mut write = |line: Line| write_line(&line, &mut bytes);
        for (index, state) in self.attachments.iter().enumerate() {
            if state.started {
                write(Line::Started { index })?;
            }
            if let Some(result) = state.added.clone() {
                write(Line::Added { index, result })?;
            }
            if let Some(document) = state.device_info.clone() {
                write(Line::DeviceInfo { index, document })?;
            }
            if state.detaching {
                write(Line::Detaching { index })?;
            }
            if state.deleted {
                write(Line::Deleted { index })?;
            }
        }
        if let Some(names) = self.links.clone() {
            write(Line::Links { names })?;
        }
        if self.status_written {
            write(Line::StatusWritten)?;
        }
        write(Line::Completed)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
