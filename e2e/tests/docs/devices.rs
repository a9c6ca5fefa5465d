//! The examples of `docs/devices.md` work as they are. Kubelet allocates the devices that the pods
//! request. The plugins are those of the reference plugins, or scripted if Debian has no package.

use std::fs;
use std::path::Path;
use std::process::Command;

use plexus_api::rows;
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::kubelet::{self, Kubelet};
use plexus_e2e::{
    CniTarget, Flavour, Node, Plexus, Pod, Sandbox, Script, Step, attaches, node, or_skip, skip,
    yaml,
};
use serde_json::{Value, json};

use crate::document::Document;
use crate::examples::apply;

/// The pod of each example.
const PODS: [&str; 9] = [
    "router",
    "solver",
    "forwarder",
    "redundant",
    "appliance",
    "member",
    "limited",
    "claimant",
    "machine",
];

/// The YAML of the example with this pod.
pub fn example(pod: &str) -> String {
    let line = format!("\n  name: {pod}\n");
    let fences = Document::read("docs/devices.md").fences.into_iter();
    let mut examples = fences.filter(|fence| fence.info == "yaml" && fence.body.contains(&line));
    examples.next().expect(pod).body
}

#[test]
fn every_example_is_tested() {
    let document = Document::read("docs/devices.md");
    let yaml = document.fences.iter().filter(|fence| fence.info == "yaml");
    let pods: Vec<_> = yaml
        .flat_map(|fence| yaml::documents(&fence.body).expect("YAML"))
        .filter(|object| object["kind"] == "Pod")
        .map(|pod| pod["metadata"]["name"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(pods, PODS);
}

/// The devices of kubelet for this pod: as many of each resource as the containers request, in
/// reverse order.
fn allocation(pod: &Value) -> kubelet::Pod {
    let text = |key: &str| pod["metadata"][key].as_str().expect("a string");
    let mut allocated = kubelet::Pod::new(text("namespace"), text("name"));
    for container in pod["spec"]["containers"].as_array().expect("containers") {
        let mut with_devices = kubelet::Container::new(container["name"].as_str().expect("a name"));
        let limits = container.pointer("/resources/limits");
        for (resource, count) in limits.and_then(Value::as_object).into_iter().flatten() {
            let is_marker = resource.starts_with("bridge.");
            let count = if is_marker {
                0
            } else {
                count.as_u64().expect("a number")
            };
            for number in (0..count).rev() {
                let id = device(resource, number);
                with_devices = with_devices.device(kubelet::Device::new(resource, &id));
            }
        }
        allocated = allocated.with(with_devices);
    }
    allocated
}

/// The ID of a device of a resource.
fn device(resource: &str, number: u64) -> String {
    let bus = resource.len();
    format!("0000:{bus:02x}:02.{number}")
}

/// A pod of an example with its networks.
struct Running<'n> {
    plexus: Plexus<'n>,
    _kubelet: Kubelet,
    sandbox: Sandbox<'n>,
    target: CniTarget,
    pod: Pod,
}

impl<'n> Running<'n> {
    /// Applies an example, and starts its pod.
    fn start(node: &'n Node, yaml: &str) -> Self {
        let kubelet = node.kubelet();
        kubelet.has_devices([kubelet::Device::new("example.com/vfs", "0000:01:02.0")]);
        let plexus = Plexus::on(node).flavour(Flavour::Crio).start();
        for object in yaml::documents(yaml).expect("YAML") {
            if object["kind"] == "Pod" {
                kubelet.run(allocation(&object));
            }
        }
        let pod = apply(&plexus, "example.yaml", yaml).pop().expect("a pod");
        let sandbox = node.sandbox(&pod.name);
        let target = sandbox.target(&pod);
        plexus.runtime.run_pod(&sandbox, &pod).result();
        Self {
            plexus,
            _kubelet: kubelet,
            sandbox,
            target,
            pod,
        }
    }

    /// The configuration of each ADD of a scripted plugin, with the name of the interface.
    fn configs(&self, plugin: &str) -> Vec<(String, Value)> {
        let calls = self.plexus.calls_of("ADD").into_iter();
        calls
            .filter(|call| call.plugin == plugin)
            .map(|call| (call.env("CNI_IFNAME").to_owned(), call.config()))
            .collect()
    }

    /// Asserts that the plugin got these devices, in this order.
    fn assert_devices(&self, plugin: &str, expected: &[(&str, String)]) {
        let configs = self.configs(plugin);
        let devices: Vec<_> = configs
            .iter()
            .map(|(ifname, config)| {
                assert_eq!(config["deviceID"], config["pciBusID"]);
                let device = config["deviceID"].as_str().expect("a device").to_owned();
                (ifname.as_str(), device)
            })
            .collect();
        assert_eq!(devices, expected);
    }

    /// The entry of network-status for a network of the namespace `default`.
    fn status(&self, network: &str) -> Value {
        let status = self.plexus.network_status(&self.pod).expect("a status");
        let entries = status.as_array().expect("a list").iter();
        let mut ours = entries.filter(|entry| entry["name"] == format!("default/{network}"));
        ours.next().expect(network).clone()
    }

    /// Stops the pod. DEL gets the devices of ADD, and leaves nothing.
    fn stop(self) {
        self.plexus.runtime.del(&self.target).expect_success();
        self.plexus.assert_nothing_left(&self.sandbox);
        let calls = self.plexus.node.calls();
        let device = |operation: &str, plugin: &str, ifname: &str| {
            let mut ours = calls.iter().filter(|call| {
                (&*call.operation, &*call.plugin, call.env("CNI_IFNAME"))
                    == (operation, plugin, ifname)
            });
            ours.next().expect(ifname).config()["deviceID"].clone()
        };
        for call in calls.iter().filter(|call| call.operation == "ADD") {
            let of = |operation| device(operation, &call.plugin, call.env("CNI_IFNAME"));
            assert_eq!(of("DEL"), of("ADD"), "{}", call.summary());
        }
    }
}

#[test]
fn two_networks_of_one_pool_get_two_devices() {
    rows!("D-031", "D-033");
    let node = node!();
    node.real_plugins(&or_skip!(plugin_dir(&["host-local"])), &["host-local"]);
    node.plugin("sriov", &attaches());
    let pod = Running::start(&node, &example("router"));
    let vf = |number| device("example.com/vfs", number);
    pod.assert_devices("sriov", &[("north", vf(0)), ("south", vf(1))]);
    assert_eq!(pod.configs("sriov")[0].1["vlan"], 120);
    pod.stop();
}

#[test]
fn an_infiniband_device_gets_the_guid_and_the_addresses_of_the_pod() {
    rows!("K-031");
    let node = node!();
    node.real_plugins(&or_skip!(plugin_dir(&["static"])), &["static"]);
    node.plugin("ib-sriov", &attaches());
    let pod = Running::start(&node, &example("solver"));
    pod.assert_devices("ib-sriov", &[("net1", device("example.com/ib-vfs", 0))]);
    let (_, config) = &pod.configs("ib-sriov")[0];
    assert_eq!(
        config["runtimeConfig"],
        json!({
            "infinibandGUID": "02:00:00:00:00:00:61:07",
            "ips": ["10.61.0.7/24", "fd61::7/64"],
        })
    );
    pod.stop();
}

#[test]
fn a_device_for_user_space_is_described_in_the_annotation_of_the_pod() {
    let node = node!();
    let result = json!({
        "cniVersion": "$CNIVERSION",
        "interfaces": [{"name": "$IFNAME", "sandbox": "$NETNS", "mtu": 9000}],
    });
    node.plugin("sriov", &Script::new().on("ADD", [Step::Result(result)]));
    let id = device("example.com/vfio-vfs", 0);
    let info = json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": id}});
    let dir = Path::new("/var/run/k8s.cni.cncf.io/devinfo/dp");
    let file = format!("example.com-vfio-vfs-{id}-device.json");
    node.run(|| fs::create_dir_all(dir)).expect("a directory");
    node.write(dir.join(file), info.to_string());
    let pod = Running::start(&node, &example("forwarder"));
    pod.assert_devices("sriov", &[("net1", id)]);
    let expected = json!({
        "name": "default/dataplane", "interface": "net1", "mtu": 9000, "dns": {},
        "device-info": info,
    });
    assert_eq!(pod.status("dataplane"), expected);
    pod.stop();
}

#[test]
fn a_bond_is_attached_after_the_devices_of_both_pools() {
    let node = node!();
    node.real_plugins(&or_skip!(plugin_dir(&["host-local"])), &["host-local"]);
    node.plugin("sriov", &attaches());
    let has_link = |link: &str| {
        let command = ["ip", "-n", "redundant", "link", "show", link];
        Step::Run(command.map(str::to_owned).to_vec())
    };
    let steps = [has_link("net1"), has_link("net2"), Step::link()];
    node.plugin("bond", &attaches().on("ADD", steps));
    let pod = Running::start(&node, &example("redundant"));
    let devices = [
        ("net1", device("example.com/port0-vfs", 0)),
        ("net2", device("example.com/port1-vfs", 0)),
    ];
    pod.assert_devices("sriov", &devices);
    let [(ifname, config)] = &pod.configs("bond")[..] else {
        panic!("{:?}", pod.configs("bond"))
    };
    assert_eq!((ifname.as_str(), config.get("deviceID")), ("bond0", None));
    assert_eq!(config["links"], json!([{"name": "net1"}, {"name": "net2"}]));
    pod.stop();
}

#[test]
fn a_network_card_of_a_virtual_machine_moves_into_the_pod_and_back() {
    let plugins = ["host-device", "static"];
    let dir = or_skip!(plugin_dir(&plugins));
    let written = example("appliance");
    // Without a router, documents of clouds name the address 0.0.0.0.
    let without_router = written
        .replace(
            r#"10.63.0.21/24""#,
            r#"10.63.0.21/24", "gateway": "0.0.0.0""#,
        )
        .replace(
            r#""10.64.0.0/16", "gw": "10.63.0.1""#,
            r#""10.63.0.0/24", "gw": "0.0.0.0""#,
        );
    assert_ne!(written, without_router);
    for yaml in [written, without_router] {
        let node = node!();
        node.real_plugins(&dir, &plugins);
        node.uplink("ens5");
        let pod = Running::start(&node, &yaml);
        assert_eq!(pod.status("card-of-worker-1")["ips"], json!(["10.63.0.21"]));
        assert!(pod.sandbox.link("net1").is_some());
        let on_node = || node.links().iter().any(|link| link.name == "ens5");
        assert!(!on_node());
        let second = Pod::new("second").with_networks("card-of-worker-1");
        let sandbox = node.sandbox("second");
        let output = pod.plexus.runtime.run_pod(&sandbox, &second);
        assert!(!output.ok(), "{output:?}");
        pod.stop();
        assert!(on_node());
    }
}

#[test]
fn an_ipam_plugin_of_the_cluster_gets_the_address_that_the_pod_requests() {
    let node = node!();
    node.real_plugins(&or_skip!(plugin_dir(&["macvlan"])), &["macvlan"]);
    node.uplink("eth1");
    let result = json!({
        "cniVersion": "$CNIVERSION",
        "ips": [{"version": "4", "address": "10.65.0.42/24", "gateway": "10.65.0.1"}],
    });
    node.plugin(
        "whereabouts",
        &Script::new().on("ADD", [Step::Result(result)]),
    );
    let pod = Running::start(&node, &example("member"));
    let (_, config) = &pod.configs("whereabouts")[0];
    assert_eq!(config["runtimeConfig"]["ips"], json!(["10.65.0.42/24"]));
    assert_eq!(config["name"], "shared");
    assert_eq!(pod.status("shared")["ips"], json!(["10.65.0.42"]));
    pod.stop();
}

#[test]
fn host_ports_and_bandwidth_limits_apply_to_the_default_network() {
    let plugins = ["bridge", "host-local", "portmap", "bandwidth"];
    let dir = or_skip!(plugin_dir(&plugins));
    let node = node!();
    let output = |command: &str| {
        let mut words = command.split(' ');
        let mut process = Command::new(words.next().expect("a command"));
        let output = node.run(|| process.args(words).output()).ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    };
    if output("iptables -t nat -S").is_none() || output("tc qdisc").is_none() {
        skip!("iptables or tc is missing");
    }
    node.real_plugins(&dir, &plugins);
    let fences = Document::read("docs/devices.md").fences.into_iter();
    let mut json = fences.filter(|fence| fence.info == "json");
    let default = json.next().expect("the default network").body;
    let capabilities = json!({
        "io.kubernetes.cri.pod-annotations": true, "portMappings": true, "bandwidth": true,
    });
    let plexus = Plexus::on(&node)
        .default_network(serde_json::from_str(&default).expect("JSON"))
        .runtime(json!({"capabilities": capabilities}))
        .start();
    let pod = apply(&plexus, "example.yaml", &example("limited")).remove(0);
    let sandbox = node.sandbox(&pod.name);
    let ports = json!([{"hostPort": 8066, "containerPort": 80, "protocol": "tcp", "hostIP": ""}]);
    // containerd's values for the annotations of the pod.
    let bandwidth = json!({
        "ingressRate": 8_000_000, "ingressBurst": 4_294_967_295_u32,
        "egressRate": 4_000_000, "egressBurst": 4_294_967_295_u32,
    });
    let target = sandbox
        .target(&pod)
        .with_capability("portMappings", ports)
        .with_capability("bandwidth", bandwidth);
    plexus.runtime.add(&target).result();
    let rules = || output("iptables -t nat -S").expect("iptables");
    assert!(rules().contains("--dport 8066"), "{}", rules());
    let limits = output("tc qdisc").expect("tc");
    for rate in ["rate 8Mbit", "rate 4Mbit"] {
        assert!(limits.contains(rate), "{limits}");
    }
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
    assert!(!rules().contains("8066"), "{}", rules());
}

#[test]
fn a_resource_without_devices_needs_no_device() {
    let node = node!();
    node.real_plugins(&or_skip!(plugin_dir(&["bridge"])), &["bridge"]);
    let pod = Running::start(&node, &example("machine"));
    assert!(pod.sandbox.link("net1").is_some());
    assert_eq!(pod.status("machines")["interface"], "net1");
    pod.stop();
}
