use std::thread;

use super::*;
use crate::durable::recorder::{self, Synced};

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .expect("directory")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_write_replaces_content_and_mode_and_leaves_no_temporary_file() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("file");
    fs::write(temporary_path(&path), "of a killed process").expect("leftover");
    for (content, mode, durable) in [("old, and longer", 0o644, false), ("new", 0o600, true)] {
        let file = AtomicFile::new(&path, mode);
        let file = if durable { file.durable() } else { file };
        file.write(content.as_bytes()).expect("write");
        assert_eq!(fs::read_to_string(&path).expect("content"), content);
        let permissions = path.metadata().expect("metadata").permissions();
        assert_eq!(permissions.mode() & 0o777, mode);
    }
    assert_eq!(names(dir.path()), ["file"]);
}

#[test]
fn a_failed_write_keeps_the_old_file_and_names_the_path() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("file");
    fs::write(&path, "old").expect("file");
    let file = AtomicFile::new(&path, 0o600);
    let half_written = |file: &mut File| {
        file.write_all(b"ne")?;
        Err(io::ErrorKind::StorageFull.into())
    };
    for (kind, result) in [
        (io::ErrorKind::StorageFull, file.write_with(half_written)),
        (
            io::ErrorKind::Interrupted,
            file.write_checked(b"new", |temporary| {
                assert_eq!(fs::read(temporary).expect("complete"), b"new");
                Err(io::ErrorKind::Interrupted.into())
            }),
        ),
    ] {
        let error = result.expect_err("refused");
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains("/file: "), "{error}");
        assert_eq!(fs::read(&path).expect("content"), b"old");
        assert_eq!(names(dir.path()), ["file"]);
    }
    let nowhere = dir.path().join("missing/file");
    let error = AtomicFile::new(&nowhere, 0o600)
        .write(b"")
        .expect_err("no directory");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn writers_of_a_shared_path_do_not_mix() {
    let dir = tempfile::tempdir().expect("directory");
    let path = &dir.path().join("file");
    thread::scope(|scope| {
        for content in [vec![b'a'; 1 << 16], vec![b'b'; 1 << 16]] {
            scope.spawn(move || {
                for _ in 0..50 {
                    AtomicFile::new(path, 0o600)
                        .shared()
                        .write(&content)
                        .expect("write");
                    let read = fs::read(path).expect("content");
                    assert_eq!(read.len(), content.len());
                    assert!(read.iter().all(|byte| *byte == read[0]));
                }
            });
        }
    });
    assert_eq!(names(dir.path()), ["file"]);
}

#[test]
fn a_durable_file_is_on_disk_before_and_after_its_rename() {
    let dir = tempfile::tempdir().expect("directory");
    let dir = dir.path().canonicalize().expect("a path");
    let path = dir.join("file");
    recorder::take();
    let file = AtomicFile::new(&path, 0o600);
    file.write(b"not durable").expect("write");
    assert_eq!(recorder::take(), []);
    file.durable().write(b"durable").expect("write");
    let content = Synced::File {
        path: temporary_path(&path),
        content: b"durable".into(),
    };
    let names = vec!["file".to_owned()];
    assert_eq!(
        recorder::take(),
        [content, Synced::Dir { path: dir, names }]
    );
}
