//! What a node mounts so that nothing reaches the machine's own state.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

const NONE: Option<&str> = None;

/// Furnishes the calling thread's new mount namespace. Creates nothing outside it: an ordinary user may not, and root
/// must not.
pub fn furnish() -> io::Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    // The links of the new network namespace. In some containers it is refused; only host-device reads it.
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), NONE);
    tmpfs(Path::new("/run"))?;
    fs::create_dir("/run/netns")?;
    private_children(Path::new("/var/lib"), &["cni", "plexus"])?;
    if Path::new("/etc/cni").is_dir() {
        tmpfs(Path::new("/etc/cni"))?;
    } else {
        private_children(Path::new("/etc"), &["cni"])?;
    }
    Ok(())
}

/// Moves the calling thread into a copy of its mount namespace, with `/` bound to `root` and `hidden` empty.
pub fn contain(hidden: &[PathBuf], root: Option<&Path>) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    if let Some(root) = root {
        mount(
            Some("/"),
            root,
            NONE,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            NONE,
        )?;
    }
    hidden.iter().try_for_each(|dir| tmpfs(dir))
}

fn tmpfs(at: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(
        Some("tmpfs"),
        at,
        Some("tmpfs"),
        flags,
        Some("mode=0755"),
    )?)
}

/// Gives `parent` the empty directories `names`, which the machine may not have: a tmpfs takes the place of `parent`,
/// with all its other children bound into it.
fn private_children(parent: &Path, names: &[&str]) -> io::Result<()> {
    let stage = Path::new("/run/stage");
    fs::create_dir(stage)?;
    tmpfs(stage)?;
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let (from, to, kind) = (
            entry.path(),
            stage.join(entry.file_name()),
            entry.file_type()?,
        );
        if names.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
            continue;
        }
        if kind.is_dir() {
            fs::create_dir(&to)?;
        } else {
            File::create(&to)?;
        }
        // What disappears between listing and binding is not missed.
        let _ = mount(
            Some(&from),
            &to,
            NONE,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            NONE,
        );
    }
    for name in names {
        fs::create_dir(stage.join(name))?;
    }
    mount(Some(stage), parent, NONE, MsFlags::MS_MOVE, NONE)?;
    fs::remove_dir(stage)
}
