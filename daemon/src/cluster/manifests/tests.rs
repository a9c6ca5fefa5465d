use std::convert::Infallible;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Manifests, parse, remove_status, write_status};
use crate::cluster::Store;
use crate::telemetry::CapturedLog;

fn pod(name: &str, note: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  annotations:\n    note: '{note}'\n"
    )
}

/// A directory of manifests and the task that watches it.
struct WatchedManifests {
    dir: TempDir,
    store: Store,
    task: JoinHandle<Infallible>,
    barriers: u32,
}

impl WatchedManifests {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("directory");
        for (name, text) in files {
            fs::write(dir.path().join(name), text).expect(name);
        }
        let store = Store::default();
        let manifests = Manifests::open(dir.path(), store.clone()).expect("open");
        assert!(store.is_synced(), "the first read is done");
        Self {
            dir,
            store,
            task: tokio::spawn(manifests.run()),
            barriers: 0,
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn note(&self, pod: &str) -> Option<String> {
        self.store
            .pod("default", pod)
            .map(|pod| pod.annotations["note"].clone())
    }

    /// Waits until all changes so far have been applied: events arrive in order.
    async fn settle(&mut self) {
        self.barriers += 1;
        let name = format!("barrier-{}", self.barriers);
        fs::write(self.path().join("zz-barrier.yaml"), pod(&name, "x")).expect("barrier");
        let deadline = Instant::now() + Duration::from_secs(20);
        assert!(
            self.store
                .wait_pod("default", &name, deadline, |_| true)
                .await
                .is_some(),
            "the directory is not followed"
        );
    }
}

#[test]
fn pods_and_definitions_are_read_from_several_documents() {
    plexus_api::rows!("K-002");
    let objects = parse(
        r#"---
# nothing
---
apiVersion: v1
kind: Pod
metadata:
  name: p
  namespace: tenant
  uid: 1-2-3
  annotations:
    k8s.v1.cni.cncf.io/networks: '[{"name":"a"}]'
spec:
  containers: [{name: c, image: i}]
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: full, namespace: tenant, annotations: {k8s.v1.cni.cncf.io/resourceName: intel.com/sriov}}
spec:
  config: |
    {"type": "bridge"}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: n}}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: null-spec}, spec: null}
---
{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: no-config}, spec: {}}
---
{apiVersion: other/v1, kind: NetworkAttachmentDefinition, metadata: {name: another-group}}
---
{apiVersion: other/v1, kind: Thing, metadata: 5, spec: {config: {a: b}}}
"#,
    )
    .expect("parses");
    let [pod] = &objects.pods[..] else {
        panic!("{:?}", objects.pods)
    };
    assert_eq!(
        (&*pod.namespace, &*pod.name, &*pod.uid),
        ("tenant", "p", "1-2-3")
    );
    assert_eq!(
        pod.annotations["k8s.v1.cni.cncf.io/networks"],
        r#"[{"name":"a"}]"#
    );
    let definitions: Vec<_> = objects
        .definitions
        .iter()
        .map(|d| {
            (
                &*d.namespace,
                &*d.name,
                d.config.as_deref().map(str::trim),
                d.resource_name.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        definitions,
        [
            (
                "tenant",
                "full",
                Some(r#"{"type": "bridge"}"#),
                Some("intel.com/sriov")
            ),
            ("default", "n", None, None),
            ("default", "null-spec", None, None),
            ("default", "no-config", None, None),
        ]
    );
}

#[test]
fn an_error_names_the_position() {
    for (text, position) in [
        ("kind: Pod\n  name: [x\n", "line 2"),
        (
            "a: 1\n---\napiVersion: v1\nkind: Pod\nmetadata: {}\n",
            "object 2: Pod: missing field `name`",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {a: 5}}\n",
            "object 1: Pod: ",
        ),
        (
            "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: n}\nspec: {config: {}}\n",
            "default/n: spec.config must be a string",
        ),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains(position) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn an_error_does_not_repeat_a_long_name() {
    let name = "1".repeat(100_000);
    let error = parse(&format!(
        "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {{name: \"{name}\"}}\nspec: {{config: {{}}}}\n"
    ))
    .expect_err("no string");
    assert!(
        error.len() < 300 && error.contains("spec.config must be a string"),
        "{error}"
    );
}

#[tokio::test]
async fn created_changed_and_removed_files_are_followed() {
    let mut followed = WatchedManifests::new(&[
        ("a.yaml", &pod("a", "1")),
        ("b.yml", &pod("b", "1")),
        ("c.txt", "{{{"),
        (".ansible_tmpb.yml", &pod("b", "temporary")),
    ]);
    assert_eq!(
        (followed.note("a"), followed.note("b")),
        (Some("1".into()), Some("1".into()))
    );
    assert_eq!(followed.store.pod("default", "a").expect("a").uid, "");

    fs::write(followed.path().join("a.yaml"), pod("a", "2")).expect("rewrite");
    fs::remove_file(followed.path().join("b.yml")).expect("remove");
    fs::write(followed.path().join("d.yaml"), pod("d", "1")).expect("create");
    followed.settle().await;
    assert_eq!(
        (followed.note("a"), followed.note("b")),
        (Some("2".into()), None)
    );
    assert_eq!(followed.note("d").as_deref(), Some("1"));

    // An editor locks the file with a link that leads nowhere.
    symlink("user@host.1", followed.path().join(".#a.yaml")).expect("link");
    fs::write(followed.path().join(".a.yaml"), pod("a", "hidden")).expect("write");
    followed.settle().await;
    assert_eq!(followed.note("a").as_deref(), Some("2"));

    // An editor writes another file and renames it. A rename to another extension is a removal.
    fs::write(followed.path().join("new"), pod("a", "3")).expect("write");
    fs::rename(followed.path().join("new"), followed.path().join("a.yaml")).expect("rename");
    fs::rename(
        followed.path().join("d.yaml"),
        followed.path().join("d.off"),
    )
    .expect("rename");
    symlink("d.off", followed.path().join("e.yaml")).expect("link");
    followed.settle().await;
    assert_eq!(followed.note("a").as_deref(), Some("3"));
    assert_eq!(followed.note("d").as_deref(), Some("1"), "through the link");

    fs::remove_file(followed.path().join("e.yaml")).expect("remove");
    followed.settle().await;
    assert_eq!(followed.note("d"), None);
}

#[tokio::test]
async fn a_mounted_config_map_is_followed() {
    let mut followed = WatchedManifests::new(&[]);
    let dir = followed.path().to_owned();
    for (version, note) in [("v1", "1"), ("v2", "2")] {
        fs::create_dir(dir.join(version)).expect("version");
        fs::write(dir.join(version).join("a.yaml"), pod("a", note)).expect("write");
        symlink(version, dir.join("..data_tmp")).expect("link");
        if version == "v1" {
            symlink("..data/a.yaml", dir.join("a.yaml")).expect("link");
        }
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).expect("swap");
        followed.settle().await;
        assert_eq!(followed.note("a").as_deref(), Some(note));
    }
}

#[tokio::test]
async fn a_broken_file_keeps_its_last_valid_content() {
    let log = CapturedLog::start();
    let mut followed = WatchedManifests::new(&[("a.yaml", &pod("a", "1"))]);
    fs::write(followed.path().join("a.yaml"), "kind: Pod\n  name: [x\n").expect("break");
    // The writer has not finished: reading the file now would log an error.
    let mut unfinished = fs::File::create(followed.path().join("b.yaml")).expect("create");
    unfinished
        .write_all(b"{apiVersion: v1, kind: Pod, meta")
        .expect("write");
    followed.settle().await;
    assert_eq!(followed.note("a").as_deref(), Some("1"));
    unfinished
        .write_all(b"data: {name: b, annotations: {note: '1'}}}")
        .expect("write");
    drop(unfinished);
    followed.settle().await;
    assert_eq!(followed.note("b").as_deref(), Some("1"));

    let log = log.text();
    let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    let [error] = errors[..] else { panic!("{log}") };
    assert!(
        error.contains("a.yaml") && error.contains("line 2"),
        "{error}"
    );

    fs::write(followed.path().join("a.yaml"), pod("a", "2")).expect("fix");
    followed.settle().await;
    assert_eq!(followed.note("a").as_deref(), Some("2"));
}

#[tokio::test]
async fn network_status_is_replaced_atomically_and_is_not_a_manifest() {
    let followed = WatchedManifests::new(&[("a.yaml", &pod("a", "1"))]);
    let changes = followed.store.pod("default", "a").expect("a");
    write_status(followed.path(), "default", "a", "[1]").expect("write");
    write_status(followed.path(), "default", "a", "[2]").expect("write again");
    let path = followed.path().join("default.a.network-status.json");
    assert_eq!(fs::read_to_string(&path).expect("status"), "[2]");
    let names: Vec<_> = fs::read_dir(followed.path())
        .expect("list")
        .map(|e| e.expect("entry").file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");

    remove_status(followed.path(), "default", "a", Some("[1]")).expect("keep other content");
    assert!(path.exists());
    remove_status(followed.path(), "default", "a", Some("[2]")).expect("remove");
    assert!(!path.exists());
    remove_status(followed.path(), "default", "a", Some("[2]")).expect("remove a missing file");
    write_status(followed.path(), "default", "a", "[3]").expect("write again");
    remove_status(followed.path(), "default", "a", None).expect("remove any content");
    assert!(!path.exists());
    for (namespace, name) in [("..", "/x"), ("a", "../b"), ("", "a"), ("a", "")] {
        let error = write_status(followed.path(), namespace, name, "").expect_err("a path");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(remove_status(followed.path(), namespace, name, None).is_err());
    }

    // The store was not refilled: the status files were ignored.
    assert!(Arc::ptr_eq(
        &changes,
        &followed.store.pod("default", "a").expect("a")
    ));
}

#[tokio::test]
async fn known_objects_stay_while_the_directory_is_missing_and_it_is_followed_again() {
    let mut followed = WatchedManifests::new(&[("a.yaml", &pod("a", "1"))]);
    let elsewhere = followed.path().with_extension("elsewhere");
    fs::rename(followed.path(), &elsewhere).expect("rename");
    assert_eq!(followed.note("a").as_deref(), Some("1"));
    fs::create_dir(followed.path()).expect("directory");
    fs::write(followed.path().join("b.yaml"), pod("b", "1")).expect("file");
    followed.settle().await;
    assert_eq!(followed.note("b").as_deref(), Some("1"));
    assert_eq!(followed.note("a"), None);
    assert!(!followed.task.is_finished());
    fs::remove_dir_all(elsewhere).expect("remove");
}

#[tokio::test]
async fn a_missing_directory_is_an_error() {
    let error = Manifests::open(Path::new("/nonexistent/manifests"), Store::default())
        .expect_err("no directory");
    assert!(
        error.to_string().contains("/nonexistent/manifests"),
        "{error}"
    );
}
