mod unpublish;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use inotify::{EventMask, Inotify, WatchMask};
use plexus_api::cni::NetworkConfig;
use plexus_api::rows;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::super::conflist::parse;
use super::{ConfigFile, FILE, INVALID_GRACE, Reconciled};
use crate::atomic_file::temporary_path;
use crate::config::{Fields, PublishSettings};
use crate::durable::recorder::{self, Synced};

/// A configuration directory with our file, and the clock of the test.
struct Fixture {
    dir: TempDir,
    file: ConfigFile,
    now: Instant,
}

fn config_file(dir: &TempDir) -> ConfigFile {
    let publish = PublishSettings {
        dir: dir.path().to_owned(),
        override_name: false,
    };
    ConfigFile::new(publish, &Fields::default())
}

/// A default network with this capability.
fn network(capability: &str) -> NetworkConfig {
    let plugins = json!([{"type": "a", "capabilities": {capability: true}}]);
    let config = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins});
    parse(&config.to_string()).expect("a network")
}

/// A configuration that a runtime can start pods with.
fn other_config() -> String {
    json!({"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "a"}]}).to_string()
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        Self {
            file: config_file(&dir),
            dir,
            now: Instant::now(),
        }
    }

    fn reconcile_for(&mut self, capability: &str) -> Reconciled {
        self.file
            .reconcile(&network(capability), self.now)
            .expect("no error")
    }

    fn reconcile(&mut self) -> Reconciled {
        self.reconcile_for("mac")
    }

    /// Reconciles, and advances the clock as often as necessary, until the file is written.
    fn reconcile_until_written(&mut self) {
        loop {
            match self.reconcile() {
                Reconciled::Written => return,
                Reconciled::RetryAt(time) => self.now = time,
                Reconciled::Unchanged => panic!("the file is already correct"),
            }
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn path(&self) -> PathBuf {
        self.at(FILE)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).expect(name);
    }

    fn read(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path()).expect("the file")).expect("JSON")
    }

    /// The list with a plugin of this type appended.
    fn with_plugin(&self, kind: &str) -> String {
        let mut list = self.read();
        list["plugins"]
            .as_array_mut()
            .expect("a list")
            .push(json!({"type": kind}));
        list.to_string()
    }

    fn kinds(&self) -> Vec<String> {
        self.read()["plugins"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|plugin| plugin["type"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    fn preceding_file(&self) -> Option<PathBuf> {
        self.file.preceding_file()
    }

    /// Removes the file. Returns the reason if it has to stay.
    fn unpublish(&self) -> Option<String> {
        self.file.unpublish().expect("no error")
    }
}

#[test]
fn the_file_is_renamed_into_place_so_that_runtimes_notice() {
    rows!("C-13", "C-23");
    let mut fixture = Fixture::new();
    let mut inotify = Inotify::init().expect("inotify");
    inotify
        .watches()
        .add(fixture.dir.path(), WatchMask::ALL_EVENTS)
        .expect("watch");
    let inode = || fs::metadata(fixture.dir.path()).map(|metadata| metadata.ino());
    let before = inode().expect("directory");
    assert_eq!(
        fixture
            .file
            .reconcile(&network("mac"), fixture.now)
            .expect("no error"),
        Reconciled::Written
    );
    let mut buffer = vec![0; 8192];
    let events: Vec<_> = inotify
        .read_events(&mut buffer)
        .expect("events")
        .filter_map(|event| Some((event.mask, event.name?.to_string_lossy().into_owned())))
        .collect();
    let names = |mask| {
        events
            .iter()
            .filter(move |(seen, _)| seen.contains(mask))
            .map(|(_, name)| name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(EventMask::MOVED_FROM),
        [format!(".{FILE}.tmp")],
        "{events:?}"
    );
    assert_eq!(names(EventMask::MOVED_TO), [FILE]);
    assert!(
        !names(EventMask::CLOSE_WRITE).contains(&FILE),
        "the file is never written in place"
    );
    assert_eq!(inode().expect("directory"), before);
    let mode = fs::metadata(fixture.path())
        .expect("file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_missing_directory_is_not_created() {
    rows!("C-23");
    let mut fixture = Fixture::new();
    fs::remove_dir_all(fixture.dir.path()).expect("directory");
    fixture
        .file
        .reconcile(&network("mac"), fixture.now)
        .expect_err("the directory is missing");
    assert!(!fixture.dir.path().exists());
}

#[test]
fn a_file_with_the_right_content_is_not_written_again() {
    rows!("C-16");
    let mut fixture = Fixture::new();
    assert_eq!(fixture.reconcile(), Reconciled::Written);
    let old = SystemTime::now() - Duration::from_hours(1);
    // Another daemon may have written the file with another layout.
    fixture.write(FILE, &fixture.read().to_string());
    File::options()
        .write(true)
        .open(fixture.path())
        .and_then(|file| file.set_modified(old))
        .expect("mtime");
    let before = fs::metadata(fixture.path()).expect("file");
    assert_eq!(fixture.reconcile(), Reconciled::Unchanged);
    // After a restart of the daemon:
    fixture.file = config_file(&fixture.dir);
    assert_eq!(fixture.reconcile(), Reconciled::Unchanged);
    let after = fs::metadata(fixture.path()).expect("file");
    assert_eq!(
        (after.ino(), after.mtime_nsec()),
        (before.ino(), before.mtime_nsec())
    );
    // A change of the default network is not a conflict.
    assert_eq!(fixture.reconcile_for("portMappings"), Reconciled::Written);
    assert_eq!(fixture.reconcile(), Reconciled::Written);
    assert_eq!(fixture.file.restored(), 0);
}

#[test]
fn plugins_that_a_mesh_appends_are_kept() {
    let mut fixture = Fixture::new();
    fixture.reconcile();
    fixture.write(FILE, &fixture.with_plugin("istio-cni"));
    assert_eq!(fixture.reconcile(), Reconciled::Unchanged);
    // The default network changes at the same time.
    fixture.write(FILE, &fixture.with_plugin("linkerd-cni"));
    assert_eq!(fixture.reconcile_for("portMappings"), Reconciled::Written);
    assert_eq!(fixture.kinds(), ["plexus", "istio-cni", "linkerd-cni"]);
    // Another network plugin removes the file, with the plugins of the mesh.
    fs::remove_file(fixture.path()).expect("file");
    fixture.reconcile_until_written();
    assert_eq!(fixture.kinds(), ["plexus", "istio-cni", "linkerd-cni"]);
    // The mesh is uninstalled.
    let mut list = fixture.read();
    list["plugins"].as_array_mut().expect("a list").truncate(1);
    fixture.write(FILE, &list.to_string());
    assert_eq!(fixture.reconcile(), Reconciled::Unchanged);
    assert_eq!(fixture.kinds(), ["plexus"]);
}

#[test]
fn a_changed_file_is_restored() {
    let mut fixture = Fixture::new();
    fixture.reconcile();
    let list = fixture.read();
    let mut changed = list.clone();
    changed["plugins"][0]["capabilities"] = json!({});
    for text in [
        String::new(),
        "{".to_owned(),
        other_config(),
        changed.to_string(),
    ] {
        fixture.write(FILE, &text);
        fixture.reconcile_until_written();
        assert_eq!(fixture.read(), list, "{text}");
    }
    assert_eq!(fixture.file.restored(), 4);
}

#[test]
fn a_file_that_is_being_written_in_place_is_left_alone_for_a_while() {
    let mut fixture = Fixture::new();
    fixture.reconcile();
    let text = fixture.with_plugin("istio-cni");
    for part in ["", &text[..30]] {
        fixture.write(FILE, part);
        let first = fixture.reconcile();
        assert!(matches!(first, Reconciled::RetryAt(_)), "{first:?}");
        assert_eq!(
            fixture.reconcile(),
            first,
            "reading the file again does not extend the time"
        );
    }
    fixture.write(FILE, &text);
    assert_eq!(fixture.reconcile(), Reconciled::Unchanged);
    assert_eq!(fixture.kinds(), ["plexus", "istio-cni"]);
    // The next write gets the same time.
    fixture.now += Duration::from_hours(1);
    fixture.write(FILE, "");
    assert_eq!(
        fixture.reconcile(),
        Reconciled::RetryAt(fixture.now + INVALID_GRACE)
    );
    assert_eq!(fixture.file.restored(), 0);
}

#[test]
fn a_conflict_slows_restorations_down_and_names_the_setting_to_change() {
    let mut fixture = Fixture::new();
    fixture.reconcile();
    let start = fixture.now;
    for count in 1..=5 {
        assert_eq!(fixture.file.conflict(fixture.now), None, "before {count}");
        let renamed = fixture.at(&format!("{FILE}.cilium_bak"));
        fs::rename(fixture.path(), renamed).expect("rename");
        fixture.reconcile_until_written();
    }
    let (problem, end) = fixture.file.conflict(fixture.now).expect("a conflict");
    let text = problem.to_string();
    assert!(
        text.contains("Cilium") && text.contains("cni.exclusive"),
        "{text}"
    );
    assert_eq!(
        fixture.now - start,
        Duration::from_secs(3),
        "the first restoration is immediate, then the pauses double"
    );
    // A quiet time ends the conflict, and the next restoration is immediate again.
    assert_eq!(end - fixture.now, Duration::from_mins(10));
    fixture.now = end;
    assert_eq!(fixture.file.conflict(fixture.now), None);
    fs::remove_file(fixture.path()).expect("file");
    assert_eq!(fixture.reconcile(), Reconciled::Written);
    assert_eq!(fixture.file.conflict(fixture.now), None);
}

#[test]
fn a_file_that_sorts_before_ours_is_found() {
    rows!("C-14");
    for (name, precedes) in [
        ("00-multus.conf", true),
        ("00-aaa.json", true),
        ("00-plexus.conf", true),
        ("00-plexus.conflist.cilium_bak", false),
        ("00-multus.conf.bak", false),
        ("05-cilium.conflist", false),
        ("10-x.conf", false),
    ] {
        let mut fixture = Fixture::new();
        fixture.write(name, "{}");
        fixture.reconcile();
        let expected = precedes.then(|| fixture.at(name));
        assert_eq!(fixture.preceding_file(), expected, "{name}");
    }
    let fixture = Fixture::new();
    fs::create_dir(fixture.at("00-a.conf")).expect("a directory");
    assert_eq!(fixture.preceding_file(), None, "runtimes skip directories");
}

#[test]
fn a_change_of_another_program_during_our_write_is_kept() {
    let mut fixture = Fixture::new();
    fixture.reconcile();
    let ours = fs::read_to_string(fixture.path()).expect("published");
    // Another program replaces or removes the file after we have read it.
    for meanwhile in [Some(other_config()), None] {
        match &meanwhile {
            Some(text) => fs::write(fixture.path(), text).expect("replace"),
            None => fs::remove_file(fixture.path()).expect("remove"),
        }
        let now = fixture.now;
        let outcome = fixture.file.write("{}".to_owned(), Some(&ours), now);
        assert_eq!(outcome.expect("no error"), Reconciled::RetryAt(now));
        assert_eq!(fs::read_to_string(fixture.path()).ok(), meanwhile);
        let left = fs::read_dir(fixture.dir.path()).expect("directory");
        assert_eq!(left.count(), usize::from(meanwhile.is_some()));
    }
}

#[test]
fn the_file_survives_a_power_loss() {
    let mut fixture = Fixture::new();
    recorder::take();
    fixture.reconcile();
    let path = fixture.path().canonicalize().expect("a path");
    let content = fs::read(&path).expect("published");
    let file = Synced::File {
        path: temporary_path(&path),
        content,
    };
    let dir = Synced::Dir {
        path: path.parent().expect("a directory").to_owned(),
        names: vec![FILE.to_owned()],
    };
    assert_eq!(recorder::take(), [file, dir]);
}
