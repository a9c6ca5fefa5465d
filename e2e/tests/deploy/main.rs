//! What `deploy/` applies to a cluster: what its objects say, what kustomize makes of them, what the admission policy
//! refuses, the image, and a container of it.

mod container;
mod containerd;
mod image;
mod manifests;
mod objects;
mod policy;
mod rendered;
mod startup_taint;
