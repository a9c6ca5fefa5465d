//! Pods that come and go, one after the other in each of some threads.

use std::collections::BTreeSet;
use std::time::Instant;

use plexus_e2e::sequences::Random;
use plexus_e2e::{Answer, Pod, Sandbox, Target};
use serde_json::Value;

use crate::rollout::Phase;
use crate::world::{DEFAULT, OTHERS, Stage};

const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
/// How often kubelet begins a pod anew, or comes again for its end, before that counts as a failure for good.
const TRIES: usize = 5;

/// What a thread does until the end: why it could not go on, where it could not.
pub fn come_and_go(stage: &Stage<'_, '_>, number: u64, seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed.wrapping_mul(1000) + number);
    for turn in 0.. {
        if stage.is_over() {
            break;
        }
        let name = format!("pod-{number}-{turn}");
        live(stage, &mut random, &name).map_err(|why| format!("{name}: {why}"))?;
        stage.lived();
    }
    Ok(())
}

/// The whole life of a pod.
fn live(stage: &Stage<'_, '_>, random: &mut Random, name: &str) -> Result<(), String> {
    let mut others = OTHERS.to_vec();
    if random.one_in(2) {
        others.reverse();
    }
    others.truncate(usize::try_from(random.below(3)).expect("it is small"));
    let mut pod = Pod::new(name);
    if !others.is_empty() {
        pod = pod.with_networks(others.join(","));
    }
    let pod = stage.namespace.pod(&pod, &stage.name);
    let networks: Vec<_> = [DEFAULT].into_iter().chain(others).collect();
    // With the annotations in the call, or without: then the daemon has to know the pod.
    let runtime = if random.one_in(2) {
        &stage.capable
    } else {
        &stage.plain
    };
    let sandbox = (1..=TRIES).find_map(|_| begin(stage, runtime, &pod, &networks).transpose());
    let Some(sandbox) = sandbox else {
        return Err(format!("it did not begin in {TRIES} tries"));
    };
    let sandbox = sandbox?;
    let target = Target::new(&sandbox, "eth0", &pod);
    let mut checks = (0..TRIES).map(|_| stage.call(runtime, "CHECK", &target));
    let checked = checks
        .find_map(|answer| answer.map(|answer| answer.ok().then_some(())).transpose())
        .transpose()?;
    checked.ok_or_else(|| format!("it had no successful CHECK in {TRIES} tries"))?;
    status_is_right(
        &stage.namespace.wait_for_annotation(name, STATUS),
        &networks,
        stage.namespace.name(),
    )?;
    for _ in 0..TRIES {
        if !stage.call(runtime, "DEL", &target)?.ok() {
            continue;
        }
        sandbox.remove();
        // As containerd does, whatever comes of it.
        stage.call(runtime, "DEL", &target.without_netns())?;
        stage.namespace.remove_pod(name);
        return Ok(());
    }
    Err(format!("it did not end in {TRIES} tries"))
}

/// One try to begin a pod: none where it failed as it may, with everything cleaned up as containerd does it.
fn begin<'n>(
    stage: &Stage<'n, '_>,
    runtime: &plexus_e2e::Runtime<'n>,
    pod: &Pod,
    networks: &[&str],
) -> Result<Option<Sandbox<'n>>, String> {
    let sandbox = stage.sandbox();
    let target = Target::new(&sandbox, "eth0", pod);
    if !stage.call(runtime, "ADD", &target)?.ok() {
        stage.call(runtime, "DEL", &target)?;
        sandbox.remove();
        return Ok(None);
    }
    let links: BTreeSet<_> = sandbox.links().into_iter().map(|link| link.name).collect();
    let numbered = (1..networks.len()).map(|number| format!("net{number}"));
    let wanted: BTreeSet<_> = ["lo".to_owned(), "eth0".to_owned()]
        .into_iter()
        .chain(numbered)
        .collect();
    if links != wanted {
        return Err(format!("ADD succeeded with {links:?} for {networks:?}"));
    }
    Ok(Some(sandbox))
}

/// Whether network-status lists these networks, each with its interface and an address.
fn status_is_right(text: &str, networks: &[&str], namespace: &str) -> Result<(), String> {
    let wrong = || format!("network-status is wrong for {networks:?}: {text}");
    let status: Vec<Value> = serde_json::from_str(text).map_err(|_| wrong())?;
    let interfaces = ["eth0", "net1", "net2"];
    let right = status.len() == networks.len()
        && status
            .iter()
            .zip(networks)
            .zip(interfaces)
            .all(|((status, network), interface)| {
                let name = if *network == DEFAULT {
                    (*network).to_owned()
                } else {
                    format!("{namespace}/{network}")
                };
                status["name"] == name
                    && status["interface"] == interface
                    && status["ips"].as_array().is_some_and(|ips| ips.len() == 1)
            });
    if right { Ok(()) } else { Err(wrong()) }
}

impl<'n> Stage<'n, '_> {
    /// Makes a call: an error where it failed and may not.
    fn call(
        &self,
        runtime: &plexus_e2e::Runtime<'n>,
        verb: &str,
        target: &Target,
    ) -> Result<Answer, String> {
        let during = Instant::now();
        let answer = match verb {
            "ADD" => runtime.add(target),
            "DEL" => runtime.del(target),
            _ => runtime.check(target),
        };
        let phases = self.clock.end(verb, during);
        if answer.ok() || phases.iter().any(|phase| phase.excuses(verb)) {
            return Ok(answer);
        }
        Err(format!(
            "{verb} failed during {phases:?}, which it may not: {answer:?}"
        ))
    }
}

impl Phase {
    /// Whether a call that fails then may be left to the runtime's next try.
    fn excuses(self, verb: &str) -> bool {
        match self {
            // A call that a killed daemon has begun has no answer.
            Self::Killed | Self::KilledAfterTakeover => true,
            // The shim keeps a DEL on disk after two seconds.
            Self::Gap => verb == "DEL",
            Self::Surge | Self::Race | Self::Quiet => false,
        }
    }
}
