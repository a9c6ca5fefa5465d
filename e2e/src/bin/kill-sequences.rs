//! `make soak`: many seeded sequences of pods while plexusd is killed at any instant.
//!
//!     kill-sequences [--seed FIRST] [--count NUMBER]

use std::process::ExitCode;
use std::time::Instant;

use plexus_e2e::NodeError;
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::sequences::{PLUGINS, Sequences};

fn main() -> ExitCode {
    match play() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kill-sequences: {error}");
            ExitCode::FAILURE
        }
    }
}

fn play() -> Result<bool, String> {
    let (mut first, mut count) = (1, 200);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let number = arguments.next().and_then(|text| text.parse().ok());
        let number: u64 = number.ok_or_else(|| format!("{argument} needs a number"))?;
        match argument.as_str() {
            "--seed" => first = number,
            "--count" => count = number,
            _ => return Err(format!("{argument} is neither --seed nor --count")),
        }
    }
    let plugins = plugin_dir(&PLUGINS)?;
    let begin = Instant::now();
    let outcome = Sequences {
        plugins,
        first,
        count,
    }
    .play()
    .map_err(|error| match error {
        NodeError::Unable(reason) => reason,
        NodeError::Failed(error) => error.to_string(),
    })?;
    let seconds = begin.elapsed().as_secs_f32();
    println!(
        "{} sequences with {} kills in {seconds:.1} s, {} failed",
        outcome.played,
        outcome.kills,
        outcome.failed.len()
    );
    Ok(outcome.failed.is_empty())
}
