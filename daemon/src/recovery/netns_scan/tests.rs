use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::*;

#[test]
fn mount_tables_name_network_namespaces() {
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

/// The namespace at `path`, looked at by a thread that may enter it.
fn identify(path: &Path) -> NetnsId {
    thread::scope(|scope| {
        scope
            .spawn(|| netns::identify(path))
            .join()
            .expect("a thread")
    })
    .expect("a netns")
}

fn lives(id: NetnsId) -> bool {
    living_netns(&BTreeSet::from([id]))
        .expect("a look at /proc")
        .contains(&id)
}

/// Whether this user may make namespaces; says so where not.
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
fn the_own_netns_lives_and_an_invented_one_does_not() {
    if !can_unshare() {
        return;
    }
    // In a namespace of its own, which an ordinary user may enter.
    let judged = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("unshare");
        let own = own_netns();
        let before = NetnsId {
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
        let living = living_netns(&BTreeSet::from([own, before, unknown, invented]))
            .expect("a look at /proc");
        assert_eq!(
            living,
            BTreeSet::from([own, unknown]),
            "one that had the same inode before is gone"
        );
    });
    judged.join().expect("a thread");
}

#[test]
fn the_netns_of_a_thread_lives() {
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
    let inode = from_thread.recv().expect("receive");
    assert_ne!(
        inode.ino,
        fs::metadata("/proc/self/ns/net").expect("own netns").ino()
    );
    assert!(lives(inode));
    drop(release);
    thread.join().expect("join");
}

#[test]
fn the_netns_of_a_process_lives_as_long_as_it() {
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
    let inode = identify(
        &Path::new("/proc")
            .join(child.id().to_string())
            .join("ns/net"),
    );
    assert!(lives(inode));
    // An open file is neither a task nor a mount; it only keeps the inode from being used again meanwhile.
    let _held =
        fs::File::open(format!("/proc/{}/ns/net", child.id())).expect("its network namespace");
    drop(child.stdin.take());
    child.wait().expect("wait");
    assert!(!lives(inode));
}

#[test]
fn a_mounted_netns_lives_until_it_is_unmounted_wherever_that_mount_is() {
    if !can_unshare() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("netns");
    fs::write(&file, "").expect("a file");
    std::thread::spawn(move || {
        // Nobody but this thread sees the mount.
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).expect("unshare");
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .expect("private");
        let inode = own_netns();
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
        assert_ne!(own_netns(), inode);
        assert!(lives(inode));
        umount2(&file, MntFlags::MNT_DETACH).expect("umount");
        assert!(!lives(inode));
    })
    .join()
    .expect("join");
}
