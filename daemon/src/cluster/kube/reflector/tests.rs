//! Time is virtual in these tests: a pause of a minute takes no time, and a loop without pauses
//! shows in the number of requests.

use std::convert::Infallible as Never;
use std::sync::Mutex;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use futures_util::stream;
use plexus_api::rows;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::cluster::Definition;
use crate::model::Pod;
use crate::telemetry::{ApiLayer, Metrics};

/// The answer of an API server to one request.
enum Answer {
    /// A complete body with this status.
    Body(u16, Value),
    /// A watch that ends after these events.
    Ends(Vec<Value>),
    /// A watch that is silent after these events.
    StaysOpen(Vec<Value>),
}

#[derive(Clone, Default)]
struct RequestLog(Arc<Mutex<Vec<(String, Instant)>>>);

impl RequestLog {
    fn requests(&self) -> Vec<String> {
        self.0
            .lock()
            .expect("the lock is not poisoned")
            .iter()
            .map(|(request, _)| request.clone())
            .collect()
    }

    fn watches(&self) -> Vec<String> {
        self.requests()
            .into_iter()
            .filter(|request| request.contains("watch=true"))
            .collect()
    }

    fn times(&self) -> Vec<Instant> {
        self.0
            .lock()
            .expect("the lock is not poisoned")
            .iter()
            .map(|(_, at)| *at)
            .collect()
    }
}

/// Runs a reflector of a server that answers each request with `answer`, which gets the request and
/// the number of requests before it.
fn reflect<T: WatchedKind + Sync + 'static>(
    answer: impl Fn(&str, usize) -> Answer + Clone + Send + 'static,
) -> (Store, RequestLog) {
    let log = RequestLog::default();
    let seen = log.clone();
    let service = service_fn(move |request: Request<kube::client::Body>| {
        let request = request.uri().to_string();
        let count = {
            let mut seen = seen.0.lock().expect("the lock is not poisoned");
            seen.push((request.clone(), Instant::now()));
            seen.len() - 1
        };
        let answer = answer(&request, count);
        async move { Ok::<_, Never>(response(answer)) }
    });
    let store = Store::default();
    let mut reflector = Reflector::<T>::new(
        Arc::new(Connection::new(
            None,
            ApiLayer::new(Arc::new(Metrics::new(false))),
        )),
        None,
        store.clone(),
    );
    reflector.client = Some(Client::new(service, "default"));
    tokio::spawn(reflector.run());
    (store, log)
}

fn response(answer: Answer) -> Response<Body> {
    let text = |lines: Vec<Value>| {
        lines
            .iter()
            .fold(String::new(), |text, line| format!("{text}{line}\n"))
    };
    let (code, body) = match answer {
        Answer::Body(code, value) => (code, Body::from(value.to_string())),
        Answer::Ends(lines) => (200, Body::from(text(lines))),
        Answer::StaysOpen(lines) => {
            let lines = stream::iter([Ok::<_, Never>(Bytes::from(text(lines)))]);
            (200, Body::from_stream(lines.chain(stream::pending())))
        }
    };
    Response::builder()
        .status(code)
        .body(body)
        .expect("a response")
}

fn object(name: &str, version: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "ns", "resourceVersion": version}, "spec": {"config": "{}"}})
}

fn list(names: &[&str], version: &str) -> Answer {
    let items: Vec<_> = names.iter().map(|name| object(name, "1")).collect();
    Answer::Body(
        200,
        json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": version}, "items": items}),
    )
}

fn event(kind: &str, object: impl Into<Value>) -> Value {
    json!({"type": kind, "object": object.into()})
}

fn refusal(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "R", "message": "m"})
}

/// Waits until the store has, or no longer has, a definition with this name.
async fn until(store: &Store, name: &str, present: bool) {
    let patience = Duration::from_mins(10);
    let deadline = Instant::now() + patience;
    if present {
        assert!(
            store.wait_definition("ns", name, deadline).await.is_some(),
            "{name} does not appear"
        );
    } else {
        let gone = async {
            while store.definition("ns", name).is_some() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(patience, gone)
            .await
            .unwrap_or_else(|_| panic!("{name} does not disappear"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_follows_the_server() {
    let (store, log) = reflect::<Definition>(|request, _| {
        if request.contains("watch=true") {
            return Answer::StaysOpen(vec![
                event("ADDED", object("b", "6")),
                event(
                    "MODIFIED",
                    json!({"metadata": {"name": "broken", "namespace": "ns", "resourceVersion": "7"}, "spec": 5}),
                ),
                event(
                    "BOOKMARK",
                    json!({"apiVersion": "v1", "kind": "K", "metadata": {"resourceVersion": "8"}}),
                ),
                event("DELETED", object("a", "9")),
                event("ADDED", object("c", "10")),
            ]);
        }
        list(&["a", "broken"], "5")
    });
    until(&store, "c", true).await;
    let known = |name| store.definition("ns", name).is_some();
    assert!(
        known("b") && !known("a") && !known("broken"),
        "an object that became invalid is removed"
    );
    let requests = log.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(
        requests[1].contains("resourceVersion=5")
            && requests[1].contains("allowWatchBookmarks=true")
    );
}

#[tokio::test(start_paused = true)]
async fn lists_come_in_pages() {
    let (store, log) = reflect::<Definition>(|request, _| {
        let page = |name: &str, token: &str| {
            Answer::Body(
                200,
                json!({
                    "apiVersion": "v1", "kind": "List",
                    "metadata": {"resourceVersion": "5", "continue": token}, "items": [object(name, "1")],
                }),
            )
        };
        match request {
            watch if watch.contains("watch=true") => Answer::StaysOpen(vec![]),
            next if next.contains("continue=t") => page("b", ""),
            _ => page("a", "t"),
        }
    });
    until(&store, "b", true).await;
    until(&store, "a", true).await;
    assert!(
        log.requests()[0].contains("limit=250"),
        "{:?}",
        log.requests()
    );

    let (store, log) = reflect::<Pod>(|request, _| {
        if request.contains("watch=true") {
            Answer::StaysOpen(vec![])
        } else {
            list(&["p"], "5")
        }
    });
    assert!(
        store
            .wait_pod("ns", "p", Instant::now() + Duration::from_mins(1), |_| true)
            .await
            .is_some()
    );
    assert!(
        log.requests()[0].contains("resourceVersion=0"),
        "from the server's cache: {:?}",
        log.requests()
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_that_was_deleted_between_watches_is_gone_after_the_next_list() {
    for too_old in ["at the start", "in between"] {
        let (store, _) = reflect::<Definition>(move |request, count| {
            match (request.contains("watch=true"), count) {
                (false, 0) => list(&["a"], "5"),
                (false, _) => list(&["b"], "50"),
                (true, 1) if too_old == "at the start" => Answer::Body(410, refusal(410)),
                (true, 1) => Answer::StaysOpen(vec![event("ERROR", refusal(410))]),
                (true, _) => Answer::StaysOpen(vec![]),
            }
        });
        until(&store, "b", true).await;
        assert!(store.definition("ns", "a").is_none(), "{too_old}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_resumes_from_the_last_version() {
    let (store, log) =
        reflect::<Definition>(
            |request, count| match (request.contains("watch=true"), count) {
                (false, _) => list(&[], "5"),
                (true, 1) => Answer::Ends(vec![event("ADDED", object("a", "6"))]),
                (true, 2) => Answer::Body(503, refusal(503)),
                (true, 3) => Answer::StaysOpen(vec![event(
                    "BOOKMARK",
                    json!({
                        "apiVersion": "v1", "kind": "K", "metadata": {"resourceVersion": "9"},
                    }),
                )]),
                (true, _) => Answer::StaysOpen(vec![event("ADDED", object("z", "12"))]),
            },
        );
    until(&store, "z", true).await;
    let watches = log.watches();
    let from: Vec<_> = ["=5", "=6", "=6", "=9"]
        .into_iter()
        .map(|version| format!("resourceVersion{version}"))
        .collect();
    assert_eq!(watches.len(), 4, "{watches:?}");
    assert!(
        watches
            .iter()
            .zip(&from)
            .all(|(watch, from)| watch.contains(from)),
        "{watches:?}"
    );
    assert_eq!(log.requests().len(), 5, "there is only one list");
    let times = log.times();
    let silent = times[4] - times[3];
    // A silent watch is replaced without a pause: silence is not a failure.
    assert!(
        silent >= SILENCE_TIMEOUT && silent < SILENCE_TIMEOUT + Duration::from_millis(100),
        "a watch was silent for {silent:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn failures_are_retried_with_pauses() {
    for (case, answer) in [
        (
            "watches that end at once",
            (|request: &str| {
                if request.contains("watch=true") {
                    Answer::Ends(vec![])
                } else {
                    list(&["a"], "5")
                }
            }) as fn(&str) -> Answer,
        ),
        ("watches that are refused", |request| {
            if request.contains("watch=true") {
                Answer::Body(410, refusal(410))
            } else {
                list(&["a"], "5")
            }
        }),
        ("lists that are refused", |_| {
            Answer::Body(500, refusal(500))
        }),
        ("lists without a version", |_| list(&["a"], "")),
    ] {
        let (_store, log) = reflect::<Definition>(move |request, _| answer(request));
        sleep(Duration::from_mins(10)).await;
        let count = log.requests().len();
        assert!(
            (10..100).contains(&count),
            "{case}: {count} requests in ten minutes"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_as_long_as_the_server_asks() {
    let (store, log) =
        reflect::<Definition>(
            |request, count| match (request.contains("watch=true"), count) {
                (false, 0) => {
                    let mut busy = refusal(429);
                    busy["details"] = json!({"retryAfterSeconds": 20});
                    Answer::Body(429, busy)
                }
                (false, _) => list(&["a"], "5"),
                (true, _) => Answer::StaysOpen(vec![]),
            },
        );
    until(&store, "a", true).await;
    let times = log.times();
    assert!(times[1] - times[0] >= Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_may_lack_the_definition_kind() {
    rows!("K-001");
    let (store, _) =
        reflect::<Definition>(
            |request, count| match (request.contains("watch=true"), count) {
                (false, 0..4) => Answer::Body(404, refusal(404)),
                (false, _) => list(&["a"], "5"),
                (true, _) => Answer::StaysOpen(vec![]),
            },
        );
    assert!(
        store
            .wait_definitions(Instant::now() + Duration::from_secs(5))
            .await,
        "there are no definitions, and that is known"
    );
    until(&store, "a", true).await;

    let (store, _) = reflect::<Pod>(|_, _| Answer::Body(404, refusal(404)));
    store.mark_kind_missing::<Definition>();
    sleep(Duration::from_mins(1)).await;
    assert!(!store.is_synced(), "every API server has pods");
}
