use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use nix::errno::Errno;
use tokio::time::timeout;

use super::{DirWatcher, with_limit};

async fn change(watched: &mut DirWatcher) {
    timeout(Duration::from_secs(20), watched.changed())
        .await
        .expect("a change is told")
        .expect("inotify works");
}

#[tokio::test]
async fn a_directory_is_followed_from_the_moment_it_appears_and_again_after_it_was_gone() {
    let root = tempfile::tempdir().expect("directory");
    let dir = root.path().join("a/b");
    let mut watched = DirWatcher::new().expect("inotify");
    assert!(
        watched.set(vec![dir.clone()]).expect("set"),
        "something is watched"
    );
    for _ in 0..2 {
        fs::create_dir(root.path().join("a")).expect("a");
        change(&mut watched).await;
        fs::create_dir(&dir).expect("b");
        change(&mut watched).await;
        fs::write(dir.join("file"), "x").expect("file");
        change(&mut watched).await;
        fs::remove_dir_all(root.path().join("a")).expect("gone");
        let above = watched.watch(root.path()).expect("it is there");
        while watched.watches != HashSet::from([above.clone()]) {
            change(&mut watched).await;
        }
    }
}

#[tokio::test]
async fn a_set_that_grows_says_so() {
    let root = tempfile::tempdir().expect("directory");
    let sub = root.path().join("sub");
    let mut watched = DirWatcher::new().expect("inotify");
    assert!(watched.set(vec![root.path().to_owned()]).expect("set"));
    assert!(
        !watched
            .set(vec![root.path().to_owned(), sub.clone()])
            .expect("set"),
        "it is not there yet"
    );
    fs::create_dir(&sub).expect("sub");
    assert!(watched.set(vec![root.path().to_owned(), sub]).expect("set"));
}

#[tokio::test]
async fn a_file_that_cannot_be_executed_any_more_is_a_change() {
    let root = tempfile::tempdir().expect("directory");
    let file = root.path().join("file");
    fs::write(&file, "x").expect("file");
    let mut watched = DirWatcher::new().expect("inotify");
    watched.set(vec![root.path().to_owned()]).expect("set");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
    change(&mut watched).await;
}

#[test]
fn a_limit_that_is_reached_is_named() {
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
