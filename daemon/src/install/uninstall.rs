//! Leaving the node, in an order in which at no moment a pod can neither start nor end (decision 11):
//!
//! 1. Our configuration is withdrawn, once the runtime has another one to load: new pods start without us.
//! 2. The daemon goes on serving, and deletes what is in the ledger while the pods that it attached end. A runtime that
//!    remembers our configuration still finds the shim.
//! 3. With the last record gone, the marker is written: a shim that is asked yet knows that nothing is left.
//! 4. The shim is removed.
//!
//! It may be stopped at any point, and begun again: what is not done yet still works.

use std::io;
use std::path::PathBuf;

use plexus_api::wire::{LEDGER_DIR, SPOOL_DIR, UNINSTALLED};
use tokio_util::sync::CancellationToken;

use super::SHIM;
use super::config_file::ConfigFile;
use super::place::remove;
use super::status::{Kind, Problem, Status};
use crate::config::{Fields, Settings};
use crate::ledger::{Key, Ledger};
use crate::watched::Watched;

/// Takes away what was installed.
#[derive(Debug)]
pub struct Uninstall {
    file: Option<ConfigFile>,
    shim: Option<PathBuf>,
    state_dir: PathBuf,
    ledger: Ledger,
    status: Status,
}

impl Uninstall {
    /// What `settings` say is installed.
    pub fn new(settings: &Settings, fields: &Fields, ledger: &Ledger, status: &Status) -> Self {
        Self {
            file: settings.publish.clone().map(|publish| ConfigFile::new(publish, fields)),
            shim: settings.shim_dir.as_ref().map(|dir| dir.join(SHIM)),
            state_dir: settings.state_dir.clone(),
            ledger: ledger.clone(),
            status: status.clone(),
        }
    }

    /// Works until all is gone or `stop`. The status says what it waits for, and has no problem at the end.
    ///
    /// # Errors
    /// Something cannot be followed or removed.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let mut watched = Watched::new()?;
        if let Some(file) = &self.file {
            watched.set(vec![file.dir().to_owned()])?;
            let mut told = String::new();
            while let Err(missing) = tokio::task::block_in_place(|| file.withdraw())? {
                if missing != told {
                    tracing::warn!("leaving the node: {missing}");
                    told.clone_from(&missing);
                }
                self.status.set(vec![Problem::new(Kind::Leaving, missing)], 0);
                tokio::select! {
                    changed = watched.changed() => changed?,
                    () = stop.cancelled() => return Ok(()),
                }
            }
        }
        watched.set([LEDGER_DIR, SPOOL_DIR].map(|dir| self.state_dir.join(dir)).to_vec())?;
        let mut told = false;
        while let Err(left) = self.finish().await? {
            if !std::mem::replace(&mut told, true) {
                tracing::info!("leaving the node: {left}; `plexusd probe ready` says how many there are yet");
            }
            self.status.set(vec![Problem::new(Kind::Leaving, left)], 0);
            tokio::select! {
                changed = watched.changed() => changed?,
                () = stop.cancelled() => return Ok(()),
            }
        }
        self.status.set(Vec::new(), 0);
        tracing::info!("Plexus is uninstalled: nothing is left on this node");
        Ok(())
    }

    /// Writes the marker and removes the shim, unless something is left, which is said then.
    async fn finish(&self) -> io::Result<Result<(), String>> {
        if let Some(left) = self.left(&self.ledger.keys().map_err(io::Error::other)?)? {
            return Ok(Err(left));
        }
        // No ADD can begin from here on.
        let exclusive = self.ledger.exclusive().await;
        if let Some(left) = self.left(&exclusive.keys().map_err(io::Error::other)?)? {
            return Ok(Err(left));
        }
        std::fs::write(self.state_dir.join(UNINSTALLED), "")?;
        self.shim.as_deref().map_or(Ok(()), remove)?;
        Ok(Ok(()))
    }

    fn left(&self, records: &[Key]) -> io::Result<Option<String>> {
        let spooled = Ledger::spooled_files(&self.state_dir).map_err(io::Error::other)?.len();
        Ok((records.len() + spooled > 0).then(|| {
            let records = records.len();
            format!(
                "{records} interfaces are attached by Plexus and {spooled} DELs wait: the pods must be deleted first"
            )
        }))
    }
}
