//! The claims of a pod, read from the API server (decision 33): if kubelet cannot be asked, for
//! claims that no container refers to, and for extended resources. Nothing is read while the pod's
//! networks have enough devices.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::claims::{ClaimDevice, ExtendedDevice, Resolved, is_offered, resolve};
use crate::cluster::Store;
use crate::cluster::kube::{AllocatedDevice, ApiError, ApiReader, Claim, ExtendedClaim, PodClaims};
use crate::model::{Allocation, Devices, PodDevice, PodRef};

/// The time limit for all requests and waits together (D-068).
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// The number of networks of a pod that need a device, by resource.
pub(crate) type Needed = BTreeMap<String, usize>;

/// Looks up the claims of a pod.
#[derive(Debug)]
pub(super) struct ClaimLookup<'a> {
    pub(super) store: &'a Store,
    pub(super) api: &'a ApiReader,
    pub(super) pod: &'a PodRef,
    /// The end of all requests.
    deadline: Instant,
    /// The end of the wait for `ResourceSlices` that the watch has not delivered.
    watch_deadline: Instant,
}

/// The claims of a pod as far as they are known.
#[derive(Debug, Default)]
struct Found {
    devices: BTreeSet<ClaimDevice>,
    extended: BTreeSet<ExtendedDevice>,
    /// The number of claims that were read.
    claims: usize,
    /// Why a claim of the pod is not known.
    error: Option<String>,
}

impl<'a> ClaimLookup<'a> {
    /// A look-up that ends at `deadline`, and that waits no longer than `lookup_wait` for the
    /// watch.
    pub(super) fn new(
        store: &'a Store,
        api: &'a ApiReader,
        pod: &'a PodRef,
        deadline: Instant,
        lookup_wait: Duration,
    ) -> Self {
        let now = Instant::now();
        let deadline = deadline.min(now + TIME_LIMIT);
        Self {
            store,
            api,
            pod,
            deadline,
            watch_deadline: deadline.min(now + lookup_wait),
        }
    }

    /// Adds the devices of the pod's claims to `devices`. `reported` are those that kubelet has
    /// reported. Does nothing if there are enough devices.
    ///
    /// A problem with a claim affects only the resources that have too few devices otherwise
    /// (D-067).
    pub(super) async fn add_to(
        self,
        mut devices: Devices,
        needed: &Needed,
        reported: BTreeSet<ClaimDevice>,
    ) -> Devices {
        if has_enough(&devices, needed, &Resolved::default()) {
            return devices;
        }
        let start = Instant::now();
        let mut found = Found {
            devices: reported,
            ..Found::default()
        };
        self.read(&mut found, needed).await;
        let mut resolved = self.resolve(&found, &devices, needed).await;
        // Kubelet may report the devices of extended resources as well.
        let extended = found.extended.iter().map(|extended| &extended.device);
        let claim_devices: BTreeSet<_> = found.devices.iter().chain(extended).collect();
        tracing::info!(
            claims_read = found.claims,
            claim_devices = claim_devices.len(),
            network_devices = resolved.devices.values().map(BTreeSet::len).sum::<usize>(),
            duration_ms = start.elapsed().as_millis(),
            "read the claims of the pod from the API server"
        );
        let slices = self.store.slices();
        let all_known = self.store.slices_are_synced();
        let missing = resolved.missing.as_ref().map(|device| self.missing(device));
        for (resource, count) in needed {
            let Some(allocation) = devices.remove(resource) else {
                continue;
            };
            let of_claims = resolved.devices.remove(resource).unwrap_or_default();
            let cannot_be_of_claim =
                allocation == Allocation::NotADevice && all_known && !is_offered(&slices, resource);
            let error = found.error.as_ref().filter(|_| !cannot_be_of_claim);
            let causes = [resolved.unusable.get(resource), missing.as_ref(), error];
            let cause = causes.into_iter().flatten().next().cloned();
            devices.insert(
                resource.clone(),
                merge(allocation, of_claims, *count, cause),
            );
        }
        devices
    }

    /// Reads the claims of the pod. Claims of extended resources are considered only for resources
    /// that the pod's networks need.
    async fn read(&self, found: &mut Found, needed: &Needed) {
        let PodClaims {
            names, extended, ..
        } = match self.pod_claims().await {
            Ok(claims) => claims,
            Err(error) => {
                found.error = Some(error);
                return;
            }
        };
        for name in names {
            let devices = self.claim(&name, found).await;
            let devices = devices.into_iter().map(|device| self.device(&name, device));
            found.devices.extend(devices);
        }
        let Some(ExtendedClaim { name, mut requests }) = extended else {
            return;
        };
        requests.retain(|(resource, _)| needed.contains_key(resource));
        if requests.is_empty() {
            return;
        }
        let devices = self.claim(&name, found).await;
        for (resource, request) in requests {
            let of_request = |device: &&AllocatedDevice| {
                device.request.split('/').next() == Some(request.as_str())
            };
            let mut of_request = devices.iter().filter(of_request).cloned().peekable();
            if of_request.peek().is_none() && found.error.is_none() {
                let claim = self.claim_name(&name);
                found.error = Some(format!("{claim} has no device for its request {request}"));
            }
            found
                .extended
                .extend(of_request.map(|device| ExtendedDevice {
                    resource: resource.clone(),
                    device: self.device(&name, device),
                }));
        }
    }

    async fn pod_claims(&self) -> Result<PodClaims, String> {
        let PodRef {
            namespace,
            name,
            uid,
            ..
        } = self.pod;
        let claims = self.api.pod_claims(namespace, name, self.deadline).await;
        match claims {
            Ok(Some(claims)) if uid.is_empty() || claims.uid == *uid || self.pod.is_static => {
                Ok(claims)
            }
            Ok(Some(claims)) => Err(format!(
                "the claims of the pod cannot be read: the API server has a pod of this name with the UID {}",
                claims.uid
            )),
            Ok(None) => {
                Err("the API server does not have the pod, so its claims are unknown".into())
            }
            Err(error) => Err(format!("the claims of the pod cannot be read: {error}")),
        }
    }

    /// The devices of a claim. The first problem is kept in `found`.
    async fn claim(&self, name: &str, found: &mut Found) -> Vec<AllocatedDevice> {
        let claim = self.claim_name(name);
        if Instant::now() >= self.deadline {
            let error = format!("{claim} was not read within {TIME_LIMIT:?}");
            found.error.get_or_insert(error);
            return Vec::new();
        }
        found.claims += 1;
        let read = self.api.claim(&self.pod.namespace, name, self.deadline);
        let error = match read.await {
            Ok(Some(Claim {
                devices: Some(devices),
            })) => return devices,
            Ok(Some(Claim { devices: None })) => format!("{claim} has no allocation"),
            Ok(None) => format!("{claim} does not exist"),
            Err(error) => unreadable(&claim, &error),
        };
        found.error.get_or_insert(error);
        Vec::new()
    }

    /// Finds the devices in the `ResourceSlices`. Waits for slices that the watch has not delivered
    /// while networks need them.
    async fn resolve(&self, found: &Found, devices: &Devices, needed: &Needed) -> Resolved {
        let mut changes = self.store.changes();
        loop {
            let resolved = resolve(&found.devices, &found.extended, &self.store.slices());
            if resolved.missing.is_none()
                || has_enough(devices, needed, &resolved)
                || timeout_at(self.watch_deadline, changes.next())
                    .await
                    .is_err()
            {
                return resolved;
            }
        }
    }

    fn missing(&self, device: &ClaimDevice) -> String {
        let failure = self.store.slices_failure();
        let failure = failure.map(|failure| format!(": {failure}"));
        format!(
            "no ResourceSlice has the {device}{}",
            failure.unwrap_or_default()
        )
    }

    fn claim_name(&self, name: &str) -> String {
        format!("the claim {}/{name}", self.pod.namespace)
    }

    fn device(&self, claim: &str, allocated: AllocatedDevice) -> ClaimDevice {
        ClaimDevice {
            namespace: self.pod.namespace.clone(),
            claim: claim.to_owned(),
            driver: allocated.driver,
            pool: allocated.pool,
            device: allocated.device,
            share: allocated.share,
        }
    }
}

fn unreadable(claim: &str, error: &ApiError) -> String {
    let remedy = if error.is_missing_right() {
        "; apply deploy/components/dra, which grants the right"
    } else {
        ""
    };
    format!("{claim} cannot be read: {error}{remedy}")
}

/// Whether there are devices for all networks, with those of claims.
fn has_enough(devices: &Devices, needed: &Needed, resolved: &Resolved) -> bool {
    needed.iter().all(|(resource, needed)| {
        let of_claims = resolved.devices.get(resource);
        let count = match devices.get(resource) {
            Some(Allocation::Devices(known)) => {
                let more = of_claims.into_iter().flatten();
                known.len() + more.filter(|device| !known.contains(*device)).count()
            }
            _ => of_claims.map_or(0, BTreeSet::len),
        };
        count >= *needed
    })
}

/// Adds the devices of claims to those of device plugins. `cause` is a problem with the claims.
fn merge(
    allocation: Allocation,
    of_claims: BTreeSet<PodDevice>,
    needed: usize,
    cause: Option<String>,
) -> Allocation {
    let (mut all, other_cause) = match &allocation {
        Allocation::Devices(of_plugins) | Allocation::InUse(of_plugins) => {
            (of_plugins.clone(), None)
        }
        Allocation::Incomplete(of_plugins, cause) => (of_plugins.clone(), Some(cause.clone())),
        Allocation::Unknown(cause) => (BTreeSet::new(), Some(cause.clone())),
        Allocation::NoDevice | Allocation::NotADevice => (BTreeSet::new(), None),
    };
    all.extend(of_claims);
    if all.len() >= needed {
        return Allocation::Devices(all);
    }
    let causes: Vec<_> = other_cause.into_iter().chain(cause).collect();
    match (all.is_empty(), causes.is_empty()) {
        (true, true) => allocation,
        (true, false) => Allocation::Unknown(causes.join("; ")),
        (false, true) => Allocation::Devices(all),
        (false, false) => Allocation::Incomplete(all, causes.join("; ")),
    }
}

#[cfg(test)]
mod tests;
