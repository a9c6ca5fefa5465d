//! kube-rs as a client of the server.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client, Config};
use plexus_apiserver::{ApiServer, Effect, Fault};
use serde_json::json;

use crate::support::{TIMEOUT, pod, pod_on};

async fn client(server: &ApiServer) -> Client {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = Kubeconfig::read_from(server.kubeconfig(dir.path(), "node")).expect("kubeconfig");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .expect("configuration");
    Client::try_from(config).expect("client")
}

async fn with_timeout<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, future)
        .await
        .expect("timeout")
}

/// A reflector for the pods of the node `n1`, and a line for each of its events.
struct PodReflector {
    store: reflector::Store<Pod>,
    events: tokio::sync::mpsc::UnboundedReceiver<String>,
}

impl PodReflector {
    fn start(client: Client, config: watcher::Config) -> Self {
        let (store, writer) = reflector::store();
        let (sender, events) = tokio::sync::mpsc::unbounded_channel();
        let stream =
            watcher(Api::<Pod>::all(client), config.fields("spec.nodeName=n1")).default_backoff();
        let mut stream = Box::pin(reflector(writer, stream));
        tokio::spawn(async move {
            while let Some(event) = stream.next().await {
                let line = match &event {
                    Ok(watcher::Event::Apply(pod)) => format!("apply {}", name(pod)),
                    Ok(watcher::Event::Delete(pod)) => format!("delete {}", name(pod)),
                    Ok(watcher::Event::Init) => "init".into(),
                    Ok(watcher::Event::InitApply(pod)) => format!("listed {}", name(pod)),
                    Ok(watcher::Event::InitDone) => "done".into(),
                    Err(error) => format!("error {error:?}"),
                };
                let _ = sender.send(line);
            }
        });
        Self { store, events }
    }

    async fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(
                with_timeout(self.events.recv()).await.as_deref(),
                Some(*line)
            );
        }
    }

    /// Skips events until one that satisfies `wanted`, and returns it.
    async fn until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let line = with_timeout(self.events.recv()).await.expect("event");
            if wanted(&line) {
                return line;
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.store.state().iter().map(|pod| name(pod)).collect();
        names.sort();
        names
    }
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

fn status_error<T: Debug>(outcome: Result<T, kube::Error>) -> (u16, String) {
    match outcome {
        Err(kube::Error::Api(status)) => (status.code, status.reason.clone()),
        other => panic!("expected an error response, got {other:?}"),
    }
}

#[tokio::test]
async fn a_reflector_recovers_from_broken_watches_and_compaction() {
    let server = ApiServer::start();
    for name in ["a", "b", "c"] {
        server.create(&pod_on(name, "n1"));
    }
    server.create(&pod_on("x", "n2"));
    let mut reflector = PodReflector::start(
        client(&server).await,
        watcher::Config::default().page_size(2),
    );
    reflector
        .expect(&["init", "listed a", "listed b", "listed c", "done"])
        .await;
    assert_eq!(server.count("list", "pods"), 2, "two pages");
    server.create(&pod_on("d", "n1"));
    server.create(&pod_on("y", "n2"));
    reflector.expect(&["apply d"]).await;
    // A broken watch resumes at its resource version, without another list.
    server.drop_watches("pods");
    server.create(&pod_on("e", "n1"));
    assert_eq!(
        reflector.until(|line| !line.starts_with("error")).await,
        "apply e"
    );
    assert_eq!(server.count("list", "pods"), 2);
    // A bookmark after a compaction keeps the watch from expiring.
    server.compact();
    server.bookmark();
    server.create(&pod_on("f", "n1"));
    reflector.expect(&["apply f"]).await;
    server.drop_watches("pods");
    server.delete("pods", "default", "f");
    assert_eq!(
        reflector.until(|line| !line.starts_with("error")).await,
        "delete f"
    );
    assert_eq!(server.count("list", "pods"), 2);
    // Without a bookmark the resource version has expired, so the reflector lists again.
    server.stop();
    server.delete("pods", "default", "a");
    server.compact();
    server.resume();
    reflector.until(|line| line == "done").await;
    assert_eq!(reflector.names(), ["b", "c", "d", "e"]);
    assert_eq!(server.count("list", "pods"), 4);
}

#[tokio::test]
async fn a_reflector_can_start_with_a_streaming_list() {
    let server = ApiServer::start();
    server.create(&pod_on("a", "n1"));
    let mut reflector = PodReflector::start(
        client(&server).await,
        watcher::Config::default().streaming_lists(),
    );
    reflector.expect(&["init", "listed a", "done"]).await;
    server.create(&pod_on("b", "n1"));
    reflector.expect(&["apply b"]).await;
    assert_eq!(
        (server.count("list", "pods"), server.count("watch", "pods")),
        (0, 1)
    );
}

#[tokio::test]
async fn a_reflector_retries_after_server_errors() {
    let server = ApiServer::start();
    server.create(&pod_on("a", "n1"));
    server.fault(Fault::new("list", "pods", Effect::Error(500)).times(1));
    server.fault(Fault::new("watch", "pods", Effect::CutAfter(0)).times(1));
    let mut reflector = PodReflector::start(client(&server).await, watcher::Config::default());
    reflector.until(|line| line == "done").await;
    server.create(&pod_on("b", "n1"));
    reflector.until(|line| line == "apply b").await;
    assert_eq!(reflector.names(), ["a", "b"]);
}

#[tokio::test]
async fn partial_metadata_can_be_watched() {
    let server = ApiServer::start();
    server.create(&pod_on("a", "n1"));
    let pods = Api::<PartialObjectMeta<Pod>>::all(client(&server).await);
    let stream = watcher(pods, watcher::Config::default()).applied_objects();
    let mut stream = Box::pin(stream);
    let first = with_timeout(stream.try_next())
        .await
        .expect("success")
        .expect("object");
    assert_eq!(first.metadata.name.as_deref(), Some("a"));
    server.create(&pod("b"));
    let second = with_timeout(stream.try_next())
        .await
        .expect("success")
        .expect("object");
    assert_eq!(second.metadata.name.as_deref(), Some("b"));
}

#[tokio::test]
async fn a_status_patch_must_have_the_uid_of_the_pod() {
    let server = ApiServer::start();
    let uid = server.create(&pod_on("a", "n1"))["metadata"]["uid"].clone();
    let pods = Api::<Pod>::namespaced(client(&server).await, "default");
    let patch = |uid: &serde_json::Value| json!({"metadata": {"uid": uid, "annotations": {"status": "[]"}}});
    let send = |name: &'static str, uid: serde_json::Value| {
        let (pods, patch) = (pods.clone(), patch(&uid));
        async move {
            pods.patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
                .await
        }
    };
    let pod = with_timeout(send("a", uid.clone())).await.expect("success");
    assert_eq!(pod.metadata.annotations.unwrap_or_default()["status"], "[]");
    assert_eq!(
        status_error(with_timeout(send("a", json!("other"))).await),
        (422, "Invalid".into())
    );
    assert_eq!(
        status_error(with_timeout(send("none", uid)).await),
        (404, "NotFound".into())
    );
    assert_eq!(server.count("patch", "pods/status"), 3);
}

#[tokio::test]
async fn kube_rs_honours_retry_after() {
    let server = ApiServer::start();
    let pods = Api::<Pod>::namespaced(client(&server).await, "default");
    server.fault(Fault::new("list", "pods", Effect::TooManyRequests(1)).times(1));
    let start = std::time::Instant::now();
    let list = with_timeout(pods.list(&ListParams::default()))
        .await
        .expect("success on the second attempt");
    assert!(list.items.is_empty() && start.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.count("list", "pods"), 2);
    let new: Pod = serde_json::from_value(pod("a")).expect("pod");
    with_timeout(pods.create(&PostParams::default(), &new))
        .await
        .expect("created");
    assert_eq!(
        status_error(with_timeout(pods.create(&PostParams::default(), &new)).await),
        (409, "AlreadyExists".into())
    );
    assert!(
        with_timeout(pods.delete("a", &kube::api::DeleteParams::default()))
            .await
            .expect("deleted")
            .is_left()
    );
}
