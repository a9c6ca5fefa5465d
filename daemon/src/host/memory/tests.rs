use super::*;

#[test]
fn a_memory_limit_bounds_the_plugin_runs() {
    for (limit, runs) in [
        (None, 32),
        (Some(0), 4),
        (Some(64 << 20), 4),
        (Some(128 << 20), 6),
        (Some(256 << 20), 14),
        (Some(544 << 20), 32),
        (Some(u64::MAX), 32),
    ] {
        assert_eq!(runs_within(limit), runs, "{limit:?}");
    }
}

#[test]
fn the_lowest_limit_of_all_cgroups_applies() {
    let dir = tempfile::tempdir().expect("dir");
    let root = dir.path();
    let write = |group: &str, text: &str| {
        fs::create_dir_all(root.join(group)).expect("mkdir");
        fs::write(root.join(group).join("memory.max"), text).expect("write");
    };
    assert_eq!(memory_limit("0::/a/b\n", root), None);
    write("a/b", "max\n");
    assert_eq!(memory_limit("0::/a/b\n", root), None, "no limit");
    write("a", "1000\n");
    assert_eq!(
        memory_limit("9:name=systemd:/x\n0::/a/b\n", root),
        Some(1000),
        "the parent cgroup"
    );
    write("a/b", "500\n");
    assert_eq!(memory_limit("0::/a/b\n", root), Some(500));
    assert_eq!(memory_limit("4:memory:/a/b\n", root), None, "cgroup v1");
    // A container that sees only its own cgroup.
    write("", "700\n");
    assert_eq!(memory_limit("0::/kubepods/pod1/c1\n", root), Some(700));
    assert_eq!(memory_limit("0::/\n", root), Some(700));
}
