//! An administrator lists records and retries failed DELs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use plexus_e2e::binaries::binary;
use plexus_e2e::plexus::MAIN;
use plexus_e2e::workspace::{read, root};
use plexus_e2e::{Node, attaches, node};
use serde_json::{Value, json};

use crate::{attached, start_with};

#[test]
fn retry_runs_a_failed_del_at_once() {
    let node = node!();
    let keys = json!({"recoveryInterval": "1h", "orphanAfter": "1h"});
    let mut plexus = start_with(&node, keys);
    let (_living, living) = attached(&plexus, "living");
    let pods = ["a", "b", "c"].map(|name| attached(&plexus, name));
    let [a, b, c] = pods.each_ref().map(|(_, target)| target);
    node.plugin(MAIN, &attaches().fails("DEL", 120, "no answer"));
    for target in [a, b, c] {
        plexus.runtime.del(target).expect_code(120);
    }
    let before = node.calls().len();
    let error = plexus
        .daemon
        .ledger(&["retry", &a.container])
        .expect_err("the DEL fails again");
    assert!(error.contains("1 of 1 DELs failed again"), "{error}");
    assert_eq!(plexus.calls()[before..], ["DEL main eth0"]);
    node.plugin(MAIN, &attaches());
    let output = plexus
        .daemon
        .ledger(&["retry", &a.container])
        .expect("the DEL succeeds");
    assert_eq!(output, format!("deleted {} eth0 default/a\n", a.container));
    let output = plexus.daemon.ledger(&["retry", "--all"]);
    let output = output.expect("the other DELs succeed");
    assert_eq!(output.lines().count(), 2, "{output}");
    assert_eq!(plexus.records(), [living.container.as_str()]);
    // An attached pod has nothing to retry.
    for arguments in [&["retry", "--all"][..], &["retry", &living.container]] {
        let error = plexus.daemon.ledger(arguments).expect_err("no failed DEL");
        assert!(
            error.contains("no DEL of these records has failed"),
            "{error}"
        );
    }
    let request = json!({"containerId": living.container, "ifname": "eth0"}).to_string();
    let reply = plexus
        .daemon
        .post("/ledger/retry", request.as_bytes())
        .expect("a reply");
    assert_eq!(reply.status, 400, "{reply:?}");
    plexus.runtime.check(&living).expect_success();

    node.plugin(MAIN, &attaches().fails("DEL", 120, "no answer"));
    plexus.runtime.del(&living).expect_code(120);
    plexus.daemon.stop();
    let error = plexus
        .daemon
        .ledger(&["retry", "--all"])
        .expect_err("there is no daemon");
    assert!(error.contains("no plexusd listens at"), "{error}");
}

/// A kubectl for the plugin, which finds one pod and executes plexusd here.
const KUBECTL: &str = r#"#!/bin/sh
case $1 in
    plexus) shift; exec sh "$PLUGIN" "$@" ;;
    get) echo kube-system plexus-a NODE ;;
    exec) while [ "$1" != -- ]; do shift; done; shift 2; exec plexusd "$@" ;;
esac
"#;

/// The stdout of a shell command on the node.
fn shell(node: &Node, command: &str) -> String {
    let kubectl = node.scratch().join("kubectl");
    node.write(&kubectl, KUBECTL);
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).expect("set the mode");
    let dir = binary("plexusd");
    let dir = dir.parent().expect("a directory").display();
    let path = format!(
        "{}:{dir}:/usr/local/bin:/usr/bin:/bin",
        node.scratch().display()
    );
    let output = node
        .run(|| {
            Command::new("sh")
                .args(["-ec", command])
                .env("PATH", path)
                .env("PLUGIN", root().join("deploy/kubectl-plexus"))
                .output()
        })
        .expect("execute sh");
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_documented_commands_select_the_records_that_they_describe() {
    let node = node!();
    let plexus = start_with(
        &node,
        json!({"recoveryInterval": "1h", "orphanAfter": "1h"}),
    );
    let (_living, living) = attached(&plexus, "living");
    let (_failing, failing) = attached(&plexus, "failing");
    node.plugin(
        MAIN,
        &attaches().fails("DEL", 120, "no answer\nfrom: eth0 attached"),
    );
    plexus.runtime.del(&failing).expect_code(120);
    let page = read("docs/troubleshooting.md");
    let commands: Vec<_> = page
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("kubectl plexus ledger NODE list"))
        .collect();
    let mut containers = vec![living.container.clone(), failing.container.clone()];
    containers.sort();
    let run = |command: &str| {
        assert!(commands.contains(&command), "{command} in {commands:?}");
        shell(&node, command)
    };
    let list = run("kubectl plexus ledger NODE list");
    assert_eq!(list.lines().count(), 3, "{list}");
    let known = run("kubectl plexus ledger NODE list | awk 'NR > 1 { print $3 }' | sort -u");
    assert_eq!(known.lines().collect::<Vec<_>>(), containers);
    let failed = run("kubectl plexus ledger NODE list | grep -E '^(failed|orphaned) '");
    assert_eq!(failed.lines().count(), 1, "{failed}");
    assert!(
        failed.contains(&failing.container) && failed.contains("no answer from: eth0 attached"),
        "{failed}"
    );
    let json = run("kubectl plexus ledger NODE list -o json");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(2), "{json}");
    let spool = "/var/lib/plexus/spool";
    node.run(|| fs::create_dir_all(spool))
        .expect("create the directory");
    node.write(format!("{spool}/c9:eth0.json"), "{}");
    let spooled = run("kubectl plexus ledger NODE list | grep '^spooled '");
    assert!(
        spooled.lines().count() == 1 && spooled.contains(" c9 "),
        "{spooled}"
    );
    assert_eq!(commands.len(), 5, "{commands:?}");
}

#[test]
fn the_list_has_other_formats() {
    let node = node!();
    let plexus = start_with(
        &node,
        json!({"recoveryInterval": "1h", "orphanAfter": "1h"}),
    );
    let output = plexus.daemon.subcommand(&["ledger", "list"]);
    assert!(output.ok() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(output.stderr, "no sandboxes\n");
    let output = plexus.daemon.subcommand(&["ledger", "list", "-o", "json"]);
    assert_eq!(output.json, Some(json!([])), "{output:?}");

    let (_sandbox, target) = attached(&plexus, "web");
    node.plugin(MAIN, &attaches().fails("DEL", 120, "no answer"));
    plexus.runtime.del(&target).expect_code(120);
    let output = plexus.daemon.subcommand(&["ledger", "list", "-o", "json"]);
    let entry = &output.json.as_ref().expect("JSON")[0];
    assert_eq!(entry["state"], "failed");
    assert_eq!(entry["containerId"], target.container);
    assert_eq!(entry["ifname"], "eth0");
    assert_eq!(entry["pod"]["namespace"], "default");
    assert_eq!(entry["pod"]["name"], "web");
    let uid = entry["pod"]["uid"].as_str().expect("a UID");
    let netns = entry["netns"].as_str().expect("a path");
    assert_eq!(
        entry["attachments"][0],
        json!({"interface": "eth0", "network": "pods", "deleted": false})
    );
    assert_eq!(entry["failures"], 1);
    assert!(entry["error"].to_string().contains("no answer"), "{entry}");
    for seconds in ["ageSeconds", "lastFailureSeconds"] {
        assert!(entry[seconds].is_u64(), "{entry}");
    }
    let wide = plexus.daemon.ledger(&["list", "-o", "wide"]);
    let wide = wide.expect("a list");
    assert!(wide.contains(" UID ") && wide.contains(" NETNS "), "{wide}");
    assert!(wide.contains(uid) && wide.contains(netns), "{wide}");
    let text = plexus.daemon.ledger(&["list"]).expect("a list");
    assert!(!text.contains(uid) && !text.contains(netns), "{text}");
}
