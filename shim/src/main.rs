//! `plexus`, the CNI plugin that the container runtime executes. The shim checks a call, sends it
//! to the daemon `plexusd` over a Unix socket, and prints the response.

mod call;
mod daemon;
mod deadline;
mod http;
mod input;
mod output;
mod response;
mod settings;
mod spool;
mod version;

use std::env;
use std::process::ExitCode;

use plexus_api::cni::Version;

fn main() -> ExitCode {
    output::report_panics(Version::LATEST);
    if env::args_os().nth(1).is_some_and(|arg| {
        ["-v", "-version", "--version"]
            .iter()
            .any(|known| arg == *known)
    }) {
        return output::print(&version::program());
    }
    let command = env::var_os("CNI_COMMAND").unwrap_or_default();
    if command.is_empty() {
        output::log(&version::usage());
        return ExitCode::SUCCESS;
    }
    if command == "VERSION" {
        return output::print(&version::document());
    }
    match call::run() {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(result)) => output::print(&result),
        Err(failure) => output::fail(failure.version, failure.error),
    }
}
