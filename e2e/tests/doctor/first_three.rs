//! Faults of a node with pods: one of the first three findings names the cause.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use plexus_e2e::plexus::{DEFAULT_NETWORK_FILE, NET_D};
use plexus_e2e::{Node, Plexus, Pod, Step, attaches, node};
use serde_json::{Value, json};

use crate::faults::{Fault, restart_with, run};
use crate::{Diagnosis, installed, options};

/// A pod that selects the network `lan`.
fn pod_with_lan(plexus: &Plexus<'_>) {
    plexus.manifests.pod(&Pod::new("web").with_networks("lan"));
}

fn define(plexus: &Plexus<'_>, config: &Value) {
    pod_with_lan(plexus);
    plexus.manifests.definition("lan", config);
}

/// Replaces the plugin of the default network by a program of this content and mode.
fn replace_main(node: &Node, content: &str, mode: u32) {
    let main = node.bin_dir().join("main");
    fs::remove_file(&main).expect("remove the plugin");
    fs::write(&main, content).expect("write the plugin");
    fs::set_permissions(&main, fs::Permissions::from_mode(mode)).expect("set the mode");
}

/// Makes each fault on a node of its own.
fn check_all(faults: &[Fault]) {
    for Fault { make, check, texts } in faults {
        let node = node!();
        let mut plexus = installed(&node);
        Diagnosis::of(&node, "").expect_nothing();
        make(&mut plexus);
        Diagnosis::of(&node, &options(&plexus)).expect_in_first_three(check, texts);
    }
}

#[test]
fn faults_of_plugins_are_among_the_first_three_findings() {
    check_all(&[
        Fault {
            make: |plexus| replace_main(plexus.node, "\u{7f}ELF of another machine", 0o755),
            check: "round-trip",
            texts: &["main", "not a program for this machine"],
        },
        Fault {
            make: |plexus| replace_main(plexus.node, "#!/missing/interpreter\n", 0o755),
            check: "round-trip",
            texts: &["main", "cannot be started"],
        },
        Fault {
            make: |plexus| {
                let main = plexus.node.bin_dir().join("main");
                fs::remove_file(&main).expect("remove the plugin");
                symlink("/missing", main).expect("make a link");
            },
            check: "plugins",
            texts: &["main", "in none of the plugin directories"],
        },
        Fault {
            make: |plexus| {
                plexus
                    .node
                    .plugin("lan", &attaches().on("VERSION", [Step::Hang]));
                define(plexus, &json!({"cniVersion": "1.0.0", "type": "lan"}));
            },
            check: "definitions",
            texts: &["lan", "does not answer VERSION"],
        },
        Fault {
            make: |plexus| {
                plexus.node.plugin("bridge", &attaches());
                let config = json!({"cniVersion": "1.0.0", "type": "bridge", "ipam": {"type": "whereabouts"}});
                define(plexus, &config);
            },
            check: "definitions",
            texts: &["whereabouts", "in none of the plugin directories"],
        },
        Fault {
            make: |plexus| {
                plexus.node.plugin("host-device", &attaches());
                let config =
                    json!({"cniVersion": "1.0.0", "type": "host-device", "device": "eth9"});
                define(plexus, &config);
            },
            check: "links",
            texts: &["device", "eth9", "is not a link of this node"],
        },
        Fault {
            make: |plexus| {
                let config = json!({
                    "cniVersion": "1.0.0", "type": "bridge", "mtu": "1480", "ipam": {"type": "host-local", "subnet": "10.9.0.0/24"},
                });
                define(plexus, &config);
            },
            check: "definitions",
            texts: &["mtu", "must be a number"],
        },
        Fault {
            make: |plexus| {
                for plugin in ["bridge", "host-local"] {
                    plexus.node.plugin(plugin, &attaches());
                }
                let ipam = json!({"type": "host-local", "subnet": "10.9.0.0/24"});
                define(
                    plexus,
                    &json!({"cniVersion": "1.0.0", "type": "bridge", "ipam": ipam}),
                );
                plexus
                    .node
                    .run(|| fs::create_dir_all("/var/lib/cni"))
                    .expect("create the directory");
                run(plexus.node, "mount -t tmpfs -o ro tmpfs /var/lib/cni");
            },
            check: "addresses",
            texts: &["lan", "/var/lib/cni", "Read-only file system"],
        },
    ]);
}

#[test]
fn faults_of_the_installation_are_among_the_first_three_findings() {
    check_all(&[
        Fault {
            make: |plexus| {
                plexus.daemon.kill();
                let shim = plexus.node.bin_dir().join("plexus");
                fs::set_permissions(shim, fs::Permissions::from_mode(0o644)).expect("set the mode");
            },
            check: "shim",
            texts: &["has the mode 644"],
        },
        Fault {
            make: |plexus| {
                plexus.daemon.kill();
                plexus.node.write("/var/lib/plexus/uninstalling", "");
            },
            check: "runtime-configuration",
            texts: &["an uninstall has begun"],
        },
        Fault {
            make: |plexus| {
                plexus.daemon.kill();
                run(plexus.node, &format!("mount -t tmpfs -o ro tmpfs {NET_D}"));
            },
            check: "runtime-configuration",
            texts: &["00-plexus.conflist is missing"],
        },
        Fault {
            make: |plexus| {
                plexus.daemon.stop();
                plexus
                    .node
                    .run(|| fs::remove_dir_all("/var/lib/plexus"))
                    .expect("remove the directory");
                plexus.node.write("/var/lib/plexus", "a file");
            },
            check: "state-directory",
            texts: &["/var/lib/plexus", "cannot be written"],
        },
        Fault {
            make: |plexus| restart_with(plexus, json!({"clusterNetwork": "missing"})),
            check: "default-network",
            texts: &[
                "clusterNetwork",
                "network-attachment-definition kube-system/missing",
            ],
        },
        Fault {
            make: |plexus| {
                restart_with(
                    plexus,
                    json!({"readinessindicatorfile": "/run/other/ready"}),
                );
            },
            check: "default-network",
            texts: &["/run/other/ready", "missing"],
        },
        Fault {
            make: |plexus| {
                plexus.daemon.stop();
                let config = plexus.node.scratch().join("daemon-config.json");
                fs::write(config, "{\"logLevel\": ").expect("write the configuration");
                plexus.daemon.launch();
            },
            check: "configuration",
            texts: &["daemon-config.json", "JSON"],
        },
        Fault {
            make: |plexus| {
                let file = plexus.node.scratch().join(DEFAULT_NETWORK_FILE);
                let network =
                    json!({"cniVersion": "1.1.0", "name": "pods", "plugins": [{"type": "plexus"}]});
                fs::write(file, network.to_string()).expect("write the file");
            },
            check: "default-network",
            texts: &["would call Plexus again"],
        },
    ]);
}

#[test]
fn faults_of_pods_are_among_the_first_three_findings() {
    check_all(&[
        Fault {
            make: |plexus| {
                plexus.networks(&["lan"]);
                plexus
                    .manifests
                    .pod(&Pod::new("web").with_networks("lan@a-name-that-is-too-long"));
            },
            check: "pods",
            texts: &["default/web", "a-name-that-is-too-long"],
        },
        Fault {
            make: |plexus| {
                restart_with(plexus, json!({"namespaceIsolation": true}));
                plexus.daemon.wait_ready();
                plexus.node.plugin("lan", &attaches());
                let config = r#"{"cniVersion":"1.0.0","type":"lan"}"#;
                plexus.manifests.definition_in("other", "lan", Some(config));
                plexus
                    .manifests
                    .pod(&Pod::new("web").with_networks("other/lan"));
            },
            check: "pods",
            texts: &["default/web", "other/lan", "namespace"],
        },
        Fault {
            make: |plexus| {
                let key = "v1.multus-cni.io/default-network";
                plexus
                    .manifests
                    .pod(&Pod::new("web").annotated(key, "missing"));
            },
            check: "pods",
            texts: &["default/web", "missing"],
        },
        Fault {
            make: |plexus| {
                plexus.networks(&["lan"]);
                let networks = r#"[{"name":"lan","default-route":["10.0.0.1"]},{"name":"lan","default-route":["10.0.0.2"]}]"#;
                plexus
                    .manifests
                    .pod(&Pod::new("web").with_networks(networks));
            },
            check: "pods",
            texts: &["default/web", "default-route"],
        },
        Fault {
            make: |plexus| {
                plexus.networks(&["lan"]);
                let (sandbox, _) = plexus.attached("web", "lan");
                sandbox.ip("link set net1 down");
                sandbox.ip("link set net1 name other");
            },
            check: "interfaces",
            texts: &["default/web", "net1", "removed or renamed"],
        },
    ]);
}
