//! Plugins get the environment of the runtime.

use plexus_api::rows;
use plexus_e2e::{Node, Plexus, PluginCall, Pod, Script, Step, attaches, node};
use serde_json::json;

/// A default network whose version has STATUS.
fn start(node: &Node) -> Plexus<'_> {
    let default = json!({"cniVersion": "1.1.0", "name": "pods", "plugins": [{"type": "main"}]});
    Plexus::on(node)
        .default_network(default)
        .config(json!({"recoveryInterval": "50ms", "logLevel": "debug", "checkPlugins": "all"}))
        .start()
}

fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("/opt/runtime/bin:{own}")
}

#[test]
fn plugins_get_the_environment_of_the_runtime() {
    rows!("R-105", "P-021");
    let node = node!();
    let plexus = start(&node);
    plexus.network("a", &attaches());
    let (_sandbox, target) = plexus.sandbox("p", "a");
    let target = target
        .with_env("PATH", Some(&path()))
        .with_env("HTTPS_PROXY", Some("http://user:password@proxy"))
        .with_env("NOTIFY_SOCKET", Some("/run/notify"));
    plexus.runtime.add(&target).result();
    plexus.runtime.check(&target).expect_success();
    let record = plexus.record();
    plexus.runtime.del(&target).expect_success();
    let calls = node.calls();
    assert_eq!(calls.len(), 6);
    for call in calls {
        let expected = [
            ("PATH", path().as_str()),
            ("HTTPS_PROXY", "http://user:password@proxy"),
            ("NOTIFY_SOCKET", "/run/notify"),
        ]
        .map(|(key, value)| (key, value.to_owned()));
        for (key, value) in expected {
            assert_eq!(call.env(key), value, "{}", call.summary());
        }
    }
    for text in [record, plexus.daemon.log()] {
        assert!(!text.contains("password"), "a secret in: {text}");
    }
}

#[test]
fn a_del_without_a_runtime_gets_the_path_of_add() {
    rows!("R-105");
    let node = node!();
    let plexus = start(&node);
    let sandbox = node.sandbox("p");
    let target = sandbox
        .target(&Pod::new("p"))
        .with_env("PATH", Some(&path()))
        .with_env("TOKEN", Some("secret"));
    plexus.runtime.add(&target).result();
    node.plugin("main", &Script::new().fails("DEL", 120, "not now"));
    plexus.runtime.del(&target).expect_code(120);
    node.plugin("main", &attaches().on("DEL", [Step::Unlink]));
    plexus.wait_records(&[]);
    let calls = node.calls();
    let last = calls.last().expect("a call");
    let got = (last.summary(), last.env("PATH"), last.env("TOKEN"));
    assert_eq!(got, ("DEL main eth0".to_owned(), path().as_str(), ""));
    let of_runtime: Vec<_> = calls[..2].iter().map(|call| call.env("TOKEN")).collect();
    assert_eq!(of_runtime, ["secret", "secret"]);
    assert!(
        !calls
            .iter()
            .any(|call: &PluginCall| call.env("PATH") != path())
    );
}
