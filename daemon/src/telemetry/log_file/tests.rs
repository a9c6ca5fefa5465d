use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;

fn settings(dir: &TempDir) -> LogFile {
    let path = dir.path().join("plexusd.log");
    LogFile {
        path,
        max_size: 10,
        max_backups: 2,
        max_age: Duration::from_hours(1),
    }
}

fn contents(dir: &TempDir) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(dir.path())
        .expect("a directory")
        .flatten()
        .map(|entry| {
            let text = fs::read_to_string(entry.path()).expect("a text");
            (entry.file_name().into_string().expect("a name"), text)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_full_file_is_rotated_and_the_oldest_backups_are_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut file = RotatingFile::open(settings(&dir)).expect("the file opens");
    for line in [
        "one\n",
        "two\n",
        "three\n",
        "a line that is longer than the file\n",
        "five\n",
    ] {
        file.write_line(line.as_bytes())
            .expect("the line is written");
    }
    let expected = [
        ("plexusd.log", "five\n"),
        ("plexusd.log.1", "a line that is longer than the file\n"),
        ("plexusd.log.2", "three\n"),
    ];
    assert_eq!(
        contents(&dir),
        expected.map(|(name, text)| (name.to_owned(), text.to_owned()))
    );
    let mode = fs::metadata(dir.path().join("plexusd.log"))
        .expect("the file exists")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_missing_directory_is_created() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut settings = settings(&dir);
    settings.path = dir.path().join("plexus/logs/plexusd.log");
    let mut file = RotatingFile::open(settings.clone()).expect("the file opens");
    file.write_line(b"one\n").expect("a line");
    let text = fs::read_to_string(&settings.path).expect("the file");
    assert_eq!(text, "one\n");
}

#[test]
fn an_existing_file_is_appended_to_and_old_backups_are_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("plexusd.log"), "before\n").expect("the line is written");
    for (name, age) in [("plexusd.log.1", 1), ("plexusd.log.2", 7200)] {
        let file = File::create(dir.path().join(name)).expect("the file is created");
        file.set_modified(SystemTime::now() - Duration::from_secs(age))
            .expect("its modification time is set");
    }
    let mut file = RotatingFile::open(settings(&dir)).expect("the file opens");
    file.write_line(b"on\n").expect("the line is written");
    let expected = [("plexusd.log", "before\non\n"), ("plexusd.log.1", "")];
    assert_eq!(
        contents(&dir),
        expected.map(|(name, text)| (name.to_owned(), text.to_owned()))
    );
}
