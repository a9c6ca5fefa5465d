//! Output: one JSON document on stdout, log messages on stderr (P-037, P-044).

use std::io::{self, Write as _};
use std::panic;
use std::process::{self, ExitCode};

use plexus_api::cni::{CniError, Code, Version};
use plexus_api::without_os_codes;

/// Writes the document to stdout. The call fails if the document cannot be written.
pub fn print(document: &str) -> ExitCode {
    // Stdout buffers only text after the last line break, so this is a single write.
    match io::stdout()
        .lock()
        .write_all(format!("{document}\n").as_bytes())
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&format!("cannot write to stdout: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes the error to stdout, with its code in the message as well.
pub fn fail(version: Version, error: CniError) -> ExitCode {
    print(&error.with_code_in_message().to_document(version));
    ExitCode::FAILURE
}

/// Writes a message to stderr. Errors are ignored: stderr may be closed.
pub fn log(text: &str) {
    let _ = io::stderr()
        .lock()
        .write_all(format!("plexus: {}\n", without_os_codes(text)).as_bytes());
}

/// Installs a panic hook that prints an error in `version` and exits (P-046): runtimes expect a
/// JSON document.
pub fn report_panics(version: Version) {
    panic::set_hook(Box::new(move |panic| {
        let error = CniError::new(
            Code::Internal,
            format!("bug in plexus, please report this: {panic}"),
        );
        fail(version, error.for_del());
        process::exit(1);
    }));
}
