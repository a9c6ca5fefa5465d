//! The keys that say what the daemon tells of itself: metrics and logs.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{Fields, FieldsError};

/// Where the metrics are, unless told otherwise: on this node alone.
const METRICS_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);

/// The log levels that Multus knows, quietest first.
const LOG_LEVELS: [&str; 4] = ["panic", "error", "verbose", "debug"];

const MIB: u64 = 1 << 20;
const DAY: Duration = Duration::from_hours(24);

/// Metrics over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSettings {
    /// `metricsAddress`, else `metricsPort` on all addresses; none where it is empty.
    pub address: Option<SocketAddr>,
    /// `metricsPort` is set: Multus' own metric is there too, for dashboards that have it.
    pub multus: bool,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `logLevel`.
    pub level: Option<String>,
    /// `logFormat`: one JSON object a line in place of text.
    pub json: bool,
    /// `logToStderr`.
    pub stderr: bool,
    /// `logFile` with `logOptions`.
    pub file: Option<LogFile>,
}

/// A file for logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// `logFile`.
    pub path: PathBuf,
    /// `logOptions.maxSize`, in bytes: the file is put aside before it grows beyond that.
    pub max_size: u64,
    /// `logOptions.maxBackups`: how many files put aside are kept.
    pub max_backups: usize,
    /// `logOptions.maxAge`: older ones are removed.
    pub max_age: Duration,
}

/// `logOptions` as Multus has it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
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
        let allowed = "an address with a port, as \"127.0.0.1:9464\", or \"\" for none";
        let address = match fields.get::<String>("metricsAddress", allowed)? {
            None => everywhere.or(Some(METRICS_ADDRESS)),
            Some(text) if text.is_empty() => None,
            Some(text) => Some(text.parse().map_err(|_| FieldsError::Value {
                key: "metricsAddress".to_owned(),
                value: format!("{text:?}"),
                allowed: allowed.to_owned(),
            })?),
        };
        Ok(Self {
            address,
            multus: port.is_some(),
        })
    }
}

impl LogSettings {
    pub(super) fn read(fields: &Fields, strict: bool) -> Result<Self, FieldsError> {
        let wrong = |key: &str, value: &str, allowed: String| FieldsError::Value {
            key: key.to_owned(),
            value: format!("{value:?}"),
            allowed,
        };
        // A level that is not known is an error under `strict` (P-034) and as good as none otherwise, as it is for
        // Multus.
        let level = fields
            .text("logLevel")?
            .map(|level| level.to_ascii_lowercase());
        let known = level
            .as_deref()
            .is_none_or(|level| LOG_LEVELS.contains(&level));
        if let Some(level) = level.as_ref().filter(|_| strict && !known) {
            return Err(wrong(
                "logLevel",
                level,
                format!("one of {}", LOG_LEVELS.join(", ")),
            ));
        }
        let json = match fields.text("logFormat")?.as_deref() {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => {
                return Err(wrong("logFormat", other, "\"text\" or \"json\"".to_owned()));
            }
        };
        let path = fields
            .raw("logFile")
            .map(|_| fields.path("logFile", ""))
            .transpose()?;
        let options = options(fields)?;
        let file = path.filter(|path| path.is_absolute()).map(|path| LogFile {
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

/// What an administrator should know of these keys, once, at start.
pub(super) fn notices(fields: &Fields) -> Vec<String> {
    let mut notices = Vec::new();
    if let Ok(Some(level)) = fields.text("logLevel")
        && !LOG_LEVELS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(&level))
    {
        notices.push(format!(
            "logLevel {level:?} is none of {}; it has no effect",
            LOG_LEVELS.join(", ")
        ));
    }
    if options(fields).is_ok_and(|options| options.compress == Some(true)) {
        notices.push(
            "logOptions.compress has no effect: log files that are put aside stay as they are"
                .to_owned(),
        );
    }
    if let Ok(MetricsSettings {
        address: Some(address),
        multus: true,
    }) = MetricsSettings::read(fields)
        && address.ip().is_unspecified()
    {
        notices.push(format!(
            "metricsPort: the metrics are served on all addresses of the node, {address}; metricsAddress can name one"
        ));
    }
    notices
}

fn options(fields: &Fields) -> Result<LogOptions, FieldsError> {
    Ok(fields
        .get(
            "logOptions",
            "an object with maxSize, maxAge, maxBackups, compress",
        )?
        .unwrap_or_default())
}
