//! Networks on links that the kernels of many machines lack: bond, vlan, ipvlan, vrf, dummy.
//! `make e2e-kernel` runs these tests in user-mode Linux. Elsewhere they are skipped unless the
//! kernel has these links.

mod bond;
mod default_routes;
mod fixture;
mod host_device;
mod modes;
mod vlan;
mod vrf;
