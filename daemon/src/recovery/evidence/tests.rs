use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::*;

const GAP: Duration = Duration::from_mins(1);

fn sandbox(id: usize, boot: &str, netns: Option<u64>) -> Sandbox {
    Sandbox {
        key: key(id),
        boot_id: boot.to_owned(),
        netns: netns.map(netns_id),
        pod_deleted: false,
    }
}

fn netns_id(ino: u64) -> NetnsId {
    NetnsId {
        dev: 4,
        ino,
        cookie: None,
    }
}

fn key(id: usize) -> Key {
    (format!("c{id}"), "eth0".to_owned())
}

/// `count` sandboxes of this boot with the network namespaces 0, 1, …
fn sandboxes(count: usize) -> Vec<Sandbox> {
    (0..count)
        .map(|id| sandbox(id, "now", Some(id as u64)))
        .collect()
}

fn look(
    sandboxes: &[Sandbox],
    living: &BTreeSet<NetnsId>,
    suspects: &Suspects,
    now: Instant,
) -> Judgement {
    judge(sandboxes, "now", living, suspects, now, GAP)
}

#[test]
fn another_boot_is_proof_at_once() {
    let records = [
        sandbox(1, "before", Some(7)),
        sandbox(2, "before", None),
        sandbox(3, "now", Some(7)),
    ];
    let judgement = look(
        &records,
        &BTreeSet::from([netns_id(7)]),
        &Suspects::new(),
        Instant::now(),
    );
    assert_eq!(
        judgement.dead,
        [key(1), key(2)],
        "the inode may be in use again"
    );
    assert_eq!(judgement.suspects, Suspects::new());
}

#[test]
fn one_boot_ending_many_sandboxes_is_believed() {
    let records: Vec<_> = (0..50).map(|id| sandbox(id, "before", Some(1))).collect();
    let judgement = look(&records, &BTreeSet::new(), &Suspects::new(), Instant::now());
    assert_eq!((judgement.dead.len(), judgement.disbelieved), (50, None));
}

#[test]
fn a_missing_netns_is_proof_at_the_second_look_after_the_gap() {
    let (records, start) = (sandboxes(1), Instant::now());
    let nothing = BTreeSet::new();
    let first = look(&records, &nothing, &Suspects::new(), start);
    assert_eq!(first.dead, [] as [Key; 0]);
    let too_soon = look(
        &records,
        &nothing,
        &first.suspects,
        start + GAP.mul_f32(0.9),
    );
    assert_eq!(too_soon.dead, [] as [Key; 0]);
    let later = look(&records, &nothing, &too_soon.suspects, start + GAP);
    assert_eq!(
        later.dead,
        [key(0)],
        "a look in between does not start anew"
    );
    let again = look(&records, &nothing, &later.suspects, start + GAP);
    assert_eq!(
        again.dead,
        [key(0)],
        "it stays dead while its record is there"
    );
}

#[test]
fn no_gap_asks_for_a_second_look_all_the_same() {
    let (records, now) = (sandboxes(1), Instant::now());
    let first = judge(
        &records,
        "now",
        &BTreeSet::new(),
        &Suspects::new(),
        now,
        Duration::ZERO,
    );
    assert_eq!(first.dead, [] as [Key; 0]);
    let second = judge(
        &records,
        "now",
        &BTreeSet::new(),
        &first.suspects,
        now,
        Duration::ZERO,
    );
    assert_eq!(second.dead, [key(0)]);
}

#[test]
fn what_comes_back_is_no_longer_suspected() {
    let (records, start) = (sandboxes(1), Instant::now());
    let first = look(&records, &BTreeSet::new(), &Suspects::new(), start);
    let back = look(
        &records,
        &BTreeSet::from([netns_id(0)]),
        &first.suspects,
        start + GAP,
    );
    assert_eq!(back, Judgement::default());
    let missing = look(&records, &BTreeSet::new(), &back.suspects, start + GAP * 2);
    assert_eq!(missing.dead, [] as [Key; 0]);
}

#[test]
fn another_sandbox_under_the_same_key_is_not_suspected_for_the_first() {
    let start = Instant::now();
    let first = look(
        &[sandbox(1, "now", Some(1))],
        &BTreeSet::new(),
        &Suspects::new(),
        start,
    );
    let second = look(
        &[sandbox(1, "now", Some(2))],
        &BTreeSet::new(),
        &first.suspects,
        start + GAP,
    );
    assert_eq!(second.dead, [] as [Key; 0]);
    assert_eq!(
        second.suspects[&key(1)],
        Suspect {
            netns: netns_id(2),
            since: start + GAP
        }
    );
}

#[test]
fn without_an_inode_there_is_no_proof_in_this_boot() {
    let records = [sandbox(1, "now", None)];
    assert_eq!(
        look(&records, &BTreeSet::new(), &Suspects::new(), Instant::now()),
        Judgement::default()
    );
}

#[test]
fn many_at_once_are_believed_where_their_pods_are_deleted() {
    // Of 30, 24 are missing: so many of them with pods that are there.
    for (with_pod, believed) in [(0, true), (4, true), (6, true), (7, false)] {
        let (mut records, start) = (sandboxes(30), Instant::now());
        records
            .iter_mut()
            .take(24 - with_pod)
            .for_each(|sandbox| sandbox.pod_deleted = true);
        let living = (24..30).map(netns_id).collect();
        let first = look(&records, &living, &Suspects::new(), start);
        let second = look(&records, &living, &first.suspects, start + GAP);
        assert_eq!(
            second.dead.len(),
            if believed { 24 } else { 0 },
            "{with_pod} with a pod"
        );
        assert_eq!(
            second.disbelieved.map(|disbelieved| disbelieved.gone),
            (!believed).then_some(with_pod)
        );
    }
}

#[test]
fn a_deleted_pod_alone_is_no_proof() {
    let mut records = sandboxes(1);
    records[0].pod_deleted = true;
    let living = BTreeSet::from([netns_id(0)]);
    assert_eq!(
        look(&records, &living, &Suspects::new(), Instant::now()),
        Judgement::default()
    );
}

#[test]
fn many_at_once_are_not_believed() {
    // all, missing, believed
    for (all, missing, believed) in [
        (1, 1, true),
        (4, 4, true),
        (5, 5, false),
        (24, 5, false),
        (25, 5, true),
        (100, 20, true),
        (100, 21, false),
    ] {
        let (records, start) = (sandboxes(all), Instant::now());
        let living = (missing as u64..all as u64).map(netns_id).collect();
        // Suspected before, when the rest was not missing yet.
        let suspects = Suspects::from([(
            key(0),
            Suspect {
                netns: netns_id(0),
                since: start,
            },
        )]);
        let judgement = look(&records, &living, &suspects, start + GAP);
        let case = format!("{missing} of {all}");
        if believed {
            assert_eq!(judgement.dead, [key(0)], "{case}");
            assert_eq!(
                (judgement.suspects.len(), judgement.disbelieved),
                (missing, None),
                "{case}"
            );
        } else {
            let disbelieved = Some(Disbelieved { gone: missing, all });
            assert_eq!(
                judgement,
                Judgement {
                    disbelieved,
                    ..Judgement::default()
                },
                "{case}"
            );
        }
    }
}

#[test]
fn earlier_boots_do_not_count_among_the_many() {
    let mut records = sandboxes(5);
    records.extend((5..100).map(|id| sandbox(id, "before", None)));
    let judgement = look(&records, &BTreeSet::new(), &Suspects::new(), Instant::now());
    assert_eq!(judgement.disbelieved, Some(Disbelieved { gone: 5, all: 5 }));
    assert_eq!(judgement.dead.len(), 95);
}

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

#[test]
fn the_boot_has_an_id() {
    let id = crate::clock::boot_id().expect("the kernel's");
    let groups: Vec<_> = id.split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
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
        let living = living_netns(&BTreeSet::from([own, before, unknown, netns_id(1)]))
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
