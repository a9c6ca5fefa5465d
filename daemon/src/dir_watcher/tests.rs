use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use inotify::Inotify;
use nix::errno::Errno;
use tokio::runtime::Builder;
use tokio::time::{Instant, timeout};

use super::{Changed, DirWatcher, PAUSE, with_limit};

async fn change(watcher: &mut DirWatcher) -> Changed {
    timeout(Duration::from_secs(20), watcher.changed())
        .await
        .expect("a change is reported")
}

fn names(names: &[&str]) -> Changed {
    Changed::Names(names.iter().map(Into::into).collect())
}

#[tokio::test]
async fn a_directory_is_watched_once_it_appears_and_after_it_was_removed() {
    let root = tempfile::tempdir().expect("directory");
    let dir = root.path().join("a/b");
    let mut watcher = DirWatcher::new();
    assert!(watcher.set(vec![dir.clone()]), "something is watched");
    for _ in 0..2 {
        fs::create_dir(root.path().join("a")).expect("a");
        change(&mut watcher).await;
        fs::create_dir(&dir).expect("b");
        change(&mut watcher).await;
        fs::write(dir.join("file"), "x").expect("file");
        change(&mut watcher).await;
        fs::remove_dir_all(root.path().join("a")).expect("removed");
        while !watcher.watches.values().eq([root.path()]) {
            change(&mut watcher).await;
        }
    }
}

#[tokio::test]
async fn set_returns_whether_a_directory_is_newly_watched() {
    let root = tempfile::tempdir().expect("directory");
    let sub = root.path().join("sub");
    let mut watcher = DirWatcher::new();
    assert!(watcher.set(vec![root.path().to_owned()]));
    assert!(
        !watcher.set(vec![root.path().to_owned(), sub.clone()]),
        "the directory does not exist yet"
    );
    fs::create_dir(&sub).expect("sub");
    assert!(watcher.set(vec![root.path().to_owned(), sub]));
}

#[tokio::test]
async fn a_new_file_is_a_change_when_its_writer_has_finished() {
    let root = tempfile::tempdir().expect("directory");
    let mut watcher = DirWatcher::new();
    watcher.set(vec![root.path().to_owned()]);
    let unfinished = fs::File::create(root.path().join("unfinished")).expect("file");
    std::os::unix::fs::symlink("x", root.path().join("link")).expect("link");
    assert_eq!(change(&mut watcher).await, names(&["link"]));
    drop(unfinished);
    assert_eq!(change(&mut watcher).await, names(&["unfinished"]));
}

#[tokio::test(start_paused = true)]
async fn without_inotify_the_directories_are_looked_at_until_inotify_works_again() {
    let root = tempfile::tempdir().expect("directory");
    let mut watcher = DirWatcher::new();
    watcher.set(vec![root.path().to_owned()]);
    watcher.stop_watching(&Errno::EMFILE.into());
    // The time of the next look is a change, whether or not something has changed.
    assert_eq!(watcher.changed().await, Changed::Anything);
    assert!(watcher.events.is_some(), "inotify is used again");
    fs::create_dir(root.path().join("new")).expect("directory");
    assert_eq!(change(&mut watcher).await, names(&["new"]));
}

#[tokio::test(start_paused = true)]
async fn events_that_repeat_an_error_are_tried_again_after_a_pause() {
    let root = tempfile::tempdir().expect("directory");
    let mut watcher = DirWatcher::new();
    watcher.set(vec![root.path().to_owned()]);
    let ended = Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime");
    let inotify = Inotify::init().expect("inotify");
    let events = {
        let _context = ended.enter();
        inotify.into_event_stream(vec![0; 4096]).expect("events")
    };
    // From now on, the stream returns the same error each time.
    ended.shutdown_background();
    watcher.events = Some(events);
    let start = Instant::now();
    assert_eq!(watcher.changed().await, Changed::Anything);
    assert!(start.elapsed() >= PAUSE, "{:?}", start.elapsed());
    fs::create_dir(root.path().join("new")).expect("directory");
    assert_eq!(change(&mut watcher).await, names(&["new"]));
}

#[tokio::test]
async fn a_changed_file_mode_is_a_change() {
    let root = tempfile::tempdir().expect("directory");
    let file = root.path().join("file");
    fs::write(&file, "x").expect("file");
    let mut watcher = DirWatcher::new();
    watcher.set(vec![root.path().to_owned()]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
    change(&mut watcher).await;
}

#[test]
fn the_error_names_the_exhausted_limit() {
    for (errno, limit) in [
        (Errno::EMFILE, "max_user_instances"),
        (Errno::ENOSPC, "max_user_watches"),
    ] {
        let text = with_limit(errno.into()).to_string();
        assert!(
            text.contains(limit) && text.contains(errno.desc()),
            "{text}"
        );
    }
    assert_eq!(
        with_limit(Errno::EACCES.into()).raw_os_error(),
        Some(Errno::EACCES as i32)
    );
}
