mod restored_shim;
mod unwritable_files;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use plexus_api::cni::Code;
use plexus_api::rows;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::config_file::FILE;
use super::{InstallStatus, Installer, ProblemKind, published};
use crate::cluster::Store;
use crate::config::{Fields, Settings};
use crate::dir_watcher::DirWatcher;
use crate::gather::default_network::DefaultNetwork;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A node with an installer.
struct Node {
    root: TempDir,
    store: Store,
    status: InstallStatus,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    /// A node with an empty configuration directory, before the first list of the cluster.
    async fn new() -> Self {
        let (mut node, installer) = Self::prepared().await;
        node.start(installer);
        node
    }

    /// A node with an installer that is not running yet.
    async fn prepared() -> (Self, Installer) {
        let root = tempfile::tempdir().expect("directory");
        for dir in ["net.d", "bin", "state"] {
            fs::create_dir(root.path().join(dir)).expect(dir);
        }
        fs::write(root.path().join("shim"), "#!/bin/sh\n").expect("shim");
        fs::write(root.path().join("state/uninstalled"), "").expect("marker");
        let at = |name: &str| root.path().join(name);
        let keys = json!({
            "multusAutoconfigDir": at("net.d"), "cniConfigDir": at("net.d"), "shimDir": at("bin"), "stateDir": at("state"),
            "primaryGrace": "0s",
        });
        let fields = Fields::parse(&keys.to_string()).expect("object");
        let settings = Settings::read(&fields).expect("settings");
        let store = Store::default();
        let status = InstallStatus::not_checked("the runtime's configuration is not published yet");
        let (default_network, follower) = DefaultNetwork::open(&settings, &store).await;
        let installer = Installer::new(
            &settings,
            &fields,
            at("shim"),
            &store,
            &default_network,
            &status,
        );
        let tasks = vec![tokio::spawn(async move { match follower.run().await {} })];
        (
            Self {
                root,
                store,
                status,
                stop: CancellationToken::new(),
                tasks,
            },
            installer,
        )
    }

    fn start(&mut self, installer: Installer) {
        let stop = self.stop.clone();
        self.tasks
            .push(tokio::spawn(async move { installer.run(stop).await }));
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

    /// Whether the published configuration is for the default network with the plugin `kind`.
    fn is_published_for(&self, kind: &str) -> bool {
        let key = format!("{kind}-capability");
        self.published()
            .is_some_and(|list| list["plugins"][0]["capabilities"][&key] == true)
    }

    /// Waits until `is_met` returns `true`. Checks after each change of the directories and of the
    /// status.
    async fn until(&self, condition: &str, is_met: impl Fn() -> bool) {
        let mut watcher = DirWatcher::new();
        watcher.set(
            ["net.d", "bin"]
                .map(|dir| self.root.path().join(dir))
                .to_vec(),
        );
        let mut status = self.status.subscribe();
        let reached = async {
            while !is_met() {
                tokio::select! {
                    _ = watcher.changed() => {}
                    changed = status.changed() => changed.expect("a status"),
                }
            }
        };
        timeout(TIMEOUT, reached).await.unwrap_or_else(|_| {
            panic!(
                "timed out waiting for: {condition}; {:?}",
                self.status.get()
            )
        });
    }

    async fn until_problem(&self, text: &str) {
        self.until(text, || {
            self.problems().iter().any(|problem| problem.contains(text))
        })
        .await;
    }

    fn problems(&self) -> Vec<String> {
        let state = self.status.get();
        let problems = state.not_ready();
        problems.map(|found| found.problem.to_string()).collect()
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
async fn the_configuration_is_published_after_the_shim_and_the_default_network() {
    rows!("C-25", "K-069");
    let node = Node::new().await;
    let shim = node.root.path().join("bin/plexus");
    node.sync();
    node.until("the shim", || shim.exists()).await;
    node.until_problem("no default network").await;
    assert!(
        node.published().is_none(),
        "no configuration without a default network"
    );
    node.default_network("10-calico.conflist", "calico");
    node.until_ready().await;
    assert!(node.is_published_for("calico"));
    assert!(
        !node.root.path().join("state/uninstalled").exists(),
        "publishing removes the uninstall marker"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_before_the_first_sync_or_without_the_shim() {
    rows!("K-069");
    let node = Node::new().await;
    node.default_network("10-calico.conflist", "calico");
    fs::remove_file(node.root.path().join("shim")).expect("shim");
    assert_eq!(
        node.problems(),
        [
            "the runtime's configuration is not published yet; wait a moment; if this stays, read the log of plexusd"
        ]
    );
    node.sync();
    node.until_problem("--shim").await;
    assert!(node.published().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_the_default_network_are_published_and_its_removal_is_not() {
    rows!("C-06", "K-070");
    let node = Node::with_default_network().await;
    // Calico changes its file, and is then replaced by flannel, whose file is first incomplete.
    node.default_network("10-calico.conflist", "calico2");
    node.until("calico2", || node.is_published_for("calico2"))
        .await;
    fs::write(node.at("10-calico.conflist"), "").expect("file");
    fs::write(node.at("05-flannel.conflist"), "{\"cniVersion\"").expect("file");
    node.default_network("05-flannel.conflist", "flannel");
    node.until("flannel", || node.is_published_for("flannel"))
        .await;
    let before = fs::read(node.at(FILE)).expect("published");
    fs::remove_file(node.at("10-calico.conflist")).expect("file");
    fs::remove_file(node.at("05-flannel.conflist")).expect("file");
    node.until_problem("no default network").await;
    assert_eq!(fs::read(node.at(FILE)).expect("published"), before);
    // Our file is restored even without a default network.
    fs::remove_file(node.at(FILE)).expect("file");
    node.until("restored", || node.published().is_some()).await;
    assert_eq!(fs::read(node.at(FILE)).expect("restored"), before);
    node.default_network("10-calico.conflist", "calico");
    node.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn installed_files_stay_when_the_daemon_stops() {
    let mut node = Node::with_default_network().await;
    node.until_ready().await;
    node.stop.cancel();
    let installer = node.tasks.pop().expect("the installer");
    timeout(TIMEOUT, installer)
        .await
        .expect("the installer stops")
        .expect("no panic");
    assert!(node.published().is_some() && node.root.path().join("bin/plexus").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_with_cilium_names_its_setting() {
    let node = Node::with_default_network().await;
    node.default_network("05-cilium.conflist", "cilium");
    node.until("cilium", || node.is_published_for("cilium"))
        .await;
    // With cni.exclusive, Cilium renames every other file whenever one appears.
    for _ in 0..5 {
        node.until("restored", || node.at(FILE).exists()).await;
        for name in [FILE, "10-calico.conflist"] {
            let _ = fs::rename(node.at(name), node.at(&format!("{name}.cilium_bak")));
        }
    }
    node.until("a conflict", || {
        node.status.get().has(ProblemKind::ConfigConflict)
    })
    .await;
    let state = node.status.get();
    assert!(
        state
            .problems
            .iter()
            .any(|found| found.problem.remedy.contains("cni.exclusive")),
        "{state:?}"
    );
    assert_eq!(
        (state.restored, state.not_ready().count()),
        (5, 0),
        "the node stays ready"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_checked_again_when_it_may_have_ended() {
    let (node, mut installer) = Node::prepared().await;
    node.default_network("10-calico.conflist", "calico");
    while installer.default_network.current().is_err() {
        installer.default_network.changed().await;
    }
    assert_eq!(installer.reconcile(), None);
    let mut retry = None;
    for _ in 0..5 {
        fs::remove_file(node.at(FILE)).expect("published");
        retry = installer.reconcile();
        // `Installer::run` waits in the same way.
        while let Some(time) = retry.filter(|_| node.published().is_none()) {
            sleep_until(time).await;
            retry = installer.reconcile();
        }
    }
    assert!(node.status.get().has(ProblemKind::ConfigConflict));
    let left = retry.expect("a retry without a change") - Instant::now();
    assert!(
        left > Duration::from_mins(9) && left <= Duration::from_mins(10),
        "{left:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rewrites_of_an_unchanged_default_network_publish_nothing() {
    rows!("C-16");
    let node = Node::with_default_network().await;
    node.until_ready().await;
    let before = fs::metadata(node.at(FILE))
        .and_then(|meta| meta.modified())
        .expect("published");
    // Kindnet writes its file periodically.
    for round in 0..20 {
        // In place, and by a rename.
        node.default_network("10-calico.conflist", "calico");
        node.default_network(".10-calico.conflist.tmp", "calico");
        fs::rename(
            node.at(".10-calico.conflist.tmp"),
            node.at("10-calico.conflist"),
        )
        .expect("rename");
        fs::write(node.at("note"), round.to_string()).expect("file");
    }
    // Changes are reported in order, so the installer has seen all previous ones when it reports
    // this one.
    fs::write(node.at("00-broken.conflist"), "{").expect("file");
    node.until_problem("00-broken.conflist").await;
    let after = fs::metadata(node.at(FILE))
        .and_then(|meta| meta.modified())
        .expect("published");
    assert_eq!(after, before);
    assert_eq!(node.status.get().restored, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_of_istio_and_linkerd_stay_in_our_list() {
    let node = Node::with_default_network().await;
    for kind in ["istio-cni", "linkerd-cni"] {
        let mut list = node.published().expect("published");
        list["plugins"]
            .as_array_mut()
            .expect("a list")
            .push(json!({"type": kind}));
        // Both write the file in place.
        fs::write(
            node.at(FILE),
            serde_json::to_vec_pretty(&list).expect("JSON"),
        )
        .expect("file");
    }
    node.default_network("10-calico.conflist", "ovn");
    node.until("ovn", || node.is_published_for("ovn")).await;
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
async fn a_file_that_sorts_before_ours_is_a_problem_until_it_is_removed() {
    rows!("C-14");
    let node = Node::with_default_network().await;
    node.until_ready().await;
    fs::write(node.at("00-broken.conflist"), "{").expect("file");
    node.until_problem("00-broken.conflist sorts before").await;
    fs::rename(node.at("00-broken.conflist"), node.at("00-broken.off")).expect("rename");
    node.until_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_installation_is_retried_without_a_change() {
    let (mut node, installer) = Node::prepared().await;
    // The source of the shim is not watched.
    let source = node.root.path().join("shim");
    fs::remove_file(&source).expect("the source");
    node.sync();
    node.default_network("10-calico.conflist", "calico");
    node.start(installer);
    node.until_problem("the shim is not installed").await;
    fs::write(&source, "#!/bin/sh\n").expect("the source");
    node.until_ready().await;
    assert!(node.published().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_file_of_another_plugin_is_named() {
    let node = Node::new().await;
    node.sync();
    fs::write(node.at("10-calico.conflist"), "{").expect("file");
    node.until_problem("10-calico.conflist").await;
}

#[tokio::test]
async fn a_fifo_in_place_of_the_published_configuration_is_an_error() {
    let dir = tempfile::tempdir().expect("directory");
    let keys = json!({"cniConfigDir": dir.path(), "stateDir": dir.path()}).to_string();
    let settings = Settings::read(&Fields::parse(&keys).expect("object")).expect("settings");
    mkfifo(&dir.path().join(FILE), Mode::S_IRWXU).expect("a FIFO");
    let error = published(&settings).await.expect_err("not a file");
    assert!(
        error.is(Code::NotAvailable) && error.msg.contains("not a regular file"),
        "{error}"
    );
}
