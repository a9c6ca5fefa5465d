use super::*;

const LONG: Duration = Duration::from_mins(1);

fn acquire(dir: &Path, wait: Duration) -> Result<WriterLock, LedgerError> {
    LockFile::open(dir)?.lock(wait, || {})
}

#[test]
fn the_error_names_the_process_that_holds_the_lock() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = acquire(dir.path(), Duration::ZERO).expect("free");
    for wait in [Duration::ZERO, Duration::from_millis(1)] {
        let error = acquire(dir.path(), wait).expect_err("taken");
        let LedgerError::Locked { holder, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(*holder, Some(std::process::id()));
    }
    drop(first);
    // Writers that gave up do not hold the lock later.
    acquire(dir.path(), LONG).expect("free again");
}

#[test]
fn a_waiting_writer_gets_the_lock() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = acquire(dir.path(), Duration::ZERO).expect("free");
    let path = dir.path().to_owned();
    let second = std::thread::spawn(move || acquire(&path, LONG));
    drop(first);
    let _second = second.join().expect("the thread").expect("handed over");
    acquire(dir.path(), Duration::ZERO).expect_err("taken again");
}

#[test]
fn a_stale_lock_file_does_not_lock() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join(LOCK_FILE), "123456789\n").expect("write");
    let _lock = acquire(dir.path(), Duration::ZERO).expect("not locked");
    let text = std::fs::read_to_string(dir.path().join(LOCK_FILE)).expect("read");
    assert_eq!(text, format!("{}\n", std::process::id()));
}

#[test]
fn the_lock_is_released_when_its_process_ends() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let dir = tempfile::tempdir().expect("a directory");
    let mut other = Command::new("flock")
        .arg(dir.path().join(LOCK_FILE))
        .args(["sh", "-c", "echo $PPID > \"$0\"; echo locked; read _"])
        .arg(dir.path().join(LOCK_FILE))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("util-linux");
    BufReader::new(other.stdout.take().expect("stdout"))
        .read_line(&mut String::new())
        .expect("the process has the lock");
    let error = acquire(dir.path(), Duration::ZERO).expect_err("taken");
    assert!(
        error.to_string().contains(&format!("pid {}", other.id())),
        "{error}"
    );
    drop(other.stdin.take());
    other.wait().expect("wait");
    acquire(dir.path(), LONG).expect("the process has exited");
}

#[test]
fn the_advice_to_stop_the_other_process_is_given_only_after_some_seconds() {
    let dir = tempfile::tempdir().expect("a directory");
    let _first = acquire(dir.path(), Duration::ZERO).expect("free");
    let pid = std::process::id();
    assert_eq!(
        waiting_text(dir.path(), Duration::ZERO),
        format!("waiting for the previous plexusd (pid {pid}) to hand over")
    );
    let later = waiting_text(dir.path(), USUAL_WAIT);
    assert!(
        later.starts_with("still waiting for the ledger: ") && later.contains("stop that plexusd"),
        "{later}"
    );
}
