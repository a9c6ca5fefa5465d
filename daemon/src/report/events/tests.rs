use std::collections::BTreeSet;

use plexus_api::cni::{Defaults, NetworkConfig, PluginResult, Version};

use super::*;

#[test]
fn the_message_of_an_attachment_is_that_of_multus() {
    let attachment = Attachment {
        selected: true,
        ..Attachment::new(
            "default/lan",
            "net1",
            NetworkConfig::parse(
                r#"{"type":"x"}"#,
                Defaults {
                    name: Some("lan"),
                    version: Version::V1_0_0,
                },
            )
            .expect("a configuration"),
        )
    };
    let message = |result: &str| {
        let result = PluginResult::parse(result.as_bytes(), Version::V1_0_0).expect("a result");
        added_interface(&attachment, result.result())
    };
    let two_addresses =
        r#"{"cniVersion":"1.0.0","ips":[{"address":"10.1.1.5/24"},{"address":"fd00::5/64"}]}"#;
    assert_eq!(
        message(two_addresses),
        "Add net1 [10.1.1.5/24 fd00::5/64] from default/lan"
    );
    assert_eq!(
        message(r#"{"cniVersion":"1.0.0"}"#),
        "Add net1 [] from default/lan"
    );
}

#[test]
fn reasons_have_distinct_names_and_all_except_additions_and_removals_are_warnings() {
    let names: BTreeSet<_> = EventReason::ALL
        .iter()
        .map(|reason| reason.name())
        .collect();
    assert_eq!(names.len(), EventReason::ALL.len());
    let normal: Vec<_> = EventReason::ALL
        .iter()
        .filter(|reason| !reason.is_warning())
        .collect();
    let additions_and_removals = [EventReason::AddedInterface, EventReason::RemovedInterface];
    assert_eq!(normal, additions_and_removals.each_ref());
}

#[test]
fn a_refusal_has_an_event_unless_it_is_transient() {
    let reason =
        |code| EventReason::of_refusal(&CniError::new(code, "x")).map(|(reason, _)| reason);
    assert_eq!(reason(Code::TryAgain), None);
    assert_eq!(reason(Code::Ledger), None);
    assert_eq!(
        reason(Code::UnknownNetwork),
        Some(EventReason::NoNetworkFound)
    );
    assert_eq!(
        reason(Code::InvalidAnnotation),
        Some(EventReason::InvalidNetworks)
    );
    assert_eq!(
        reason(Code::DeviceMissing),
        Some(EventReason::DeviceMissing)
    );
}

#[test]
fn a_full_queue_drops_events_without_waiting() {
    let (queue, mut queued) = mpsc::channel(2);
    let events = Events {
        queue: Some(queue),
        dropped: Arc::default(),
        recent: RecentWarnings::default(),
    };
    for number in 0..5 {
        let message = number.to_string();
        events.emit(Event {
            subject: Subject::Node,
            reason: EventReason::CNIConfigConflict,
            message,
        });
    }
    assert_eq!(events.dropped(), 3);
    let messages: Vec<_> = std::iter::from_fn(|| queued.try_recv().ok())
        .map(|(event, _)| event.message)
        .collect();
    assert_eq!(messages, ["0", "1"]);
}
