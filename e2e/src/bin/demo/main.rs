//! `make demo`: Plexus does its job on real interfaces, on a node that exists for this run only.
//!
//! It checks what it shows and exits with 1 if anything is wrong.

mod inventory;
mod screen;
mod stage;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use plexus_api::wire::STATE_DIR;
use plexus_e2e::{Answer, Daemon, Flavour, Node, NodeError, Runtime, Sandbox, Target};
use serde_json::Value;

use inventory::Inventory;
use stage::Stage;

fn main() -> ExitCode {
    let node = match Node::new() {
        Ok(node) => node,
        Err(NodeError::Unable(reason)) => {
            return failed(&format!("there is no demo here: {reason}"));
        }
        Err(NodeError::Failed(error)) => {
            return failed(&format!("the node could not be made: {error}"));
        }
    };
    match Stage::set(&node).and_then(|stage| play(&node, &stage)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&format!("{error:#}")),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("\ndemo: {why}");
    ExitCode::FAILURE
}

fn play(node: &Node, stage: &Stage) -> Result<()> {
    let begin = Instant::now();
    screen::title("Plexus: one pod, three networks");
    screen::say(
        "This runs on a node of its own: mount and network namespaces that go away at the end.",
    );
    screen::say(&format!(
        "Your machine stays as it is. CNI plugins are those in {}.",
        stage.plugins.display()
    ));

    screen::step("The node daemon starts");
    screen::command("plexusd serve --config daemon-config.json --manifests deploy/examples");
    let mut daemon = Daemon::start(node, &stage.config, &stage.manifests);
    let outcome = pod_life(node, stage);
    match &outcome {
        Ok(()) => daemon.stop(),
        Err(_) => eprintln!("\n--- plexusd's log ---\n{}---", daemon.log()),
    }
    outcome?;
    let seconds = begin.elapsed().as_secs_f32();
    screen::title(&format!(
        "Everything was as it should be. It took {seconds:.1} seconds."
    ));
    Ok(())
}

/// The life of one pod, as containerd has it.
fn pod_life(node: &Node, stage: &Stage) -> Result<()> {
    let before = Inventory::take(node, STATE_DIR);
    screen::say(
        "It is ready. It serves these networks, from files here, from the API server in a cluster:",
    );
    screen::show(stage::NETWORKS);

    screen::step("A pod asks for two networks besides the default one");
    screen::command("cat deploy/examples/pod.yaml");
    screen::show(&stage.pod_manifest);

    screen::step("The container runtime attaches it: CNI ADD");
    let sandbox = node.sandbox("web");
    let target = Target::new(&sandbox, "eth0", &stage.pod);
    let runtime = Runtime::new(
        node,
        Flavour::Containerd,
        stage.shim.clone(),
        stage.runtime_config.clone(),
    )
    .with_cni_path(stage.plugins.to_string_lossy());
    screen::command(&format!(
        "CNI_COMMAND=ADD CNI_IFNAME=eth0 CNI_NETNS={} ... plexus",
        sandbox.path()
    ));
    let added = timed("ADD", || runtime.add(&target))?;
    screen::say(
        "What the runtime gets back is the default network's result, as Kubernetes expects:",
    );
    screen::show_json(added.result());

    screen::step("The pod has its interfaces");
    screen::command("ip -br addr        # inside the pod");
    screen::show(&stage::run_in(&sandbox, "-br addr")?);
    screen::command("ip route           # inside the pod");
    screen::show(&stage::run_in(&sandbox, "route")?);

    screen::step("The pod says so itself: its network-status annotation");
    let status = stage.network_status()?;
    screen::show(&status);
    let status = serde_json::from_str(&status).context("network-status is not JSON")?;
    check_interfaces(&sandbox, &status, added.result())?;
    screen::good("eth0, net1 and data0 are up, with the addresses that the plugins gave.");

    screen::step("Is it still attached as it was? CNI CHECK");
    timed("CHECK", || runtime.check(&target))?.expect_silence();
    screen::good("Every plugin of every network was asked, and agrees.");
    let during = Inventory::take(node, STATE_DIR);
    screen::show(&during.describe());
    ensure!(
        during.leases.len() >= before.leases.len() + 3,
        "three leases should be taken: {:?}",
        during.leases
    );
    ensure!(
        during.mentions(sandbox.id()),
        "the ledger should have a record of the pod"
    );

    screen::step("The pod ends: CNI DEL, and once more without the sandbox, as containerd does");
    timed("DEL", || runtime.del(&target))?.expect_silence();
    let left = sandbox
        .links()
        .into_iter()
        .filter(|link| link.name != "lo")
        .collect::<Vec<_>>();
    ensure!(
        left.is_empty(),
        "interfaces are left in the sandbox: {left:?}"
    );
    sandbox.remove();
    timed("second DEL", || runtime.del(&target.without_netns()))?.expect_silence();

    screen::step("Nothing is left");
    let after = Inventory::take(node, STATE_DIR);
    screen::show(&after.describe());
    after.check_clean(&before, sandbox.id())?;
    screen::good("No interface of the pod, no lease, no record, no network namespace.");
    screen::say("The two bridges are the node's: the bridge plugin keeps them for the next pod.");
    Ok(())
}

fn timed(what: &str, call: impl FnOnce() -> Answer) -> Result<Answer> {
    let start = Instant::now();
    let answer = call();
    ensure!(
        answer.ok(),
        "{what} failed with code {:?}: {}{}",
        answer.code(),
        answer.msg(),
        answer.stderr
    );
    screen::good(&format!(
        "{what} succeeded in {} ms.",
        start.elapsed().as_millis()
    ));
    Ok(answer)
}

/// Compares what the kernel has with what network-status and the result say.
fn check_interfaces(sandbox: &Sandbox<'_>, status: &Value, result: &Value) -> Result<()> {
    let entries = status.as_array().context("network-status is not a list")?;
    ensure!(
        entries.len() == 3,
        "network-status should have three entries"
    );
    let expected = [
        ("eth0", "pods", "10.244.0."),
        ("net1", "default/lan", "192.168.7."),
        ("data0", "default/storage", "10.99.0."),
    ];
    for (entry, (ifname, network, prefix)) in entries.iter().zip(expected) {
        ensure!(
            entry["interface"] == ifname && entry["name"] == network,
            "{ifname} of {network} should be in {entry}"
        );
        let link = sandbox
            .link(ifname)
            .with_context(|| format!("{ifname} is not there"))?;
        ensure!(link.up, "{ifname} is not up");
        let mut ips = link
            .addresses
            .iter()
            .filter_map(|address| address.split('/').next());
        let ip = entry["ips"][0].as_str().unwrap_or_default();
        ensure!(
            ip.starts_with(prefix) && ips.any(|own| own == ip),
            "{ifname} has {:?}, not {ip}",
            link.addresses
        );
        ensure!(
            entry["mac"] == link.mac.as_str(),
            "{ifname} has the MAC {}, not {}",
            link.mac,
            entry["mac"]
        );
        ensure!(
            (entry["default"] == true) == (ifname == "eth0"),
            "only eth0 is the default network"
        );
    }
    let address = result["ips"][0]["address"].as_str().unwrap_or_default();
    ensure!(
        address.starts_with("10.244.0."),
        "the result should have the address of eth0, not {address}"
    );
    Ok(())
}
