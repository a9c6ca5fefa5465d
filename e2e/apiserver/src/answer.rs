//! The way of a request: who asks, what goes wrong, what is asked, and the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, USER_AGENT, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode, Uri, request::Parts};
use axum::response::Response;
use futures_util::stream;
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::audit::{Entry, Ticket};
use super::discovery;
use super::faults::{Befallen, Effect};
use super::negotiate::View;
use super::path::{Path, Query, verb};
use super::refusal::{self, Refusal};
use super::resource::resource;
use super::serve::Connection;
use super::shared::Shared;
use super::watch::Watch;

/// How large a body may be.
const BODY_LIMIT: usize = 3 * 1024 * 1024;
/// In how many pieces a slow body comes.
const PIECES: u32 = 20;

/// A request.
pub struct Call {
    /// What it is in the words of RBAC; the method in lower case where it asks for no resource.
    pub verb: &'static str,
    /// The resource that it asks for.
    pub path: Option<Path>,
    /// Its query.
    pub query: Query,
    /// The header `Accept`.
    pub accept: String,
    /// The header `Content-Type` without parameters.
    pub media_type: String,
    /// Its body.
    pub body: Bytes,
    uri: Uri,
    user_agent: String,
    too_large: bool,
}

/// What comes back, other than a refusal.
pub enum Done {
    /// A document, with this status.
    Document(StatusCode, Value),
    /// Plain text.
    Text(&'static str),
    /// A watch.
    Stream(Box<Watch>),
}

/// Answers a request.
pub async fn answer(shared: Arc<Shared>, connection: Connection, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let user = shared.access().authenticate(&parts.headers);
    let call = Call::new(&parts, read(body).await);
    let ticket = Arc::new(
        shared
            .audit
            .begin(call.entry(user.as_deref().unwrap_or_default())),
    );
    let (outcome, effects) = match user {
        Err(refusal) => (Err(refusal), Vec::new()),
        Ok(user) => {
            let befallen = call.befallen(user);
            let effects = shared.faults.take(&befallen);
            let outcome = match befall(&effects, &connection).await {
                Some(refusal) => Err(refusal),
                None => perform(&shared, &call, befallen, &effects, &connection, &ticket),
            };
            (outcome, effects)
        }
    };
    if effects
        .iter()
        .any(|effect| matches!(effect, Effect::LoseAnswer))
    {
        lose(&connection).await;
    }
    let response = outcome.map_or_else(refused, respond);
    ticket.answered(response.status().as_u16());
    match effects.iter().find_map(|effect| {
        if let Effect::SlowBody(time) = effect {
            Some(*time)
        } else {
            None
        }
    }) {
        Some(time) => slowed(response, time, ticket).await,
        None => response,
    }
}

/// The body, unless it is too large or broken. It is read to its end all the same: a connection that is closed with
/// something unread loses the answer.
async fn read(mut body: Body) -> Option<Bytes> {
    let mut read = Vec::new();
    let mut good = true;
    while let Some(frame) = body.frame().await {
        match frame.ok().and_then(|frame| frame.into_data().ok()) {
            Some(data) if good && read.len() + data.len() <= BODY_LIMIT => {
                read.extend_from_slice(&data);
            }
            _ => good = false,
        }
    }
    good.then(|| read.into())
}

impl Call {
    fn new(parts: &Parts, body: Option<Bytes>) -> Self {
        let header = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let path = Path::parse(parts.uri.path());
        let query = Query::parse(parts.uri.query());
        let media_type = header(CONTENT_TYPE);
        Self {
            verb: match &path {
                Some(path) => verb(&parts.method, path, &query),
                None if parts.method == Method::GET => "get",
                None => "",
            },
            path,
            query,
            accept: header(ACCEPT),
            media_type: media_type
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned(),
            too_large: body.is_none(),
            body: body.unwrap_or_default(),
            uri: parts.uri.clone(),
            user_agent: header(USER_AGENT),
        }
    }

    fn entry(&self, user: &str) -> Entry {
        Entry {
            verb: self.verb.to_owned(),
            path: self.path.clone().unwrap_or_default(),
            uri: self.uri.to_string(),
            user: user.to_owned(),
            user_agent: self.user_agent.clone(),
            body: String::from_utf8_lossy(&self.body).into_owned(),
            code: None,
            started: Instant::now(),
            finished: None,
        }
    }

    fn befallen(&self, user: String) -> Befallen {
        let resource = self.path.as_ref().map_or_else(
            || self.uri.path().to_owned(),
            Path::resource_and_subresource,
        );
        Befallen {
            verb: self.verb.to_owned(),
            resource,
            user,
        }
    }
}

fn perform(
    shared: &Arc<Shared>,
    call: &Call,
    befallen: Befallen,
    effects: &[Effect],
    connection: &Connection,
    ticket: &Arc<Ticket>,
) -> Result<Done, Refusal> {
    if call.too_large {
        return Err(Refusal::too_large());
    }
    match &call.path {
        None => page(shared, call, &befallen.user),
        Some(path) => {
            let cut_after = effects.iter().find_map(|effect| match effect {
                Effect::CutAfter(events) => Some(*events),
                _ => None,
            });
            resource(
                shared,
                call,
                path,
                befallen,
                cut_after,
                (connection, ticket),
            )
        }
    }
}

/// Lets happen what happens before a request is looked at.
async fn befall(effects: &[Effect], connection: &Connection) -> Option<Refusal> {
    for effect in effects {
        match effect {
            Effect::Delay(time) => tokio::time::sleep(*time).await,
            Effect::TooManyRequests(seconds) => return Some(Refusal::too_many_requests(*seconds)),
            Effect::Error(code) => return Some(Refusal::server_error(*code)),
            Effect::Disconnect => lose(connection).await,
            Effect::LoseAnswer | Effect::SlowBody(_) | Effect::Stall | Effect::CutAfter(_) => {}
        }
    }
    None
}

/// Cuts the connection before anything more is written to it.
async fn lose(connection: &Connection) {
    connection.cut();
    std::future::pending::<()>().await;
}

/// What is no resource: health, version, discovery.
fn page(shared: &Shared, call: &Call, user: &str) -> Result<Done, Refusal> {
    let path = call.uri.path();
    shared.access().authorize_path(user, call.verb, path)?;
    if call.verb != "get" {
        return Err(Refusal::method_not_allowed());
    }
    if matches!(path, "/healthz" | "/livez" | "/readyz") {
        return Ok(Done::Text("ok"));
    }
    let document = discovery::answer(&shared.store().kinds, path, &shared.address.to_string());
    let document = document.ok_or_else(Refusal::no_such_page)?;
    View::negotiate(&call.accept, false)?;
    Ok(Done::Document(StatusCode::OK, document))
}

fn respond(done: Done) -> Response {
    match done {
        Done::Document(status, document) => {
            reply(status.as_u16(), "application/json", document.to_string())
        }
        Done::Text(text) => reply(200, "text/plain; charset=utf-8", text),
        Done::Stream(watch) => reply(200, "application/json", watch.into_body()),
    }
}

fn refused(refusal: Refusal) -> Response {
    let mut response = match refusal.body {
        refusal::Body::Status(status) => {
            reply(refusal.code, "application/json", status.to_string())
        }
        refusal::Body::Text(text) => reply(refusal.code, "text/plain; charset=utf-8", text),
    };
    if let Some(seconds) = refusal.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

fn reply(code: u16, media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The same answer, its body in pieces over this time.
async fn slowed(response: Response, time: Duration, ticket: Arc<Ticket>) -> Response {
    let (parts, body) = response.into_parts();
    // It was made by this server, in memory.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let size = body.len().div_ceil(PIECES as usize).max(1);
    let pieces = stream::unfold((body, ticket), move |(mut rest, ticket)| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(time / PIECES).await;
        let piece = rest.split_to(size.min(rest.len()));
        Some((Ok::<_, std::convert::Infallible>(piece), (rest, ticket)))
    });
    Response::from_parts(parts, Body::from_stream(pieces))
}
