//! Logging: level, format and destination.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Mutex;

use plexus_api::{quote, without_os_codes};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use super::log_file::RotatingFile;
use crate::config::LogSettings;
use crate::problem::remedy_for_dir;

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
    /// overrides the configured level, and is ignored with a warning if it is invalid. A log file
    /// that cannot be opened is not fatal: lines go to stderr instead.
    pub(crate) fn start(settings: &LogSettings) -> Self {
        let from_env = std::env::var("PLEXUS_LOG").ok();
        let configured = settings.level.as_deref().and_then(level);
        let configured = configured.unwrap_or(LevelFilter::INFO);
        let (targets, invalid) = match from_env.as_deref().map(|text| directives(text, configured))
        {
            None => (from_level(configured), None),
            Some(Ok(targets)) => (targets, None),
            Some(Err(error)) => (from_level(configured), Some(error)),
        };
        let (filter, handle) = reload::Layer::new(targets);
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
        if let Some(error) = invalid {
            tracing::warn!("PLEXUS_LOG is ignored: {error}");
        }
        if let Some((path, error)) = problem {
            let (path, remedy) = (
                path.display(),
                remedy_for_dir("the directory (logFile)", &error),
            );
            tracing::error!(
                "cannot open the log file {path}, logging to stderr instead: {error}; {remedy}"
            );
        }
        Self(handle)
    }

    /// Changes the level until the process exits.
    ///
    /// # Errors
    /// A message with the known names, if `name` is unknown.
    pub(crate) fn set_level(&self, name: &str) -> Result<(), String> {
        let targets = targets(name).ok_or_else(|| unknown_level(name))?;
        self.0.reload(targets).map_err(|error| error.to_string())
    }
}

fn unknown_level(name: &str) -> String {
    let names: Vec<_> = LEVELS.iter().map(|(name, _)| *name).collect();
    format!(
        "unknown log level {}: use one of {}",
        quote(name),
        names.join(", ")
    )
}

fn level(name: &str) -> Option<LevelFilter> {
    LEVELS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, level)| *level)
}

fn targets(name: &str) -> Option<Targets> {
    level(name).map(from_level)
}

/// The levels in `PLEXUS_LOG`: a level, by default `configured`, and the levels of single modules
/// (`target=level`), separated by commas.
///
/// # Errors
/// A message that names the unknown level.
fn directives(text: &str, configured: LevelFilter) -> Result<Targets, String> {
    let mut overall = configured;
    let mut modules = Vec::new();
    for directive in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (module, name) = match directive.split_once('=') {
            Some((module, name)) => (Some(module.trim()), name.trim()),
            None => (None, directive),
        };
        let level = level(name).ok_or_else(|| unknown_level(name))?;
        match module {
            Some(module) => modules.push((module.to_owned(), level)),
            None => overall = level,
        }
    }
    let targets = from_level(overall);
    Ok(modules
        .into_iter()
        .fold(targets, |targets, (module, level)| {
            targets.with_target(module, level)
        }))
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
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        let line = str::from_utf8(written).map_or(Cow::Borrowed(written), |text| {
            match without_os_codes(text) {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            }
        });
        let to_stderr = if self.stderr {
            io::stderr().write_all(&line)
        } else {
            Ok(())
        };
        if let Some(file) = &mut self.file {
            file.write_line(&line)?;
        }
        to_stderr.map(|()| written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_variable_accepts_the_levels_of_multus_and_levels_of_modules() {
        let read = |text: &str| directives(text, LevelFilter::WARN);
        let verbose = read("Verbose").expect("a level");
        assert!(verbose.would_enable("plexusd::serve", &Level::INFO));
        assert!(!verbose.would_enable("plexusd::serve", &Level::DEBUG));
        assert!(!verbose.would_enable("hyper", &Level::INFO), "a library");
        let modules = read(" hyper=trace, plexusd::netns = debug,").expect("modules");
        assert!(modules.would_enable("hyper::client", &Level::TRACE));
        assert!(modules.would_enable("plexusd::netns", &Level::DEBUG));
        assert!(modules.would_enable("plexusd::serve", &Level::WARN));
        assert!(
            !modules.would_enable("plexusd::serve", &Level::INFO),
            "as configured"
        );
    }

    #[test]
    fn an_unknown_level_is_named() {
        for text in [
            "loud",
            "plexusd=loud",
            "debug,plexusd=loud",
            "plexusd=debug=loud",
        ] {
            let error = directives(text, LevelFilter::INFO).expect_err(text);
            assert!(
                error.contains("loud") && error.contains("verbose"),
                "{error}"
            );
        }
    }
}
