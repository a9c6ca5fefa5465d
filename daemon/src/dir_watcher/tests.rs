use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use nix::errno::Errno;
use tokio::time::timeout;

use super::{DirWatcher, with_limit};

async fn change(watcher: &mut DirWatcher) {
    timeout(Duration::from_secs(20), watcher.changed())
        .await
        .expect("a change is reported")
        .expect("inotify works");
}

#[tokio::test]
async fn a_directory_is_watched_once_it_appears_and_after_it_was_removed() {
    let root = tempfile::tempdir().expect("directory");
    let dir = root.path().join("a/b");
    let mut watcher = DirWatcher::new().expect("inotify");
    assert!(
        watcher.set(vec![dir.clone()]).expect("set"),
        "something is watched"
    );
    for _ in 0..2 {
        fs::create_dir(root.path().join("a")).expect("a");
        change(&mut watcher).await;
        fs::create_dir(&dir).expect("b");
        change(&mut watcher).await;
        fs::write(dir.join("file"), "x").expect("file");
        change(&mut watcher).await;
        fs::remove_dir_all(root.path().join("a")).expect("removed");
        let above = watcher.watch(root.path()).expect("exists");
        while watcher.watches != HashSet::from([above.clone()]) {
            change(&mut watcher).await;
        }
    }
}

#[tokio::test]
async fn set_returns_whether_a_directory_is_newly_watched() {
    let root = tempfile::tempdir().expect("directory");
    let sub = root.path().join("sub");
    let mut watcher = DirWatcher::new().expect("inotify");
    assert!(watcher.set(vec![root.path().to_owned()]).expect("set"));
    assert!(
        !watcher
            .set(vec![root.path().to_owned(), sub.clone()])
            .expect("set"),
        "the directory does not exist yet"
    );
    fs::create_dir(&sub).expect("sub");
    assert!(watcher.set(vec![root.path().to_owned(), sub]).expect("set"));
}

#[tokio::test]
async fn a_changed_file_mode_is_a_change() {
    let root = tempfile::tempdir().expect("directory");
    let file = root.path().join("file");
    fs::write(&file, "x").expect("file");
    let mut watcher = DirWatcher::new().expect("inotify");
    watcher.set(vec![root.path().to_owned()]).expect("set");
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
