//! What is known about a record without the configurations and results of its attachments. The
//! ledger can have thousands of records, and a record can have several megabytes.

use std::ops::Deref;
use std::sync::Arc;

use plexus_api::cni::{NetworkConfig, Version};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::format::{Line, ParseError, Planned};
use super::record::Record;
use crate::model::{Attachment, Origin};

/// A record whose attachments have neither plugins nor arguments. A result is `null`.
#[derive(Debug)]
pub(crate) struct RecordSummary(Record);

impl RecordSummary {
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Record>, ParseError> {
        let plan = |line: &[u8]| Planned::<AttachmentSummary>::parse(line).map(without_configs);
        let without_json = |line| match line {
            Line::Added { index, .. } => Line::Added {
                index,
                result: RawValue::NULL.to_owned(),
            },
            Line::DeviceInfo { index, .. } => Line::Started { index },
            line => line,
        };
        Record::parse_lines(bytes, plan, without_json)
    }

    pub(super) fn new(record: Record) -> Self {
        Self(record)
    }
}

impl Deref for RecordSummary {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.0
    }
}

/// An attachment as the summary reads it. All other keys are skipped.
#[derive(Deserialize)]
struct AttachmentSummary {
    network: String,
    ifname: String,
    #[serde(default)]
    origin: Origin,
    config: ConfigSummary,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigSummary {
    name: String,
    cni_version: Version,
    #[serde(default, rename = "disableGC")]
    disable_gc: bool,
}

fn without_configs(planned: Planned<AttachmentSummary>) -> Planned {
    planned.map_attachments(|attachment| {
        let config = NetworkConfig {
            name: attachment.config.name,
            cni_version: attachment.config.cni_version,
            disable_check: false,
            disable_gc: attachment.config.disable_gc,
            load_only_inlined_plugins: true,
            plugins: Vec::new(),
        };
        Attachment {
            origin: attachment.origin,
            ..Attachment::new(attachment.network, attachment.ifname, Arc::new(config))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::test_helpers::{planned, raw};

    #[test]
    fn a_summary_has_the_state_of_a_record_without_configurations_and_results() {
        let mut bytes = planned("c1", "eth0", 2).to_bytes().expect("a line");
        let result = raw(r#"{"ips":[]}"#);
        let document = raw("{}");
        for line in [
            Line::Started { index: 0 },
            Line::Added { index: 0, result },
            Line::DeviceInfo { index: 0, document },
            Line::Completed,
            Line::Deleting,
            Line::Deleted { index: 1 },
        ] {
            bytes.extend(line.to_bytes().expect("a line"));
        }
        let whole = Record::parse(&bytes).expect("valid").expect("a record");
        let summary = RecordSummary::parse(&bytes)
            .expect("valid")
            .expect("a record");
        assert_eq!(summary.phase(), whole.phase());
        assert_eq!(summary.planned.key(), whole.planned.key());
        assert_eq!(summary.planned.pod, whole.planned.pod);
        assert_eq!(summary.planned.networks(), whole.planned.networks());
        assert!(summary.attachments[0].started && summary.attachments[1].deleted);
        let state = &summary.attachments[0];
        assert_eq!(state.added.as_deref().map(RawValue::get), Some("null"));
        assert!(state.device_info.is_none());
        for (attachment, whole) in summary
            .planned
            .attachments
            .iter()
            .zip(&whole.planned.attachments)
        {
            assert_eq!(attachment.config.name, whole.config.name);
            assert!(attachment.config.plugins.is_empty() && attachment.capability_args.is_empty());
        }
        assert!(RecordSummary::parse(b"{}\n").is_err());
        assert!(RecordSummary::parse(b"{").expect("torn").is_none());
    }
}
