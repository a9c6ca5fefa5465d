use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use plexus_api::rows;
use tempfile::TempDir;

use super::*;
use crate::durable::recorder::{self, Synced};
use crate::ledger::test_helpers::{BOOT, line_breaks, planned, raw};

fn key() -> RecordKey {
    RecordKey::new("c1", "eth0")
}

fn journal() -> (TempDir, Journal) {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = Journal::new(dir.path());
    journal.create_dirs().expect("directories");
    (dir, journal)
}

#[test]
fn a_plan_is_on_disk_when_create_returns() {
    rows!("R-085");
    let (_dir, journal) = journal();
    recorder::take();
    journal
        .create(planned("c1", "eth0", 2))
        .expect("a new record");
    let path = journal.path(&key()).expect("a path");
    let content = fs::read(&path).expect("the file");
    assert!(content.ends_with(b"\n"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let entries = Synced::Dir {
        path: journal.dir().canonicalize().expect("a path"),
        names: vec![name.into_owned()],
    };
    let path = path.canonicalize().expect("a path");
    assert_eq!(recorder::take(), [Synced::File { path, content }, entries]);
    // Later lines are not synced.
    journal
        .append(&key(), &Line::Started { index: 0 })
        .expect("append");
    assert_eq!(recorder::take(), []);
}

#[test]
fn the_directories_of_the_ledger_are_on_disk_when_it_is_opened() {
    rows!("R-085");
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().canonicalize().expect("a path");
    recorder::take();
    let state_dir = dir.join("plexus");
    Journal::new(&state_dir).create_dirs().expect("directories");
    let entries = |path: &Path, name: &str| Synced::Dir {
        path: path.to_owned(),
        names: vec![name.to_owned()],
    };
    assert_eq!(
        recorder::take(),
        [entries(&dir, "plexus"), entries(&state_dir, LEDGER_DIR)]
    );
}

#[test]
fn a_retired_record_is_on_disk_when_retire_returns() {
    let (dir, journal) = journal();
    let dir = dir.path().canonicalize().expect("a path");
    let record = journal.create(planned("c1", "eth0", 2));
    record.expect("a new record");
    recorder::take();
    let moved_to = journal.retire(&key()).expect("retired");
    let name = moved_to.file_name().unwrap_or_default().to_string_lossy();
    let entries = |path: &Path, names: &[&str]| Synced::Dir {
        path: path.to_owned(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    assert_eq!(
        recorder::take(),
        [
            entries(&dir, &[LEDGER_DIR, "retired"]),
            entries(&dir.join("retired"), &[&name]),
        ]
    );
}

#[test]
fn an_append_after_a_torn_write_replaces_the_torn_line() {
    rows!("R-084");
    let (_dir, journal) = journal();
    let path = journal.path(&key()).expect("a path");
    journal
        .create(planned("c1", "eth0", 2))
        .expect("a new record");
    let plan_len = fs::metadata(&path).expect("metadata").len();
    journal
        .append(&key(), &Line::Started { index: 0 })
        .expect("append");
    journal
        .append(
            &key(),
            &Line::Added {
                index: 0,
                result: raw("{}"),
            },
        )
        .expect("append");
    let whole = fs::read(&path).expect("the file");
    for len in usize::try_from(plan_len).expect("small")..=whole.len() {
        fs::write(&path, &whole[..len]).expect("cut");
        journal
            .append(&key(), &Line::Started { index: 1 })
            .expect("append");
        let record = journal.load(&key()).expect("readable").expect("there");
        assert!(record.attachments[1].started, "at {len}");
        assert_eq!(record.unreadable, 0, "at {len}");
        let lines = line_breaks(&whole[..len]);
        assert_eq!(
            record.to_undo(BOOT),
            if lines > 1 { vec![1, 0] } else { vec![1] },
            "at {len}"
        );
    }
}

#[test]
fn an_unfinished_plan_is_removed() {
    rows!("R-085", "R-086");
    let (dir, journal) = journal();
    let path = journal.path(&key()).expect("a path");
    let whole = planned("c1", "eth0", 1).to_bytes().expect("a line");
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).expect("cut");
        assert!(
            journal.read(&key()).expect("readable").is_none(),
            "at {len}"
        );
        assert!(path.exists(), "a reader changes nothing");
        assert!(
            journal.load(&key()).expect("readable").is_none(),
            "at {len}"
        );
        assert!(!path.exists(), "at {len}");
    }
    fs::write(&path, &whole[..9]).expect("cut");
    journal
        .create(planned("c1", "eth0", 1))
        .expect("a torn plan does not block an ADD");
    assert!(!dir.path().join(quarantine::QUARANTINE_DIR).exists());
}

#[test]
fn a_corrupt_file_is_moved_to_the_quarantine_once() {
    rows!("P-090", "R-086");
    let (dir, journal) = journal();
    let mut other = planned("c2", "eth0", 1).to_bytes().expect("a line");
    other.extend_from_slice(b"\"completed\"\n");
    for bytes in [
        b"garbage\n".to_vec(),
        vec![0; 100].into_iter().chain([b'\n']).collect(),
        b"{}\n".to_vec(),
        other,
    ] {
        let path = journal.path(&key()).expect("a path");
        fs::write(&path, &bytes).expect("write");
        let error = journal.read(&key()).expect_err("a corrupt file");
        assert!(
            matches!(error, LedgerError::Corrupt { .. }) && !error.is_quarantined(),
            "{error}"
        );
        assert!(path.exists(), "a reader changes nothing");
        let error = journal.load(&key()).expect_err("a corrupt file");
        assert!(error.is_quarantined(), "{error}");
        let LedgerError::Corrupt {
            moved_to: Some(moved_to),
            ..
        } = error
        else {
            panic!("{error}")
        };
        assert!(moved_to.starts_with(dir.path().join(quarantine::QUARANTINE_DIR)));
        assert_eq!(fs::read(moved_to).expect("kept"), bytes);
        assert!(journal.load(&key()).expect("readable").is_none());
        assert!(journal.keys().expect("a list").is_empty());
    }
    journal
        .create(planned("c1", "eth0", 1))
        .expect("a new record");
}

#[test]
fn a_corrupt_file_fails_one_add() {
    rows!("P-081", "P-090");
    let (_dir, journal) = journal();
    fs::write(journal.path(&key()).expect("a path"), "garbage\n").expect("write");
    let error = journal
        .create(planned("c1", "eth0", 1))
        .expect_err("something may be attached");
    assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");
    journal
        .create(planned("c1", "eth0", 1))
        .expect("after its DEL");
}

#[test]
fn a_file_of_a_newer_plexusd_is_left_unchanged() {
    let (_dir, journal) = journal();
    let path = journal.path(&key()).expect("a path");
    let bytes = "{\"planned\":{\"format\":2,\"plexusd\":\"3.0.0\"}}\n\"more\"";
    fs::write(&path, bytes).expect("write");
    for error in [
        journal.read(&key()).map(|_| ()),
        journal.load(&key()).map(|_| ()),
        journal.create(planned("c1", "eth0", 1)).map(|_| ()),
    ] {
        let error = error.expect_err("newer");
        assert!(matches!(error, LedgerError::Newer { .. }), "{error}");
        assert!(error.to_string().contains("3.0.0"), "{error}");
    }
    assert_eq!(fs::read_to_string(&path).expect("the file"), bytes);
}

#[test]
fn appending_keeps_the_lines_of_a_newer_plexusd() {
    rows!("R-081");
    let (_dir, journal) = journal();
    let path = journal.path(&key()).expect("a path");
    let mut bytes = planned("c1", "eth0", 1).to_bytes().expect("a line");
    bytes.splice(
        bytes.len() - 3..,
        *b",\"later\":{\"x\":1}}}\n{\"moved\":{}}\n",
    );
    fs::write(&path, &bytes).expect("write");
    journal.load(&key()).expect("readable").expect("there");
    journal
        .append(&key(), &Line::Started { index: 0 })
        .expect("append");
    let now = fs::read(&path).expect("the file");
    assert!(now.starts_with(&bytes) && now.len() > bytes.len());
}

#[test]
fn appending_to_a_removed_record_fails() {
    let (_dir, journal) = journal();
    journal
        .create(planned("c1", "eth0", 1))
        .expect("a new record");
    journal.remove(&key()).expect("remove");
    journal
        .append(&key(), &Line::Completed)
        .expect_err("the record is removed");
    assert!(journal.keys().expect("a list").is_empty());
    journal.remove(&key()).expect("removing twice succeeds");
    fs::create_dir(journal.path(&key()).expect("a path")).expect("mkdir");
    journal
        .remove(&key())
        .expect_err("a directory cannot be removed as a file");
}

/// Fills a file system that is mounted for this test only.
#[test]
fn a_full_file_system_leaves_no_partial_record() {
    rows!("R-084");
    let dir = tempfile::tempdir().expect("a directory");
    let state_dir = dir.path().to_owned();
    let run = move || {
        if unshare(CloneFlags::CLONE_NEWNS).is_err() {
            eprintln!("skipped: needs root or a user namespace");
            return;
        }
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .expect("private");
        mount(
            Some("tmpfs"),
            &state_dir,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=64k"),
        )
        .expect("mount");
        let journal = Journal::new(&state_dir);
        journal.create_dirs().expect("directories");
        journal
            .create(planned("c1", "eth0", 1))
            .expect("a new record");
        let path = journal.path(&key()).expect("a path");
        let filler = state_dir.join("filler");
        let mut full = File::create(&filler).expect("a file");
        while full.write_all(&[0; 4096]).is_ok() {}

        let error = journal
            .create(planned("c2", "eth0", 1))
            .expect_err("the file system is full");
        assert!(error.to_string().contains("free space"), "{error}");
        assert_eq!(
            journal.keys().expect("a list").len(),
            1,
            "no file is left behind"
        );

        // The write starts in an allocated page and ends in one that cannot be allocated.
        let before = fs::read(&path).expect("the file");
        let result = raw(&format!("\"{}\"", "x".repeat(8192)));
        let error = journal
            .append(&key(), &Line::Added { index: 0, result })
            .expect_err("the file system is full");
        assert!(error.to_string().contains("free space"), "{error}");
        assert!(
            fs::read(&path).expect("the file") == before,
            "the partial line is removed"
        );

        drop(full);
        fs::remove_file(&filler).expect("space");
        journal
            .create(planned("c2", "eth0", 1))
            .expect("a new record");
    };
    std::thread::spawn(run).join().expect("the thread");
}

#[test]
fn a_del_that_fails_for_ever_does_not_make_its_record_grow() {
    let (_dir, journal) = journal();
    let mut record = journal
        .create(planned("c1", "eth0", 1))
        .expect("a new record");
    let path = journal.path(&key()).expect("a path");
    let mut fail = |unix_ms: u64, error: &str| {
        let line = record.failed_del(unix_ms, error.to_owned());
        journal.append(&key(), &line).expect("append");
        record.apply(line);
        let bytes = fs::read(&path).expect("the file");
        let read = journal.read(&key()).expect("readable").expect("a record");
        assert_eq!(read.del_failures, record.del_failures);
        assert_eq!(read.unreadable, 0);
        (line_breaks(&bytes), bytes.len())
    };
    let (lines, len) = fail(1, "a long text");
    assert_eq!(lines, 2);
    // A shorter text, and one of the same length.
    assert_eq!(fail(2, "short"), (2, len));
    assert_eq!(fail(3, "a long text"), (2, len));
    assert_eq!(fail(4, "a longer text"), (2, len + 2));
    // The lines of an older version, and other lines, stay.
    let old = Line::DelFailed {
        unix_ms: 5,
        error: String::new(),
        total: None,
    };
    for line in [old, Line::Orphaned] {
        journal.append(&key(), &line).expect("append");
        record.apply(line);
    }
    let mut fail = |unix_ms: u64| {
        let line = record.failed_del(unix_ms, "again".to_owned());
        journal.append(&key(), &line).expect("append");
        record.apply(line);
    };
    (6..100).for_each(&mut fail);
    let read = journal.read(&key()).expect("readable").expect("a record");
    assert!(read.orphaned);
    assert_eq!(read.del_failures, record.del_failures);
    assert_eq!(read.del_failures.count, 99);
    assert_eq!(line_breaks(&fs::read(&path).expect("the file")), 5);
}
