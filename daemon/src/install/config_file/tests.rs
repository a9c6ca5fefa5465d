use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::{Duration, SystemTime};

use inotify::{EventMask, Inotify, WatchMask};
use plexus_api::cni::{Defaults, NetworkConfig, Version};
use plexus_api::rows;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{ConfigFile, FILE, Written};
use crate::config::{Fields, Publish};

struct Published {
    dir: TempDir,
    file: ConfigFile,
    now: Instant,
}

impl Published {
    fn new(files: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("directory");
        for name in files {
            fs::write(dir.path().join(name), "{}").expect("file");
        }
        let publish = Publish {
            dir: dir.path().to_owned(),
            override_name: false,
        };
        let file = ConfigFile::new(publish, &Fields::default());
        Self {
            dir,
            file,
            now: Instant::now(),
        }
    }

    fn bring_for(&mut self, capability: &str) -> Written {
        let config = json!({
            "cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "a", "capabilities": {capability: true}}],
        });
        let defaults = Defaults {
            name: None,
            version: Version::V1_0_0,
        };
        let network = NetworkConfig::parse(&config.to_string(), defaults).expect("a network");
        self.file
            .bring(&network, self.now)
            .expect("it can be written")
    }

    fn bring(&mut self) -> Written {
        self.bring_for("mac")
    }

    /// Brings it, each time when that is due, until it is written.
    fn bring_late(&mut self) {
        loop {
            match self.bring() {
                DONE => return,
                Written { later, .. } => self.now = later.expect("it is to be written"),
            }
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join(FILE)
    }

    fn read(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path()).expect("it is there")).expect("JSON")
    }

    fn append(&self, kind: &str) {
        let mut list = self.read();
        list["plugins"]
            .as_array_mut()
            .expect("a list")
            .push(json!({"type": kind}));
        fs::write(self.path(), list.to_string()).expect("file");
    }

    fn kinds(&self) -> Vec<String> {
        let list = self.read();
        list["plugins"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|p| p["type"].as_str().unwrap_or("").to_owned())
            .collect()
    }
}

const DONE: Written = Written {
    now: true,
    later: None,
};
const NOTHING: Written = Written {
    now: false,
    later: None,
};

#[test]
fn it_is_written_beside_and_renamed_which_a_runtime_notices() {
    rows!("C-13", "C-23");
    let mut published = Published::new(&[]);
    let mut inotify = Inotify::init().expect("inotify");
    inotify
        .watches()
        .add(published.dir.path(), WatchMask::ALL_EVENTS)
        .expect("watch");
    let inode = fs::metadata(published.dir.path()).expect("directory").ino();
    assert_eq!(published.bring(), DONE);
    let mut buffer = vec![0; 8192];
    let events: Vec<_> = inotify
        .read_events(&mut buffer)
        .expect("events")
        .map(|event| {
            (
                event.mask,
                event
                    .name
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default(),
            )
        })
        .collect();
    let names = |mask| {
        events
            .iter()
            .filter(move |(seen, _)| seen.contains(mask))
            .map(|(_, name)| name.as_str())
    };
    let from: Vec<_> = names(EventMask::MOVED_FROM).collect();
    assert_eq!(from, [format!(".{FILE}.tmp")], "{events:?}");
    assert_eq!(names(EventMask::MOVED_TO).collect::<Vec<_>>(), [FILE]);
    assert_eq!(
        names(EventMask::CLOSE_WRITE)
            .filter(|name| *name == FILE)
            .count(),
        0,
        "never in part"
    );
    assert_eq!(
        fs::metadata(published.dir.path()).expect("directory").ino(),
        inode
    );
    assert_eq!(
        fs::metadata(published.path())
            .expect("file")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    fs::remove_dir_all(published.dir.path()).expect("directory");
    published.file.settled = None;
    let defaults = Defaults {
        name: None,
        version: Version::V1_0_0,
    };
    let network = NetworkConfig::parse(r#"{"name":"x","type":"a"}"#, defaults).expect("a network");
    published
        .file
        .bring(&network, published.now)
        .expect_err("the directory is for others to make");
    assert!(!published.dir.path().exists());
}

#[test]
fn it_is_not_written_when_it_says_the_same() {
    rows!("C-16");
    let mut published = Published::new(&[]);
    assert_eq!(published.bring(), DONE);
    let old = SystemTime::now() - Duration::from_hours(1);
    // As another daemon, or another layout, may have left it.
    fs::write(published.path(), published.read().to_string()).expect("file");
    File::options()
        .write(true)
        .open(published.path())
        .and_then(|file| file.set_modified(old))
        .expect("mtime");
    let before = fs::metadata(published.path()).expect("file");
    assert_eq!(published.bring(), NOTHING);
    let mut restarted = Published {
        file: ConfigFile::new(published.file.publish.clone(), &Fields::default()),
        ..published
    };
    assert_eq!(restarted.bring(), NOTHING);
    let after = fs::metadata(restarted.path()).expect("file");
    assert_eq!(
        (after.ino(), after.mtime_nsec()),
        (before.ino(), before.mtime_nsec())
    );
    assert_eq!(
        restarted.bring_for("portMappings"),
        DONE,
        "another default network is no quarrel"
    );
    assert_eq!(restarted.bring(), DONE);
    assert_eq!(restarted.file.restored(), 0);
}

#[test]
fn what_a_mesh_appends_is_kept() {
    let mut published = Published::new(&[]);
    published.bring();
    published.append("istio-cni");
    assert_eq!(published.bring(), NOTHING, "it may append");
    published.append("linkerd-cni");
    assert_eq!(
        published.bring_for("portMappings"),
        DONE,
        "the default network changes at the same time"
    );
    assert_eq!(published.kinds(), ["plexus", "istio-cni", "linkerd-cni"]);
    // Another network plugin takes the file away, with what the mesh put into it.
    fs::remove_file(published.path()).expect("file");
    published.bring_late();
    assert_eq!(published.kinds(), ["plexus", "istio-cni", "linkerd-cni"]);
    // The mesh leaves.
    let mut list = published.read();
    list["plugins"].as_array_mut().expect("a list").truncate(1);
    fs::write(published.path(), list.to_string()).expect("file");
    assert_eq!(published.bring(), NOTHING);
    assert_eq!(published.kinds(), ["plexus"]);
}

#[test]
fn what_others_break_is_put_back() {
    let mut published = Published::new(&[]);
    published.bring();
    let list = published.read();
    let foreign =
        json!({"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "kindnet"}]}).to_string();
    let mut changed = list.clone();
    changed["plugins"][0]["capabilities"] = json!({});
    for text in [String::new(), "{".to_owned(), foreign, changed.to_string()] {
        fs::write(published.path(), &text).expect("file");
        published.bring_late();
        assert_eq!(published.read(), list, "{text}");
    }
    assert_eq!(published.file.restored(), 4);
}

#[test]
fn who_writes_in_place_is_given_time() {
    let mut published = Published::new(&[]);
    published.bring();
    let mut list = published.read();
    list["plugins"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"type": "istio-cni"}));
    let text = list.to_string();
    for half in ["", &text[..30]] {
        fs::write(published.path(), half).expect("file");
        let written = published.bring();
        assert!(!written.now && written.later.is_some(), "{written:?}");
        assert_eq!(
            published.bring(),
            written,
            "looked at again, it is not later"
        );
    }
    fs::write(published.path(), &text).expect("file");
    assert_eq!(published.bring(), NOTHING);
    assert_eq!(published.kinds(), ["plexus", "istio-cni"]);
    assert_eq!(published.file.restored(), 0);
}

#[test]
fn a_quarrel_is_slow_and_names_what_to_change() {
    let mut published = Published::new(&[]);
    published.bring();
    let began = published.now;
    for count in 1..=5 {
        assert_eq!(
            published.file.contested(published.now),
            None,
            "after {count}"
        );
        let bak = published.dir.path().join(format!("{FILE}.cilium_bak"));
        fs::rename(published.path(), bak).expect("rename");
        published.bring_late();
    }
    let (contested, until) = published.file.contested(published.now).expect("enough");
    assert!(
        contested.contains("Cilium") && contested.contains("cni.exclusive"),
        "{contested}"
    );
    let took = published.now - began;
    assert_eq!(
        took,
        Duration::from_secs(3),
        "the first at once, then twice as long each time"
    );
    // Left alone, it is said no longer, and the next time is the first.
    assert_eq!(until - published.now, Duration::from_mins(10));
    published.now = until;
    assert_eq!(
        published.file.contested(published.now),
        None,
        "it has been quiet"
    );
    fs::remove_file(published.path()).expect("file");
    assert_eq!(published.bring(), DONE);
    assert_eq!(published.file.contested(published.now), None);
}

#[test]
fn a_file_that_the_runtime_would_take_first_is_found() {
    rows!("C-14");
    for (name, before) in [
        ("00-multus.conf", true),
        ("00-aaa.json", true),
        ("00-plexus.conf", true),
        ("00-plexus.conflist.cilium_bak", false),
        ("00-multus.conf.bak", false),
        ("05-cilium.conflist", false),
        ("10-x.conf", false),
    ] {
        let mut published = Published::new(&[name]);
        published.bring();
        let found = published.file.before().map(|path| path.ends_with(name));
        assert_eq!(found, before.then_some(true), "{name}");
    }
    let published = Published::new(&[]);
    fs::create_dir(published.dir.path().join("00-a.conf")).expect("a directory");
    assert_eq!(
        published.file.before(),
        None,
        "runtimes pass over directories"
    );
}

#[test]
fn it_is_withdrawn_only_when_the_runtime_has_another() {
    rows!("C-25");
    let mut published = Published::new(&[]);
    published.bring();
    let refused = |published: &Published| {
        published
            .file
            .withdraw()
            .expect("readable")
            .expect_err("it stays")
    };
    assert!(refused(&published).contains("there is none"));
    fs::write(published.dir.path().join("10-a.conflist"), "{").expect("file");
    assert!(refused(&published).contains("10-a.conflist"));
    assert!(published.path().exists());
    let list = json!({"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "a"}]}).to_string();
    fs::write(published.dir.path().join("10-a.conflist"), list).expect("file");
    published
        .file
        .withdraw()
        .expect("readable")
        .expect("it goes");
    assert!(!published.path().exists());
}

#[test]
fn it_is_withdrawn_with_all_that_may_be_left_of_it_and_only_once() {
    rows!("C-25");
    let mut published = Published::new(&[]);
    let others = [
        "10-a.conflist",
        ".00-plexus.conflist.tmp",
        "00-plexus.conflist.cilium_bak",
    ];
    let list = json!({"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "a"}]}).to_string();
    for other in others {
        fs::write(published.dir.path().join(other), &list).expect("file");
    }
    fs::create_dir(published.dir.path().join("00-a.conf")).expect("a directory");
    published.bring();
    for other in others {
        fs::write(published.dir.path().join(other), &list).expect("file");
    }
    published
        .file
        .withdraw()
        .expect("readable")
        .expect("it goes");
    let mut left: Vec<_> = fs::read_dir(published.dir.path())
        .expect("dir")
        .flatten()
        .map(|it| it.file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["00-a.conf", "10-a.conflist"]);
    // Begun again, it needs no other configuration: there is nothing to withdraw.
    fs::remove_file(published.dir.path().join("10-a.conflist")).expect("file");
    published
        .file
        .withdraw()
        .expect("readable")
        .expect("it is gone");
}
