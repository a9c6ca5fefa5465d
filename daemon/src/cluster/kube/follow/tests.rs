//! Time is virtual here: a pause of a minute takes none, and a loop without pauses shows by the number of requests.

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

/// What an API server says to one request.
enum Say {
    /// A whole answer.
    All(u16, Value),
    /// These lines, and the end.
    Lines(Vec<Value>),
    /// These lines, and silence.
    Open(Vec<Value>),
}

#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<(String, Instant)>>>);

impl Asked {
    fn requests(&self) -> Vec<String> {
        self.0
            .lock()
            .expect("nobody panics with it")
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
            .expect("nobody panics with it")
            .iter()
            .map(|(_, at)| *at)
            .collect()
    }
}

/// Follows a server that answers each request by `answer`, which gets the request and how many came before it.
fn follow<T: Kind + Sync + 'static>(
    answer: impl Fn(&str, usize) -> Say + Clone + Send + 'static,
) -> (Store, Asked) {
    let asked = Asked::default();
    let seen = asked.clone();
    let service = service_fn(move |request: Request<kube::client::Body>| {
        let request = request.uri().to_string();
        let count = {
            let mut seen = seen.0.lock().expect("nobody panics with it");
            seen.push((request.clone(), Instant::now()));
            seen.len() - 1
        };
        let answer = answer(&request, count);
        async move { Ok::<_, Never>(response(answer)) }
    });
    let store = Store::default();
    let mut follower = Follower::<T>::new(
        Arc::new(Connection::new(
            None,
            ApiLayer::new(Arc::new(Metrics::new(false))),
        )),
        None,
        store.clone(),
    );
    follower.client = Some(Client::new(service, "default"));
    tokio::spawn(follower.run());
    (store, asked)
}

fn response(say: Say) -> Response<Body> {
    let text = |lines: Vec<Value>| {
        lines
            .iter()
            .fold(String::new(), |text, line| format!("{text}{line}\n"))
    };
    let (code, body) = match say {
        Say::All(code, value) => (code, Body::from(value.to_string())),
        Say::Lines(lines) => (200, Body::from(text(lines))),
        Say::Open(lines) => {
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

fn list(names: &[&str], version: &str) -> Say {
    let items: Vec<_> = names.iter().map(|name| object(name, "1")).collect();
    Say::All(
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

/// Until the store has (or has not) a definition of this name.
async fn until(store: &Store, name: &str, there: bool) {
    let patience = Duration::from_mins(10);
    let deadline = Instant::now() + patience;
    if there {
        assert!(
            store.wait_definition("ns", name, deadline).await.is_some(),
            "{name} does not come"
        );
    } else {
        let gone = async {
            while store.definition("ns", name).is_some() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(patience, gone)
            .await
            .unwrap_or_else(|_| panic!("{name} does not go"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_is_as_the_server_says() {
    let (store, asked) = follow::<Definition>(|request, _| {
        if request.contains("watch=true") {
            return Say::Open(vec![
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
        "what an object was before is not what it is now"
    );
    let requests = asked.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(
        requests[1].contains("resourceVersion=5")
            && requests[1].contains("allowWatchBookmarks=true")
    );
}

#[tokio::test(start_paused = true)]
async fn lists_come_in_pages() {
    let (store, asked) = follow::<Definition>(|request, _| {
        let page = |name: &str, token: &str| {
            Say::All(
                200,
                json!({
                    "apiVersion": "v1", "kind": "List",
                    "metadata": {"resourceVersion": "5", "continue": token}, "items": [object(name, "1")],
                }),
            )
        };
        match request {
            watch if watch.contains("watch=true") => Say::Open(vec![]),
            next if next.contains("continue=t") => page("b", ""),
            _ => page("a", "t"),
        }
    });
    until(&store, "b", true).await;
    until(&store, "a", true).await;
    assert!(
        asked.requests()[0].contains("limit=250"),
        "{:?}",
        asked.requests()
    );

    let (store, asked) = follow::<Pod>(|request, _| {
        if request.contains("watch=true") {
            Say::Open(vec![])
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
        asked.requests()[0].contains("resourceVersion=0"),
        "from the server's cache: {:?}",
        asked.requests()
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_while_nobody_watched_is_gone_after_the_next_list() {
    for too_old in ["at the start", "in between"] {
        let (store, _) = follow::<Definition>(move |request, count| {
            match (request.contains("watch=true"), count) {
                (false, 0) => list(&["a"], "5"),
                (false, _) => list(&["b"], "50"),
                (true, 1) if too_old == "at the start" => Say::All(410, refusal(410)),
                (true, 1) => Say::Open(vec![event("ERROR", refusal(410))]),
                (true, _) => Say::Open(vec![]),
            }
        });
        until(&store, "b", true).await;
        assert!(store.definition("ns", "a").is_none(), "{too_old}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_from_where_it_was() {
    let (store, asked) =
        follow::<Definition>(
            |request, count| match (request.contains("watch=true"), count) {
                (false, _) => list(&[], "5"),
                (true, 1) => Say::Lines(vec![event("ADDED", object("a", "6"))]),
                (true, 2) => Say::All(503, refusal(503)),
                (true, 3) => Say::Open(vec![event(
                    "BOOKMARK",
                    json!({
                        "apiVersion": "v1", "kind": "K", "metadata": {"resourceVersion": "9"},
                    }),
                )]),
                (true, _) => Say::Open(vec![event("ADDED", object("z", "12"))]),
            },
        );
    until(&store, "z", true).await;
    let watches = asked.watches();
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
    assert_eq!(asked.requests().len(), 5, "it is listed once");
    let times = asked.times();
    let silent = times[4] - times[3];
    // Without a pause: that is no trouble.
    assert!(
        silent >= SILENCE && silent < SILENCE + Duration::from_millis(100),
        "a watch without a word for {silent:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn trouble_is_met_with_pauses() {
    for (what, answer) in [
        (
            "watches that end at once",
            (|request: &str| {
                if request.contains("watch=true") {
                    Say::Lines(vec![])
                } else {
                    list(&["a"], "5")
                }
            }) as fn(&str) -> Say,
        ),
        ("watches that are refused", |request| {
            if request.contains("watch=true") {
                Say::All(410, refusal(410))
            } else {
                list(&["a"], "5")
            }
        }),
        ("lists that are refused", |_| Say::All(500, refusal(500))),
        ("lists without a version", |_| list(&["a"], "")),
    ] {
        let (_store, asked) = follow::<Definition>(move |request, _| answer(request));
        sleep(Duration::from_mins(10)).await;
        let count = asked.requests().len();
        assert!(
            (10..100).contains(&count),
            "{what}: {count} requests in ten minutes"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_be_left_alone_is() {
    let (store, asked) =
        follow::<Definition>(
            |request, count| match (request.contains("watch=true"), count) {
                (false, 0) => {
                    let mut busy = refusal(429);
                    busy["details"] = json!({"retryAfterSeconds": 20});
                    Say::All(429, busy)
                }
                (false, _) => list(&["a"], "5"),
                (true, _) => Say::Open(vec![]),
            },
        );
    until(&store, "a", true).await;
    let times = asked.times();
    assert!(times[1] - times[0] >= Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_may_lack_the_definitions_kind() {
    rows!("K-001");
    let (store, _) =
        follow::<Definition>(
            |request, count| match (request.contains("watch=true"), count) {
                (false, 0..4) => Say::All(404, refusal(404)),
                (false, _) => list(&["a"], "5"),
                (true, _) => Say::Open(vec![]),
            },
        );
    assert!(
        store
            .wait_definitions(Instant::now() + Duration::from_secs(5))
            .await,
        "there are none, and that is known"
    );
    until(&store, "a", true).await;

    let (store, _) = follow::<Pod>(|_, _| Say::All(404, refusal(404)));
    store.none_exist::<Definition>();
    sleep(Duration::from_mins(1)).await;
    assert!(!store.synced(), "no API server lacks pods");
}
