//! How logs are written, and which.

use std::io::{self, Write};
use std::str::FromStr as _;
use std::sync::Mutex;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use super::log_file::RotatingFile;
use crate::config::LogSettings;

/// The levels by name: Multus' and the usual ones.
const LEVELS: [(&str, LevelFilter); 8] = [
    ("panic", LevelFilter::OFF),
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("verbose", LevelFilter::INFO),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// The logs of this process.
#[derive(Debug, Clone)]
pub(crate) struct Logs(reload::Handle<Targets, Registry>);

impl Logs {
    /// Starts to log. `PLEXUS_LOG` (as `debug` or `plexusd=debug,kube_client=debug`) wins over the configured level.
    /// A log file that cannot be written is replaced by stderr: pods need their networks all the same.
    pub(crate) fn start(settings: &LogSettings) -> Self {
        let by_env = std::env::var("PLEXUS_LOG")
            .ok()
            .and_then(|text| Targets::from_str(&text).ok());
        let configured = settings.level.as_deref().and_then(targets);
        let (filter, handle) = reload::Layer::new(
            by_env
                .or(configured)
                .unwrap_or_else(|| above(LevelFilter::INFO)),
        );
        let file = settings
            .file
            .clone()
            .map(|file| (file.path.clone(), RotatingFile::open(file)));
        let (file, problem) = match file {
            None => (None, None),
            Some((_, Ok(file))) => (Some(file), None),
            Some((path, Err(error))) => (None, Some((path, error))),
        };
        let output = Output {
            stderr: settings.stderr || problem.is_some(),
            file,
        };
        let lines = fmt::layer()
            .with_writer(Mutex::new(output))
            .with_target(false)
            .with_ansi(false);
        let lines = if settings.json {
            // The fields of the call are in `span`, and stay in one place.
            lines
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .boxed()
        } else {
            lines.boxed()
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .init();
        if let Some((path, error)) = problem {
            tracing::error!(path = %path.display(), %error, "the log file cannot be written; logging to stderr");
        }
        Self(handle)
    }

    /// Changes the level, until the end of this process.
    ///
    /// # Errors
    /// A name that is no level; the text says which are.
    pub(crate) fn set_level(&self, name: &str) -> Result<(), String> {
        let Some(targets) = targets(name) else {
            let names: Vec<_> = LEVELS.iter().map(|(name, _)| *name).collect();
            return Err(format!("{name:?} is none of {}", names.join(", ")));
        };
        self.0.reload(targets).map_err(|error| error.to_string())
    }
}

fn targets(name: &str) -> Option<Targets> {
    LEVELS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, level)| above(*level))
}

/// Our own lines from `level` on; of the libraries, whose lines may hold what is not ours to show, only warnings.
fn above(level: LevelFilter) -> Targets {
    let libraries = Targets::new().with_default(level.min(LevelFilter::WARN));
    // The daemon tells itself what matters of its requests to the API server.
    libraries
        .with_target("kube_client", LevelFilter::OFF)
        .with_target("plexusd", level)
}

/// Where the lines go.
#[derive(Debug)]
struct Output {
    stderr: bool,
    file: Option<RotatingFile>,
}

impl Write for Output {
    /// One call is one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let to_stderr = if self.stderr {
            io::stderr().write_all(line)
        } else {
            Ok(())
        };
        if let Some(file) = &mut self.file {
            file.write_line(line)?;
        }
        to_stderr.map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
