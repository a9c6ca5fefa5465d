use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::time::Duration;

use plexus_api::rows;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::DefaultNetwork;
use crate::cluster::{Definition, Store};
use crate::config::{Fields, Settings};
use crate::gather::test_helpers::dir;
use crate::gather::{GatherError, disk};

/// A default network and the task that watches it.
struct WatchedNetwork {
    default_network: DefaultNetwork,
    store: Store,
    task: JoinHandle<Infallible>,
    _state_dir: TempDir,
}

impl WatchedNetwork {
    async fn new(mut keys: Value) -> Self {
        // The parents of a missing directory are watched, and those of this machine may be
        // unreadable.
        let keys = keys.as_object_mut().expect("an object");
        keys.entry("confDir")
            .or_insert_with(|| json!("/missing/net.d"));
        let state_dir = tempfile::tempdir().expect("a directory");
        keys.entry("stateDir")
            .or_insert_with(|| json!(state_dir.path()));
        let keys = Value::Object(keys.clone());
        let settings =
            Settings::read(&Fields::parse(&keys.to_string()).expect("object")).expect("settings");
        let store = Store::default();
        store.replace(Vec::new(), Vec::new());
        let (default_network, watcher) = DefaultNetwork::open(&settings, &store).await;
        Self {
            default_network,
            store,
            task: tokio::spawn(watcher.run()),
            _state_dir: state_dir,
        }
    }

    /// The first plugin of the network, or the error.
    fn now(&self) -> Result<String, GatherError> {
        self.default_network
            .current()
            .map(|network| network.config.plugins[0].kind())
    }

    async fn until(&mut self, wanted: impl Fn(&Result<String, GatherError>) -> bool) {
        let appears = async {
            while !wanted(&self.now()) {
                self.default_network.changed().await;
            }
        };
        timeout(Duration::from_secs(20), appears)
            .await
            .unwrap_or_else(|_| panic!("still {:?}", self.now()));
    }

    async fn until_is(&mut self, kind: &str) {
        self.until(|now| now.as_deref().is_ok_and(|now| now == kind))
            .await;
    }
}

impl Drop for WatchedNetwork {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn list(kind: &str) -> String {
    json!({"cniVersion": "1.0.0", "name": format!("{kind}-net"), "plugins": [{"type": kind}]})
        .to_string()
}

fn autoconfig(dir: &Path) -> Value {
    json!({"multusAutoconfigDir": dir, "primaryGrace": "0s"})
}

#[tokio::test]
async fn the_first_file_is_used_except_meta_plugins_and_samples() {
    rows!("K-071");
    let nested = json!({"cniVersion": "0.4.0", "name": "x", "type": "wrap", "delegate": {"type": "multus-shim"}});
    let mut files = vec![("00-plexus.conflist", list("plexus"))];
    files.extend(
        ["00-multus.conf", "05-mine.conflist", "06-mine.json"].map(|name| (name, list("multus"))),
    );
    files.push(("07-wrap.conf", nested.to_string()));
    let samples = [
        "87-podman-bridge.conflist",
        "100-crio-bridge.conflist",
        "11-crio-ipv4-bridge.conflist",
        "200-loopback.conflist",
        "nerdctl-bridge.conflist",
        "05-calico.conflist.sample",
        "05-calico.conflist.cilium_bak",
    ];
    files.extend(samples.map(|name| (name, list("bridge"))));
    files.push(("10-containerd-net.conflist", list("containerd")));
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let dir = dir(&files);
    let mut followed = WatchedNetwork::new(autoconfig(dir.path())).await;
    let error = followed.now().expect_err("only meta-plugins and samples");
    assert!(
        matches!(error, GatherError::DefaultNetworkMissing { .. }),
        "{error}"
    );
    for part in [
        "no default network",
        "multusAutoconfigDir",
        "00-plexus.conflist has a plugin of type \"plexus\"",
        "87-podman-bridge.conflist is a sample, which multusMasterCNI can select",
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
    fs::write(dir.path().join("90-real.conflist"), list("real")).expect("file");
    followed.until_is("real").await;
}

#[tokio::test]
async fn the_network_that_containerd_makes_from_its_template_is_used() {
    rows!("K-071");
    // With `conf_template`, as on GKE, containerd writes the network of the pods to this file, in
    // which its installer puts a sample with the network `containerd-net`.
    let dir = dir(&[("10-containerd-net.conflist", &list("k8s-pod"))]);
    let network = WatchedNetwork::new(autoconfig(dir.path())).await;
    assert_eq!(network.now().expect("a network"), "k8s-pod");
    let broken = self::dir(&[
        ("10-containerd-net.conflist", "{"),
        ("90-real.conflist", &list("real")),
    ]);
    let selected = disk::select_file(broken.path(), None).expect("a network");
    let path = broken.path().join("10-containerd-net.conflist");
    assert_eq!(selected.broken[0].path(), Some(path), "waited for");
}

#[tokio::test]
async fn a_pinned_file_may_have_the_name_of_a_sample() {
    rows!("K-061");
    let dir = dir(&[
        ("10-flannel.conflist", &list("flannel")),
        ("87-podman.conflist", &list("bridge")),
    ]);
    let file = dir.path().join("87-podman.conflist");
    for keys in [
        json!({"multusAutoconfigDir": dir.path(), "multusMasterCNI": "87-podman.conflist"}),
        json!({"clusterNetwork": file}),
        json!({"clusterNetwork": file, "multusAutoconfigDir": dir.path()}),
    ] {
        assert_eq!(
            WatchedNetwork::new(keys).await.now().expect("a network"),
            "bridge"
        );
    }
    let directory = json!({"clusterNetwork": dir.path()});
    assert_eq!(
        WatchedNetwork::new(directory)
            .await
            .now()
            .expect("a network"),
        "flannel"
    );
}

#[tokio::test]
async fn changes_renames_and_earlier_files_are_followed() {
    rows!("C-06");
    let dir = dir(&[("10-flannel.conflist", &list("flannel"))]);
    let at = |name: &str| dir.path().join(name);
    let mut followed = WatchedNetwork::new(autoconfig(dir.path())).await;
    followed.until_is("flannel").await;
    fs::write(at(".new"), list("flannel2")).expect("file");
    fs::rename(at(".new"), at("10-flannel.conflist")).expect("rename");
    followed.until_is("flannel2").await;
    fs::write(at("05-cilium.conflist"), list("cilium")).expect("file");
    followed.until_is("cilium").await;
    fs::rename(at("05-cilium.conflist"), at("05-cilium.conflist.bak")).expect("rename");
    followed.until_is("flannel2").await;
}

#[tokio::test]
async fn a_partly_written_file_keeps_its_last_valid_content() {
    let dir = dir(&[("10-a.conflist", &list("a")), ("20-b.conflist", &list("b"))]);
    let at = |name: &str| dir.path().join(name);
    let state_dir = tempfile::tempdir().expect("a directory");
    let pinned = json!({"clusterNetwork": at("10-a.conflist")});
    for mut keys in [autoconfig(dir.path()), pinned] {
        keys["stateDir"] = json!(state_dir.path());
        let settings =
            Settings::read(&Fields::parse(&keys.to_string()).expect("object")).expect("settings");
        // The test calls `update` itself, so that each update follows its write.
        let (default_network, mut watcher) =
            DefaultNetwork::open(&settings, &Store::default()).await;
        let first = || {
            default_network
                .current()
                .map(|network| network.config.plugins[0].kind())
        };
        for text in ["", &list("a")[..20], "{}", "[]"] {
            fs::write(at("10-a.conflist"), text).expect("file");
            watcher.update().await;
            assert_eq!(first().expect("the last valid content"), "a", "{text:?}");
        }
        fs::write(at("10-a.conflist"), list("a2")).expect("file");
        watcher.update().await;
        assert_eq!(first().expect("the new content"), "a2");
        fs::write(at("10-a.conflist"), list("a")).expect("file");
    }
    fs::write(at("10-a.conflist"), "").expect("file");
    let followed = WatchedNetwork::new(autoconfig(dir.path())).await;
    assert_eq!(
        followed.now().expect("a network"),
        "b",
        "the first file was never valid"
    );
}

#[tokio::test]
async fn a_pinned_file_is_followed_when_its_directory_appears_or_the_file_is_removed() {
    let root = dir(&[]);
    let file = root.path().join("cni/net.d/10-a.conflist");
    let mut followed = WatchedNetwork::new(json!({"clusterNetwork": file})).await;
    assert!(
        followed
            .now()
            .expect_err("no file yet")
            .to_string()
            .contains("10-a.conflist")
    );
    fs::create_dir_all(file.parent().expect("parent")).expect("directory");
    fs::write(&file, list("a")).expect("file");
    followed.until_is("a").await;
    fs::remove_file(&file).expect("file");
    followed.until(Result::is_err).await;
    let error = followed
        .default_network
        .for_call()
        .expect_err("the file is gone");
    assert!(
        matches!(error, GatherError::DefaultNetworkMissing { .. })
            && error.to_string().contains("clusterNetwork"),
        "{error}"
    );
    fs::write(&file, list("b")).expect("file");
    followed.until_is("b").await;
}

#[tokio::test]
async fn plugins_in_the_directory_beside_a_list_are_followed() {
    let dir = dir(&[("10-a.conflist", &list("a"))]);
    let mut followed = WatchedNetwork::new(autoconfig(dir.path())).await;
    let plugins = |followed: &WatchedNetwork| {
        followed
            .default_network
            .current()
            .map(|network| network.config.plugins.len())
    };
    assert_eq!(plugins(&followed).expect("a network"), 1);
    let siblings = dir.path().join("a-net");
    fs::create_dir(&siblings).expect("directory");
    fs::write(siblings.join("50-tuning.conf"), r#"{"type":"tuning"}"#).expect("file");
    while plugins(&followed).expect("a network") != 2 {
        timeout(Duration::from_secs(20), followed.default_network.changed())
            .await
            .expect("a change");
    }
    fs::remove_file(siblings.join("50-tuning.conf")).expect("file");
    while plugins(&followed).expect("a network") != 1 {
        timeout(Duration::from_secs(20), followed.default_network.changed())
            .await
            .expect("a change");
    }
}

#[tokio::test]
async fn a_definition_is_followed_and_looked_up_by_each_call() {
    rows!("K-061", "K-071");
    let mut followed =
        WatchedNetwork::new(json!({"clusterNetwork": "pods", "multusNamespace": "infra"})).await;
    assert!(followed.now().is_err());
    let definition = |config: &str| {
        vec![Definition {
            namespace: "infra".into(),
            name: "pods".into(),
            config: Some(config.to_owned()),
            ..Definition::default()
        }]
    };
    followed.store.replace(Vec::new(), definition(&list("a")));
    followed.until_is("a").await;
    assert!(
        followed
            .default_network
            .for_call()
            .expect("no error")
            .is_none(),
        "calls look the network up"
    );
    followed
        .store
        .replace(Vec::new(), definition(&list("plexus")));
    followed.until(Result::is_err).await;
    assert!(
        followed
            .now()
            .expect_err("a meta-plugin")
            .to_string()
            .contains("call Plexus again")
    );
}

#[tokio::test]
async fn there_is_no_default_network_without_the_readiness_indicator() {
    rows!("K-070");
    let dir = dir(&[("10-a.conflist", &list("a"))]);
    let indicator = dir.path().join("ready/indicator");
    for keys in [
        autoconfig(dir.path()),
        json!({"delegates": [{"name": "a", "cniVersion": "1.0.0", "type": "a"}]}),
    ] {
        let mut keys = keys;
        keys["readinessindicatorfile"] = json!(indicator);
        let mut followed = WatchedNetwork::new(keys).await;
        let error = followed.default_network.check_ready();
        let error = error.expect_err("not ready");
        assert!(
            matches!(error, GatherError::DefaultNetworkNotReady(_))
                && error.to_string().contains("readinessindicatorfile"),
            "{error}"
        );
        fs::create_dir(indicator.parent().expect("parent")).expect("directory");
        fs::write(&indicator, "").expect("file");
        followed.until_is("a").await;
        fs::remove_dir_all(indicator.parent().expect("parent")).expect("directory");
        followed.until(Result::is_err).await;
    }
}

#[tokio::test]
async fn a_link_to_a_file_elsewhere_is_followed() {
    let (dir, elsewhere) = (dir(&[]), dir(&[("net", &list("old"))]));
    std::os::unix::fs::symlink(
        elsewhere.path().join("net"),
        dir.path().join("10-a.conflist"),
    )
    .expect("link");
    let mut followed = WatchedNetwork::new(autoconfig(dir.path())).await;
    followed.until_is("old").await;
    fs::write(elsewhere.path().join("net"), list("new")).expect("file");
    followed.until_is("new").await;
}

#[tokio::test]
async fn a_daemon_that_starts_while_the_file_is_missing_waits_for_it() {
    let (dir, state) = (
        dir(&[
            ("05-cilium.conflist", &list("cilium")),
            ("10-aws.conflist", &list("aws")),
        ]),
        dir(&[]),
    );
    let cilium = dir.path().join("05-cilium.conflist");
    let keys = |grace: &str| {
        json!({
            "multusAutoconfigDir": dir.path(), "stateDir": state.path(), "primaryGrace": grace,
        })
    };
    let mut followed = WatchedNetwork::new(keys("1h")).await;
    followed.until_is("cilium").await;
    fs::remove_file(&cilium).expect("file");
    followed.until(Result::is_err).await;
    let error = followed.now().expect_err("no default network").to_string();
    for part in ["05-cilium.conflist", "10-aws.conflist", "primaryGrace"] {
        assert!(error.contains(part), "{error}");
    }
    fs::write(&cilium, "{").expect("half of a file");
    let mut restarted = WatchedNetwork::new(keys("1h")).await;
    assert!(restarted.now().is_err(), "the file is half-written");
    fs::write(&cilium, list("cilium")).expect("file");
    restarted.until_is("cilium").await;
    followed.until_is("cilium").await;
    // A file that sorts first takes effect at once.
    fs::write(dir.path().join("01-new.conflist"), list("new")).expect("file");
    restarted.until_is("new").await;
    fs::remove_file(dir.path().join("01-new.conflist")).expect("file");
    let mut impatient = WatchedNetwork::new(keys("1ms")).await;
    impatient.until_is("cilium").await;
}
