use plexus_api::cni::{CniError, Code};

use super::*;

#[test]
fn errors_are_one_line_with_the_file_and_the_remedy() {
    let path = PathBuf::from("/var/lib/plexus/ledger/c1:eth0.jsonl");
    let io = |kind: io::ErrorKind| LedgerError::Io {
        action: "write",
        path: path.clone(),
        error: kind.into(),
    };
    let newer = ParseError::Newer {
        format: 9,
        plexusd: "7.1.0".to_owned(),
    };
    for (error, code, parts) in [
        (
            io(io::ErrorKind::StorageFull),
            Code::Ledger,
            vec!["c1:eth0.jsonl", "free space"],
        ),
        (
            io(io::ErrorKind::ReadOnlyFilesystem),
            Code::Ledger,
            vec!["c1:eth0.jsonl", "writable"],
        ),
        (
            io(io::ErrorKind::PermissionDenied),
            Code::Ledger,
            vec!["c1:eth0.jsonl", "user that owns"],
        ),
        (
            io(io::ErrorKind::NotFound),
            Code::Ledger,
            vec!["c1:eth0.jsonl", "missing"],
        ),
        (
            LedgerError::Newer {
                path: path.clone(),
                reason: newer,
            },
            Code::Ledger,
            vec!["c1:eth0.jsonl", "plexusd 7.1.0"],
        ),
        (
            LedgerError::Corrupt {
                path: path.clone(),
                reason: "a\nb".to_owned(),
                moved_to: Some("/q".into()),
            },
            Code::Ledger,
            vec!["c1:eth0.jsonl", "a b", "/q"],
        ),
        (
            LedgerError::Locked {
                dir: "/s".into(),
                holder: Some(12),
                stopped: false,
            },
            Code::Ledger,
            vec!["/s", "(pid 12)", "stop that plexusd"],
        ),
        (
            LedgerError::Locked {
                dir: "/s".into(),
                holder: Some(12),
                stopped: true,
            },
            Code::Ledger,
            vec!["(pid 12, which is stopped)", "kill -CONT 12", "kill -9 12"],
        ),
        (
            LedgerError::InFlight {
                key: RecordKey::new("c1", "eth0"),
            },
            Code::AlreadyAttached,
            vec!["c1", "eth0"],
        ),
    ] {
        let error = CniError::from(error);
        assert!(error.is(code), "{error}");
        assert!(
            parts.iter().all(|part| error.msg.contains(part)) && !error.msg.contains('\n'),
            "{error}"
        );
        // containerd takes such a text for the success of a DEL.
        let text = error.msg.to_lowercase();
        assert!(
            !text.contains("not found") && !text.contains("no such file"),
            "{error}"
        );
    }
}
