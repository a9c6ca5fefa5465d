//! `plexusd status`: the state of the node on one screen.

mod screen;

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use plexus_api::wire::SOCKET_NAME;

use super::{daemon, table};
use crate::cli::{StatusArgs, TableFormat};
use crate::server::{NodeStatus, STATUS, no_daemon};

/// The time limit of the daemon's response.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The pause between two screens of `--watch`.
const PAUSE: Duration = Duration::from_secs(2);
/// Clears a terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints the state of the daemon, or without a daemon what is on disk.
///
/// # Errors
/// No daemon runs, or the node is not ready. The state is printed first.
pub fn status(args: &StatusArgs) -> anyhow::Result<()> {
    let socket = args.socket_dir.join(SOCKET_NAME);
    let out = &mut io::stdout().lock();
    if args.watch {
        let clear = if out.is_terminal() { CLEAR } else { "" };
        loop {
            let status = read(&socket, &args.state_dir)?;
            write!(out, "{clear}")?;
            print(&status, args.output, out)?;
            std::thread::sleep(PAUSE);
        }
    }
    let status = read(&socket, &args.state_dir)?;
    print(&status, args.output, out)?;
    match &status.daemon {
        None => Err(daemon::unanswered(&socket, io::ErrorKind::NotFound.into())),
        Some(_) if !status.ready => bail!("the node is not ready"),
        Some(_) => Ok(()),
    }
}

fn read(socket: &Path, state_dir: &Path) -> anyhow::Result<NodeStatus> {
    match daemon::get(socket, STATUS, TIME_LIMIT) {
        Ok(response) => serde_json::from_slice(&daemon::success(response)?)
            .context("the response of plexusd; is it of another version?"),
        Err(error) if no_daemon(&error) => Ok(NodeStatus::from_disk(state_dir)),
        Err(error) => Err(daemon::unanswered(socket, error)),
    }
}

fn print(status: &NodeStatus, format: TableFormat, out: &mut impl Write) -> anyhow::Result<()> {
    match format {
        TableFormat::Json => table::print_json(status, out)?,
        TableFormat::Text => screen::print(status, out)?,
    }
    Ok(out.flush()?)
}
