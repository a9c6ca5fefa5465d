//! Definitions.

use plexus_api::rows;

use super::{assert_found, definition, findings, pod};

#[test]
fn an_error_has_its_place_in_the_file_the_cause_and_the_next_step() {
    let text = r#"apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata:
  name: lan
spec:
  config: |
    {
      "cniVersion": "1.0.0",
      "type": "bridge",
      "mtu": "1480"
    }
"#;
    assert_eq!(
        findings(text),
        "f.yaml:10:14: error[plugin-config]: NetworkAttachmentDefinition default/lan: plugin \"bridge\": \"mtu\" is \
         \"1480\", but must be a number: write 1480 without quotes\n"
    );
}

#[test]
fn definitions_that_plexus_or_a_plugin_refuses_are_errors() {
    rows!("K-004");
    let config = |text: &str| definition("lan", text);
    assert_found(&[
        (
            &config("{\"type\": \"bridge\",}"),
            &["6:30: error[definition]", "not a JSON object"],
        ),
        (
            &config("{\"cniVersion\": \"1.0\", \"type\": \"bridge\"}"),
            &["6:27: error", "cniVersion \"1.0\" is not supported"],
        ),
        (
            &config("{\"plugins\": [{\"type\": \"a/b\"}]}"),
            &["6:34: error", "must be a file name without a path"],
        ),
        (
            &config("{\"type\": \"multus\"}"),
            &["error[definition]", "would call Plexus again"],
        ),
        (
            &config("{\"type\": \"bridge\", \"vlan\": 8888}"),
            &["must be a whole number from 0 to 4094"],
        ),
        (
            &config("{\"type\": \"bridge\", \"isGateway\": \"true\"}"),
            &["must be true or false, without quotes"],
        ),
        (
            &config("{\"type\": \"macvlan\", \"mode\": \"bridged\"}"),
            &["\"bridge\", \"private\", \"vepa\" or \"passthru\""],
        ),
        (
            &config("{\"type\": \"bridge\", \"bridge\": \"a-very-long-bridge\"}"),
            &["error", "at most 15 bytes"],
        ),
        (
            &config("{\"type\": \"tuning\", \"sysctl\": {\"net.core.somaxconn\": 500}}"),
            &["error", "values are strings"],
        ),
        (
            &config("{\"type\": \"vlan\", \"vlanId\": 5}"),
            &["no \"master\""],
        ),
        (
            &config("{\"type\": \"x\"}")
                .replace("config: '{\"type\": \"x\"}'", "config: {type: x}"),
            &["6:11: error", "spec.config must be a string"],
        ),
        (
            &config("{\"type\": \"x\"}").replace("config:", "confg:"),
            &["6:3: error[unknown-key]", "did you mean \"config\"?"],
        ),
        (
            &config("{\"type\": \"x\"}").replace("cni.cncf.io/v1", "cni.cncf.io/v1beta1"),
            &["1:13: error[manifest]", "write k8s.cni.cncf.io/v1"],
        ),
    ]);
}

#[test]
fn address_ranges_that_host_local_refuses_are_errors() {
    let ipam = |text: &str| {
        let config =
            format!("{{\"type\": \"macvlan\", \"ipam\": {{\"type\": \"host-local\", {text}}}}}");
        definition("lan", &config)
    };
    assert_found(&[
        (
            &ipam("\"subnet\": \"10.1.0.0\""),
            &["an address with a prefix length"],
        ),
        (
            &ipam("\"subnet\": \"10.1.0.7/24\""),
            &["write \"10.1.0.0/24\""],
        ),
        (&ipam("\"subnet\": \"10.1.0.0/31\""), &["too small"]),
        (
            &ipam("\"ranges\": [{\"subnet\": \"10.1.0.0/24\"}]"),
            &["must be a list of lists"],
        ),
        (
            &ipam("\"ranges\": [[{\"subnet\": \"10.1.0.0/24\", \"rangeStart\": \"10.2.0.1\"}]]"),
            &["\"rangeStart\" 10.2.0.1 is not in 10.1.0.0/24"],
        ),
        (
            &ipam(
                "\"subnet\": \"10.1.0.0/24\", \"rangeStart\": \"10.1.0.9\", \"rangeEnd\": \"10.1.0.5\"",
            ),
            &["is before"],
        ),
        (
            &ipam("\"ranges\": [[{\"subnet\": \"10.1.0.0/24\"}], [{\"subnet\": \"10.1.0.0/16\"}]]"),
            &["overlaps with the range"],
        ),
        (&ipam("\"dataDir\": \"/x\""), &["has no \"subnet\""]),
        (
            &ipam("\"subnet\": \"10.1.0.0/24\", \"routes\": [{\"dst\": \"10.9.0.0\"}]"),
            &["routes[0]", "prefix length"],
        ),
    ]);
}

#[test]
fn keys_that_are_probably_misspelled_are_warnings() {
    assert_found(&[
        (
            &definition("lan", "{\"type\": \"bridge\", \"isGatway\": true}"),
            &["6:31: warning[unknown-key]", "did you mean \"isGateway\"?"],
        ),
        (
            &definition("lan", "{\"type\": \"bridge\", \"subnet\": \"10.1.0.0/24\"}"),
            &["move it into \"ipam\""],
        ),
        (
            &definition(
                "lan",
                "{\"capabilities\": {\"ips\": true}, \"plugins\": [{\"type\": \"x\"}]}",
            ),
            &[
                "f.yaml:6:13: warning[unknown-key]",
                "the list ignores the key \"capabilities\"; move it into the plugin",
            ],
        ),
        (
            &definition(
                "lan",
                "{\"MTU\": 1400, \"plugins\": [{\"type\": \"bridge\"}]}",
            ),
            &["the list ignores the key \"MTU\""],
        ),
        (
            &definition(
                "lan",
                "{\"type\": \"x\", \"capabilities\": {\"IPs\": true}}",
            ),
            &["did you mean \"ips\"?"],
        ),
        (
            &definition(
                "lan",
                "{\"type\": \"x\", \"capabilities\": {\"ips\": \"true\"}}",
            ),
            &["write true without quotes"],
        ),
        (
            &definition("lan", "{\"type\": \"x\", \"a\": 1, \"a\": 2}"),
            &["6:34: warning[duplicate]", "present twice"],
        ),
        (
            &pod("[{\"name\": \"a\", \"interfce\": \"eth1\"}]"),
            &["6:50: warning", "did you mean \"interface\"?"],
        ),
        (
            &pod("a").replace("networks:", "network:"),
            &[
                "6:5: warning",
                "did you mean \"k8s.v1.cni.cncf.io/networks\"?",
            ],
        ),
    ]);
    // A plugin that is not listed may have any key, and a listed one may get new keys.
    for config in [
        "{\"type\": \"antrea\", \"ipam\": {\"type\": \"host-local\"}}",
        "{\"type\": \"other\", \"mut\": 1, \"isGatway\": true}",
        "{\"type\": \"bridge\", \"comment\": \"x\", \"somethingNew\": true}",
        "{\"type\": \"macvlan\", \"master\": \"${A_LONG_VARIABLE}\"}",
    ] {
        assert_eq!(findings(&definition("lan", config)), "");
    }
}
