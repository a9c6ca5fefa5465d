//! `plexusd ledger`: lists, retries and abandons the records of this node.

mod abandon;
mod list;
mod retry;

use std::io::{self, Write};

use anyhow::bail;
use plexus_api::cni::CniError;

use crate::cli::{LedgerArgs, LedgerCommand};
use crate::server::Response;

/// Lists, retries or abandons records. Listing needs neither the daemon nor the lock.
///
/// # Errors
/// The ledger cannot be read or written, has no such record, or a DEL failed again.
pub fn ledger(args: &LedgerArgs) -> anyhow::Result<()> {
    let (state_dir, out) = (&args.state_dir, &mut io::stdout().lock());
    match &args.command {
        LedgerCommand::List => {
            let mut out = io::BufWriter::new(out);
            list::print(state_dir, &mut out)?;
            Ok(out.flush()?)
        }
        LedgerCommand::Abandon(args) => abandon::run(state_dir, args, out),
        LedgerCommand::Retry(args) => retry::run(state_dir, args, out),
    }
}

fn block_on<T>(task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(task)
}

/// The body of a response of the daemon, or the error in it.
fn success(response: Response) -> anyhow::Result<Vec<u8>> {
    let Response { status, body, .. } = response;
    if status.is_success() {
        return Ok(body.to_vec());
    }
    match serde_json::from_slice::<CniError>(&body) {
        Ok(error) => bail!("{}", error.msg),
        Err(_) => bail!(
            "plexusd responded with HTTP {status}: {}",
            String::from_utf8_lossy(&body)
        ),
    }
}
