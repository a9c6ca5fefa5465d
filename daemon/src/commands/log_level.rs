//! `plexusd loglevel`.

use plexus_api::wire::SOCKET_NAME;

use super::daemon;
use crate::cli::LogLevelArgs;
use crate::server::{LOG_LEVEL, put};

/// Changes the log level of the running daemon.
///
/// # Errors
/// No daemon responds, or it does not know the level.
pub fn log_level(args: &LogLevelArgs) -> anyhow::Result<()> {
    let socket = args.socket_dir.join(SOCKET_NAME);
    let level = args.level.clone().into_bytes();
    let response = daemon::block_on(async { Ok(put(&socket, LOG_LEVEL, level).await) })?;
    let response = response.map_err(|error| daemon::unanswered(&socket, error))?;
    daemon::success(response)?;
    println!("the log level is {} until plexusd is restarted", args.level);
    Ok(())
}
