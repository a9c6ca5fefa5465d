use super::*;
use crate::ledger::test_helpers::{planned, raw};

/// An attached record of three attachments with a value in every state.
fn record() -> Record {
    let mut record = Record::new(planned("c1", "eth0", 3));
    for index in 0..3 {
        record.apply(Line::Started { index });
        let result = raw(&format!(
            r#"{{"cniVersion": "1.0.0", "dns": {{"domain": "{index}"}}}}"#
        ));
        record.apply(Line::Added { index, result });
    }
    let document = raw("{}");
    record.apply(Line::DeviceInfo { index: 2, document });
    record.apply(Line::Links {
        names: ["net0".to_owned(), "net2".to_owned()].into(),
    });
    record.apply(Line::StatusWritten);
    record.apply(Line::Completed);
    record
}

fn further(ifname: &str) -> Attachment {
    let Some(template) = planned("c1", "eth0", 1).attachments.pop() else {
        unreachable!("one attachment was asked for");
    };
    Attachment {
        ifname: ifname.to_owned(),
        origin: Origin::Annotation,
        ..template
    }
}

fn names(record: &Record) -> Vec<&str> {
    let attachments = record.planned.attachments.iter();
    attachments
        .map(|attachment| attachment.ifname.as_str())
        .collect()
}

/// The record as the next process reads it.
fn read_back(record: &Record) -> Record {
    Record::parse(&record.to_bytes().expect("a file"))
        .expect("valid")
        .expect("complete")
}

#[test]
fn a_changed_record_lacks_what_is_deleted_and_has_what_is_added() {
    let mut record = record();
    record.planned.default_routes.v4 = Some(RouteOwner {
        attachment: 2,
        gateway: None,
    });
    record.planned.default_routes.v6 = Some(RouteOwner {
        attachment: 1,
        gateway: None,
    });
    record.apply(Line::Detaching { index: 1 });
    record.apply(Line::Deleted { index: 1 });
    record.change(vec![further("data0")], true);
    let changed = read_back(&record);
    assert_eq!(names(&changed), ["net0", "net2", "data0"]);
    let owners = changed.planned.default_routes;
    assert_eq!(owners.v4.map(|owner| owner.attachment), Some(1));
    assert_eq!(owners.v6, None, "its attachment is deleted");
    let added: Vec<_> = changed
        .attachments
        .iter()
        .map(|state| state.added.is_some())
        .collect();
    assert_eq!(added, [true, true, false]);
    assert!(changed.attachments[1].device_info.is_some());
    assert!(changed.is_attached() && !changed.status_written);
    assert_eq!(changed.planned.revision, 1);
    assert_eq!(
        changed.links.as_ref().map(std::collections::BTreeSet::len),
        Some(2)
    );
}

#[test]
fn every_state_survives_the_replacement_of_the_file() {
    let mut record = record();
    record.apply(Line::Detaching { index: 1 });
    record.apply(Line::Deleted { index: 2 });
    let read = read_back(&record);
    assert!(read.attachments[1].detaching && read.attachments[2].deleted);
    assert!(read.status_written && read.completed);
    let current: Vec<_> = read.current().map(|(index, _)| index).collect();
    assert_eq!(current, [0, 1]);
}

#[test]
fn a_change_is_unfinished_until_its_attachment_is_added_or_deleted() {
    let mut record = record();
    record.change(vec![further("a"), further("b")], false);
    assert!(record.status_written, "another program writes the status");
    assert_eq!(record.unfinished_changes(), [4, 3]);
    record.apply(Line::Started { index: 4 });
    let result = raw("{}");
    record.apply(Line::Added { index: 3, result });
    record.apply(Line::Detaching { index: 0 });
    assert_eq!(record.unfinished_changes(), [4, 0]);
    record.apply(Line::Deleted { index: 4 });
    record.apply(Line::Deleted { index: 0 });
    assert!(record.unfinished_changes().is_empty());
    record.apply(Line::Detaching { index: 1 });
    record.apply(Line::Deleting);
    let unfinished = record.unfinished_changes();
    assert!(unfinished.is_empty(), "the whole record is deleted");
}
