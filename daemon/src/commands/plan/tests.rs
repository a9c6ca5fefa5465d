use super::*;

const DEFINITIONS: &str = r#"
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: lan}
spec:
  config: |
    {"plugins": [
      {"type": "macvlan", "master": "eth1", "capabilities": {"ips": true}, "ipam": {"type": "host-local"}},
      {"type": "tuning", "password": "hidden"}
    ]}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata:
  name: vf
  annotations: {k8s.v1.cni.cncf.io/resourceName: example.com/vf}
spec:
  config: '{"name": "fabric", "type": "sriov"}'
"#;

/// What the command prints for the pods of a manifest.
fn planned(config: &str, manifest: &str) -> String {
    let fields = Fields::parse(config).expect("JSON");
    let settings = Settings::read(&fields).expect("valid values");
    let (mut definitions, mut pods) = (Vec::new(), Vec::new());
    read(DEFINITIONS, &mut definitions, &mut pods).expect("valid");
    read(manifest, &mut definitions, &mut pods).expect("valid");
    let offline = Offline {
        settings: &settings,
        definitions: &definitions,
        is_tolerant: false,
    };
    let mut out = Vec::new();
    for pod in &pods {
        view(pod, offline).print(&mut out).expect("written");
    }
    String::from_utf8(out).expect("text")
}

fn deployment(networks: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  template:\n    metadata:\n      \
         annotations:\n        k8s.v1.cni.cncf.io/networks: '{networks}'\n"
    )
}

#[test]
fn a_plan_has_everything_but_secrets() {
    let networks = r#"[{"name": "lan", "ips": ["10.1.2.3/24"], "cni-args": {"token": "hidden"},
        "default-route": ["10.1.2.1"]}, {"name": "vf", "mac": "02:00:00:00:00:01"}]"#;
    let networks = networks.replace("\n        ", " ");
    assert_eq!(
        planned("{}", &deployment(&networks)),
        r#"Deployment default/web
  eth0            default: unknown
  net1            default/lan: macvlan (host-local), tuning
                    ips: ["10.1.2.3/24"]
                    cni-args: token
                    default route: IPv4 through 10.1.2.1
  net2            default/vf: sriov
                    network name: fabric
                    device: <device 01 of example.com/vf>
  warning: network "default/vf": the pod requests "mac", but no plugin of the network declares that capability, so the address was passed as MAC in CNI_ARGS, which not every plugin reads; add "capabilities": {"mac": true} next to the "type" of the plugin that supports it
"#
    );
}

#[test]
fn the_configuration_of_the_node_restricts_and_adds_networks() {
    let manifest = deployment("lan@data0");
    let config =
        r#"{"defaultNetworks": ["common"], "delegates": [{"name": "pods", "type": "bridge"}]}"#;
    let found = planned(config, &manifest);
    for line in [
        "eth0            pods: bridge",
        "net1            common: unknown",
        "data0",
    ] {
        assert!(found.contains(line), "{found}");
    }
    let found = planned(r#"{"allowedPluginTypes": ["bridge"]}"#, &manifest);
    assert!(
        found.contains("refused: ") && found.contains("allowedPluginTypes (bridge)"),
        "{found}"
    );
}

#[test]
fn a_pod_is_refused_with_the_message_of_the_daemon() {
    for (networks, parts) in [
        (
            "missing",
            "\"default/missing\" interface \"net1\": there is no network-attachment-definition",
        ),
        ("lan@eth0", "the name is taken by network \"default\""),
        ("lan,", "item 2"),
    ] {
        let found = planned("{}", &deployment(networks));
        assert!(
            found.contains("refused: ") && found.contains(parts),
            "{found}"
        );
    }
}
