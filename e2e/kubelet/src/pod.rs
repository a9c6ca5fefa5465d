//! Pods with devices, and their messages as kubelet makes them.

use crate::message;

/// A pod as kubelet reports it. Kubelet reports no ordinary init containers, and the restartable
/// ones before the others.
#[derive(Debug, Clone)]
pub struct Pod {
    namespace: String,
    name: String,
    containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Debug, Clone)]
pub struct Container {
    name: String,
    devices: Vec<Device>,
    claims: Vec<Claim>,
}

/// A device of a device plugin.
#[derive(Debug, Clone)]
pub struct Device {
    resource: String,
    id: String,
    numa_nodes: Vec<i64>,
}

/// The devices of a claim, which a driver for dynamic resource allocation provides.
#[derive(Debug, Clone)]
pub struct Claim {
    namespace: String,
    name: String,
    driver: String,
    pool: String,
    devices: Vec<ClaimDevice>,
}

/// A device of a claim, or a share of one.
#[derive(Debug, Clone)]
struct ClaimDevice {
    name: String,
    share: Option<String>,
}

impl Pod {
    /// A pod without containers.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            containers: Vec::new(),
        }
    }

    /// Adds a container.
    #[must_use]
    pub fn with(mut self, container: Container) -> Self {
        self.containers.push(container);
        self
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.is_called(&other.namespace, &other.name)
    }

    pub(crate) fn is_called(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }

    pub(crate) fn message(&self) -> message::PodResources {
        message::PodResources {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            containers: self.containers.iter().map(Container::message).collect(),
        }
    }
}

impl Container {
    /// A container without devices.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            devices: Vec::new(),
            claims: Vec::new(),
        }
    }

    /// Allocates a device.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.devices.push(device);
        self
    }

    /// Refers to a claim.
    #[must_use]
    pub fn claim(mut self, claim: Claim) -> Self {
        self.claims.push(claim);
        self
    }

    fn message(&self) -> message::ContainerResources {
        message::ContainerResources {
            name: self.name.clone(),
            devices: self.devices.iter().flat_map(Device::messages).collect(),
            cpu_ids: vec![0, 1],
            memory: vec![message::ContainerMemory {
                memory_type: "memory".to_owned(),
                size: 1 << 30,
                topology: None,
            }],
            dynamic_resources: self.claims.iter().map(Claim::message).collect(),
        }
    }
}

impl Device {
    /// A device without NUMA nodes.
    pub fn new(resource: &str, id: &str) -> Self {
        Self {
            resource: resource.to_owned(),
            id: id.to_owned(),
            numa_nodes: Vec::new(),
        }
    }

    /// Sets the NUMA nodes.
    #[must_use]
    pub fn on_numa_nodes(self, nodes: &[i64]) -> Self {
        Self {
            numa_nodes: nodes.to_owned(),
            ..self
        }
    }

    /// One message for each NUMA node, or one without a topology.
    pub(crate) fn messages(&self) -> Vec<message::ContainerDevices> {
        let message = |topology| message::ContainerDevices {
            resource_name: self.resource.clone(),
            device_ids: vec![self.id.clone()],
            topology,
        };
        if self.numa_nodes.is_empty() {
            return vec![message(None)];
        }
        let on_node = |id: &i64| {
            message(Some(message::TopologyInfo {
                nodes: vec![message::NumaNode { id: *id }],
            }))
        };
        self.numa_nodes.iter().map(on_node).collect()
    }
}

impl Claim {
    /// A claim with these devices of one pool of `driver`.
    pub fn new(namespace: &str, name: &str, driver: &str, pool: &str, devices: &[&str]) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            driver: driver.to_owned(),
            pool: pool.to_owned(),
            devices: devices
                .iter()
                .map(|name| ClaimDevice::new(name, None))
                .collect(),
        }
    }

    /// Adds a share of a device that can be allocated several times.
    #[must_use]
    pub fn share(mut self, device: &str, share: &str) -> Self {
        self.devices.push(ClaimDevice::new(device, Some(share)));
        self
    }

    /// Kubelet accumulates the CDI names of the devices of a driver: each device has its own name
    /// and those of the devices before.
    fn message(&self) -> message::DynamicResource {
        let cdi_device = |device: &ClaimDevice| message::CdiDevice {
            name: format!("{}/net={}", self.driver, device.name),
        };
        let resource = |(index, device): (usize, &ClaimDevice)| message::ClaimResource {
            cdi_devices: self.devices[..=index].iter().map(cdi_device).collect(),
            driver_name: self.driver.clone(),
            pool_name: self.pool.clone(),
            device_name: device.name.clone(),
            share_id: device.share.clone(),
        };
        message::DynamicResource {
            claim_name: self.name.clone(),
            claim_namespace: self.namespace.clone(),
            claim_resources: self.devices.iter().enumerate().map(resource).collect(),
        }
    }
}

impl ClaimDevice {
    fn new(name: &str, share: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            share: share.map(str::to_owned),
        }
    }
}
