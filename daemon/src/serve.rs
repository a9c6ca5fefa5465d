//! `plexusd serve` and `plexusd uninstall`: reads the configuration, builds the components, and
//! runs until a signal.

mod components;
mod mode;
mod preflight;
mod seniority;
mod session;
mod source;
mod takeover;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
pub(crate) use components::{plugin_settings, shim_beside_plexusd};
pub use mode::Mode;
pub(crate) use preflight::preflight;
pub(crate) use source::{NODE_NAME_VARIABLES, ObjectSource};
pub use takeover::LOCK_WAIT;

use crate::cli::ServeArgs;
use crate::config::{Fields, LogSettings, Settings, resolve_host_paths};
use crate::telemetry::Logs;
use components::Components;
use takeover::{Signals, Takeover};

/// Two threads suffice for a node, because plugins do the work.
const WORKER_THREADS: usize = 2;

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The configuration cannot be read, another daemon holds the ledger, or the socket cannot be
/// bound.
pub fn serve(args: &ServeArgs, mode: Mode) -> anyhow::Result<()> {
    let files = ConfigFiles::read(&args.config)?;
    let log = Settings::log(&files.fields).with_context(|| files.names.clone())?;
    let logs = Logs::start(&log);
    let outcome = files
        .validate()
        .and_then(|config| run(args, mode, config, logs));
    outcome.map_err(|error| log_fatal(error, &log))
}

/// The error that ended the daemon is in the log.
#[derive(Debug, thiserror::Error)]
#[error("the error is in the log")]
pub struct Logged;

/// Logs the error that ends the daemon, unless the log is text on stderr, which gets the error
/// anyway. Programs that read JSON from stderr must find no other line there.
fn log_fatal(error: anyhow::Error, log: &LogSettings) -> anyhow::Error {
    let is_text_on_stderr = !log.json && log.file.is_none();
    if is_text_on_stderr || !tracing::enabled!(tracing::Level::ERROR) {
        return error;
    }
    tracing::error!("plexusd ends: {error:#}");
    if log.stderr { Logged.into() } else { error }
}

fn run(args: &ServeArgs, mode: Mode, config: Config, logs: Logs) -> anyhow::Result<()> {
    config.log_warnings();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        // Installed first, so that a signal during the start ends the daemon cleanly.
        let signals = Signals::new()?;
        let (components, feeds) = Components::build(args, mode, config, logs).await?;
        Takeover::new(components, feeds, signals).run().await
    });
    // The runtime is leaked, not shut down: a thread that still waits for the ledger must not keep
    // the process alive, and dropping unfinished calls would kill their plugins at an arbitrary
    // point. The next daemon waits for these plugins, as after a SIGKILL.
    std::mem::forget(runtime);
    outcome
}

/// The keys of the configuration files, merged.
struct ConfigFiles {
    /// The names of the files, for messages.
    names: String,
    fields: Fields,
    warnings: Vec<String>,
}

impl ConfigFiles {
    fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut fields = Fields::default();
        for path in paths {
            fields = fields.overlaid_by(&read_file(path)?);
        }
        let names = paths.iter().map(|path| path.display().to_string());
        Ok(Self {
            names: names.collect::<Vec<_>>().join(", "),
            warnings: resolve_host_paths(&mut fields, Path::new("/")),
            fields,
        })
    }

    fn validate(self) -> anyhow::Result<Config> {
        let Self {
            names,
            fields,
            mut warnings,
        } = self;
        let settings = Settings::read(&fields).with_context(|| names.clone())?;
        warnings.extend(unknown_keys(&fields));
        warnings.extend(Settings::startup_warnings(&fields));
        Ok(Config {
            files: names,
            fields,
            settings,
            warnings,
        })
    }
}

/// The configuration.
#[derive(Debug)]
pub(crate) struct Config {
    /// The names of the files, for messages.
    pub(crate) files: String,
    pub(crate) fields: Fields,
    pub(crate) settings: Settings,
    /// What is accepted but has no effect, or not the expected one.
    pub(crate) warnings: Vec<String>,
}

impl Config {
    pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        ConfigFiles::read(paths)?.validate()
    }

    fn log_warnings(&self) {
        let file = &self.files;
        for warning in &self.warnings {
            tracing::warn!(file, "{warning}");
        }
    }
}

fn unknown_keys(fields: &Fields) -> impl Iterator<Item = String> {
    let unknown = Settings::unknown_keys(fields).into_iter();
    unknown.map(|key| match Settings::similar_key(&key) {
        Some(similar) => format!("unknown key {key:?} has no effect; did you mean {similar:?}?"),
        None => format!("unknown key {key:?} has no effect"),
    })
}

fn read_file(path: &Path) -> anyhow::Result<Fields> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Fields::parse(&text).with_context(|| path.display().to_string())
}
