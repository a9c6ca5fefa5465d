use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::*;

#[test]
fn network_namespaces_are_found_in_mount_tables() {
    let table = "\
40 27 0:4 net:[4026532190] /run/netns/a rw shared:30 - nsfs nsfs rw
41 27 0:4 mnt:[4026532191] /run/mnt/b rw - nsfs nsfs rw
42 27 0:22 / /run/net:[4026532192] rw - tmpfs tmpfs rw
43 27 0:4 net:[4026532193] /run/with\\040space rw - nsfs nsfs rw

44
";
    let expected = [
        (4_026_532_190, "/run/netns/a".to_owned()),
        (4_026_532_193, "/run/with space".to_owned()),
    ];
    assert_eq!(mounted_netns(table).collect::<Vec<_>>(), expected);
}

fn own_netns() -> NetnsId {
    let task = fs::read_link("/proc/thread-self").expect("own task");
    identify(&Path::new("/proc").join(task).join("ns/net"))
}

/// Identifies the namespace at `path` in a separate thread, because that enters the namespace.
fn identify(path: &Path) -> NetnsId {
    thread::scope(|scope| {
        scope
            .spawn(|| netns::identify(path))
            .join()
            .expect("a thread")
    })
    .expect("a netns")
}

fn is_found(id: NetnsId) -> bool {
    existing_netns(&BTreeSet::from([id]))
        .expect("a scan of /proc")
        .contains(&id)
}

/// Whether this user may create namespaces. Reports the skipped test if not.
fn can_unshare() -> bool {
    let can =
        std::thread::spawn(|| unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).is_ok())
            .join()
            .expect("a thread");
    if !can {
        eprintln!("skipped: needs root or a user namespace");
    }
    can
}

#[test]
fn the_netns_of_the_caller_is_found_and_an_invented_one_is_not() {
    if !can_unshare() {
        return;
    }
    // An ordinary user may enter a network namespace only if the user has created it.
    let scan = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("unshare");
        let own = own_netns();
        let reused = NetnsId {
            cookie: own.cookie.map(|cookie| cookie + 1),
            ..own
        };
        let unknown = NetnsId {
            cookie: None,
            ..own
        };
        let invented = NetnsId {
            dev: 4,
            ino: 1,
            cookie: None,
        };
        let existing = existing_netns(&BTreeSet::from([own, reused, unknown, invented]))
            .expect("a scan of /proc");
        assert_eq!(
            existing,
            BTreeSet::from([own, unknown]),
            "a namespace with the same inode and another cookie is gone"
        );
    });
    scan.join().expect("a thread");
}

#[test]
fn the_netns_of_a_thread_is_found() {
    if !can_unshare() {
        return;
    }
    let (to_test, from_thread) = mpsc::channel();
    let (release, wait) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("unshare");
        to_test.send(own_netns()).expect("send");
        let _ = wait.recv();
    });
    let id = from_thread.recv().expect("receive");
    assert_ne!(
        id.ino,
        fs::metadata("/proc/self/ns/net").expect("own netns").ino()
    );
    assert!(is_found(id));
    drop(release);
    thread.join().expect("join");
}

#[test]
fn the_netns_of_a_process_is_found_until_the_process_exits() {
    if !can_unshare() {
        return;
    }
    let mut child = Command::new("unshare")
        .args(["--net", "sh", "-c", "readlink /proc/self/ns/net; read _"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("util-linux");
    let mut link = String::new();
    BufReader::new(child.stdout.take().expect("stdout"))
        .read_line(&mut link)
        .expect("a line");
    assert!(netns_inode(link.trim()).is_some(), "{link}");
    let id = identify(
        &Path::new("/proc")
            .join(child.id().to_string())
            .join("ns/net"),
    );
    assert!(is_found(id));
    // An open file is neither a task nor a mount. It only prevents a reuse of the inode.
    let _held =
        fs::File::open(format!("/proc/{}/ns/net", child.id())).expect("its network namespace");
    drop(child.stdin.take());
    child.wait().expect("wait");
    assert!(!is_found(id));
}

#[test]
fn a_mounted_netns_is_found_in_any_mount_namespace_until_unmounted() {
    if !can_unshare() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("netns");
    fs::write(&file, "").expect("a file");
    std::thread::spawn(move || {
        // The mount is visible to this thread only.
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).expect("unshare");
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .expect("private");
        let id = own_netns();
        let _held = fs::File::open("/proc/thread-self/ns/net").expect("its network namespace");
        mount(
            Some("/proc/thread-self/ns/net"),
            &file,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .expect("bind");
        unshare(CloneFlags::CLONE_NEWNET).expect("unshare");
        assert_ne!(own_netns(), id);
        assert!(is_found(id));
        umount2(&file, MntFlags::MNT_DETACH).expect("umount");
        assert!(!is_found(id));
    })
    .join()
    .expect("join");
}
