//! Keeps one kind of the store as the API server has it: a list, then a watch from there on.
//!
//! It is not the watcher of kube's runtime, because of what that does with an API server in trouble: a watch that ends
//! at once is started again without a pause, and one that is refused for its age is started again for ever.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kube::api::{ListParams, VersionMatch, WatchParams};
use kube::core::WatchEvent;
use kube::{Api, Client, ResourceExt as _};
use tokio::time::{Instant, sleep, timeout};

use super::super::store::Store;
use super::connection::Connection;
use super::kinds::Kind;
use super::trouble::Trouble;
use crate::backoff::{Backoff, random};

/// Objects in one answer to a list: its memory is needed once.
const PAGE: u32 = 250;
/// How long one page of a list, or the begin of a watch, may take.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a watch may be silent. Many API servers send a bookmark once a minute, but none has to: it may be well, or its
/// connection may be dead, and a new watch tells.
const SILENCE: Duration = Duration::from_secs(100);
/// For how long the server is asked to watch, in seconds; up to [`SPREAD`] is added.
const WATCH: u32 = 240;
/// So that the nodes of a cluster do not come again at the same moment.
const SPREAD: f64 = 50.0;
/// A watch that lived this long has worked.
const WORKED: Duration = Duration::from_secs(10);

/// Follows one kind.
pub(super) struct Follower<T> {
    connection: Arc<Connection>,
    fields: Option<String>,
    store: Store,
    client: Option<Client>,
    /// From where to watch; none: a list comes first.
    version: Option<String>,
    /// When the latest watch began.
    since: Option<Instant>,
    /// The latest trouble that was told of, by its code, until it is over.
    told: Option<u16>,
    kind: PhantomData<T>,
}

impl<T: Kind> Follower<T> {
    pub(super) fn new(connection: Arc<Connection>, fields: Option<String>, store: Store) -> Self {
        Self {
            connection,
            fields,
            store,
            client: None,
            version: None,
            since: None,
            told: None,
            kind: PhantomData,
        }
    }

    /// Follows for ever.
    pub(super) async fn run(mut self) -> Infallible {
        let mut backoff = Backoff::default();
        loop {
            let outcome = self.round().await;
            let worked = self
                .since
                .take()
                .is_some_and(|since| since.elapsed() >= WORKED);
            if worked {
                backoff.reset();
            }
            let pause = match &outcome {
                // Watches end; that is no trouble unless they do so at once.
                Ok(()) if worked => Duration::ZERO,
                Ok(()) => backoff.next(Duration::ZERO),
                Err(trouble) => backoff.next(trouble.retry_after()),
            };
            if let Err(trouble) = outcome {
                self.tell(&trouble, pause);
                if trouble.code() == 401 {
                    // Credentials that were changed before they ended.
                    self.client = None;
                }
                if trouble.is_lost() {
                    self.version = None;
                }
                if trouble.code() == 404 && T::MISSING.is_some() {
                    self.store.none_exist::<T>();
                }
            }
            sleep(pause).await;
        }
    }

    /// One list where it is needed, and one watch.
    async fn round(&mut self) -> Result<(), Trouble> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.client.insert(self.connection.client().await?).clone(),
        };
        let api = Api::all(client);
        let version = match &self.version {
            Some(version) => version.clone(),
            None => self.version.insert(self.list(&api).await?).clone(),
        };
        self.watch(&api, &version).await
    }

    /// Replaces what the store has; the answer is the version of the list.
    async fn list(&self, api: &Api<T::Wire>) -> Result<String, Trouble> {
        let mut params = ListParams {
            field_selector: self.fields.clone(),
            ..Default::default()
        };
        if T::FROM_CACHE {
            params.resource_version = Some("0".to_owned());
            params.version_match = Some(VersionMatch::NotOlderThan);
        } else {
            params.limit = Some(PAGE);
        }
        let mut objects = Vec::new();
        loop {
            let page = answer(api.list(&params)).await?;
            objects.extend(page.items.into_iter().filter_map(trim::<T>));
            let given = |text: Option<String>| text.filter(|text| !text.is_empty());
            let Some(token) = given(page.metadata.continue_) else {
                tracing::debug!(kind = T::NAME, count = objects.len(), "listed");
                self.store.replace_all(objects);
                return given(page.metadata.resource_version).ok_or(Trouble::NoVersion);
            };
            params.continue_token = Some(token);
        }
    }

    /// Follows the changes from `version` on, until the watch ends.
    async fn watch(&mut self, api: &Api<T::Wire>, version: &str) -> Result<(), Trouble> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 0 and SPREAD"
        )]
        let seconds = WATCH + (SPREAD * random()) as u32;
        let params = WatchParams {
            field_selector: self.fields.clone(),
            ..Default::default()
        }
        .timeout(seconds);
        let mut events = pin!(answer(api.watch(&params, version)).await?);
        self.since = Some(Instant::now());
        if self.told.take().is_some() {
            tracing::info!("{} are watched again", T::NAME);
        }
        loop {
            let Ok(event) = timeout(SILENCE, events.next()).await else {
                return Ok(());
            };
            match event.transpose()? {
                None => return Ok(()),
                Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    self.advance(object.resource_version())?;
                    self.apply(object);
                }
                Some(WatchEvent::Deleted(object)) => {
                    self.advance(object.resource_version())?;
                    self.store
                        .remove::<T>(&object.namespace().unwrap_or_default(), &object.name_any());
                }
                Some(WatchEvent::Bookmark(bookmark)) => {
                    self.advance(Some(bookmark.metadata.resource_version))?;
                    self.store.confirm::<T>();
                }
                Some(WatchEvent::Error(status)) => return Err(Trouble::Refused(status)),
            }
        }
    }

    fn advance(&mut self, version: Option<String>) -> Result<(), Trouble> {
        self.version = Some(
            version
                .filter(|version| !version.is_empty())
                .ok_or(Trouble::NoVersion)?,
        );
        Ok(())
    }

    fn apply(&self, object: T::Wire) {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        match trim::<T>(object) {
            Some(object) => self.store.apply(object),
            // What it was before is not what it is now.
            None => self.store.remove::<T>(&namespace, &name),
        }
    }

    /// Says what is wrong, once.
    fn tell(&mut self, trouble: &Trouble, pause: Duration) {
        let (kind, code, pause) = (T::NAME, trouble.code(), pause.as_secs_f32());
        let text = match (code, T::MISSING) {
            (404, Some(missing)) => missing.to_owned(),
            (403, _) => format!("plexusd may not list and watch {kind}: {}", trouble.text()),
            _ => format!("{kind} cannot be watched: {}", trouble.text()),
        };
        if code == 410 || self.told.replace(code) == Some(code) {
            tracing::debug!("{text}; next try in {pause:.1} s");
        } else {
            tracing::warn!("{text}; next try in {pause:.1} s");
        }
    }
}

async fn answer<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
    Ok(timeout(ANSWER, request)
        .await
        .map_err(|_| Trouble::Silent(ANSWER))??)
}

/// What is kept of an object; none of one that cannot be read, which is told of.
fn trim<T: Kind>(object: T::Wire) -> Option<T> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    T::trim(object)
        .inspect_err(|why| {
            tracing::warn!(
                "{} {namespace}/{name} cannot be read and is left out: {why}",
                T::NAME
            );
        })
        .ok()
}

#[cfg(test)]
mod tests;
