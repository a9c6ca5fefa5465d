use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::*;

/// A process in a mount namespace of its own, in which `/mnt` has one file, `here`. None, said aloud, where it cannot
/// be made.
struct Elsewhere(Child);

impl Elsewhere {
    fn new() -> Option<Self> {
        Self::with(&mut Command::new("/bin/cat"))
    }

    fn with(command: &mut Command) -> Option<Self> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let made = std::thread::scope(|scope| {
            scope
                .spawn(move || -> io::Result<Child> {
                    unshare(CloneFlags::CLONE_NEWNS)?;
                    let none = None::<&str>;
                    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
                    mount(Some("tmpfs"), "/mnt", Some("tmpfs"), MsFlags::empty(), none)?;
                    fs::write("/mnt/here", "")?;
                    command.spawn()
                })
                .join()
        });
        match made.expect("no panic") {
            Ok(child) => Some(Self(child)),
            Err(error) => {
                eprintln!("skipped: a mount namespace cannot be made here: {error}");
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

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hosts(stand_in: &str) -> Hosts {
    Hosts::of_callers(
        Handle::current(),
        "/nowhere/runtime".into(),
        stand_in.into(),
    )
}

async fn sees(host: &Host) -> bool {
    host.look(|| Path::new("/mnt/here").exists())
        .await
        .expect("the thread lives")
}

fn same(one: &Host, other: &Host) -> bool {
    Arc::ptr_eq(&one.0, &other.0)
}

#[tokio::test]
async fn a_call_is_served_where_its_caller_is() {
    let (Some(one), Some(two)) = (Elsewhere::new(), Elsewhere::new()) else {
        return;
    };
    let hosts = hosts("/nowhere");
    let caller = hosts.caller(Some(one.pid()));
    let host = hosts.of(&caller).expect("entered");
    assert!(sees(&host).await);
    assert!(!Path::new("/mnt/here").exists(), "nobody else is there");
    assert!(
        same(
            &host,
            &hosts.of(&hosts.caller(Some(one.pid()))).expect("entered")
        ),
        "one thread"
    );
    let other = hosts.of(&hosts.caller(Some(two.pid()))).expect("entered");
    assert!(!same(&host, &other), "another namespace, another thread");
    // A thread in use is kept, one that is not goes.
    assert!(same(&host, &hosts.of(&caller).expect("entered")));
    drop(other);
    let kept = |hosts: &Hosts| match hosts.0.as_ref() {
        Kind::Callers(callers) => callers
            .known()
            .threads
            .values()
            .filter(|thread| thread.strong_count() > 0)
            .count(),
        Kind::Same(_) => unreachable!("they are those of callers"),
    };
    assert_eq!(kept(&hosts), 1);
}

#[tokio::test]
async fn a_caller_that_has_gone_is_still_known_by_its_namespace() {
    let Some(one) = Elsewhere::new() else { return };
    let hosts = hosts("/nowhere");
    let caller = hosts.caller(Some(one.pid()));
    drop(one);
    assert!(sees(&hosts.of(&caller).expect("entered")).await);
}

#[tokio::test]
async fn cleanup_is_where_the_last_call_came_from() {
    let Some(one) = Elsewhere::new() else { return };
    let hosts = hosts("/proc/self/ns/mnt");
    let before = hosts.for_cleanup().expect("the stand-in");
    assert!(!sees(&before).await);
    let caller = hosts.caller(Some(one.pid()));
    assert!(
        same(&before, &hosts.for_cleanup().expect("the stand-in")),
        "to connect is not to call"
    );
    hosts.of(&caller).expect("entered");
    drop(one);
    assert!(sees(&hosts.for_cleanup().expect("the last one's")).await);
}

#[tokio::test]
async fn a_later_daemon_cleans_up_where_the_runtime_is() {
    // Given a runtime, whose shim says its own number and waits.
    let mut runtime = Command::new("/bin/sh");
    runtime.args(["-c", "sh -c 'echo $$; exec cat <&3' 3<&0; cat"]);
    let Some(mut runtime) = Elsewhere::with(&mut runtime) else {
        return;
    };
    let mut shim = String::new();
    BufReader::new(runtime.0.stdout.take().expect("piped"))
        .read_line(&mut shim)
        .expect("it says its number");
    let dir = tempfile::tempdir().expect("a directory");
    let (file, nowhere) = (dir.path().join(FILE), PathBuf::from("/nowhere"));
    let hosts = || Hosts::of_callers(Handle::current(), file.clone(), nowhere.clone());
    // When it has called one daemon, then the next one knows where it is.
    let first = hosts();
    let caller = first.caller(Some(shim.trim().parse().expect("a number")));
    assert!(!file.exists(), "to connect is not to call");
    first.of(&caller).expect("entered");
    assert!(sees(&hosts().for_cleanup().expect("the runtime's")).await);
    // What is there by the same number is not it.
    let text = fs::read_to_string(&file).expect("it is written");
    let started = text.replace("\"started\":", "\"started\":1");
    assert_ne!(text, started);
    for other in [
        started,
        text.replace("\"bootId\":\"", "\"bootId\":\"0"),
        "{".to_owned(),
    ] {
        fs::write(&file, other).expect("it can be written");
        assert!(hosts().for_cleanup().is_err());
    }
    // Nor is it once it has ended.
    fs::write(&file, text).expect("it can be written");
    drop(runtime);
    assert!(hosts().for_cleanup().is_err());
}

#[tokio::test]
async fn who_calls_from_elsewhere_than_its_parent_is_not_remembered() {
    let Some(one) = Elsewhere::new() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let hosts = Hosts::of_callers(Handle::current(), dir.path().join(FILE), "/nowhere".into());
    hosts.of(&hosts.caller(Some(one.pid()))).expect("entered");
    assert!(!dir.path().join(FILE).exists());
}

#[tokio::test]
async fn without_a_caller_the_stand_in_serves_or_is_named() {
    let Some(one) = Elsewhere::new() else { return };
    let there = hosts(one.namespace().to_str().expect("text"));
    assert!(sees(&there.for_cleanup().expect("the stand-in")).await);
    let gone = hosts("/nowhere/ns/mnt");
    let error = gone.for_cleanup().expect_err("not there");
    assert!(
        error.is(Code::TryAgain) && error.msg.contains("/nowhere/ns/mnt"),
        "{error}"
    );
    // A caller whose namespace cannot be seen is served where the last was, else by the stand-in.
    let unseen = Caller(Arc::new(Seen::Unknown(
        io::ErrorKind::PermissionDenied.into(),
    )));
    assert!(sees(&there.of(&unseen).expect("the stand-in")).await);
    assert!(gone.of(&unseen).is_err());
}

#[tokio::test]
async fn a_hidden_caller_is_told_what_is_missing() {
    let hosts = hosts("/proc/self/ns/mnt");
    let error = hosts
        .of(&hosts.caller(Some(0)))
        .expect_err("it cannot be served in the right place");
    assert!(
        error.is(Code::TryAgain) && error.msg.contains("hostPID"),
        "{error}"
    );
    let own = Hosts::open(&MountNamespace::Own, None, Path::new("/nowhere")).expect("own");
    assert!(
        own.of(&own.caller(Some(0))).is_ok(),
        "where it does not matter, it is served"
    );
}

#[tokio::test]
async fn a_path_is_entered_at_start_or_named() {
    let Some(one) = Elsewhere::new() else { return };
    let hosts = Hosts::open(
        &MountNamespace::Path(one.namespace()),
        None,
        Path::new("/nowhere"),
    )
    .expect("it is there");
    assert!(sees(&hosts.for_cleanup().expect("it")).await);
    for (path, word) in [
        ("/nowhere/mnt", "/nowhere/mnt"),
        ("/proc/self/ns/net", "Invalid argument"),
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
fn a_mount_point_is_told_from_a_directory() {
    assert!(is_mount_point(Path::new("/proc")).expect("a table"));
    assert!(!is_mount_point(Path::new("/proc/sys/kernel")).expect("a table"));
    assert!(!is_mount_point(Path::new("/nowhere")).expect("a table"));
}
