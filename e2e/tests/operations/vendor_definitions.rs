//! Networks as vendors document them start and stop on CRI-O. Scripted plugins have the names of
//! the vendors' plugins.

use plexus_e2e::{Flavour, Node, Plexus, Pod, Script, Step, attaches, node};
use serde_json::{Value, json};

/// Calico as the default network, with the plugins for host ports and bandwidth.
fn calico() -> Value {
    json!({
        "name": "k8s-pod-network", "cniVersion": "0.4.0",
        "plugins": [
            {
                "type": "calico", "log_level": "info", "datastore_type": "kubernetes",
                "nodename": "127.0.0.1", "ipam": {"type": "host-local", "subnet": "usePodCidr"},
                "policy": {"type": "k8s"},
                "kubernetes": {"kubeconfig": "/etc/cni/net.d/calico-kubeconfig"},
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
            {"type": "bandwidth", "capabilities": {"bandwidth": true}},
        ],
    })
}

/// Starts Plexus and CRI-O. All plugins that the definitions name are scripted.
fn start(node: &Node) -> Plexus<'_> {
    for name in ["calico", "macvlan", "sriov", "host-device", "ib-sriov"] {
        node.plugin(name, &attaches());
    }
    for name in [
        "host-local",
        "whereabouts",
        "static",
        "dhcp",
        "portmap",
        "bandwidth",
        "tuning",
    ] {
        node.plugin(name, &Script::new());
    }
    let interface = |name: &str| {
        let command = ["ip", "-n", "pod", "link", "show", name];
        Step::Run(command.map(str::to_owned).into())
    };
    let steps = [interface("net1"), interface("net2"), Step::link()];
    node.plugin("bond", &attaches().on("ADD", steps));
    let mut plexus = Plexus::on(node)
        .flavour(Flavour::Crio)
        .default_network(calico())
        .installed()
        .start();
    plexus.runtime.restart();
    plexus
}

/// Defines the networks in the namespace `demo`, and starts and stops a pod with them.
#[track_caller]
fn run(networks: &[(&str, Value)], selected: &str, interfaces: &[&str]) {
    let node = node!();
    let mut plexus = start(&node);
    for (name, config) in networks {
        let config = config.to_string();
        plexus.manifests.definition_in("demo", name, Some(&config));
    }
    let pod = Pod::new("pod").in_namespace("demo").with_networks(selected);
    let sandbox = node.sandbox("pod");
    let output = plexus.runtime.run_pod(&sandbox, &pod);
    assert!(output.ok(), "{output:?}");
    let expected = [&["lo", "eth0"], interfaces].concat();
    assert_eq!(sandbox.link_names(), expected);
    plexus.runtime.restart();
    assert_eq!(sandbox.link_names(), expected);
    plexus.runtime.stop_pod(&sandbox, &pod).expect_success();
    assert_eq!(plexus.records(), [""; 0]);
}

#[test]
fn macvlans_with_addresses_of_whereabouts_start() {
    let macvlan = |ipam: Value| {
        json!({
            "cniVersion": "0.3.1",
            "plugins": [{
                "type": "macvlan", "capabilities": {"ips": true}, "master": "eth0",
                "mode": "bridge", "ipam": ipam,
            }],
        })
    };
    let range = json!({
        "type": "whereabouts", "range": "192.168.20.0/24", "range_start": "192.168.20.10",
        "range_end": "192.168.20.100", "gateway": "192.168.20.1",
    });
    let dual_stack = json!({
        "type": "whereabouts",
        "ipRanges": [{"range": "192.168.10.0/24"}, {"range": "2001:db8::/64"}],
    });
    let exclude = json!({
        "type": "whereabouts", "range": "192.0.2.192/27",
        "exclude": ["192.0.2.192/30", "192.0.2.196/32"],
    });
    let tenant = json!({
        "type": "whereabouts", "range": "192.0.2.192/29", "network_name": "example_net_common",
    });
    let networks = [
        ("macvlan-conf", macvlan(range)),
        ("dual-stack", macvlan(dual_stack)),
        ("exclude", macvlan(exclude)),
        ("tenant", macvlan(tenant)),
        ("dhcp", macvlan(json!({"type": "dhcp"}))),
    ];
    let selected = r#"[
        {"name": "macvlan-conf", "ips": ["192.168.20.50/24"]}, {"name": "dual-stack"},
        {"name": "exclude", "namespace": "demo"}, {"name": "tenant"}, {"name": "dhcp"}
    ]"#;
    run(
        &networks,
        selected,
        &["net1", "net2", "net3", "net4", "net5"],
    );
}

#[test]
fn a_bond_of_two_sriov_networks_starts() {
    let sriov = |vlan: u16| {
        json!({
            "cniVersion": "0.3.1", "type": "sriov", "vlan": vlan, "vlanQoS": 0, "spoofchk": "off",
            "link_state": "auto", "ipam": {},
        })
    };
    let bond = json!({
        "cniVersion": "0.3.1", "type": "bond", "name": "bond-net1", "mode": "active-backup",
        "failOverMac": 1, "linksInContainer": true, "miimon": "100", "mtu": 1500,
        "links": [{"name": "net1"}, {"name": "net2"}],
        "ipam": {
            "type": "host-local", "subnet": "10.56.217.0/24", "routes": [{"dst": "0.0.0.0/0"}],
            "gateway": "10.56.217.1",
        },
    });
    let networks = [
        ("sriovnet1", sriov(0)),
        ("sriovnet2", sriov(0)),
        ("bond-net1", bond),
    ];
    for (selected, bond) in [
        ("demo/sriovnet1, demo/sriovnet2, demo/bond-net1", "net3"),
        (
            "demo/sriovnet1, demo/sriovnet2, demo/bond-net1@bond0",
            "bond0",
        ),
    ] {
        run(&networks, selected, &["net1", "net2", bond]);
    }
}

#[test]
fn devices_of_the_node_start() {
    let card = json!({
        "cniVersion": "0.3.1", "type": "host-device", "device": "ens5",
        "ipam": {
            "type": "static", "addresses": [{"address": "10.0.10.93/24", "gateway": "0.0.0.0"}],
            "routes": [{"dst": "10.0.10.0/24", "gw": "0.0.0.0"}],
        },
    });
    let infiniband = json!({
        "cniVersion": "0.3.1", "type": "ib-sriov", "link_state": "enable",
        "capabilities": {"ips": true, "infinibandGUID": true}, "ipam": {"type": "static"},
    });
    let networks = [("sriov-vnic-1", card), ("ib1", infiniband)];
    let selected = r#"[
        {"name": "sriov-vnic-1"},
        {
            "name": "ib1", "infiniband-guid": "c2:11:22:33:44:55:66:77",
            "ips": ["192.168.10.1/24", "2001::1/64"]
        }
    ]"#;
    run(&networks, selected, &["net1", "net2"]);
}
