//! A reflector: keeps the objects of one kind in the store up to date, with a list and then a
//! watch.
//!
//! The watcher of `kube::runtime` is not used because of its behaviour with an unhealthy API
//! server: it restarts a watch that ends immediately without a pause, and retries an outdated
//! version forever.

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

use super::connection::Connection;
use super::error::ApiError;
use super::resources::WatchedKind;
use crate::backoff::{Backoff, random};
use crate::cluster::store::Store;

/// The number of objects in one page of a list. Bounds the memory for a page.
const PAGE_SIZE: u32 = 250;
/// The time limit for one page of a list, and for the start of a watch.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The time after which a silent watch is replaced. A silent watch may be idle, or its connection
/// may be dead: API servers usually send a bookmark every minute, but do not have to.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(100);
/// The duration of a watch that is requested from the server, in seconds, without the jitter.
const WATCH_SECONDS: u32 = 240;
/// The upper bound of the jitter, in seconds: the nodes of a cluster must not reconnect all at
/// once.
const WATCH_JITTER: f64 = 50.0;
/// A watch that lasted this long resets the back-off.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// Keeps the objects of one kind in the store up to date.
pub(super) struct Reflector<T> {
    connection: Arc<Connection>,
    field_selector: Option<String>,
    store: Store,
    client: Option<Client>,
    /// The version to watch from. `None` if a list must come first.
    resource_version: Option<String>,
    /// When the latest watch started.
    watch_started: Option<Instant>,
    /// The code of the last failure that was logged, until a watch starts.
    logged_failure: Option<u16>,
    kind: PhantomData<T>,
}

impl<T: WatchedKind> Reflector<T> {
    pub(super) fn new(
        connection: Arc<Connection>,
        field_selector: Option<String>,
        store: Store,
    ) -> Self {
        Self {
            connection,
            field_selector,
            store,
            client: None,
            resource_version: None,
            watch_started: None,
            logged_failure: None,
            kind: PhantomData,
        }
    }

    /// Never returns.
    pub(super) async fn run(mut self) -> Infallible {
        let mut backoff = Backoff::default();
        loop {
            let outcome = self.list_and_watch().await;
            let was_healthy = self
                .watch_started
                .take()
                .is_some_and(|started| started.elapsed() >= HEALTHY_AFTER);
            if was_healthy {
                backoff.reset();
            }
            let pause = match &outcome {
                // Watches end. Only one that ends at once is a failure.
                Ok(()) if was_healthy => Duration::ZERO,
                Ok(()) => backoff.next(Duration::ZERO),
                Err(error) => backoff.next(error.retry_after()),
            };
            if let Err(error) = outcome {
                self.log_failure(&error, pause);
                if error.code() == 401 {
                    // The credentials may have been replaced before they expired.
                    self.client = None;
                }
                if error.invalidates_version() {
                    self.resource_version = None;
                }
                if error.code() == 404 && T::MISSING.is_some() {
                    self.store.mark_kind_missing::<T>();
                }
            }
            sleep(pause).await;
        }
    }

    /// Lists the objects if there is no version to watch from, and then watches once.
    async fn list_and_watch(&mut self) -> Result<(), ApiError> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.client.insert(self.connection.client().await?).clone(),
        };
        let api = Api::all(client);
        let version = match &self.resource_version {
            Some(version) => version.clone(),
            None => self.resource_version.insert(self.list(&api).await?).clone(),
        };
        self.watch(&api, &version).await
    }

    /// Replaces the objects of the store. Returns the resourceVersion of the list.
    async fn list(&self, api: &Api<T::Api>) -> Result<String, ApiError> {
        let mut params = ListParams {
            field_selector: self.field_selector.clone(),
            ..Default::default()
        };
        if T::LIST_FROM_CACHE {
            params.resource_version = Some("0".to_owned());
            params.version_match = Some(VersionMatch::NotOlderThan);
        } else {
            params.limit = Some(PAGE_SIZE);
        }
        let mut objects = Vec::new();
        loop {
            let page = answer(api.list(&params)).await?;
            objects.extend(page.items.into_iter().filter_map(valid::<T>));
            let non_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
            let Some(token) = non_empty(page.metadata.continue_) else {
                tracing::debug!(kind = T::PLURAL, count = objects.len(), "listed");
                self.store.replace_all(objects);
                return non_empty(page.metadata.resource_version)
                    .ok_or(ApiError::NoResourceVersion);
            };
            params.continue_token = Some(token);
        }
    }

    /// Applies the changes since `version` to the store until the watch ends.
    async fn watch(&mut self, api: &Api<T::Api>, version: &str) -> Result<(), ApiError> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the jitter is between 0 and WATCH_JITTER"
        )]
        let seconds = WATCH_SECONDS + (WATCH_JITTER * random()) as u32;
        let params = WatchParams {
            field_selector: self.field_selector.clone(),
            ..Default::default()
        }
        .timeout(seconds);
        let mut events = pin!(answer(api.watch(&params, version)).await?);
        self.watch_started = Some(Instant::now());
        self.store.set_failure::<T>(None);
        if self.logged_failure.take().is_some() {
            tracing::info!("{} are watched again", T::PLURAL);
        }
        loop {
            let Ok(event) = timeout(SILENCE_TIMEOUT, events.next()).await else {
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
                Some(WatchEvent::Error(status)) => return Err(ApiError::Refused(status)),
            }
        }
    }

    fn advance(&mut self, version: Option<String>) -> Result<(), ApiError> {
        let version = version.filter(|version| !version.is_empty());
        self.resource_version = Some(version.ok_or(ApiError::NoResourceVersion)?);
        Ok(())
    }

    fn apply(&self, object: T::Api) {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        match valid::<T>(object) {
            Some(object) => self.store.apply(object),
            // The earlier version of an object that is now invalid must not be used.
            None => self.store.remove::<T>(&namespace, &name),
        }
    }

    /// Logs a failure as a warning if its code differs from the previous one.
    fn log_failure(&mut self, error: &ApiError, pause: Duration) {
        let (kind, code, pause) = (T::PLURAL, error.code(), pause.as_secs_f32());
        let text = match (code, T::MISSING) {
            (404, Some(missing)) => missing.to_owned(),
            (403, _) => format!("plexusd may not list and watch {kind}: {error}"),
            _ => format!("{kind} cannot be watched: {error}"),
        };
        // A version that is too old (410) is ordinary.
        if code != 410 {
            self.store.set_failure::<T>(Some(text.clone()));
        }
        if code == 410 || self.logged_failure.replace(code) == Some(code) {
            tracing::debug!("{text}; retrying in {pause:.1} s");
        } else {
            tracing::warn!("{text}; retrying in {pause:.1} s");
        }
    }
}

async fn answer<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    Ok(timeout(ANSWER_TIMEOUT, request)
        .await
        .map_err(|_| ApiError::Timeout(ANSWER_TIMEOUT))??)
}

/// The part of an object that is kept. An invalid object is logged, and `None`.
fn valid<T: WatchedKind>(object: T::Api) -> Option<T> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    T::from_api(object)
        .inspect_err(|error| {
            tracing::warn!(
                "{} {namespace}/{name} is invalid and ignored: {error}",
                T::PLURAL
            );
        })
        .ok()
}

#[cfg(test)]
mod tests;
