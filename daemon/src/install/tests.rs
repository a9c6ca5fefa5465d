use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use plexus_api::rows;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::config_file::FILE;
use super::{Install, ProblemKind, Status};
use crate::cluster::Store;
use crate::config::{Fields, Settings};
use crate::dir_watcher::DirWatcher;
use crate::gather::default_network::DefaultNetwork;

const PATIENCE: Duration = Duration::from_secs(20);

/// A node whose directory of configurations is looked after.
struct Node {
    root: TempDir,
    store: Store,
    status: Status,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    /// With an empty directory of configurations; nothing is known of the cluster yet.
    async fn new() -> Self {
        let (mut node, install) = Self::prepared().await;
        let until = node.stop.clone();
        node.tasks
            .push(tokio::spawn(async move { install.run(until).await }));
        node
    }

    /// The same, with nobody who looks after it yet.
    async fn prepared() -> (Self, Install) {
        let root = tempfile::tempdir().expect("directory");
        for dir in ["net.d", "bin", "state"] {
            fs::create_dir(root.path().join(dir)).expect(dir);
        }
        fs::write(root.path().join("shim"), "#!/bin/sh\n").expect("shim");
        fs::write(root.path().join("state/uninstalled"), "").expect("marker");
        let at = |name: &str| root.path().join(name);
        let keys = json!({
            "multusAutoconfigDir": at("net.d"), "cniConfigDir": at("net.d"), "shimDir": at("bin"), "stateDir": at("state"),
        });
        let fields = Fields::parse(&keys.to_string()).expect("object");
        let settings = Settings::read(&fields).expect("settings");
        let (store, status, stop) = (
            Store::default(),
            Status::pending("the runtime's configuration is not published yet"),
            CancellationToken::new(),
        );
        let (default_network, follower) = DefaultNetwork::open(&settings, &store)
            .await
            .expect("followed");
        let install = Install::new(
            &settings,
            &fields,
            at("shim"),
            &store,
            &default_network,
            &status,
        )
        .expect("configured");
        let tasks = vec![tokio::spawn(async move { drop(follower.run().await) })];
        (
            Self {
                root,
                store,
                status,
                stop,
                tasks,
            },
            install,
        )
    }

    async fn with_default_network() -> Self {
        let node = Self::new().await;
        node.default_network("10-calico.conflist", "calico");
        node.sync();
        node.until("published", || node.published().is_some()).await;
        node
    }

    fn sync(&self) {
        self.store.replace(Vec::new(), Vec::new());
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join("net.d").join(name)
    }

    fn default_network(&self, name: &str, kind: &str) {
        let capabilities = json!({format!("{kind}-capability"): true});
        let plugins = json!([{"type": kind, "capabilities": capabilities}]);
        let list = json!({"cniVersion": "1.0.0", "name": kind, "plugins": plugins});
        fs::write(self.at(name), list.to_string()).expect(name);
    }

    fn published(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.at(FILE)).ok()?).ok()
    }

    fn capable_of(&self, kind: &str) -> bool {
        let key = format!("{kind}-capability");
        self.published()
            .is_some_and(|list| list["plugins"][0]["capabilities"][&key] == true)
    }

    /// Waits until `wanted`, told of changes in the directories and of the status.
    async fn until(&self, what: &str, wanted: impl Fn() -> bool) {
        let mut watched = DirWatcher::new().expect("inotify");
        watched
            .set(
                ["net.d", "bin"]
                    .map(|dir| self.root.path().join(dir))
                    .to_vec(),
            )
            .expect("watch");
        let mut status = self.status.follow();
        let comes = async {
            while !wanted() {
                tokio::select! {
                    changed = watched.changed() => changed.expect("inotify"),
                    changed = status.changed() => changed.expect("a status"),
                }
            }
        };
        timeout(PATIENCE, comes)
            .await
            .unwrap_or_else(|_| panic!("never: {what}; {:?}", self.status.get()));
    }

    async fn until_problem(&self, text: &str) {
        self.until(text, || {
            self.status
                .get()
                .not_ready()
                .any(|problem| problem.contains(text))
        })
        .await;
    }

    async fn until_ready(&self) {
        self.until("ready", || self.status.get().problems.is_empty())
            .await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shim_and_configuration_come_in_order_and_only_when_they_can_be_used() {
    rows!("C-25", "K-069");
    let node = Node::new().await;
    let shim = node.root.path().join("bin/plexus");
    node.sync();
    node.until("the shim", || shim.exists()).await;
    node.until_problem("no default network").await;
    assert!(
        node.published().is_none(),
        "no configuration before the default network is there"
    );
    node.default_network("10-calico.conflist", "calico");
    node.until_ready().await;
    assert!(node.capable_of("calico"));
    assert!(
        !node.root.path().join("state/uninstalled").exists(),
        "the node is in use again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_before_the_pods_are_known_or_without_the_shim() {
    rows!("K-069");
    let node = Node::new().await;
    node.default_network("10-calico.conflist", "calico");
    fs::remove_file(node.root.path().join("shim")).expect("shim");
    assert_eq!(
        node.status.get().not_ready().collect::<Vec<_>>(),
        ["the runtime's configuration is not published yet"]
    );
    node.sync();
    node.until_problem("--shim").await;
    assert!(node.published().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_network_is_followed_and_its_absence_leaves_our_file() {
    rows!("C-06", "K-070");
    let node = Node::with_default_network().await;
    // Calico changes its file, then makes way for flannel, which appears half-written.
    node.default_network("10-calico.conflist", "calico2");
    node.until("calico2", || node.capable_of("calico2")).await;
    fs::write(node.at("10-calico.conflist"), "").expect("file");
    fs::write(node.at("05-flannel.conflist"), "{\"cniVersion\"").expect("file");
    node.default_network("05-flannel.conflist", "flannel");
    node.until("flannel", || node.capable_of("flannel")).await;
    let before = fs::read(node.at(FILE)).expect("published");
    fs::remove_file(node.at("10-calico.conflist")).expect("file");
    fs::remove_file(node.at("05-flannel.conflist")).expect("file");
    node.until_problem("no default network").await;
    assert_eq!(fs::read(node.at(FILE)).expect("it stays"), before);
    // Also then it is put back.
    fs::remove_file(node.at(FILE)).expect("file");
    node.until("put back", || node.published().is_some()).await;
    assert_eq!(fs::read(node.at(FILE)).expect("put back"), before);
    node.default_network("10-calico.conflist", "calico");
    node.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_daemon_takes_nothing_away() {
    let mut node = Node::with_default_network().await;
    node.until_ready().await;
    node.stop.cancel();
    let install = node.tasks.pop().expect("the installation");
    timeout(PATIENCE, install)
        .await
        .expect("it ends")
        .expect("it does not panic");
    assert!(node.published().is_some() && node.root.path().join("bin/plexus").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn cilium_that_wants_the_directory_for_itself_is_named() {
    let node = Node::with_default_network().await;
    node.default_network("05-cilium.conflist", "cilium");
    node.until("cilium's", || node.capable_of("cilium")).await;
    // As with cni.exclusive: whatever else is there is renamed, each time it appears.
    for _ in 0..5 {
        node.until("put back", || node.at(FILE).exists()).await;
        for name in [FILE, "10-calico.conflist"] {
            let _ = fs::rename(node.at(name), node.at(&format!("{name}.cilium_bak")));
        }
    }
    node.until("contested", || {
        node.status.get().has(ProblemKind::Contested)
    })
    .await;
    let state = node.status.get();
    assert!(
        state
            .problems
            .iter()
            .any(|problem| problem.text.contains("cni.exclusive")),
        "{state:?}"
    );
    assert_eq!(
        (state.restored, state.not_ready().count()),
        (5, 0),
        "the node is ready all the same"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarrel_is_looked_at_again_when_it_may_be_over() {
    let (node, mut install) = Node::prepared().await;
    node.default_network("10-calico.conflist", "calico");
    while install.default_network.current().is_err() {
        install.default_network.changed().await;
    }
    assert_eq!(install.pass(), None);
    let mut later = None;
    for _ in 0..5 {
        fs::remove_file(node.at(FILE)).expect("published");
        later = install.pass();
        // Its pauses, as `run` keeps them.
        while let Some(at) = later.filter(|_| node.published().is_none()) {
            sleep_until(at).await;
            later = install.pass();
        }
    }
    assert!(node.status.get().has(ProblemKind::Contested));
    let left = later.expect("told of a change or not") - Instant::now();
    assert!(
        left > Duration::from_mins(9) && left <= Duration::from_mins(10),
        "{left:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kindnet_that_writes_its_file_again_and_again_changes_nothing() {
    rows!("C-16");
    let node = Node::with_default_network().await;
    node.until_ready().await;
    let before = fs::metadata(node.at(FILE))
        .and_then(|meta| meta.modified())
        .expect("published");
    for round in 0..20 {
        // In place, and by renaming.
        node.default_network("10-calico.conflist", "calico");
        node.default_network(".10-calico.conflist.tmp", "calico");
        fs::rename(
            node.at(".10-calico.conflist.tmp"),
            node.at("10-calico.conflist"),
        )
        .expect("rename");
        fs::write(node.at("note"), round.to_string()).expect("file");
    }
    // What comes after it is seen after it.
    fs::write(node.at("00-broken.conflist"), "{").expect("file");
    node.until_problem("00-broken.conflist").await;
    let after = fs::metadata(node.at(FILE))
        .and_then(|meta| meta.modified())
        .expect("published");
    assert_eq!(after, before);
    assert_eq!(node.status.get().restored, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn istio_and_linkerd_in_our_list_stay_there() {
    let node = Node::with_default_network().await;
    for kind in ["istio-cni", "linkerd-cni"] {
        let mut list = node.published().expect("published");
        list["plugins"]
            .as_array_mut()
            .expect("a list")
            .push(json!({"type": kind}));
        // They write in place.
        fs::write(
            node.at(FILE),
            serde_json::to_vec_pretty(&list).expect("JSON"),
        )
        .expect("file");
    }
    node.default_network("10-calico.conflist", "ovn");
    node.until("ovn", || node.capable_of("ovn")).await;
    let kinds = || {
        let list = node.published()?;
        Some(
            list["plugins"]
                .as_array()?
                .iter()
                .filter_map(|p| Some(p["type"].as_str()?.to_owned()))
                .collect::<Vec<_>>(),
        )
    };
    node.until("both", || {
        kinds().is_some_and(|kinds| kinds == ["plexus", "istio-cni", "linkerd-cni"])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shim_is_put_back_too() {
    let node = Node::with_default_network().await;
    let shim = node.root.path().join("bin/plexus");
    node.until_ready().await;
    fs::remove_file(&shim).expect("shim");
    node.until("the shim", || shim.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_runtime_takes_first_is_a_problem_until_it_is_gone() {
    rows!("C-14");
    let node = Node::with_default_network().await;
    node.until_ready().await;
    fs::write(node.at("00-broken.conflist"), "{").expect("file");
    node.until_problem("00-broken.conflist sorts before").await;
    fs::rename(node.at("00-broken.conflist"), node.at("00-broken.off")).expect("rename");
    node.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_without_being_told() {
    let (mut node, install) = Node::prepared().await;
    // Nobody tells when our own copy of the shim comes.
    let own = node.root.path().join("shim");
    fs::remove_file(&own).expect("our own shim");
    node.sync();
    node.default_network("10-calico.conflist", "calico");
    let until = node.stop.clone();
    node.tasks
        .push(tokio::spawn(async move { install.run(until).await }));
    node.until_problem("the shim is not installed").await;
    fs::write(&own, "#!/bin/sh\n").expect("our own shim");
    node.until_ready().await;
    assert!(node.published().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_passed_over_are_named() {
    let node = Node::new().await;
    node.sync();
    fs::write(node.at("10-calico.conflist"), "{").expect("file");
    node.until_problem("10-calico.conflist").await;
}
