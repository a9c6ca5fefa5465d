//! The two streams: one JSON document on stdout, text for people on stderr (P-037, P-044).

use std::io::{self, Write as _};
use std::panic;
use std::process::{self, ExitCode};

use plexus_api::cni::{CniError, Code, Version};

/// Writes the document to stdout in one piece. Where nobody reads it the call has failed.
pub fn print(document: &str) -> ExitCode {
    // Stdout keeps back what follows the last line break only, so this is one write.
    match io::stdout()
        .lock()
        .write_all(format!("{document}\n").as_bytes())
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&format!("stdout cannot be written: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes the error to stdout.
pub fn fail(version: Version, error: &CniError) -> ExitCode {
    print(&error.to_document(version));
    ExitCode::FAILURE
}

/// Tells people something on stderr. They may not be listening.
pub fn log(text: &str) {
    let _ = io::stderr()
        .lock()
        .write_all(format!("plexus: {text}\n").as_bytes());
}

/// From now on a panic prints an error in `version` and ends the process (P-046): the runtime understands nothing
/// else.
pub fn report_panics(version: Version) {
    panic::set_hook(Box::new(move |panic| {
        let error = CniError::new(
            Code::Internal,
            format!("defect in plexus, please report it: {panic}"),
        );
        fail(version, &error.for_del());
        process::exit(1);
    }));
}
