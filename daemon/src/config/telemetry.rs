//! The keys for metrics and logs.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use plexus_api::json::Object;
use plexus_api::quote;

use super::fields::{Fields, FieldsError};

/// The default address of the metrics, on the loopback interface.
const METRICS_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9037);

/// The log levels of Multus, in increasing verbosity.
const LOG_LEVELS: [&str; 4] = ["panic", "error", "verbose", "debug"];

const MIB: u64 = 1 << 20;
const DAY: Duration = Duration::from_hours(24);

/// The settings of the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSettings {
    /// `metricsAddress`, else `metricsPort` on all addresses. `None` if `metricsAddress` is empty.
    pub address: Option<SocketAddr>,
    /// Whether Multus' own metric is exported too, for existing dashboards: `metricsPort` is set.
    pub multus: bool,
}

/// The settings of the logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub level: Option<String>,
    /// `logFormat`: whether each line is a JSON object.
    pub json: bool,
    pub stderr: bool,
    pub file: Option<LogFile>,
}

/// A log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// `logFile`.
    pub path: PathBuf,
    /// `logOptions.maxSize`, in bytes: the file is rotated before it exceeds this size.
    pub max_size: u64,
    /// `logOptions.maxBackups`: how many rotated files are kept.
    pub max_backups: usize,
    /// `logOptions.maxAge`: how long rotated files are kept.
    pub max_age: Duration,
}

/// `logOptions` of Multus.
#[derive(Debug, Default)]
struct LogOptions {
    /// Megabytes.
    max_size: Option<u64>,
    /// Days.
    max_age: Option<u32>,
    max_backups: Option<usize>,
    compress: Option<bool>,
}

impl MetricsSettings {
    pub(super) fn read(fields: &Fields) -> Result<Self, FieldsError> {
        let port = fields
            .get::<u16>("metricsPort", "a port")?
            .filter(|port| *port != 0);
        let everywhere = port.map(|port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
        let allowed = "an address with a port, such as \"127.0.0.1:9037\", or \"\" for no metrics";
        let address = match fields.get::<String>("metricsAddress", allowed)? {
            None => everywhere.or(Some(METRICS_ADDRESS)),
            Some(text) if text.is_empty() => None,
            Some(text) => {
                let invalid = |_| FieldsError::string("metricsAddress", &text, allowed);
                Some(text.parse().map_err(invalid)?)
            }
        };
        Ok(Self {
            address,
            multus: port.is_some(),
        })
    }
}

impl LogSettings {
    pub(super) fn read(fields: &Fields, strict: bool) -> Result<Self, FieldsError> {
        // An unknown level is an error with `strict` (P-034), and otherwise ignored, as in Multus.
        let level = fields
            .string("logLevel")?
            .map(|level| level.to_ascii_lowercase());
        let known = level
            .as_deref()
            .is_none_or(|level| LOG_LEVELS.contains(&level));
        if let Some(level) = level.as_ref().filter(|_| strict && !known) {
            let allowed = format!("one of {}", LOG_LEVELS.join(", "));
            return Err(FieldsError::string("logLevel", level, allowed));
        }
        let json = match fields.string("logFormat")?.as_deref() {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => {
                let allowed = "\"text\" or \"json\"";
                return Err(FieldsError::string("logFormat", other, allowed));
            }
        };
        let options = log_options(fields)?;
        let file = fields.optional_path("logFile")?.map(|path| LogFile {
            path,
            max_size: options.max_size.unwrap_or(100).saturating_mul(MIB),
            max_backups: options.max_backups.unwrap_or(5),
            max_age: DAY.saturating_mul(options.max_age.unwrap_or(5)),
        });
        Ok(Self {
            level: level.filter(|_| known),
            json,
            stderr: fields.boolean("logToStderr", true)?,
            file,
        })
    }
}

/// See [`Settings::startup_warnings`](super::Settings::startup_warnings).
pub(super) fn startup_warnings(fields: &Fields) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Ok(Some(level)) = fields.string("logLevel")
        && !LOG_LEVELS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(&level))
    {
        warnings.push(format!(
            "logLevel {} has no effect: it is not one of {}",
            quote(&level),
            LOG_LEVELS.join(", ")
        ));
    }
    if log_options(fields).is_ok_and(|options| options.compress == Some(true)) {
        warnings.push(
            "logOptions.compress has no effect: rotated log files are not compressed".to_owned(),
        );
    }
    if let Ok(MetricsSettings {
        address: Some(address),
        multus: true,
    }) = MetricsSettings::read(fields)
        && address.ip().is_unspecified()
    {
        warnings.push(format!(
            "metricsPort: the metrics are served on all addresses of the node ({address}); set metricsAddress to choose one"
        ));
    }
    warnings
}

fn log_options(fields: &Fields) -> Result<LogOptions, FieldsError> {
    let object = fields.get::<Object>(
        "logOptions",
        "an object with maxSize, maxAge, maxBackups, compress",
    )?;
    let options = Fields::from(object.unwrap_or_default());
    Ok(LogOptions {
        max_size: options.get("maxSize", "a whole number of megabytes")?,
        max_age: options.get("maxAge", "a whole number of days")?,
        max_backups: options.get("maxBackups", "a whole number")?,
        compress: options.get("compress", "true or false")?,
    })
}
