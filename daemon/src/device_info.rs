//! Device information (device-info specification 1.1.0): the document of a device plugin is handed
//! to the plugins of a network in a file of the attachment, which the plugins may write themselves,
//! and which is published in network-status.
//!
//! The record of the attachment is written before the file and removed after the file, so no file is
//! left without a record (D-018).

mod document;
mod files;
mod paths;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::host::Host;
use crate::model::Attachment;
use document::InvalidDocument;
pub(crate) use paths::attachment_file;

/// The capability of plugins that use the file.
pub(crate) const CAPABILITY: &str = "CNIDeviceInfoFile";
/// The largest document, and the largest sum of the documents of a pod, in bytes (D-017).
pub(crate) const MAX_SIZE: usize = 64 << 10;
/// How long the removal of files may take beyond the deadline of a DEL.
const REMOVAL_TIME: Duration = Duration::from_secs(1);

/// Device information that is left out.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", .path.display())]
pub(crate) struct DeviceInfoError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Invalid(#[from] InvalidDocument),
    #[error("the documents of the pod's networks have more than {MAX_SIZE} bytes in sum")]
    TooLargeInSum,
}

/// Copies the document of the attachment's device, if there is one, to the file of the attachment,
/// where an earlier file is removed. Does nothing for an attachment without a file.
///
/// # Errors
/// The document is not copied (D-005). The plugins may run nevertheless.
pub(crate) async fn prepare(host: &Host, attachment: &Attachment) -> Result<(), DeviceInfoError> {
    let Some(file) = attachment.device_info_file.clone() else {
        return Ok(());
    };
    let device = attachment
        .resource_name
        .as_ref()
        .zip(attachment.device_id.as_ref());
    let source = device.map(|(resource, id)| paths::device_plugin_file(resource, id));
    let at = file.clone();
    host.run(move || files::prepare(&file, source.as_deref()))
        .await
        .unwrap_or_else(|error| Err(DeviceInfoError::new(&at, error)))
}

/// Reads the document that is to be published for an attachment with this file (D-008). `used` is the
/// size of the pod's other documents.
///
/// # Errors
/// The document is not valid, or cannot be read (D-017).
pub(crate) async fn read(
    host: &Host,
    file: &Path,
    used: usize,
) -> Result<Option<Box<RawValue>>, DeviceInfoError> {
    let path = file.to_owned();
    let read = host
        .run(move || files::read(&path))
        .await
        .unwrap_or_else(|error| Err(DeviceInfoError::new(file, error)));
    let Some(document) = read? else {
        return Ok(None);
    };
    document::validate(&document).map_err(|error| DeviceInfoError::new(file, error))?;
    if used + document.get().len() > MAX_SIZE {
        return Err(DeviceInfoError::new(file, Cause::TooLargeInSum));
    }
    Ok(Some(document))
}

/// Removes the files of attachments, as far as they exist (D-009).
///
/// # Errors
/// The first file that cannot be removed.
pub(crate) async fn remove<'a>(
    host: &Host,
    attachments: impl IntoIterator<Item = &'a Attachment>,
) -> Result<(), DeviceInfoError> {
    let attachments = attachments.into_iter();
    let files: Vec<_> = attachments
        .filter_map(|attachment| attachment.device_info_file.clone())
        .collect();
    let Some(first) = files.first().cloned() else {
        return Ok(());
    };
    let removal = host.run(move || {
        // A file that cannot be removed does not keep the others.
        let removed = files.iter().map(|file| files::remove(file));
        removed.fold(Ok(()), Result::and)
    });
    match timeout(REMOVAL_TIME, removal).await {
        Ok(Ok(removed)) => removed,
        Ok(Err(error)) => Err(DeviceInfoError::new(&first, error)),
        Err(_) => Err(DeviceInfoError::new(
            &first,
            io::Error::from(io::ErrorKind::TimedOut),
        )),
    }
}

impl DeviceInfoError {
    fn new(path: &Path, cause: impl Into<Cause>) -> Self {
        Self {
            path: path.to_owned(),
            cause: cause.into(),
        }
    }
}

#[cfg(test)]
mod tests;
