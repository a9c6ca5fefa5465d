//! kube-rs against the server, as it is.

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
    let dir = tempfile::tempdir().expect("a directory");
    let file =
        Kubeconfig::read_from(server.kubeconfig(dir.path(), "node")).expect("kube-rs reads it");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .expect("a configuration");
    Client::try_from(config).expect("a client")
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, what)
        .await
        .expect("it comes in time")
}

/// A store that follows the pods of the node `n1`.
struct Followed {
    store: reflector::Store<Pod>,
    events: tokio::sync::mpsc::UnboundedReceiver<String>,
}

impl Followed {
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
            assert_eq!(soon(self.events.recv()).await.as_deref(), Some(*line));
        }
    }

    /// Skips what is told until this, and gives it.
    async fn until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let line = soon(self.events.recv()).await.expect("the watch goes on");
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

fn rejected<T: Debug>(outcome: Result<T, kube::Error>) -> (u16, String) {
    match outcome {
        Err(kube::Error::Api(status)) => (status.code, status.reason.clone()),
        other => panic!("not refused but {other:?}"),
    }
}

#[tokio::test]
async fn a_reflector_follows_through_what_goes_wrong() {
    let server = ApiServer::start();
    for name in ["a", "b", "c"] {
        server.create(&pod_on(name, "n1"));
    }
    server.create(&pod_on("x", "n2"));
    let mut followed = Followed::start(
        client(&server).await,
        watcher::Config::default().page_size(2),
    );
    followed
        .expect(&["init", "listed a", "listed b", "listed c", "done"])
        .await;
    assert_eq!(server.count("list", "pods"), 2, "two pages");
    server.create(&pod_on("d", "n1"));
    server.create(&pod_on("y", "n2"));
    followed.expect(&["apply d"]).await;
    // A watch that breaks is begun again from where it was, without a list.
    server.drop_watches("pods");
    server.create(&pod_on("e", "n1"));
    assert_eq!(
        followed.until(|line| !line.starts_with("error")).await,
        "apply e"
    );
    assert_eq!(server.count("list", "pods"), 2);
    // A bookmark carries over a compaction that happened before it.
    server.compact();
    server.bookmark();
    server.create(&pod_on("f", "n1"));
    followed.expect(&["apply f"]).await;
    server.drop_watches("pods");
    server.delete("pods", "default", "f");
    assert_eq!(
        followed.until(|line| !line.starts_with("error")).await,
        "delete f"
    );
    assert_eq!(server.count("list", "pods"), 2);
    // Without one the past is gone, and it lists anew.
    server.stop();
    server.delete("pods", "default", "a");
    server.compact();
    server.resume();
    followed.until(|line| line == "done").await;
    assert_eq!(followed.names(), ["b", "c", "d", "e"]);
    assert_eq!(server.count("list", "pods"), 4);
}

#[tokio::test]
async fn a_reflector_begins_with_a_streaming_list() {
    let server = ApiServer::start();
    server.create(&pod_on("a", "n1"));
    let mut followed = Followed::start(
        client(&server).await,
        watcher::Config::default().streaming_lists(),
    );
    followed.expect(&["init", "listed a", "done"]).await;
    server.create(&pod_on("b", "n1"));
    followed.expect(&["apply b"]).await;
    assert_eq!(
        (server.count("list", "pods"), server.count("watch", "pods")),
        (0, 1)
    );
}

#[tokio::test]
async fn a_reflector_outlasts_errors_of_the_server() {
    let server = ApiServer::start();
    server.create(&pod_on("a", "n1"));
    server.fault(Fault::new("list", "pods", Effect::Error(500)).times(1));
    server.fault(Fault::new("watch", "pods", Effect::CutAfter(0)).times(1));
    let mut followed = Followed::start(client(&server).await, watcher::Config::default());
    followed.until(|line| line == "done").await;
    server.create(&pod_on("b", "n1"));
    followed.until(|line| line == "apply b").await;
    assert_eq!(followed.names(), ["a", "b"]);
}

#[tokio::test]
async fn metadata_is_watched_alone() {
    let server = ApiServer::start();
    server.create(&pod_on("a", "n1"));
    let pods = Api::<PartialObjectMeta<Pod>>::all(client(&server).await);
    let stream = watcher(pods, watcher::Config::default()).applied_objects();
    let mut stream = Box::pin(stream);
    let first = soon(stream.try_next())
        .await
        .expect("no error")
        .expect("an object");
    assert_eq!(first.metadata.name.as_deref(), Some("a"));
    server.create(&pod("b"));
    let second = soon(stream.try_next())
        .await
        .expect("no error")
        .expect("an object");
    assert_eq!(second.metadata.name.as_deref(), Some("b"));
}

#[tokio::test]
async fn the_status_is_patched_for_the_right_pod_only() {
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
    let pod = soon(send("a", uid.clone()))
        .await
        .expect("it is the right one");
    assert_eq!(pod.metadata.annotations.unwrap_or_default()["status"], "[]");
    assert_eq!(
        rejected(soon(send("a", json!("other"))).await),
        (422, "Invalid".into())
    );
    assert_eq!(
        rejected(soon(send("none", uid)).await),
        (404, "NotFound".into())
    );
    assert_eq!(server.count("patch", "pods/status"), 3);
}

#[tokio::test]
async fn overload_is_waited_out_as_the_server_says() {
    let server = ApiServer::start();
    let pods = Api::<Pod>::namespaced(client(&server).await, "default");
    server.fault(Fault::new("list", "pods", Effect::TooManyRequests(1)).times(1));
    let begin = std::time::Instant::now();
    let list = soon(pods.list(&ListParams::default()))
        .await
        .expect("the second try succeeds");
    assert!(list.items.is_empty() && begin.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.count("list", "pods"), 2);
    let made: Pod = serde_json::from_value(pod("a")).expect("a pod");
    soon(pods.create(&PostParams::default(), &made))
        .await
        .expect("it is made");
    assert_eq!(
        rejected(soon(pods.create(&PostParams::default(), &made)).await),
        (409, "AlreadyExists".into())
    );
    assert!(
        soon(pods.delete("a", &kube::api::DeleteParams::default()))
            .await
            .expect("it is there")
            .is_left()
    );
}
