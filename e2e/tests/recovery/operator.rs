//! An administrator lists records and retries failed DELs.

use std::process::Command;

use plexus_e2e::binaries::binary;
use plexus_e2e::plexus::MAIN;
use plexus_e2e::workspace::read;
use plexus_e2e::{Node, attaches, node};
use serde_json::json;

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

/// The stdout of a shell command on the node.
fn shell(node: &Node, command: &str) -> String {
    let dir = binary("plexusd");
    let dir = dir.parent().expect("a directory").display();
    let path = format!("{dir}:/usr/local/bin:/usr/bin:/bin");
    let output = node
        .run(|| {
            Command::new("sh")
                .args(["-ec", command])
                .env("PATH", path)
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
        .filter(|line| line.starts_with("plexusd ledger list"))
        .collect();
    let mut containers = vec![living.container.clone(), failing.container.clone()];
    containers.sort();
    let run = |command: &str| {
        assert!(commands.contains(&command), "{command} in {commands:?}");
        shell(&node, command)
    };
    let list = run("plexusd ledger list");
    assert_eq!(list.lines().count(), 3, "{list}");
    let known = run("plexusd ledger list | awk 'NR > 1 { print $3 }' | sort -u");
    assert_eq!(known.lines().collect::<Vec<_>>(), containers);
    let failed = run("plexusd ledger list | grep -E '^(failed|orphaned) '");
    assert_eq!(failed.lines().count(), 1, "{failed}");
    assert!(
        failed.contains(&failing.container) && failed.contains("no answer from: eth0 attached"),
        "{failed}"
    );
    assert_eq!(commands.len(), 3, "{commands:?}");
}
