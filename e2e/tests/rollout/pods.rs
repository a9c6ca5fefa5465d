//! Pods that start and stop, one after the other in each thread.

use std::collections::BTreeSet;

use plexus_e2e::real_networks::{DEFAULT, SECONDARY};
use plexus_e2e::sequences::Random;
use plexus_e2e::{Pod, Runtime, Sandbox};
use serde_json::Value;

use crate::workload::Workload;

const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
/// How often kubelet may retry before a failure counts as permanent.
const TRIES: usize = 5;

/// Starts and stops pods until the workload is finished or a pod fails.
pub fn run(workload: &Workload<'_, '_>, thread: u64, seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed.wrapping_mul(1000) + thread);
    for number in 0.. {
        if workload.is_finished() {
            break;
        }
        let name = format!("pod-{thread}-{number}");
        run_pod(workload, &mut random, &name).map_err(|reason| format!("{name}: {reason}"))?;
        workload.complete_pod();
    }
    Ok(())
}

/// Starts a pod, checks it and stops it.
fn run_pod(workload: &Workload<'_, '_>, random: &mut Random, name: &str) -> Result<(), String> {
    let plexus = workload.plexus;
    let secondary = random.some(&SECONDARY);
    let mut pod = Pod::new(name);
    if !secondary.is_empty() {
        pod = pod.with_networks(secondary.join(","));
    }
    let pod = plexus.pod(&pod);
    let networks: Vec<_> = [DEFAULT].into_iter().chain(secondary).collect();
    // Without annotations in the call the daemon must know the pod.
    let runtime = if random.one_in(2) {
        &plexus.runtime
    } else {
        &plexus.plain_runtime
    };
    let sandbox = (0..TRIES)
        .find_map(|_| try_start(workload, runtime, &pod, &networks).transpose())
        .ok_or_else(|| format!("not started in {TRIES} tries"))??;
    let target = sandbox.target(&pod);
    (0..TRIES)
        .map(|_| workload.call(runtime, "CHECK", &target))
        .find(|output| !output.as_ref().is_ok_and(|output| !output.ok()))
        .ok_or_else(|| format!("no successful CHECK in {TRIES} tries"))??;
    let status = plexus.namespace.wait_for_annotation(name, STATUS);
    check_status(&status, &networks, plexus.namespace.name())?;
    for _ in 0..TRIES {
        if !workload.call(runtime, "DEL", &target)?.ok() {
            continue;
        }
        sandbox.remove();
        // containerd ignores the output of the second DEL.
        workload.call(runtime, "DEL", &target.without_netns())?;
        plexus.namespace.remove_pod(name);
        return Ok(());
    }
    Err(format!("not stopped in {TRIES} tries"))
}

/// Tries to start a pod. Returns `None` if that failed in a phase that allows failures; everything
/// is then cleaned up as containerd does.
fn try_start<'n>(
    workload: &Workload<'_, 'n>,
    runtime: &Runtime<'n>,
    pod: &Pod,
    networks: &[&str],
) -> Result<Option<Sandbox<'n>>, String> {
    let sandbox = workload.sandbox();
    let target = sandbox.target(pod);
    if !workload.call(runtime, "ADD", &target)?.ok() {
        workload.call(runtime, "DEL", &target)?;
        sandbox.remove();
        return Ok(None);
    }
    let links: BTreeSet<_> = sandbox.link_names().into_iter().collect();
    let secondary = (1..networks.len()).map(|number| format!("net{number}"));
    let expected: BTreeSet<_> = ["lo".to_owned(), "eth0".to_owned()]
        .into_iter()
        .chain(secondary)
        .collect();
    if links != expected {
        return Err(format!("ADD succeeded with {links:?} for {networks:?}"));
    }
    Ok(Some(sandbox))
}

/// Checks that network-status lists these networks, each with its interface and an address.
fn check_status(text: &str, networks: &[&str], namespace: &str) -> Result<(), String> {
    let wrong = || format!("network-status is wrong for {networks:?}: {text}");
    let status: Vec<Value> = serde_json::from_str(text).map_err(|_| wrong())?;
    let is_entry = |(index, entry): (usize, &Value)| {
        let network = networks[index];
        let name = if network == DEFAULT {
            network.to_owned()
        } else {
            format!("{namespace}/{network}")
        };
        entry["name"] == name
            && entry["interface"] == ["eth0", "net1", "net2"][index]
            && entry["ips"].as_array().is_some_and(|ips| ips.len() == 1)
    };
    if status.len() == networks.len() && status.iter().enumerate().all(is_entry) {
        Ok(())
    } else {
        Err(wrong())
    }
}
