//! Control groups for tests.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fs, thread};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Node;

/// The time limit for the processes of a group to end when the group is dropped.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(10);

/// A control group with the same name in every hierarchy, below that of this process. Dropping it
/// kills the processes in the group and removes the group.
#[derive(Debug)]
pub struct Cgroup {
    name: String,
    dirs: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the groups.
    ///
    /// # Errors
    /// One line that says which group could not be made.
    pub fn new(name: &str) -> Result<Self, String> {
        // A group that a killed test has left may have the PID of this process in its name.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let time = now.unwrap_or_default().as_nanos();
        let name = format!("plexus-{name}-{}-{time}", std::process::id());
        let (own, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
        let mut group = Self {
            name,
            dirs: Vec::new(),
        };
        for line in own.lines() {
            let fields: Vec<_> = line.splitn(3, ':').collect();
            let [_, hierarchy, path] = fields[..] else {
                continue;
            };
            // A new cpuset has neither CPUs nor memory, and nobody can join it.
            if hierarchy == "cpuset" {
                continue;
            }
            let Some(point) = mounts.lines().find_map(|line| mount_point(hierarchy, line)) else {
                continue;
            };
            let dir = point.join(path.trim_start_matches('/')).join(&group.name);
            fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
            group.dirs.push(dir);
        }
        if group.dirs.is_empty() {
            return Err("no hierarchy of control groups is mounted".to_owned());
        }
        Ok(group)
    }

    /// The files through which a process joins the group.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.dirs.iter().map(|dir| dir.join("cgroup.procs"))
    }

    /// Moves a process into the group.
    pub fn join(&self, pid: u32) {
        for file in self.files() {
            fs::write(&file, pid.to_string())
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }

    /// Freezes the processes in the group, or thaws them.
    pub fn freeze(&self, frozen: bool) {
        let files = self.dirs.iter().map(|dir| dir.join("cgroup.freeze"));
        let file = files
            .into_iter()
            .find(|file| file.exists())
            .expect("cgroup v2 is mounted");
        fs::write(&file, if frozen { "1" } else { "0" })
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// In how many hierarchies a process with this `/proc/PID/cgroup` is in the group.
    pub fn count_in(&self, cgroups: &str) -> usize {
        cgroups
            .lines()
            .filter(|line| line.ends_with(&format!("/{}", self.name)))
            .count()
    }

    /// The number of hierarchies.
    pub fn count(&self) -> usize {
        self.dirs.len()
    }

    /// Kills all processes in the group, as a container runtime does when a container without a PID
    /// namespace ends.
    pub fn kill(&self) {
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// The processes in the group.
    pub fn processes(&self) -> BTreeSet<i32> {
        self.files()
            .flat_map(|file| {
                let text = fs::read_to_string(file).unwrap_or_default();
                text.lines()
                    .filter_map(|pid| pid.parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let start = Instant::now();
        for dir in &self.dirs {
            // A killed process leaves the group some time later.
            while let Err(error) = fs::remove_dir(dir)
                && error.kind() == ErrorKind::ResourceBusy
                && start.elapsed() < REMOVAL_TIMEOUT
            {
                self.kill();
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Mounts all hierarchies on a node, whose `/sys` has none, at their usual paths.
///
/// # Errors
/// One line that says what could not be mounted.
pub fn mount_on(node: &Node) -> Result<(), String> {
    const ROOT: &str = "/sys/fs/cgroup";
    let (own, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
    let mounted = |kind: &str, dir: &Path, options: Option<&str>| {
        mount(Some(kind), dir, Some(kind), MsFlags::empty(), options)
            .map_err(|error| format!("{kind} cannot be mounted at {}: {error}", dir.display()))
    };
    let points = own.lines().filter_map(|line| {
        let hierarchy = line.split(':').nth(1)?;
        let point = mounts.lines().find_map(|line| mount_point(hierarchy, line));
        Some((hierarchy, point?))
    });
    node.run(|| {
        mounted("tmpfs", Path::new(ROOT), None)?;
        for (hierarchy, point) in points {
            fs::create_dir_all(&point).map_err(|error| error.to_string())?;
            match hierarchy {
                "" => mounted("cgroup2", &point, None)?,
                name if name.starts_with("name=") => {
                    mounted("cgroup", &point, Some(&format!("none,{name}")))?;
                }
                controllers => mounted("cgroup", &point, Some(controllers))?,
            }
        }
        Ok(())
    })
}

fn read(file: &str) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{file} cannot be read: {error}"))
}

/// The mount point, if this line of the mount table is about `hierarchy`.
fn mount_point(hierarchy: &str, mount: &str) -> Option<PathBuf> {
    let (mount, file_system) = mount.split_once(" - ")?;
    let fields: Vec<_> = file_system.split(' ').collect();
    let matches = match *fields.first()? {
        "cgroup2" => hierarchy.is_empty(),
        "cgroup" => {
            let options: Vec<_> = fields.get(2)?.split(',').collect();
            hierarchy.split(',').all(|name| options.contains(&name))
        }
        _ => false,
    };
    let point = mount.split(' ').nth(4)?;
    matches.then(|| Path::new(point).to_owned())
}
