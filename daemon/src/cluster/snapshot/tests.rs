use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;
use crate::atomic_file::temporary_path;

fn definition(name: &str) -> Definition {
    Definition {
        namespace: "ns".into(),
        name: name.into(),
        config: Some("{}".into()),
        ..Definition::default()
    }
}

/// A store with a snapshot in `dir`, and the task that loads and writes the snapshot.
fn with_snapshot(dir: &TempDir, max_age: Option<Duration>) -> (Store, tokio::task::JoinHandle<()>) {
    let store = Store::default();
    let snapshot = DefinitionSnapshot::new(dir.path(), max_age, store.clone());
    let task = tokio::spawn(async move {
        tokio::join!(
            snapshot.load_unless_listed(),
            snapshot.write_changes(CancellationToken::new())
        );
    });
    (store, task)
}

/// Writes a file with the definition `old` that was confirmed `age` ago.
fn write_snapshot(dir: &TempDir, age: Duration) {
    let confirmed = SystemTime::now() - age;
    save(
        &dir.path().join(FILE_NAME),
        &[Arc::new(definition("old"))],
        confirmed,
    )
    .expect("write");
}

/// Waits until the file has `content`. Time is virtual in these tests, the disk is not.
async fn wait_written(dir: &TempDir, content: &str) {
    tokio::time::resume();
    loop {
        if fs::read_to_string(dir.path().join(FILE_NAME)).is_ok_and(|text| text.contains(content)) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_private_and_is_loaded_if_the_server_does_not_answer() {
    let dir = TempDir::new().expect("a directory");
    // A killed daemon left a partial file that everybody can read.
    fs::write(temporary_path(&dir.path().join(FILE_NAME)), "{").expect("write");
    let (store, task) = with_snapshot(&dir, None);
    store.replace_all(vec![definition("a"), definition("b")]);
    store.remove::<Definition>("ns", "a");
    wait_written(&dir, "\"b\"").await;
    task.abort();
    let mode = fs::metadata(dir.path().join(FILE_NAME))
        .expect("the file exists")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(dir.path()).expect("a directory").count(),
        1,
        "there are no other files"
    );

    let (store, _task) = with_snapshot(&dir, None);
    assert!(!store.is_synced());
    assert!(
        store
            .wait_definitions(Instant::now() + LIST_TIMEOUT * 2)
            .await
    );
    assert!(store.is_synced() && store.snapshot().is_some());
    assert_eq!(
        store.definition("ns", "b").as_deref(),
        Some(&definition("b"))
    );
    assert_eq!(store.definition("ns", "a"), None);
    store.replace_all(vec![definition("c")]);
    assert!(
        store.snapshot().is_none() && !store.is_synced(),
        "the pods are not known"
    );
    assert_eq!(
        store.definition("ns", "b"),
        None,
        "the snapshot is used until the first list"
    );
}

#[tokio::test]
async fn a_snapshot_is_not_loaded_if_the_server_answers() {
    let dir = TempDir::new().expect("a directory");
    write_snapshot(&dir, Duration::ZERO);
    tokio::time::pause();
    let (store, _task) = with_snapshot(&dir, None);
    store.replace_all(vec![definition("new")]);
    tokio::time::sleep(LIST_TIMEOUT * 2).await;
    assert!(store.snapshot().is_none());
    assert_eq!(store.definition("ns", "old"), None);
    assert!(
        !store.load_snapshot(vec![definition("old")], SystemTime::now()),
        "not later either"
    );
}

#[tokio::test(start_paused = true)]
async fn an_old_or_broken_snapshot_is_not_loaded() {
    let day = Duration::from_hours(24);
    for (max_age, used) in [(None, true), (Some(day * 3), true), (Some(day), false)] {
        let dir = TempDir::new().expect("a directory");
        write_snapshot(&dir, day * 2);
        let (store, _task) = with_snapshot(&dir, max_age);
        assert_eq!(
            store
                .wait_definitions(Instant::now() + LIST_TIMEOUT * 2)
                .await,
            used,
            "{max_age:?}"
        );
        let age = store
            .snapshot()
            .map(|confirmed| confirmed.elapsed().unwrap_or_default().as_secs() / day.as_secs());
        assert_eq!(
            age,
            used.then_some(2),
            "the age counts from the last confirmation"
        );
    }
    for broken in ["", "{", r#"{"format":2,"definitions":[]}"#] {
        let dir = TempDir::new().expect("a directory");
        fs::write(dir.path().join(FILE_NAME), broken).expect("write");
        let (store, _task) = with_snapshot(&dir, None);
        assert!(
            !store
                .wait_definitions(Instant::now() + LIST_TIMEOUT * 2)
                .await,
            "{broken}"
        );
    }
}

#[tokio::test]
async fn a_bookmark_updates_the_time_of_the_snapshot() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join(FILE_NAME);
    let before = SystemTime::now() - Duration::from_hours(1);
    save(&path, &[], before).expect("write");
    assert_eq!(read(&path).expect("the file exists").1, before);
    touch(&path, before + MAX_TIME_LAG).expect("touch");
    assert_eq!(
        read(&path).expect("the file exists").1,
        before + MAX_TIME_LAG
    );
    let store = Store::default();
    store.replace_all(vec![definition("a")]);
    let first = store.wait_definitions_version(|_| true).await;
    store.confirm::<Definition>();
    let second = store
        .wait_definitions_version(|version| version.confirmed > first.confirmed)
        .await;
    assert_eq!(
        first.revision, second.revision,
        "the definitions are unchanged"
    );
}
