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
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::SHIM;
use super::backoff::pause;
use super::config_file::ConfigFile;
use super::status::{Problem, ProblemKind, Status};
use crate::atomic_file::{remove_if_present, temporary_path};
use crate::config::{Fields, Settings};
use crate::dir_watcher::DirWatcher;
use crate::ledger::{Key, Ledger};

/// Takes away what was installed.
#[derive(Debug)]
pub(crate) struct Uninstall {
    file: Option<ConfigFile>,
    shim: Option<PathBuf>,
    state_dir: PathBuf,
    ledger: Ledger,
    status: Status,
}

impl Uninstall {
    /// What `settings` say is installed.
    pub(crate) fn new(
        settings: &Settings,
        fields: &Fields,
        ledger: &Ledger,
        status: &Status,
    ) -> Self {
        Self {
            file: settings
                .publish
                .clone()
                .map(|publish| ConfigFile::new(publish, fields)),
            shim: settings.shim_dir.as_ref().map(|dir| dir.join(SHIM)),
            state_dir: settings.state_dir.clone(),
            ledger: ledger.clone(),
            status: status.clone(),
        }
    }

    /// Works until `stop`. The status says what it waits for, and has no problem while nothing is left.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut failures = 0;
        while let Err(error) = self.follow(&stop).await {
            let why = format!("Plexus cannot leave this node: {error}");
            tracing::error!("{why}");
            self.status
                .set(vec![Problem::new(ProblemKind::Leaving, why)], 0);
            if stop
                .run_until_cancelled(sleep(pause(failures)))
                .await
                .is_none()
            {
                return;
            }
            failures += 1;
        }
    }

    /// The same, as long as everything can be followed and removed.
    async fn follow(&self, stop: &CancellationToken) -> io::Result<()> {
        let mut watched = DirWatcher::new()?;
        if let Some(file) = &self.file {
            watched.set(vec![file.dir().to_owned()])?;
            let mut told = String::new();
            while let Err(missing) = tokio::task::block_in_place(|| file.withdraw())? {
                if missing != told {
                    tracing::warn!("leaving the node: {missing}");
                    told.clone_from(&missing);
                }
                self.status
                    .set(vec![Problem::new(ProblemKind::Leaving, missing)], 0);
                tokio::select! {
                    changed = watched.changed() => changed?,
                    () = stop.cancelled() => return Ok(()),
                }
            }
        }
        watched.set(
            [LEDGER_DIR, SPOOL_DIR]
                .map(|dir| self.state_dir.join(dir))
                .to_vec(),
        )?;
        let mut told = false;
        loop {
            let left = self.finish().await?.err();
            match &left {
                Some(left) if !std::mem::replace(&mut told, true) => {
                    tracing::info!(
                        "leaving the node: {left}; `plexusd probe ready` says how many there are yet"
                    );
                }
                None if !self.status.get().problems.is_empty() => {
                    tracing::info!("Plexus is uninstalled: nothing is left on this node");
                }
                _ => {}
            }
            self.status.set(
                left.map(|left| Problem::new(ProblemKind::Leaving, left))
                    .into_iter()
                    .collect(),
                0,
            );
            // A runtime that still knows our configuration and has a shim may attach a pod even now.
            tokio::select! {
                changed = watched.changed() => changed?,
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Writes the marker and removes the shim, unless something is left, which is said then.
    async fn finish(&self) -> io::Result<Result<(), String>> {
        if let Some(left) = self.left(&self.ledger.keys().map_err(io::Error::other)?)? {
            return Ok(Err(left));
        }
        // No ADD can begin from here on.
        let exclusive = self.ledger.lock_all().await;
        if let Some(left) = self.left(&exclusive.keys().map_err(io::Error::other)?)? {
            return Ok(Err(left));
        }
        let marker = self.state_dir.join(UNINSTALLED);
        // Writing it may be a change that we are told of.
        if !marker.exists() {
            std::fs::write(&marker, "").map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", marker.display()))
            })?;
        }
        for file in self
            .shim
            .iter()
            .flat_map(|shim| [temporary_path(shim), shim.clone()])
        {
            remove_if_present(&file)?;
        }
        Ok(Ok(()))
    }

    fn left(&self, records: &[Key]) -> io::Result<Option<String>> {
        let spooled = Ledger::spooled_files(&self.state_dir)
            .map_err(io::Error::other)?
            .len();
        Ok((records.len() + spooled > 0).then(|| {
            let records = records.len();
            format!(
                "{records} interfaces are attached by Plexus and {spooled} DELs wait: the pods must be deleted first"
            )
        }))
    }
}
