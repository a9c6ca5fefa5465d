use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use plexus_api::cni::{CniError, Code};

use super::*;

/// A process in a new mount namespace, in which `/mnt` has only the file `marker`.
struct OtherNamespace(Child);

impl OtherNamespace {
    /// Prints the error and returns `None` if the namespace cannot be created.
    fn new() -> Option<Self> {
        Self::with(&mut Command::new("/bin/cat"))
    }

    fn with(command: &mut Command) -> Option<Self> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let spawned = std::thread::scope(|scope| {
            scope
                .spawn(move || -> io::Result<Child> {
                    unshare(CloneFlags::CLONE_NEWNS)?;
                    let none = None::<&str>;
                    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
                    mount(Some("tmpfs"), "/mnt", Some("tmpfs"), MsFlags::empty(), none)?;
                    fs::write("/mnt/marker", "")?;
                    command.spawn()
                })
                .join()
        });
        match spawned.expect("no panic") {
            Ok(child) => Some(Self(child)),
            Err(error) => {
                eprintln!("skipped: cannot create a mount namespace: {error}");
                None
            }
        }
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a process ID is an i32")
    }

    fn namespace(&self) -> PathBuf {
        format!("/proc/{}/ns/mnt", self.0.id()).into()
    }
}

impl Drop for OtherNamespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hosts(fallback: &str) -> Hosts {
    Hosts::by_caller(
        Handle::current(),
        "/nowhere/runtime".into(),
        fallback.into(),
    )
}

async fn sees_marker(host: &Host) -> bool {
    host.run(|| Path::new("/mnt/marker").exists())
        .await
        .expect("the thread runs")
}

fn same(left: &Host, right: &Host) -> bool {
    Arc::ptr_eq(&left.0, &right.0)
}

#[tokio::test]
async fn a_call_is_served_in_the_mount_namespace_of_its_caller() {
    let (Some(first), Some(second)) = (OtherNamespace::new(), OtherNamespace::new()) else {
        return;
    };
    let hosts = hosts("/nowhere");
    let caller = hosts.caller(Some(first.pid()));
    let host = hosts.for_caller(&caller).expect("entered");
    assert!(sees_marker(&host).await);
    assert!(
        !Path::new("/mnt/marker").exists(),
        "other threads stay in their namespace"
    );
    assert!(
        same(
            &host,
            &hosts
                .for_caller(&hosts.caller(Some(first.pid())))
                .expect("entered")
        ),
        "one thread"
    );
    let other = hosts
        .for_caller(&hosts.caller(Some(second.pid())))
        .expect("entered");
    assert!(!same(&host, &other), "another namespace, another thread");
    // A thread in use is kept; others end.
    assert!(same(&host, &hosts.for_caller(&caller).expect("entered")));
    drop(other);
    let kept = |hosts: &Hosts| match hosts.0.as_ref() {
        HostSelection::ByCaller(hosts) => hosts
            .state()
            .threads
            .values()
            .filter(|thread| thread.strong_count() > 0)
            .count(),
        HostSelection::Fixed(_) => unreachable!("hosts are selected by caller"),
    };
    assert_eq!(kept(&hosts), 1);
}

#[tokio::test]
async fn a_caller_that_has_exited_is_served_in_its_namespace() {
    let Some(process) = OtherNamespace::new() else {
        return;
    };
    let hosts = hosts("/nowhere");
    let caller = hosts.caller(Some(process.pid()));
    drop(process);
    assert!(sees_marker(&hosts.for_caller(&caller).expect("entered")).await);
}

#[tokio::test]
async fn cleanup_runs_in_the_mount_namespace_of_the_last_call() {
    let Some(process) = OtherNamespace::new() else {
        return;
    };
    let hosts = hosts("/proc/self/ns/mnt");
    let before = hosts.for_cleanup().expect("the fallback");
    assert!(!sees_marker(&before).await);
    let caller = hosts.caller(Some(process.pid()));
    assert!(
        same(&before, &hosts.for_cleanup().expect("the fallback")),
        "a connection is not a call"
    );
    hosts.for_caller(&caller).expect("entered");
    drop(process);
    assert!(sees_marker(&hosts.for_cleanup().expect("the last caller's")).await);
}

#[tokio::test]
async fn a_restarted_daemon_cleans_up_in_the_mount_namespace_of_the_runtime() {
    // Given a runtime whose shim prints its PID and waits.
    let mut runtime = Command::new("/bin/sh");
    runtime.args(["-c", "sh -c 'echo $$; exec cat <&3' 3<&0; cat"]);
    let Some(mut runtime) = OtherNamespace::with(&mut runtime) else {
        return;
    };
    let mut shim = String::new();
    BufReader::new(runtime.0.stdout.take().expect("piped"))
        .read_line(&mut shim)
        .expect("the shim prints its PID");
    let dir = tempfile::tempdir().expect("a directory");
    let (file, nowhere) = (dir.path().join(RUNTIME_FILE), PathBuf::from("/nowhere"));
    let hosts = || Hosts::by_caller(Handle::current(), file.clone(), nowhere.clone());
    // When the runtime has called one daemon, then the next daemon finds it.
    let first = hosts();
    let caller = first.caller(Some(shim.trim().parse().expect("a PID")));
    assert!(!file.exists(), "a connection is not a call");
    first.for_caller(&caller).expect("entered");
    assert!(sees_marker(&hosts().for_cleanup().expect("the runtime's")).await);
    // Another process with the same PID is not the runtime.
    let text = fs::read_to_string(&file).expect("the file is written");
    let started = text.replace("\"started\":", "\"started\":1");
    assert_ne!(text, started);
    for other in [
        started,
        text.replace("\"bootId\":\"", "\"bootId\":\"0"),
        "{".to_owned(),
    ] {
        fs::write(&file, other).expect("write");
        assert!(hosts().for_cleanup().is_err());
    }
    // The runtime has ended.
    fs::write(&file, text).expect("write");
    drop(runtime);
    assert!(hosts().for_cleanup().is_err());
}

#[tokio::test]
async fn a_caller_in_another_namespace_than_its_parent_is_not_saved() {
    let Some(process) = OtherNamespace::new() else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let hosts = Hosts::by_caller(
        Handle::current(),
        dir.path().join(RUNTIME_FILE),
        "/nowhere".into(),
    );
    hosts
        .for_caller(&hosts.caller(Some(process.pid())))
        .expect("entered");
    assert!(!dir.path().join(RUNTIME_FILE).exists());
}

#[tokio::test]
async fn without_a_caller_the_fallback_is_used_or_named_in_the_error() {
    let Some(process) = OtherNamespace::new() else {
        return;
    };
    let reachable = hosts(process.namespace().to_str().expect("text"));
    assert!(sees_marker(&reachable.for_cleanup().expect("the fallback")).await);
    let missing = hosts("/nowhere/ns/mnt");
    let error = missing
        .for_cleanup()
        .map_err(CniError::from)
        .expect_err("not there");
    assert!(
        error.is(Code::TryAgain) && error.msg.contains("/nowhere/ns/mnt"),
        "{error}"
    );
    // A caller whose namespace cannot be opened is served by the host of the last caller, else by
    // the fallback.
    let unreadable = Caller {
        namespace: Arc::new(CallerNamespace::Unreadable(
            io::ErrorKind::PermissionDenied.into(),
        )),
        cgroups: None,
    };
    assert!(sees_marker(&reachable.for_caller(&unreadable).expect("the fallback")).await);
    assert!(missing.for_caller(&unreadable).is_err());
}

#[tokio::test]
async fn the_error_for_a_hidden_caller_names_host_pid() {
    let hosts = hosts("/proc/self/ns/mnt");
    let error = hosts
        .for_caller(&hosts.caller(Some(0)))
        .map_err(CniError::from)
        .expect_err("its namespace is unknown");
    assert!(
        error.is(Code::TryAgain) && error.msg.contains("hostPID"),
        "{error}"
    );
    let own = Hosts::open(&MountNamespace::Own, None, Path::new("/nowhere")).expect("own");
    assert!(
        own.for_caller(&own.caller(Some(0))).is_ok(),
        "the caller's namespace does not matter"
    );
}

#[tokio::test]
async fn a_configured_path_is_entered_at_start_or_named_in_the_error() {
    let Some(process) = OtherNamespace::new() else {
        return;
    };
    let hosts = Hosts::open(
        &MountNamespace::Path(process.namespace()),
        None,
        Path::new("/nowhere"),
    )
    .expect("the namespace exists");
    assert!(sees_marker(&hosts.for_cleanup().expect("the configured host")).await);
    for (path, word) in [
        ("/nowhere/mnt", "/nowhere/mnt"),
        ("/proc/self/ns/net", "is not a mount namespace"),
    ] {
        let error = Hosts::open(
            &MountNamespace::Path(path.into()),
            None,
            Path::new("/nowhere"),
        )
        .expect_err(path)
        .to_string();
        assert!(
            error.contains("mountNamespace") && error.contains(word),
            "{error}"
        );
    }
}

#[test]
fn a_mount_point_is_distinguished_from_a_directory() {
    assert!(is_mount_point(Path::new("/proc")).expect("a table"));
    assert!(!is_mount_point(Path::new("/proc/sys/kernel")).expect("a table"));
    assert!(!is_mount_point(Path::new("/nowhere")).expect("a table"));
}
