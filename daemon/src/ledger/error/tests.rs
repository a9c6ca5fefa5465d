use plexus_api::cni::{CniError, Code};

use super::*;

const FILE: &str = "/var/lib/plexus/ledger/c1:eth0.jsonl";

fn assert_one_line(error: LedgerError, code: Code, parts: &[&str]) {
    let error = CniError::from(error);
    assert!(error.is(code), "{error}");
    assert!(
        parts.iter().all(|part| error.msg.contains(part)) && !error.msg.contains('\n'),
        "{error}"
    );
    // containerd takes these texts for the success of a DEL.
    let text = error.msg.to_lowercase();
    assert!(
        !text.contains("not found") && !text.contains("no such file"),
        "{error}"
    );
}

#[test]
fn io_errors_are_one_line_with_the_file_and_the_remedy() {
    for (kind, remedy) in [
        (io::ErrorKind::StorageFull, "free space"),
        (io::ErrorKind::ReadOnlyFilesystem, "writable"),
        (io::ErrorKind::PermissionDenied, "user that owns"),
        (io::ErrorKind::NotFound, "missing"),
    ] {
        let error = LedgerError::io("write", Path::new(FILE))(kind.into());
        assert_one_line(error, Code::Ledger, &["c1:eth0.jsonl", remedy]);
    }
}

#[test]
fn other_errors_are_one_line_with_the_file_and_the_remedy() {
    let locked = |stopped| LedgerError::Locked {
        dir: "/s".into(),
        holder: Some(12),
        stopped,
    };
    let newer = LedgerError::Newer {
        path: FILE.into(),
        reason: ParseError::Newer {
            format: 9,
            plexusd: "7.1.0".to_owned(),
        },
    };
    let corrupt = LedgerError::Corrupt {
        path: FILE.into(),
        reason: "a\nb".to_owned(),
        moved_to: Some("/q".into()),
    };
    let in_flight = LedgerError::InFlight {
        key: RecordKey::new("c1", "eth0"),
    };
    for (error, code, parts) in [
        (newer, Code::Ledger, &["c1:eth0.jsonl", "plexusd 7.1.0"][..]),
        (corrupt, Code::Ledger, &["c1:eth0.jsonl", "a b", "/q"]),
        (
            locked(false),
            Code::Ledger,
            &["/s", "(pid 12)", "stop that plexusd"],
        ),
        (
            locked(true),
            Code::Ledger,
            &["(pid 12, which is stopped)", "kill -CONT 12", "kill -9 12"],
        ),
        (in_flight, Code::AlreadyAttached, &["c1", "eth0"]),
    ] {
        assert_one_line(error, code, parts);
    }
}
