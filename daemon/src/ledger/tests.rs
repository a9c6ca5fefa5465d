use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::mpsc::TryRecvError;
use std::{fs, io};

use plexus_api::cni::{CniError, Code, Defaults, NetworkConfig, Version};
use plexus_api::rows;
use serde_json::value::RawValue;
use tempfile::TempDir;

use super::*;
use crate::model::{Attachment, DefaultRoutes, NetnsId, PodRef, RouteOwner};

/// The boot of all plans of these tests.
pub(super) const BOOT: &str = "9d4a1f0e-0000-4000-8000-000000000001";

/// A state directory and its ledger.
pub(super) fn open() -> (TempDir, Ledger) {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::open(dir.path(), Duration::ZERO).expect("a ledger");
    (dir, ledger)
}

/// A plan of `count` attachments that has something in every field.
pub(super) fn planned(container_id: &str, ifname: &str, count: usize) -> Planned {
    Planned {
        format: FORMAT,
        plexusd: PLEXUSD.to_owned(),
        container_id: container_id.to_owned(),
        ifname: ifname.to_owned(),
        netns: "/run/netns/a b".to_owned(),
        netns_id: Some(NetnsId {
            dev: 4,
            ino: 4_026_532_190,
            cookie: Some(7),
        }),
        boot_id: BOOT.to_owned(),
        created_unix_ms: 1_700_000_000_123,
        created_boottime_ns: Some(5_000_000_000),
        pod: PodRef {
            namespace: "ns".to_owned(),
            name: "pod".to_owned(),
            uid: "u-1".to_owned(),
            is_static: false,
        },
        cni_path: vec![PathBuf::from("/opt/cni/bin"), PathBuf::from("/usr/lib/cni")],
        attachments: (0..count).map(attachment).collect(),
        default_routes: DefaultRoutes {
            v4: Some(RouteOwner {
                attachment: 0,
                gateway: Some("10.0.0.1".parse().expect("an address")),
            }),
            v6: Some(RouteOwner {
                attachment: 0,
                gateway: None,
            }),
        },
    }
}

fn attachment(index: usize) -> Attachment {
    let text = r#"{"cniVersion": "1.0.0", "name": "net", "type": "bridge",
        "exact": 1e400, "layout": {
            "kept": [ 1.50,
                2 ]
        }}"#;
    let config = NetworkConfig::parse(
        text,
        Defaults {
            name: None,
            version: Version::V1_0_0,
        },
    );
    Attachment {
        network: format!("ns/net{index}"),
        ifname: format!("net{index}"),
        default: index == 0,
        cni_args: "IgnoreUnknown=1;K8S_POD_NAME=pod".to_owned(),
        capability_args: [("mac".to_owned(), raw("\"02:00:00:00:00:01\""))].into(),
        config: config.expect("a network configuration"),
    }
}

/// JSON as it stands.
pub(super) fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON")
}

/// How many lines are complete.
pub(super) fn line_breaks(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

/// The file of a record.
pub(super) fn file(dir: &TempDir, container_id: &str, ifname: &str) -> PathBuf {
    dir.path()
        .join(format!("ledger/{container_id}:{ifname}.jsonl"))
}

fn files_in(dir: PathBuf) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o777
}

async fn plan(ledger: &Ledger, container_id: &str, ifname: &str, count: usize) -> Record {
    let lane = ledger
        .lock_for_add(container_id, ifname)
        .await
        .expect("the only ADD");
    lane.plan(planned(container_id, ifname, count))
        .await
        .expect("a new record")
}

#[tokio::test]
async fn a_record_says_all_that_del_needs_after_a_restart() {
    rows!("R-080", "R-081", "R-085");
    let (dir, ledger) = open();
    let mut record = plan(&ledger, "c1", "eth0", 2).await;
    {
        let lane = ledger.lock_container("c1").await;
        lane.append(&mut record, Line::Started { index: 0 })
            .expect("append");
        let result = raw("{\"cniVersion\": \"1.0.0\",\n\t\"ips\": [], \"more\": 1.50}");
        lane.append(&mut record, Line::Added { index: 0, result })
            .expect("append");
        lane.append(&mut record, Line::Started { index: 1 })
            .expect("append");
    }
    drop(ledger);

    let ledger = Ledger::open(dir.path(), Duration::ZERO).expect("the lock is free again");
    let read = ledger
        .lock_container("c1")
        .await
        .load("eth0")
        .expect("readable")
        .expect("there");
    let text = |planned: &Planned| {
        serde_json::to_string(planned)
            .expect("JSON")
            .replace('\n', " ")
    };
    assert_eq!(text(&read.planned), text(&planned("c1", "eth0", 2)));
    assert_eq!(
        read.planned.attachments[0].config.plugins[0]
            .raw("exact")
            .map(RawValue::get),
        Some("1e400")
    );
    let result = read.attachments[0].added.as_ref().expect("a result");
    assert_eq!(
        result.get(),
        "{\"cniVersion\": \"1.0.0\", \t\"ips\": [], \"more\": 1.50}"
    );
    assert_eq!(
        read.to_undo(BOOT),
        [1, 0],
        "the second was attempted, though it left no result"
    );
}

#[tokio::test]
async fn the_plan_is_on_disk_before_anything_can_run() {
    rows!("R-085");
    let (dir, ledger) = open();
    let record = plan(&ledger, "c1", "eth0", 3).await;
    assert_eq!(record.to_undo(BOOT), [] as [usize; 0]);
    let on_disk = Ledger::read_all(dir.path())
        .expect("a list")
        .pop()
        .expect("a file")
        .expect("a record");
    assert_eq!(on_disk.attachments.len(), 3);
    assert_eq!(on_disk.to_undo(BOOT), [] as [usize; 0]);
}

#[tokio::test]
async fn a_second_add_leaves_the_first_alone() {
    rows!("P-081");
    let (dir, ledger) = open();
    plan(&ledger, "c1", "eth0", 2).await;
    let before = fs::read(file(&dir, "c1", "eth0")).expect("the file");

    let lane = ledger
        .lock_for_add("c1", "eth0")
        .await
        .expect("the only ADD now");
    let error = lane
        .plan(planned("c1", "eth0", 1))
        .await
        .expect_err("attached already");

    assert!(
        matches!(error, LedgerError::AlreadyAttached { .. }),
        "{error}"
    );
    let error = CniError::from(error);
    assert!(
        error.is(Code::AlreadyAttached) && error.msg.contains("c1") && error.msg.contains("eth0"),
        "{error}"
    );
    assert_eq!(
        fs::read(file(&dir, "c1", "eth0")).expect("the file"),
        before
    );
    assert_eq!(
        lane.load("eth0")
            .expect("readable")
            .expect("there")
            .attachments
            .len(),
        2
    );
}

#[tokio::test]
async fn two_interfaces_of_a_sandbox_have_a_record_each() {
    rows!("R-089");
    let (_dir, ledger) = open();
    plan(&ledger, "c1", "eth0", 1).await;
    plan(&ledger, "c1", "eth1", 2).await;
    plan(&ledger, "c2", "eth0", 3).await;
    let lane = ledger.lock_container("c1").await;
    let mut interfaces = lane.interfaces().expect("a list");
    interfaces.sort();
    assert_eq!(interfaces, ["eth0", "eth1"]);

    let eth0 = lane.load("eth0").expect("readable").expect("there");
    lane.remove(eth0).expect("remove");
    assert!(lane.load("eth0").expect("readable").is_none());
    assert_eq!(
        lane.load("eth1")
            .expect("readable")
            .expect("there")
            .attachments
            .len(),
        2
    );
    assert_eq!(lane.interfaces().expect("a list"), ["eth1"]);
}

#[tokio::test]
async fn keys_that_look_alike_when_joined_are_kept_apart() {
    rows!("R-083");
    let (_dir, ledger) = open();
    for (count, (container_id, ifname)) in [
        ("a-b", "c"),
        ("a", "b-c"),
        ("a.jsonl", "b"),
        ("a", "b.jsonl"),
    ]
    .iter()
    .enumerate()
    {
        plan(&ledger, container_id, ifname, count).await;
    }
    for (count, (container_id, ifname)) in [
        ("a-b", "c"),
        ("a", "b-c"),
        ("a.jsonl", "b"),
        ("a", "b.jsonl"),
    ]
    .iter()
    .enumerate()
    {
        let record = ledger
            .lock_container(container_id)
            .await
            .load(ifname)
            .expect("readable")
            .expect("there");
        assert_eq!(record.attachments.len(), count, "{container_id} {ifname}");
    }
    let mut keys = ledger.keys().expect("a list");
    keys.sort();
    let pair = |id: &str, ifname: &str| (id.to_owned(), ifname.to_owned());
    assert_eq!(
        keys,
        [
            pair("a", "b-c"),
            pair("a", "b.jsonl"),
            pair("a-b", "c"),
            pair("a.jsonl", "b")
        ]
    );
}

#[tokio::test]
async fn the_longest_names_fit_and_longer_ones_leave_nothing() {
    rows!("P-007");
    let (dir, ledger) = open();
    let (longest, too_long) = ("c".repeat(200), "c".repeat(201));
    plan(&ledger, &longest, "i23456789012345", 1).await;
    assert!(
        ledger
            .lock_container(&longest)
            .await
            .load("i23456789012345")
            .expect("readable")
            .is_some()
    );

    for (container_id, ifname) in [
        (too_long.as_str(), "eth0"),
        ("../c1", "eth0"),
        ("c1", "../eth0"),
        ("c1", "a:b"),
    ] {
        let lane = ledger.lock_container(container_id).await;
        let error = CniError::from(
            lane.plan(planned(container_id, ifname, 1))
                .await
                .expect_err("no file name"),
        );
        assert!(error.is(Code::InvalidEnvironment), "{error}");
        assert!(lane.load(ifname).is_err(), "{container_id} {ifname}");
    }
    assert_eq!(files_in(dir.path().join("ledger")), 1);
}

#[tokio::test]
async fn nobody_else_can_read_what_may_hold_credentials() {
    rows!("R-084");
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("lib/plexus");
    let ledger = Ledger::open(&state, Duration::ZERO).expect("a ledger");
    plan(&ledger, "c1", "eth0", 1).await;
    assert_eq!(mode(state.clone()), 0o700);
    assert_eq!(mode(state.join("ledger")), 0o700);
    assert_eq!(mode(state.join("ledger/c1:eth0.jsonl")), 0o600);
    assert_eq!(mode(state.join("lock")), 0o600);
    drop(ledger);

    fs::set_permissions(state.join("ledger"), fs::Permissions::from_mode(0o755)).expect("chmod");
    Ledger::open(&state, Duration::ZERO).expect("a ledger");
    assert_eq!(mode(state.join("ledger")), 0o700);
}

#[tokio::test]
async fn a_record_stays_until_its_del_has_succeeded() {
    rows!("P-092", "R-090");
    let (_dir, ledger) = open();
    plan(&ledger, "c1", "eth0", 3).await;
    let lane = ledger.lock_container("c1").await;
    let mut record = lane.load("eth0").expect("readable").expect("there");
    for index in 0..3 {
        lane.append(&mut record, Line::Started { index })
            .expect("append");
        lane.append(
            &mut record,
            Line::Added {
                index,
                result: raw("{}"),
            },
        )
        .expect("append");
    }
    lane.append(&mut record, Line::Deleted { index: 2 })
        .expect("append");
    lane.append(
        &mut record,
        Line::DelFailed {
            unix_ms: 5,
            error: "net1 is busy".to_owned(),
        },
    )
    .expect("append");
    lane.append(&mut record, Line::Deleted { index: 0 })
        .expect("append");
    lane.append(
        &mut record,
        Line::DelFailed {
            unix_ms: 9,
            error: "net1 is still busy".to_owned(),
        },
    )
    .expect("append");
    drop(record);

    let mut record = lane.load("eth0").expect("readable").expect("still there");
    assert_eq!(record.to_undo(BOOT), [1], "only what failed is done again");
    assert!(record.attachments[1].added.is_some(), "with its result");
    let failures = DelFailures {
        count: 2,
        first_unix_ms: 5,
        last_unix_ms: 9,
        last_error: "net1 is still busy".to_owned(),
    };
    assert_eq!(record.del_failures, failures);
    lane.append(&mut record, Line::Deleted { index: 1 })
        .expect("append");
    assert_eq!(record.to_undo(BOOT), [] as [usize; 0]);
    lane.remove(record).expect("remove");
    assert_eq!(ledger.keys().expect("a list"), [] as [Key; 0]);
}

#[tokio::test]
async fn a_second_del_of_what_was_just_deleted_is_known() {
    let (_dir, ledger) = open();
    let record = plan(&ledger, "c1", "eth0", 1).await;
    assert!(!ledger.recently_deleted("c1", "eth0"));
    ledger
        .lock_container("c1")
        .await
        .remove(record)
        .expect("remove");
    assert!(ledger.recently_deleted("c1", "eth0"));
    assert!(!ledger.recently_deleted("c1", "eth1") && !ledger.recently_deleted("c2", "eth0"));
    plan(&ledger, "c1", "eth0", 1).await;
    assert!(
        !ledger.recently_deleted("c1", "eth0"),
        "it is attached again"
    );
}

#[tokio::test]
async fn the_memory_of_what_was_deleted_is_bounded() {
    let (_dir, ledger) = open();
    for id in 0..=REMEMBERED {
        ledger
            .0
            .remember_deleted((format!("c{id}"), "eth0".to_owned()));
    }
    assert!(!ledger.recently_deleted("c0", "eth0"));
    assert!(
        ledger.recently_deleted("c1", "eth0")
            && ledger.recently_deleted(&format!("c{REMEMBERED}"), "eth0")
    );
    assert_eq!(lock(&ledger.0.deleted).len(), REMEMBERED);
}

#[tokio::test]
async fn a_ledger_that_cannot_be_listed_is_not_an_empty_one() {
    rows!("R-102");
    let (dir, ledger) = open();
    fs::remove_dir(dir.path().join("ledger")).expect("rmdir");
    fs::write(dir.path().join("ledger"), "").expect("a file in its place");
    let gc = ledger.lock_all().await.keys();
    for error in [
        ledger.keys().expect_err("no directory"),
        gc.expect_err("no directory"),
        Ledger::read_all(dir.path())
            .map(|_| ())
            .expect_err("no directory"),
        ledger
            .lock_container("c1")
            .await
            .interfaces()
            .expect_err("no directory"),
    ] {
        assert!(matches!(error, LedgerError::Io { .. }), "{error}");
        let error = CniError::from(error);
        assert!(
            error.is(Code::Ledger) && error.msg.contains("/ledger: "),
            "{error}"
        );
    }
}

#[tokio::test]
async fn everything_can_be_read_beside_the_writer() {
    let (dir, ledger) = open();
    plan(&ledger, "c1", "eth0", 1).await;
    fs::write(file(&dir, "c2", "eth0"), r#"{"planned":{"form"#)
        .expect("a plan that is being written");
    fs::write(file(&dir, "c3", "eth0"), "garbage\n").expect("a corrupt file");
    fs::write(dir.path().join("ledger/notes.txt"), "not ours").expect("a file");

    let (good, bad): (Vec<_>, Vec<_>) = Ledger::read_all(dir.path())
        .expect("a list")
        .into_iter()
        .partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (1, 1));
    assert_eq!(
        files_in(dir.path().join("ledger")),
        4,
        "a reader changes nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_sandboxes_are_written_at_once_and_read_meanwhile() {
    let (dir, ledger) = open();
    let writers: Vec<_> = (0..30)
        .map(|id| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let id = format!("c{id}");
                let lane = ledger
                    .lock_for_add(&id, "eth0")
                    .await
                    .expect("the only ADD");
                let mut record = lane
                    .plan(planned(&id, "eth0", 3))
                    .await
                    .expect("a new record");
                for index in 0..3 {
                    lane.append(&mut record, Line::Started { index })
                        .expect("append");
                    lane.append(
                        &mut record,
                        Line::Added {
                            index,
                            result: raw("{}"),
                        },
                    )
                    .expect("append");
                }
                lane.append(&mut record, Line::Completed).expect("append");
                if id.ends_with('1') {
                    lane.remove(record).expect("remove");
                }
            })
        })
        .collect();
    let path = dir.path().to_owned();
    let (done, writing) = std::sync::mpsc::channel::<()>();
    let reader = tokio::task::spawn_blocking(move || {
        while writing.try_recv() == Err(TryRecvError::Empty) {
            for record in Ledger::read_all(&path).expect("a list") {
                assert_eq!(record.expect("never corrupt").unreadable, 0);
            }
        }
    });
    for writer in writers {
        writer.await.expect("a writer");
    }
    drop(done);
    reader.await.expect("the reader");
    let records = Ledger::read_all(dir.path()).expect("a list");
    assert_eq!(records.len(), 27);
    assert!(
        records
            .into_iter()
            .all(|record| record.expect("a record").completed)
    );
}

#[test]
fn errors_are_one_line_that_names_the_file_and_the_remedy() {
    let path = PathBuf::from("/var/lib/plexus/ledger/c1:eth0.jsonl");
    let io = |kind: io::ErrorKind| LedgerError::Io {
        action: "write",
        path: path.clone(),
        why: kind.into(),
    };
    let newer = super::record::ParseError::Newer {
        format: 9,
        plexusd: "7.1.0".to_owned(),
    };
    for (error, code, parts) in [
        (
            io(io::ErrorKind::StorageFull),
            Code::Ledger,
            vec!["c1:eth0.jsonl", "free space"],
        ),
        (
            io(io::ErrorKind::ReadOnlyFilesystem),
            Code::Ledger,
            vec!["c1:eth0.jsonl", "writable"],
        ),
        (
            io(io::ErrorKind::PermissionDenied),
            Code::Ledger,
            vec!["c1:eth0.jsonl", "user that owns"],
        ),
        (
            io(io::ErrorKind::NotFound),
            Code::Ledger,
            vec!["c1:eth0.jsonl", "missing"],
        ),
        (
            LedgerError::Newer {
                path: path.clone(),
                why: newer,
            },
            Code::Ledger,
            vec!["c1:eth0.jsonl", "plexusd 7.1.0"],
        ),
        (
            LedgerError::Corrupt {
                path: path.clone(),
                why: "a\nb".to_owned(),
                moved_to: Some("/q".into()),
            },
            Code::Ledger,
            vec!["c1:eth0.jsonl", "a b", "/q"],
        ),
        (
            LedgerError::Locked {
                dir: "/s".into(),
                holder: Some(12),
                stopped: false,
            },
            Code::Ledger,
            vec!["/s", "(pid 12)", "stop that one"],
        ),
        (
            LedgerError::Locked {
                dir: "/s".into(),
                holder: Some(12),
                stopped: true,
            },
            Code::Ledger,
            vec!["(pid 12, which is stopped)", "kill -CONT 12", "kill -9 12"],
        ),
        (
            LedgerError::InFlight {
                container_id: "c1".to_owned(),
                ifname: "eth0".to_owned(),
            },
            Code::AlreadyAttached,
            vec!["c1", "eth0"],
        ),
    ] {
        let error = CniError::from(error);
        assert!(error.is(code), "{error}");
        assert!(
            parts.iter().all(|part| error.msg.contains(part)) && !error.msg.contains('\n'),
            "{error}"
        );
        // containerd takes such a text for the success of a DEL.
        let text = error.msg.to_lowercase();
        assert!(
            !text.contains("not found") && !text.contains("no such file"),
            "{error}"
        );
    }
}
