use std::fs;
use std::path::Path;

use nix::sys::stat::Mode;
use plexus_api::cni::{CniError, Code};

use super::Netns;
use crate::host::{Host, Place};
use sandbox::Sandbox;

mod routes;
mod sandbox;

/// Opens a namespace as the daemon itself sees it.
async fn open(path: &Path) -> Result<Netns, CniError> {
    let host = Host::start(tokio::runtime::Handle::current(), Place::Own).expect("host");
    Netns::open(path, &host).await
}

#[tokio::test]
async fn what_is_no_network_namespace_is_refused() {
    plexus_api::rows!("P-011");
    let dir = tempfile::tempdir().expect("directory");
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "").expect("file");
    std::os::unix::fs::symlink("nowhere", at("dangling")).expect("link");
    std::os::unix::fs::symlink("loop", at("loop")).expect("link");
    nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).expect("fifo");
    let paths = [
        at("file"),
        at("dangling"),
        at("loop"),
        at("fifo"),
        at("missing"),
        at("file/below"),
        dir.path().to_owned(),
        "/proc/self/ns/mnt".into(),
        "/dev/null".into(),
        "relative\0zero".into(),
        "".into(),
    ];
    for path in paths {
        let Err(error) = open(&path).await else {
            panic!("{} was opened", path.display())
        };
        assert!(error.is(Code::InvalidEnvironment), "{error}");
        assert!(
            error.msg.contains(&format!("CNI_NETNS {}", path.display())),
            "{error}"
        );
    }
}

#[tokio::test]
async fn links_of_the_namespace_are_seen() {
    plexus_api::rows!("P-080");
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    sandbox.link("net1", true).await;
    sandbox.link("net2", false).await;
    let mut netns = open(&sandbox.path()).await.expect("open");

    let links = netns.links().await.expect("links");
    let find = |name: &str| links.iter().find(|link| link.name == name).expect("link");
    assert_eq!(links.len(), 5, "lo and two pairs: {links:?}");
    assert!(find("net1").up && !find("net2").up && !find("lo").up);
    assert_ne!(find("net1").index, find("net2").index);
    let mac = &find("net1").mac;
    assert_eq!(
        mac.split(':')
            .filter(|part| part.len() == 2 && u8::from_str_radix(part, 16).is_ok())
            .count(),
        6,
        "{mac}"
    );

    for (name, there) in [
        ("net1", true),
        ("net2", true),
        ("lo", true),
        ("net3", false),
        ("net", false),
    ] {
        assert_eq!(netns.has_link(name).await.expect(name), there, "{name}");
    }
    sandbox.link("net3", true).await;
    assert!(
        netns.has_link("net3").await.expect("net3"),
        "nothing is remembered"
    );
    let error = netns
        .has_link("a name that is too long")
        .await
        .expect_err("too long");
    assert!(
        error.is(Code::Io) && error.msg.contains("too long"),
        "{error}"
    );
}

#[tokio::test]
async fn a_namespace_is_told_by_its_id_and_nobody_else_enters_it() {
    let (Some(one), Some(two)) = (Sandbox::new(), Sandbox::new()) else {
        return;
    };
    let own = fs::read_link("/proc/thread-self/ns/net").expect("own");
    let first = open(&one.path()).await.expect("open").id();
    assert_eq!(open(&one.path()).await.expect("open again").id(), first);
    assert_ne!(open(&two.path()).await.expect("open other").id(), first);
    assert_eq!(first.ino, one.inode());
    assert_eq!(fs::read_link("/proc/thread-self/ns/net").expect("own"), own);
}

#[tokio::test]
async fn nothing_holds_the_namespace_afterwards() {
    plexus_api::rows!("R-071");
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let before = held(&sandbox);
    let mut netns = open(&sandbox.path()).await.expect("open");
    netns.links().await.expect("links");
    assert_eq!(
        held(&sandbox),
        (before.0, before.1 + 1),
        "one socket, no file"
    );
    drop(netns);
    assert_eq!(held(&sandbox), before);
}

/// How many files of this process are the namespace, and how many netlink sockets are in it.
fn held(sandbox: &Sandbox) -> (usize, usize) {
    let this = format!("net:[{}]", sandbox.inode());
    let files = fs::read_dir("/proc/self/fd").expect("files");
    let files = files.filter(|file| {
        let target = file.as_ref().map(|file| fs::read_link(file.path()));
        matches!(target, Ok(Ok(target)) if target == Path::new(&this))
    });
    let sockets =
        sandbox.inside(|| fs::read_to_string("/proc/thread-self/net/netlink").expect("sockets"));
    // Protocol 0 is NETLINK_ROUTE; the kernel's own socket has no port.
    let sockets = sockets
        .lines()
        .map(|line| line.split_whitespace().skip(1).take(2).collect::<Vec<_>>());
    (
        files.count(),
        sockets
            .filter(|fields| fields[0] == "0" && fields[1] != "0")
            .count(),
    )
}
