use std::fs;
use std::path::Path;
use std::time::Duration;

use plexus_api::cni::{CniError, Code};
use plexus_api::rows;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::DefaultNetwork;
use crate::cluster::{Definition, Store};
use crate::config::{Fields, Settings};

/// A default network that is followed.
struct Followed {
    default_network: DefaultNetwork,
    store: Store,
    task: JoinHandle<std::io::Error>,
}

impl Followed {
    async fn new(mut keys: Value) -> Self {
        // Its parents are watched until it is there: what the machine has is not for everybody to look at.
        let keys = keys.as_object_mut().expect("an object");
        keys.entry("confDir")
            .or_insert_with(|| json!("/not-there/net.d"));
        let keys = Value::Object(keys.clone());
        let settings =
            Settings::read(&Fields::parse(&keys.to_string()).expect("object")).expect("settings");
        let store = Store::default();
        store.replace(Vec::new(), Vec::new());
        let (default_network, follower) = DefaultNetwork::open(&settings, &store)
            .await
            .expect("it can be followed");
        Self {
            default_network,
            store,
            task: tokio::spawn(follower.run()),
        }
    }

    /// The first plugin of the network, or the error.
    fn now(&self) -> Result<String, CniError> {
        self.default_network
            .current()
            .map(|network| network.config.plugins[0].kind())
    }

    async fn until(&mut self, wanted: impl Fn(&Result<String, CniError>) -> bool) {
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

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn list(kind: &str) -> String {
    json!({"cniVersion": "1.0.0", "name": format!("{kind}-net"), "plugins": [{"type": kind}]})
        .to_string()
}

fn dir(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("directory");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect(name);
    }
    dir
}

fn autoconfig(dir: &Path) -> Value {
    json!({"multusAutoconfigDir": dir})
}

#[tokio::test]
async fn the_first_file_is_taken_and_never_one_of_ours_or_a_sample() {
    rows!("K-071");
    let nested = json!({"cniVersion": "0.4.0", "name": "x", "type": "wrap", "delegate": {"type": "multus-shim"}});
    let mut files = vec![("00-plexus.conflist", list("plexus"))];
    files.extend(
        ["00-multus.conf", "05-mine.conflist", "06-mine.json"].map(|name| (name, list("multus"))),
    );
    files.push(("07-wrap.conf", nested.to_string()));
    let samples = [
        "87-podman-bridge.conflist",
        "10-containerd-net.conflist",
        "100-crio-bridge.conflist",
        "11-crio-ipv4-bridge.conflist",
        "200-loopback.conflist",
        "nerdctl-bridge.conflist",
        "05-calico.conflist.sample",
        "05-calico.conflist.cilium_bak",
    ];
    files.extend(samples.map(|name| (name, list("bridge"))));
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let dir = dir(&files);
    let mut followed = Followed::new(autoconfig(dir.path())).await;
    let error = followed
        .now()
        .expect_err("only files that are not for pods");
    assert!(error.is(Code::TryAgain), "{error}");
    assert!(
        error.msg.contains("no default network") && error.msg.contains("multusAutoconfigDir"),
        "{error}"
    );
    assert!(
        error
            .details
            .contains("00-plexus.conflist leads back to plexus"),
        "{}",
        error.details
    );
    assert!(
        error
            .details
            .contains("87-podman-bridge.conflist is a sample"),
        "{}",
        error.details
    );
    fs::write(dir.path().join("90-real.conflist"), list("real")).expect("file");
    followed.until_is("real").await;
}

#[tokio::test]
async fn a_pin_takes_what_is_never_taken_otherwise() {
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
            Followed::new(keys).await.now().expect("a network"),
            "bridge"
        );
    }
    let directory = json!({"clusterNetwork": dir.path()});
    assert_eq!(
        Followed::new(directory).await.now().expect("a network"),
        "flannel"
    );
}

#[tokio::test]
async fn changes_renames_and_an_earlier_file_are_followed() {
    rows!("C-06");
    let dir = dir(&[("10-flannel.conflist", &list("flannel"))]);
    let at = |name: &str| dir.path().join(name);
    let mut followed = Followed::new(autoconfig(dir.path())).await;
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
async fn a_file_written_in_part_leaves_what_was_read_last() {
    let dir = dir(&[("10-a.conflist", &list("a")), ("20-b.conflist", &list("b"))]);
    let at = |name: &str| dir.path().join(name);
    let pinned = json!({"clusterNetwork": at("10-a.conflist")});
    for keys in [autoconfig(dir.path()), pinned] {
        let settings =
            Settings::read(&Fields::parse(&keys.to_string()).expect("object")).expect("settings");
        // Looked at by hand, so that each look is after its write.
        let (default_network, mut follower) = DefaultNetwork::open(&settings, &Store::default())
            .await
            .expect("it can be followed");
        let first = || {
            default_network
                .current()
                .map(|network| network.config.plugins[0].kind())
        };
        for text in ["", &list("a")[..20], "{}", "[]"] {
            fs::write(at("10-a.conflist"), text).expect("file");
            follower.look().await.expect("a look");
            assert_eq!(first().expect("it stays"), "a", "{text:?}");
        }
        fs::write(at("10-a.conflist"), list("a2")).expect("file");
        follower.look().await.expect("a look");
        assert_eq!(first().expect("whole again"), "a2");
        fs::write(at("10-a.conflist"), list("a")).expect("file");
    }
    fs::write(at("10-a.conflist"), "").expect("file");
    let followed = Followed::new(autoconfig(dir.path())).await;
    assert_eq!(
        followed.now().expect("a network"),
        "b",
        "nothing was read of the first one"
    );
}

#[tokio::test]
async fn a_pinned_file_that_is_gone_or_comes_later_with_its_directory_is_followed() {
    let root = dir(&[]);
    let file = root.path().join("cni/net.d/10-a.conflist");
    let mut followed = Followed::new(json!({"clusterNetwork": file})).await;
    assert!(
        followed
            .now()
            .expect_err("nothing yet")
            .msg
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
        .expect_err("calls try again");
    assert!(
        error.is(Code::TryAgain) && error.msg.contains("clusterNetwork"),
        "{error}"
    );
    fs::write(&file, list("b")).expect("file");
    followed.until_is("b").await;
}

#[tokio::test]
async fn plugins_in_the_directory_of_the_list_are_followed() {
    let dir = dir(&[("10-a.conflist", &list("a"))]);
    let mut followed = Followed::new(autoconfig(dir.path())).await;
    let plugins = |followed: &Followed| {
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
        Followed::new(json!({"clusterNetwork": "pods", "multusNamespace": "infra"})).await;
    assert!(followed.now().is_err());
    let definition = |config: &str| {
        vec![Definition {
            namespace: "infra".into(),
            name: "pods".into(),
            config: Some(config.to_owned()),
            resource_name: None,
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
        "calls look it up"
    );
    followed
        .store
        .replace(Vec::new(), definition(&list("plexus")));
    followed.until(Result::is_err).await;
    assert!(
        followed
            .now()
            .expect_err("ours")
            .msg
            .contains("wait for itself")
    );
}

#[tokio::test]
async fn without_the_readiness_indicator_there_is_none() {
    rows!("K-070");
    let dir = dir(&[("10-a.conflist", &list("a"))]);
    let indicator = dir.path().join("ready/indicator");
    for keys in [
        autoconfig(dir.path()),
        json!({"delegates": [{"name": "a", "cniVersion": "1.0.0", "type": "a"}]}),
    ] {
        let mut keys = keys;
        keys["readinessindicatorfile"] = json!(indicator);
        let mut followed = Followed::new(keys).await;
        let error = followed.default_network.for_call().expect_err("not ready");
        assert!(
            error.is(Code::TryAgain) && error.msg.contains("readinessindicatorfile"),
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
    let mut followed = Followed::new(autoconfig(dir.path())).await;
    followed.until_is("old").await;
    fs::write(elsewhere.path().join("net"), list("new")).expect("file");
    followed.until_is("new").await;
}
