//! `plexusd doctor` names the causes of real faults first, and finds nothing on a healthy node.

mod cluster;
mod faults;
mod first_three;
mod inspect;
mod leftovers;
mod networks;

use std::collections::BTreeSet;
use std::process::{Command, Output};

use plexus_e2e::binaries::binary;
use plexus_e2e::plexus::{NET_D, PUBLISHED};
use plexus_e2e::{Node, Plexus, node};
use plexusd::Check;
use serde_json::{Value, json};

/// What doctor has found on a node.
#[derive(Debug)]
struct Diagnosis {
    exit_code: Option<i32>,
    json: Value,
}

impl Diagnosis {
    /// Runs doctor on a node with these options, which are separated by spaces.
    #[track_caller]
    fn of(node: &Node, options: &str) -> Self {
        let mut command = Command::new(binary("plexusd"));
        command.arg("doctor").args(options.split_whitespace());
        Self::run(node, command)
    }

    #[track_caller]
    fn run(node: &Node, mut command: Command) -> Self {
        command.args(["-o", "json"]);
        let output = node.run(|| command.output()).expect("execute plexusd");
        Self::read(&output)
    }

    #[track_caller]
    fn read(output: &Output) -> Self {
        let json = serde_json::from_slice(&output.stdout);
        Self {
            exit_code: output.status.code(),
            json: json.unwrap_or_else(|error| panic!("{error}: {output:?}")),
        }
    }

    fn findings(&self) -> &[Value] {
        self.json["findings"].as_array().expect("a list")
    }

    /// The checks with findings, the worst first.
    fn checks(&self) -> Vec<&str> {
        let checks = self.findings().iter();
        checks
            .filter_map(|finding| finding["check"].as_str())
            .collect()
    }

    /// Asserts that the first finding has failed, is of this check, and has these texts.
    #[track_caller]
    fn expect_failed(&self, check: &str, texts: &[&str]) {
        assert_eq!(self.exit_code, Some(2), "{:#}", self.json);
        self.expect_first("failed", check, texts);
    }

    #[track_caller]
    fn expect_first(&self, level: &str, check: &str, texts: &[&str]) {
        let first = self.findings().first().cloned().unwrap_or_default();
        assert_eq!(first["check"], check, "{:#}", self.json);
        assert_eq!(first["level"], level, "{:#}", self.json);
        for text in texts {
            assert!(
                first.to_string().contains(text),
                "{text:?}: {:#}",
                self.json
            );
        }
    }

    /// Asserts that one of the first three findings is of this check and has these texts.
    #[track_caller]
    fn expect_in_first_three(&self, check: &str, texts: &[&str]) {
        let first = self.findings().iter().take(3);
        let mut first = first.filter(|finding| finding["check"] == check);
        let has_texts = |finding: &Value| {
            let text = finding.to_string();
            texts.iter().all(|part| text.contains(part))
        };
        assert!(first.any(has_texts), "{check}, {texts:?}: {:#}", self.json);
    }

    /// Asserts that a finding of this check has these texts.
    #[track_caller]
    fn expect_finding(&self, check: &str, texts: &[&str]) {
        let mut findings = self.findings().iter();
        let is_expected = |finding: &Value| {
            let text = finding.to_string();
            finding["check"] == check && texts.iter().all(|part| text.contains(part))
        };
        assert!(
            findings.any(is_expected),
            "{check}, {texts:?}: {:#}",
            self.json
        );
    }

    #[track_caller]
    fn expect_nothing(&self) {
        assert_eq!(self.exit_code, Some(0), "{:#}", self.json);
        assert_eq!(self.findings(), &[] as &[Value], "{:#}", self.json);
    }
}

/// A node on which Plexus is installed, with a default network that has STATUS.
fn installed(node: &Node) -> Plexus<'_> {
    let network = json!({"cniVersion": "1.1.0", "name": "pods", "plugins": [{"type": "main"}]});
    let mut plexus = Plexus::on(node)
        .installed()
        .default_network(network)
        .build();
    plexus.daemon.restart();
    plexus
}

/// The options that name the configuration of a daemon that may not run.
fn options(plexus: &Plexus<'_>) -> String {
    let config = plexus.node.scratch().join("daemon-config.json");
    let manifests = plexus.manifests.dir().display();
    format!("--config {} --manifests {manifests}", config.display())
}

#[test]
fn a_healthy_node_has_no_finding() {
    let node = node!();
    let plexus = installed(&node);
    plexus.networks(&["lan"]);
    plexus.attached("web", "lan");
    let diagnosis = Diagnosis::of(&node, "");
    diagnosis.expect_nothing();
    let results = diagnosis.json["checks"].as_array().expect("a list");
    let names: Vec<_> = results
        .iter()
        .filter_map(|result| result["check"].as_str())
        .collect();
    assert_eq!(names, Check::ALL.map(Check::name));
    let skipped: BTreeSet<_> = results
        .iter()
        .filter(|result| result["result"] == "skipped")
        .filter_map(|result| result["reason"].as_str())
        .collect();
    let expected = [
        "no definition names a resource of a device plugin",
        "the daemon has a directory of manifests instead of a cluster",
    ];
    assert_eq!(skipped, BTreeSet::from(expected));
}

#[test]
fn doctor_changes_nothing() {
    let node = node!();
    let mut plexus = installed(&node);
    plexus.attached("web", "");
    plexus.daemon.kill();
    let state = || {
        let names = ["", "ledger", "spool"].map(|dir| plexus.files(dir));
        let files = [PUBLISHED, "/etc/cni/net.d/../net.d/00-plexus.conflist"];
        (
            names,
            node.list(NET_D),
            files.map(|file| node.try_read(file).ok()),
            plexus.record(),
        )
    };
    let before = state();
    Diagnosis::of(&node, &options(&plexus)).expect_failed("socket", &["no plexusd listens"]);
    assert_eq!(state(), before);
}
