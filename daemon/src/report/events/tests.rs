use std::collections::BTreeSet;

use plexus_api::cni::{Defaults, NetworkConfig, PluginResult, RawMap, Version};

use super::*;

#[test]
fn an_attachment_is_worded_as_multus_does() {
    let attachment = |config: &str| Attachment {
        network: "default/lan".to_owned(),
        ifname: "net1".to_owned(),
        default: false,
        cni_args: String::new(),
        capability_args: RawMap::new(),
        config: NetworkConfig::parse(
            config,
            Defaults {
                name: Some("lan"),
                version: Version::V1_0_0,
            },
        )
        .expect("a configuration"),
    };
    let attachment = attachment(r#"{"type":"x"}"#);
    let said = |result: &str| {
        let result = PluginResult::parse(result.as_bytes(), Version::V1_0_0).expect("a result");
        added_interface(&attachment, result.result())
    };
    let two =
        r#"{"cniVersion":"1.0.0","ips":[{"address":"10.1.1.5/24"},{"address":"fd00::5/64"}]}"#;
    assert_eq!(
        said(two),
        "Add net1 [10.1.1.5/24 fd00::5/64] from default/lan"
    );
    assert_eq!(
        said(r#"{"cniVersion":"1.0.0"}"#),
        "Add net1 [] from default/lan"
    );
}

#[test]
fn reasons_have_one_name_each_and_all_but_one_warn() {
    let names: BTreeSet<_> = EventReason::ALL
        .iter()
        .map(|reason| reason.name())
        .collect();
    assert_eq!(names.len(), EventReason::ALL.len());
    let normal: Vec<_> = EventReason::ALL
        .iter()
        .filter(|reason| !reason.is_warning())
        .collect();
    assert_eq!(normal, [&EventReason::AddedInterface]);
}

#[test]
fn what_passes_by_itself_is_no_event() {
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
}

#[test]
fn what_waits_to_be_sent_is_bounded_and_nobody_waits_for_it() {
    let (queue, mut waiting) = mpsc::channel(2);
    let events = Events {
        queue: Some(queue),
        dropped: Arc::default(),
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
    let sent: Vec<_> = std::iter::from_fn(|| waiting.try_recv().ok())
        .map(|(event, _)| event.message)
        .collect();
    assert_eq!(sent, ["0", "1"]);
}
