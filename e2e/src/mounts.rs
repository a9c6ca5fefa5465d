//! The mounts of a node, which hide the machine's own state from tests.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

const NONE: Option<&str> = None;

/// Gives the calling thread's new mount namespace private directories. Creates nothing on the
/// machine's file systems: an ordinary user may not, and root must not.
pub fn make_private() -> io::Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    // Shows the links of the new network namespace. Refused in some containers; only host-device
    // reads it.
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), NONE);
    tmpfs(Path::new("/run"))?;
    fs::create_dir("/run/netns")?;
    private_children(Path::new("/var/lib"), &["cni", "kubelet", "plexus"])?;
    if Path::new("/etc/cni").is_dir() {
        tmpfs(Path::new("/etc/cni"))?;
    } else {
        private_children(Path::new("/etc"), &["cni"])?;
    }
    Ok(())
}

/// Moves the calling thread into a copy of its mount namespace, with `/` bound to `root` and an
/// empty file system on each directory in `hidden`.
pub fn enter_container(hidden: &[PathBuf], root: Option<&Path>) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    if let Some(root) = root {
        bind(Path::new("/"), root)?;
    }
    hidden.iter().try_for_each(|dir| tmpfs(dir))
}

fn tmpfs(at: &Path) -> io::Result<()> {
    let (kind, flags) = (Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV);
    Ok(mount(kind, at, kind, flags, Some("mode=0755"))?)
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    Ok(mount(Some(from), to, NONE, flags, NONE)?)
}

/// Gives `parent` the empty directories `names`, which the machine may not have: mounts a tmpfs
/// over `parent` and binds all its other children into it.
fn private_children(parent: &Path, names: &[&str]) -> io::Result<()> {
    let stage = Path::new("/run/stage");
    fs::create_dir(stage)?;
    tmpfs(stage)?;
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let (from, to) = (entry.path(), stage.join(entry.file_name()));
        if names.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(&to)?;
        } else {
            File::create(&to)?;
        }
        // Fails if the child was removed since the directory was read.
        let _ = bind(&from, &to);
    }
    for name in names {
        fs::create_dir(stage.join(name))?;
    }
    mount(Some(stage), parent, NONE, MsFlags::MS_MOVE, NONE)?;
    fs::remove_dir(stage)
}
