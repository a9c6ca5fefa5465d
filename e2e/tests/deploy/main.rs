//! What `deploy/` applies to a cluster: what its objects say, what kustomize makes of them, what the admission policy
//! refuses, and the image.

mod image;
mod manifests;
mod objects;
mod policy;
mod rendered;
