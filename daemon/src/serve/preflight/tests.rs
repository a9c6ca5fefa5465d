use super::*;

const ALL: u64 = (1 << 12) | (1 << 18) | (1 << 19) | (1 << 21);

fn rights(set: u64) -> CapabilitySet {
    CapabilitySet::parse(&format!("CapEff:\t{set:016x}\n"))
}

#[test]
fn a_capability_that_is_missing_is_named_with_what_it_is_for() {
    assert!(check(rights(ALL), false).is_ok());
    for (bit, parts) in [
        (21, ["CAP_SYS_ADMIN", "network namespaces of pods"]),
        (19, ["CAP_SYS_PTRACE", "processes"]),
        (18, ["CAP_SYS_CHROOT", "mountNamespace"]),
        (12, ["CAP_NET_ADMIN", "default routes"]),
    ] {
        let error = check(rights(ALL & !(1 << bit)), false)
            .expect_err(parts[0])
            .to_string();
        assert!(error.starts_with("plexusd needs CAP_"), "{error}");
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        assert_eq!(error.matches("CAP_").count(), 1, "{error}");
    }
    let error = check(rights(0), false).expect_err("none").to_string();
    assert_eq!(error.matches("CAP_").count(), 4, "all at once: {error}");
}

#[test]
fn what_runs_in_its_own_mount_namespace_needs_no_other_root() {
    assert!(check(rights(ALL & !(1 << 18)), true).is_ok());
    assert!(check(rights(ALL & !(1 << 21)), true).is_err());
}

#[test]
fn a_refusal_in_spite_of_the_capabilities_says_what_it_may_be() {
    let text = refused("/proc/thread-self/ns/mnt", &Errno::EPERM.into());
    for part in ["/proc/thread-self/ns/mnt", "seccomp", "not permitted"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!refused("/proc/thread-self/ns/net", &Errno::EMFILE.into()).contains("seccomp"));
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().expect("dir");
    write(&dir.path().join("new/state")).expect("it is made");
    assert_eq!(
        fs::read_dir(dir.path().join("new/state"))
            .expect("there")
            .count(),
        0,
        "nothing stays"
    );
    fs::write(dir.path().join("file"), "").expect("write");
    let error = format!(
        "{:#}",
        write(&dir.path().join("file")).expect_err("no directory")
    );
    assert!(
        error.contains("stateDir") && error.contains("/file"),
        "{error}"
    );
}
