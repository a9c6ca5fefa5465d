use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;
use crate::atomic_file::temporary_path;

fn definition(name: &str) -> Definition {
    Definition {
        namespace: "ns".into(),
        name: name.into(),
        config: Some("{}".into()),
        resource_name: None,
    }
}

/// A store whose definitions are kept in `dir`, and the task that does so.
fn kept(dir: &TempDir, max_age: Option<Duration>) -> (Store, tokio::task::JoinHandle<()>) {
    let store = Store::default();
    let snapshots = DefinitionSnapshot::new(dir.path(), max_age, store.clone());
    let task = tokio::spawn(async move {
        tokio::join!(
            snapshots.stand_in(),
            snapshots.keep(CancellationToken::new())
        );
    });
    (store, task)
}

/// A file with the definition `old`, as an earlier daemon left it `age` ago.
fn left_behind(dir: &TempDir, age: Duration) {
    let taken = SystemTime::now() - age;
    save(
        &dir.path().join(FILE),
        &[Arc::new(definition("old"))],
        taken,
    )
    .expect("it can be written");
}

/// Until the file is written. Its time is virtual, its disk is not.
async fn written(dir: &TempDir, content: &str) {
    tokio::time::resume();
    loop {
        if fs::read_to_string(dir.path().join(FILE)).is_ok_and(|text| text.contains(content)) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_written_for_root_alone_and_loaded_when_nobody_answers() {
    let dir = TempDir::new().expect("a directory");
    // A killed daemon left half a file that all may read.
    fs::write(temporary_path(&dir.path().join(FILE)), "{").expect("it can be written");
    let (store, task) = kept(&dir, None);
    store.replace_all(vec![definition("a"), definition("b")]);
    store.remove::<Definition>("ns", "a");
    written(&dir, "\"b\"").await;
    task.abort();
    let mode = fs::metadata(dir.path().join(FILE))
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(dir.path()).expect("a directory").count(),
        1,
        "nothing else is left"
    );

    let (store, _task) = kept(&dir, None);
    assert!(!store.synced());
    assert!(store.wait_definitions(Instant::now() + PATIENCE * 2).await);
    assert!(store.synced() && store.snapshot().is_some());
    assert_eq!(
        store.definition("ns", "b").as_deref(),
        Some(&definition("b"))
    );
    assert_eq!(store.definition("ns", "a"), None);
    store.replace_all(vec![definition("c")]);
    assert!(
        store.snapshot().is_none() && !store.synced(),
        "the pods are not known"
    );
    assert_eq!(
        store.definition("ns", "b"),
        None,
        "it serves until the first list"
    );
}

#[tokio::test]
async fn it_does_not_serve_while_the_api_server_answers() {
    let dir = TempDir::new().expect("a directory");
    left_behind(&dir, Duration::ZERO);
    tokio::time::pause();
    let (store, _task) = kept(&dir, None);
    store.replace_all(vec![definition("new")]);
    tokio::time::sleep(PATIENCE * 2).await;
    assert!(store.snapshot().is_none());
    assert_eq!(store.definition("ns", "old"), None);
    assert!(
        !store.load_snapshot(vec![definition("old")], SystemTime::now()),
        "not later either"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_or_broken_does_not_serve() {
    let day = Duration::from_hours(24);
    for (max_age, used) in [(None, true), (Some(day * 3), true), (Some(day), false)] {
        let dir = TempDir::new().expect("a directory");
        left_behind(&dir, day * 2);
        let (store, _task) = kept(&dir, max_age);
        assert_eq!(
            store.wait_definitions(Instant::now() + PATIENCE * 2).await,
            used,
            "{max_age:?}"
        );
        let age = store
            .snapshot()
            .map(|taken| taken.elapsed().unwrap_or_default().as_secs() / day.as_secs());
        assert_eq!(age, used.then_some(2), "the age is that of the knowledge");
    }
    for broken in ["", "{", r#"{"format":2,"definitions":[]}"#] {
        let dir = TempDir::new().expect("a directory");
        fs::write(dir.path().join(FILE), broken).expect("it can be written");
        let (store, _task) = kept(&dir, None);
        assert!(
            !store.wait_definitions(Instant::now() + PATIENCE * 2).await,
            "{broken}"
        );
    }
}

#[tokio::test]
async fn a_bookmark_keeps_it_young() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join(FILE);
    let before = SystemTime::now() - Duration::from_hours(1);
    save(&path, &[], before).expect("it can be written");
    assert_eq!(read(&path).expect("it is there").1, before);
    touch(&path, before + TOUCH).expect("it can be touched");
    assert_eq!(read(&path).expect("it is there").1, before + TOUCH);
    let store = Store::default();
    store.replace_all(vec![definition("a")]);
    let first = store.wait_state(|_| true).await;
    store.confirm::<Definition>();
    let second = store
        .wait_state(|state| state.confirmed > first.confirmed)
        .await;
    assert_eq!(first.revision, second.revision, "nothing is to be written");
}
