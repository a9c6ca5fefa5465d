//! The objects in `deploy/`: as written, as rendered by kustomize, the admission policies, and the
//! image.

mod chart;
mod cni_plugins;
mod compositions;
mod container;
mod containerd;
mod conventions;
mod dra;
mod examples;
mod hotplug;
mod image;
mod kubectl_plugin;
mod manifests;
mod objects;
mod policy;
mod release;
mod rendered;
mod roles;
mod startup_taint;
