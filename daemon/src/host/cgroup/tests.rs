use super::*;

const MOUNTS: &str = "\
25 30 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
26 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
27 25 0:25 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
28 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
29 25 0:27 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";

#[test]
fn the_groups_of_a_process_are_parsed() {
    let groups = Cgroups::parse("12:cpu,cpuacct:/a:b\n1:name=systemd:/init.scope\n0::/u\n");
    let expected = [
        ("", "/u"),
        ("cpu,cpuacct", "/a:b"),
        ("name=systemd", "/init.scope"),
    ]
    .map(|(hierarchy, path)| (hierarchy.to_owned(), path.to_owned()));
    assert_eq!(groups, Cgroups(expected.into()));
}

#[test]
fn the_directory_of_a_group_is_below_the_mount_of_its_hierarchy() {
    for (hierarchy, cgroup, expected) in [
        (
            "cpu,cpuacct",
            "/s/c.service",
            Some("/sys/fs/cgroup/cpu,cpuacct/s/c.service"),
        ),
        (
            "name=systemd",
            "/init.scope",
            Some("/sys/fs/cgroup/systemd/init.scope"),
        ),
        ("", "/s", Some("/sys/fs/cgroup/unified/s")),
        // Only a part of the hierarchy is mounted.
        ("memory", "/docker/x/y", Some("/sys/fs/cgroup/memory/y")),
        ("memory", "/system.slice", None),
        ("devices", "/s", None),
    ] {
        let found = directory(hierarchy, cgroup, MOUNTS);
        assert_eq!(found.as_deref(), expected.map(Path::new), "{hierarchy}");
    }
}

#[test]
fn a_group_outside_the_cgroup_namespace_is_an_error() {
    let error = open("", "/../../system.slice", MOUNTS).expect_err("not visible");
    assert!(error.contains("cgroup namespace"), "{error}");
    let error = open("devices", "/s", MOUNTS).expect_err("not mounted");
    assert!(error.contains("not mounted"), "{error}");
}
