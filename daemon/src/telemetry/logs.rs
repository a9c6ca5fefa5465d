//! Logging: level, format and destination.

use std::io::{self, Write};
use std::str::FromStr as _;
use std::sync::Mutex;

use plexus_api::quote;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use super::log_file::RotatingFile;
use crate::config::LogSettings;

/// The names of the levels: those of Multus, and those of `tracing`.
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

/// A handle that changes the log level of this process.
#[derive(Debug, Clone)]
pub(crate) struct Logs(reload::Handle<Targets, Registry>);

impl Logs {
    /// Starts logging. `PLEXUS_LOG` (for example `debug` or `plexusd=debug,kube_client=debug`)
    /// overrides the configured level. A log file that cannot be opened is not fatal: lines go to
    /// stderr instead.
    pub(crate) fn start(settings: &LogSettings) -> Self {
        let from_env = std::env::var("PLEXUS_LOG")
            .ok()
            .and_then(|text| Targets::from_str(&text).ok());
        let configured = settings.level.as_deref().and_then(targets);
        let (filter, handle) = reload::Layer::new(
            from_env
                .or(configured)
                .unwrap_or_else(|| from_level(LevelFilter::INFO)),
        );
        let (file, problem) = match &settings.file {
            None => (None, None),
            Some(file) => match RotatingFile::open(file.clone()) {
                Ok(opened) => (Some(opened), None),
                Err(error) => (None, Some((&file.path, error))),
            },
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
            // The object `span` has the fields of the call.
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
            tracing::error!(path = %path.display(), %error, "cannot open the log file, logging to stderr instead");
        }
        Self(handle)
    }

    /// Changes the level until the process exits.
    ///
    /// # Errors
    /// A message with the known names, if `name` is unknown.
    pub(crate) fn set_level(&self, name: &str) -> Result<(), String> {
        let Some(targets) = targets(name) else {
            let names: Vec<_> = LEVELS.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "unknown log level {}: use one of {}",
                quote(name),
                names.join(", ")
            ));
        };
        self.0.reload(targets).map_err(|error| error.to_string())
    }
}

fn targets(name: &str) -> Option<Targets> {
    LEVELS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, level)| from_level(*level))
}

/// Our own lines at `level` and above, and only warnings and errors of libraries, whose other lines
/// may contain secrets.
fn from_level(level: LevelFilter) -> Targets {
    let libraries = Targets::new().with_default(level.min(LevelFilter::WARN));
    // The daemon itself logs failed requests to the API server.
    libraries
        .with_target("kube_client", LevelFilter::OFF)
        .with_target("plexusd", level)
}

#[derive(Debug)]
struct Output {
    stderr: bool,
    file: Option<RotatingFile>,
}

impl Write for Output {
    /// Called once for each line.
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
