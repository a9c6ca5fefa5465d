use super::*;

const ALL: u64 = (1 << 12) | (1 << 18) | (1 << 19) | (1 << 21);

fn capabilities(set: u64) -> CapabilitySet {
    CapabilitySet::parse(&format!("CapEff:\t{set:016x}\n"))
}

#[test]
fn a_missing_capability_is_named_with_its_purpose() {
    assert!(check_capabilities(capabilities(ALL), false).is_ok());
    for (bit, parts) in [
        (21, ["CAP_SYS_ADMIN", "network namespaces of pods"]),
        (19, ["CAP_SYS_PTRACE", "processes"]),
        (18, ["CAP_SYS_CHROOT", "mountNamespace"]),
        (12, ["CAP_NET_ADMIN", "default routes"]),
    ] {
        let error = check_capabilities(capabilities(ALL & !(1 << bit)), false)
            .expect_err(parts[0])
            .to_string();
        assert!(error.starts_with("plexusd needs CAP_"), "{error}");
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        assert_eq!(error.matches("CAP_").count(), 1, "{error}");
    }
    let error = check_capabilities(capabilities(0), false)
        .expect_err("no capability")
        .to_string();
    assert_eq!(error.matches("CAP_").count(), 4, "all at once: {error}");
}

#[test]
fn plugins_in_the_own_mount_namespace_need_no_chroot_capability() {
    assert!(check_capabilities(capabilities(ALL & !(1 << 18)), true).is_ok());
    assert!(check_capabilities(capabilities(ALL & !(1 << 21)), true).is_err());
}

#[test]
fn a_refusal_despite_the_capabilities_names_likely_causes() {
    let text = setns_error("/proc/thread-self/ns/mnt", &Errno::EPERM.into());
    for part in ["/proc/thread-self/ns/mnt", "seccomp", "not permitted"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!setns_error("/proc/thread-self/ns/net", &Errno::EMFILE.into()).contains("seccomp"));
}
