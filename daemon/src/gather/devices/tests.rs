use super::*;

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn a_resource_without_devices_of_the_pod_is_one_of_the_node_or_not_a_device() {
    let device = || BTreeSet::from([PodDevice::whole("d")]);
    let allocations = |node_resources| {
        let known = Known {
            by_resource: BTreeMap::from([("own".to_owned(), device())]),
            node_resources,
        };
        let devices = allocations(set(&["marker", "own", "used-up"]), known);
        devices.into_values().collect::<Vec<_>>()
    };
    let own = Allocation::Devices(device());
    let node_resources = Some(set(&["own", "used-up"]));
    let expected = [Allocation::NotADevice, own.clone(), Allocation::NoDevice];
    assert_eq!(allocations(node_resources), expected);
    let expected = [Allocation::NoDevice, own, Allocation::NoDevice];
    assert_eq!(
        allocations(None),
        expected,
        "the resources of the node are not known"
    );
}
