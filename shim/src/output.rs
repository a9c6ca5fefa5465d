//! The two streams: one JSON document on stdout, text for people on stderr (P-037, P-044).

use std::io::{self, Write as _};
use std::panic;
use std::process::{self, ExitCode};

use plexus_api::cni::{CniError, Code, Version};

/// Writes the document to stdout in one piece. Where nobody reads it the call has failed.
pub fn print(document: &str) -> ExitCode {
    // Stdout keeps back what follows the last line break only, so this is one write.
    match io::stdout().lock().write_all(format!("{document}\n").as_bytes()) {
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
    let _ = io::stderr().lock().write_all(format!("plexus: {text}\n").as_bytes());
}

/// From now on a panic prints an error in `version` and ends the process (P-046): the runtime understands nothing
/// else.
pub fn report_panics(version: Version) {
    panic::set_hook(Box::new(move |panic| {
        let error = CniError::new(Code::Internal, format!("defect in plexus, please report it: {panic}"));
        fail(version, &for_del(error));
        process::exit(1);
    }));
}

/// The error in words that a runtime does not take for a success: containerd holds a DEL that failed with one of
/// these phrases for done.
pub fn for_del(mut error: CniError) -> CniError {
    for (phrase, instead) in [("no such file or directory", "does not exist"), ("not found", "missing")] {
        error.msg = replace_any_case(&error.msg, phrase, instead);
        error.details = replace_any_case(&error.details, phrase, instead);
    }
    error
}

/// Replaces the ASCII `phrase`, given in lower case.
fn replace_any_case(text: &str, phrase: &str, instead: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut replaced = String::with_capacity(text.len());
    let mut done = 0;
    for (at, _) in lower.match_indices(phrase) {
        replaced += &text[done..at];
        replaced += instead;
        done = at + phrase.len();
    }
    replaced + &text[done..]
}
