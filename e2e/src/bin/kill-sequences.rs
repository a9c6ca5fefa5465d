//! `make soak`: seeded sequences of pods while plexusd is killed at random points.
//!
//!     kill-sequences [--seed FIRST] [--count NUMBER]

use std::process::ExitCode;
use std::time::Instant;

use plexus_e2e::NodeError;
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::real_networks::PLUGINS;
use plexus_e2e::sequences::Sequences;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kill-sequences: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, String> {
    let (mut first, mut count) = (1, 200);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let number = arguments.next().and_then(|text| text.parse().ok());
        let number: u64 = number.ok_or_else(|| format!("{argument} needs a number"))?;
        match argument.as_str() {
            "--seed" => first = number,
            "--count" => count = number,
            _ => {
                return Err(format!("unknown option {argument}: use --seed and --count"));
            }
        }
    }
    let plugins = plugin_dir(&PLUGINS)?;
    let start = Instant::now();
    let sequences = Sequences {
        plugins,
        first,
        count,
    };
    let outcome = sequences.run().map_err(|error| match error {
        NodeError::Unavailable(reason) => reason,
        NodeError::Failed(error) => error.to_string(),
    })?;
    println!(
        "{} sequences with {} kills in {:.1} s, {} failed",
        outcome.sequences,
        outcome.kills,
        start.elapsed().as_secs_f32(),
        outcome.failed.len()
    );
    Ok(outcome.failed.is_empty())
}
