//! `make demo`: Plexus with real interfaces, on a node that exists only while the demo runs.
//!
//! The demo checks what it shows and exits with 1 if anything is wrong.

mod inventory;
mod screen;
mod setup;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use plexus_api::wire::STATE_DIR;
use plexus_e2e::{CniOutput, CniTarget, Node, NodeError, Sandbox};
use serde_json::Value;

use inventory::Inventory;
use setup::Setup;

fn main() -> ExitCode {
    let node = match Node::new() {
        Ok(node) => node,
        Err(NodeError::Unavailable(reason)) => {
            return failed(&format!("the demo cannot run here: {reason}"));
        }
        Err(NodeError::Failed(error)) => return failed(&format!("cannot make a node: {error}")),
    };
    match Setup::new(&node).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&format!("{error:#}")),
    }
}

fn failed(reason: &str) -> ExitCode {
    eprintln!("\ndemo: {reason}");
    ExitCode::FAILURE
}

fn run(mut setup: Setup) -> Result<()> {
    let start = Instant::now();
    screen::title("Plexus: one pod, three networks");
    screen::say(
        "The demo runs on a node of its own: mount and network namespaces that are removed at the end.",
    );
    screen::say(&format!(
        "Your machine is not changed. The CNI plugins are those in {}.",
        setup.plugins.display()
    ));

    screen::step("The node daemon starts");
    screen::command("plexusd serve --config daemon-config.json --manifests deploy/examples");
    setup.plexus.daemon.restart();
    let outcome = pod(&setup);
    match &outcome {
        Ok(()) => setup.plexus.daemon.stop(),
        Err(_) => eprintln!("\n--- log of plexusd ---\n{}---", setup.plexus.daemon.log()),
    }
    outcome?;
    let seconds = start.elapsed().as_secs_f32();
    screen::title(&format!(
        "All checks passed. The demo took {seconds:.1} seconds."
    ));
    Ok(())
}

/// Starts and stops a pod as containerd does.
fn pod(setup: &Setup) -> Result<()> {
    let node = setup.plexus.node;
    let before = Inventory::take(node, STATE_DIR);
    screen::say(
        "The daemon is ready. It serves these networks, here from files, in a cluster from the API server:",
    );
    screen::show(setup::NETWORKS);

    screen::step("A pod selects two networks in addition to the default one");
    screen::command("cat deploy/examples/pod.yaml");
    screen::show(&setup.pod_manifest);

    let sandbox = node.sandbox("web");
    let target = sandbox.target(&setup.pod);
    attach(setup, &sandbox, &target)?;
    check(setup, &before, &target)?;
    detach(setup, &sandbox, &target)?;

    screen::step("Nothing is left");
    let after = Inventory::take(node, STATE_DIR);
    screen::show(&after.describe());
    after.check_clean(&before, sandbox.id())?;
    screen::good("No interface, lease, record or network namespace of the pod is left.");
    screen::say(
        "The three bridges belong to the node: the bridge plugin keeps them for later pods.",
    );
    Ok(())
}

fn attach(setup: &Setup, sandbox: &Sandbox<'_>, target: &CniTarget) -> Result<()> {
    screen::step("The container runtime attaches the pod: CNI ADD");
    screen::command(&format!(
        "CNI_COMMAND=ADD CNI_IFNAME=eth0 CNI_NETNS={} ... plexus",
        sandbox.path()
    ));
    let added = timed("ADD", || setup.plexus.runtime.add(target))?;
    screen::say("The runtime gets the result of the default network, as Kubernetes expects:");
    screen::show_json(added.result());

    screen::step("The pod has its interfaces");
    screen::command("ip -br addr        # inside the pod");
    screen::show(&setup::run_in(sandbox, "-br addr"));
    screen::command("ip route           # inside the pod");
    screen::show(&setup::run_in(sandbox, "route"));

    screen::step("The pod's annotation network-status shows them");
    let status = setup.network_status()?;
    screen::show(&status);
    let status = serde_json::from_str(&status).context("network-status is not JSON")?;
    check_interfaces(sandbox, &status, added.result())?;
    screen::good("eth0, net1 and data0 are up and have the addresses from the plugins.");
    Ok(())
}

fn check(setup: &Setup, before: &Inventory, target: &CniTarget) -> Result<()> {
    screen::step("The container runtime checks the pod: CNI CHECK");
    timed("CHECK", || setup.plexus.runtime.check(target))?.expect_success();
    screen::good("The plugins of all networks succeeded.");
    let attached = Inventory::take(setup.plexus.node, STATE_DIR);
    screen::show(&attached.describe());
    ensure!(
        attached.leases.len() >= before.leases.len() + 3,
        "expected three more leases: {:?}",
        attached.leases
    );
    ensure!(
        attached.mentions(&target.container),
        "the ledger has no record of the pod"
    );
    Ok(())
}

fn detach(setup: &Setup, sandbox: &Sandbox<'_>, target: &CniTarget) -> Result<()> {
    screen::step("The pod ends: CNI DEL, and again without the sandbox, as containerd does");
    let runtime = &setup.plexus.runtime;
    timed("DEL", || runtime.del(target))?.expect_success();
    let links = sandbox.link_names();
    ensure!(
        links == ["lo"],
        "interfaces are left in the sandbox: {links:?}"
    );
    sandbox.remove();
    timed("second DEL", || runtime.del(&target.without_netns()))?.expect_success();
    Ok(())
}

fn timed(what: &str, call: impl FnOnce() -> CniOutput) -> Result<CniOutput> {
    let start = Instant::now();
    let output = call();
    ensure!(
        output.ok(),
        "{what} failed with code {:?}: {}{}",
        output.code(),
        output.msg(),
        output.stderr
    );
    screen::good(&format!(
        "{what} succeeded in {} ms.",
        start.elapsed().as_millis()
    ));
    Ok(output)
}

/// Compares the interfaces in the kernel with network-status and the result.
fn check_interfaces(sandbox: &Sandbox<'_>, status: &Value, result: &Value) -> Result<()> {
    let entries = status.as_array().context("network-status is not a list")?;
    ensure!(entries.len() == 3, "network-status has not three entries");
    let expected = [
        ("eth0", "pods", "10.244.0."),
        ("net1", "default/lan", "192.168.7."),
        ("data0", "default/storage", "10.99.0."),
    ];
    for (entry, (ifname, network, prefix)) in entries.iter().zip(expected) {
        ensure!(
            entry["interface"] == ifname && entry["name"] == network,
            "expected {ifname} of {network} in {entry}"
        );
        let link = sandbox
            .link(ifname)
            .with_context(|| format!("{ifname} does not exist"))?;
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
        "the result has {address}, which is not the address of eth0"
    );
    Ok(())
}
