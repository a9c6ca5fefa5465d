use plexus_api::cni::Code;
use plexus_api::rows;

use super::{assert_refused, input, network, plan, select};
use crate::model::{Allocation, Network, PodDevice};
use crate::plan::{Plan, PlanInput, WarningKind};

const VF: &str = "example.com/vf";

/// A plugin that declares `deviceID`, and one that does not.
const CHAIN: &str = r#"{"plugins":[{"type":"x","capabilities":{"deviceID":true}},{"type":"y"}]}"#;

fn with_resource(name: &str, text: &str, resource: &str) -> Network {
    Network {
        resource_name: Some(resource.to_owned()),
        ..network(name, text)
    }
}

/// Selects a network whose definition names `resource`. The pod names `device` unless that is empty.
fn select_resource(input: &mut PlanInput, name: &str, text: &str, resource: &str, device: &str) {
    select(input, name, text, |selection| {
        selection.device_id = (!device.is_empty()).then(|| device.to_owned());
    });
    let selected = input.selected.last_mut().expect("selected");
    selected.network.resource_name = Some(resource.to_owned());
}

fn select_vf(input: &mut PlanInput, name: &str) {
    select_resource(input, name, r#"{"type":"x"}"#, VF, "");
}

fn allocate(input: &mut PlanInput, resource: &str, devices: &[&str]) {
    let devices = devices.iter().copied().map(PodDevice::whole).collect();
    let allocation = Allocation::Devices(devices);
    input.devices.insert(resource.to_owned(), allocation);
}

/// Allocates shares of the device `id`.
fn allocate_shares(input: &mut PlanInput, id: &str, shares: &[&str]) {
    let share = |share: &&str| PodDevice {
        share: Some((*share).to_owned()),
        ..PodDevice::whole(id)
    };
    let allocation = Allocation::Devices(shares.iter().map(share).collect());
    input.devices.insert(VF.to_owned(), allocation);
}

/// The device of each attachment after the default network's.
fn devices(plan: &Plan) -> Vec<Option<&str>> {
    let attachments = plan.attachments.iter().skip(1);
    attachments
        .map(|attachment| attachment.device_id.as_deref())
        .collect()
}

#[test]
fn every_plugin_gets_the_allocated_device_and_the_capability_only_if_declared() {
    rows!("D-031");
    let mut input = input();
    select_resource(&mut input, "ns/list", CHAIN, VF, "");
    let configured = r#"{"type":"x","DeviceID":"old","pciBusID":"old"}"#;
    select_resource(&mut input, "ns/single", configured, VF, "");
    allocate(&mut input, VF, &["0000:03:02.0", "0000:03:02.1"]);
    let plan = plan(&input).expect("a plan");
    for (attachment, device) in plan.attachments[1..]
        .iter()
        .zip(["0000:03:02.0", "0000:03:02.1"])
    {
        for plugin in &attachment.config.plugins {
            for key in ["deviceID", "pciBusID"] {
                assert_eq!(plugin.get::<String>(key).as_deref(), Some(device), "{key}");
            }
            assert!(!plugin.as_map().contains_key("DeviceID"));
        }
    }
    let [_, list, single] = &plan.attachments[..] else {
        panic!("{plan:?}")
    };
    assert_eq!(list.capability_args["deviceID"].get(), r#""0000:03:02.0""#);
    assert!(single.capability_args.is_empty());
    assert_eq!(list.resource_name.as_deref(), Some(VF));
}

#[test]
fn devices_are_handed_out_sorted_in_the_order_of_the_annotation() {
    rows!("D-033");
    let mut input = input();
    for name in ["ns/n2", "ns/n1"] {
        select_vf(&mut input, name);
    }
    select(&mut input, "ns/plain", r#"{"type":"x"}"#, |_| {});
    select_resource(&mut input, "ns/other", CHAIN, "example.com/other", "");
    select_vf(&mut input, "ns/n0");
    allocate(&mut input, VF, &["c", "b", "a"]);
    allocate(&mut input, "example.com/other", &["d"]);
    let plan = plan(&input).expect("a plan");
    assert_eq!(
        devices(&plan),
        [Some("a"), Some("b"), None, Some("d"), Some("c")]
    );
}

#[test]
fn no_device_is_given_to_two_networks_of_a_pod() {
    rows!("D-034");
    for by_annotation in [false, true] {
        let mut input = input();
        input.default_network = with_resource("ns/cluster", CHAIN, VF);
        input.default_selection = by_annotation.then(Default::default);
        input.common_networks = vec![with_resource("ns/common", CHAIN, VF)];
        select_vf(&mut input, "ns/selected");
        allocate(&mut input, VF, &["a", "b", "c"]);
        let plan = plan(&input).expect("a plan");
        let all: Vec<_> = plan
            .attachments
            .iter()
            .map(|attachment| attachment.device_id.as_deref())
            .collect();
        assert_eq!(all, [Some("a"), Some("b"), Some("c")], "{by_annotation}");
    }
}

#[test]
fn too_few_devices_are_an_error_with_the_resource_and_both_numbers() {
    rows!("D-035");
    let mut input = input();
    select_resource(&mut input, "ns/other", CHAIN, "example.com/other", "");
    allocate(&mut input, "example.com/other", &["d"]);
    for name in ["ns/n1", "ns/n2", "ns/n3"] {
        select_vf(&mut input, name);
    }
    allocate(&mut input, VF, &["a", "b"]);
    let parts = ["\"ns/n3\"", VF, "need 3", "have 2", "request 3"];
    assert_refused(&input, Code::DeviceMissing, &parts);
    input.devices.insert(VF.to_owned(), Allocation::NoDevice);
    let parts = ["\"ns/n1\"", VF, "need 3", "have 0", "request 3"];
    assert_refused(&input, Code::DeviceMissing, &parts);
}

#[test]
fn a_device_of_another_network_cannot_be_named() {
    rows!("D-034", "D-035");
    let mut input = input();
    select_vf(&mut input, "ns/a");
    select_resource(&mut input, "ns/b", r#"{"type":"x"}"#, VF, "v1");
    allocate(&mut input, VF, &["v1"]);
    assert_refused(&input, Code::DeviceMissing, &["ns/b", VF, "need 2"]);
}

#[test]
fn a_device_that_the_pod_or_the_definition_names_replaces_a_missing_one() {
    rows!("D-035");
    let unknown = || Allocation::Unknown("no kubelet".to_owned());
    for allocation in [Allocation::NoDevice, unknown()] {
        for (text, named, passed) in [
            (r#"{"type":"x"}"#, "mine", Some("mine")),
            (r#"{"type":"x","deviceID":"old"}"#, "", None),
            (r#"{"type":"x","DEVICEID":"old"}"#, "", None),
            (
                r#"{"plugins":[{"type":"x"},{"type":"y","pciBusID":"old"}]}"#,
                "",
                None,
            ),
        ] {
            let mut input = input();
            select_resource(&mut input, "ns/n1", text, VF, named);
            input.devices.insert(VF.to_owned(), allocation.clone());
            assert_eq!(devices(&plan(&input).expect(text)), [passed], "{text}");
        }
        for text in [
            r#"{"type":"x","deviceID":"","pciBusID":null}"#,
            r#"{"type":"x","args":{"cni":{"deviceID":"x"}},"device":"ens5"}"#,
            r#"{"type":"x","ipam":{"type":"y","deviceID":"x"}}"#,
        ] {
            let mut input = input();
            select_resource(&mut input, "ns/n1", text, VF, "");
            input.devices.insert(VF.to_owned(), allocation.clone());
            assert_refused(&input, Code::DeviceMissing, &["ns/n1", VF]);
        }
    }
    // Each device that is missing can be named.
    let mut input = input();
    select_vf(&mut input, "ns/n1");
    select_resource(&mut input, "ns/n2", CHAIN, VF, "mine");
    allocate(&mut input, VF, &["a"]);
    let plan = plan(&input).expect("a plan");
    assert_eq!(devices(&plan), [Some("a"), Some("mine")]);
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
}

#[test]
fn an_allocated_device_wins_over_the_one_that_the_pod_names() {
    rows!("D-036");
    let mut input = input();
    select_resource(&mut input, "ns/n1", CHAIN, VF, "mine");
    select_resource(&mut input, "ns/n2", CHAIN, VF, "b");
    select(&mut input, "ns/n3", CHAIN, |selection| {
        selection.device_id = Some("free".to_owned());
    });
    allocate(&mut input, VF, &["a", "b"]);
    let plan = plan(&input).expect("a plan");
    assert_eq!(devices(&plan), [Some("a"), Some("b"), Some("free")]);
    let [warning] = &plan.warnings[..] else {
        panic!("{:?}", plan.warnings)
    };
    assert_eq!(warning.kind, WarningKind::DeviceIdIgnored);
    for part in ["ns/n1", "\"mine\"", "\"a\""] {
        assert!(warning.text.contains(part), "{}", warning.text);
    }
}

#[test]
fn unknown_devices_are_an_error_with_the_cause() {
    let mut input = input();
    select_vf(&mut input, "ns/n1");
    let cause = "kubelet.sock does not exist; set kubeletDir";
    let unknown = Allocation::Unknown(cause.to_owned());
    input.devices.insert(VF.to_owned(), unknown);
    assert_refused(&input, Code::DeviceMissing, &["\"ns/n1\"", VF, cause]);
}

#[test]
fn a_network_of_a_resource_without_devices_is_attached_without_one() {
    let mut input = input();
    let bridge = r#"{"type":"bridge","bridge":"br1"}"#;
    let resource = "bridge.network.kubevirt.io/br1";
    select_resource(&mut input, "ns/bridge", bridge, resource, "");
    let text = r#"{"type":"x","capabilities":{"deviceID":true}}"#;
    select_resource(&mut input, "ns/named", text, resource, "mine");
    let not_a_device = Allocation::NotADevice;
    input.devices.insert(resource.to_owned(), not_a_device);
    let plan = plan(&input).expect("a plan");
    assert_eq!(devices(&plan), [None, Some("mine")]);
    let plugin = &plan.attachments[1].config.plugins[0];
    assert!(plugin.raw("deviceID").is_none() && plugin.raw("pciBusID").is_none());
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
}

#[test]
fn a_plan_for_a_del_without_a_record_needs_no_devices() {
    let mut input = input();
    select_vf(&mut input, "ns/n1");
    select_resource(&mut input, "ns/n2", CHAIN, VF, "mine");
    assert_eq!(
        devices(&plan(&input).expect("a plan")),
        [None, Some("mine")]
    );
}

#[test]
fn each_share_of_a_device_is_for_one_network() {
    rows!("D-034", "D-035");
    let mut input = input();
    select_vf(&mut input, "ns/a");
    select_vf(&mut input, "ns/b");
    allocate_shares(&mut input, "0000:03:00.0", &["s1", "s2"]);
    let both = plan(&input).expect("a plan");
    assert_eq!(devices(&both), [Some("0000:03:00.0"); 2]);
    select_vf(&mut input, "ns/c");
    assert_refused(&input, Code::DeviceMissing, &["need 3", "have 2"]);
}
