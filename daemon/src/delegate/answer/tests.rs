use super::*;

fn run(ended: Ended, stdout: &str, stderr: &str) -> Result<Vec<u8>, CniError> {
    let run = Run {
        ended,
        stdout: stdout.into(),
        stderr: stderr.into(),
    };
    output(run, Duration::from_secs(2))
}

fn exit(code: i32) -> Ended {
    Ended::Exited(ExitStatus::from_raw(code << 8))
}

#[test]
fn success_wins_over_stderr() {
    plexus_api::rows!("R-047");
    assert_eq!(run(exit(0), "{}", "error: bla"), Ok(b"{}".to_vec()));
}

#[test]
fn a_failure_says_what_the_plugin_said() {
    plexus_api::rows!("R-046");
    // What ended it, stdout, stderr; the code, the message, the details.
    let cases = [
        (
            exit(1),
            r#"{"code":11,"msg":"busy","details":"d"}"#,
            "x",
            11,
            "busy",
            "d",
        ),
        (
            exit(1),
            r#"{"cniVersion":"1.0.0","code":7,"msg":"two\nlines"}"#,
            "",
            7,
            "two lines",
            "",
        ),
        (
            exit(1),
            r#"{"code":120}"#,
            "",
            120,
            "failed with code 120",
            "",
        ),
        (exit(1), r#"{"code":0,"msg":"none"}"#, "", 101, "none", ""),
        (exit(1), r#"{"msg":"none","code":-5}"#, "", 101, "none", ""),
        (
            exit(3),
            "",
            "boom\n",
            101,
            "failed with exit status 3: boom",
            "",
        ),
        (
            exit(3),
            "{}",
            "boom",
            101,
            r#"failed with exit status 3 and printed what is no CNI error: "{}""#,
            "boom",
        ),
        (
            exit(4),
            "",
            "",
            101,
            "failed with exit status 4 and printed nothing",
            "",
        ),
        (
            exit(1),
            "garbage",
            "boom",
            101,
            r#"failed with exit status 1 and printed what is no CNI error: "garbage""#,
            "boom",
        ),
        (
            exit(1),
            r#"[11,"busy"]"#,
            "",
            101,
            r#"failed with exit status 1 and printed what is no CNI error: "[11,\"busy\"]""#,
            "",
        ),
        (
            Ended::Exited(ExitStatus::from_raw(9)),
            "",
            "",
            101,
            "was killed by signal 9 (SIGKILL) and printed nothing",
            "",
        ),
        (
            Ended::Exited(ExitStatus::from_raw(34)),
            "",
            "",
            101,
            "was killed by signal 34 and printed nothing",
            "",
        ),
        (
            Ended::TimedOut,
            "{}",
            "stuck",
            11,
            "was killed: it took longer than 2.0s",
            "stuck",
        ),
        (
            Ended::Cancelled,
            "{}",
            "",
            11,
            "was stopped: the call was cancelled",
            "",
        ),
    ];
    for (ended, stdout, stderr, code, msg, details) in cases {
        let error = run(ended, stdout, stderr).expect_err(stdout);
        assert_eq!(
            (error.code, error.msg.as_str(), error.details.as_str()),
            (code, msg, details),
            "{stdout} {stderr}"
        );
    }
}

#[test]
fn codes_are_kept() {
    plexus_api::rows!("P-043");
    for code in [3, 7, 11, 50, 51, 120] {
        let error =
            run(exit(1), &format!(r#"{{"code":{code},"msg":"m"}}"#), "").expect_err("failed");
        assert_eq!(error.code, code);
    }
}

#[test]
fn what_is_quoted_is_bounded() {
    let long = "x".repeat(MAX_QUOTE * 3);
    let object = format!(r#"{{"code":7,"msg":"{long}","details":"{long}"}}"#);
    for (stdout, stderr) in [(object.as_str(), ""), (&long, &long), ("", &long)] {
        let error = run(exit(1), stdout, stderr).expect_err("failed");
        assert!(error.msg.len() < MAX_QUOTE + 100, "{}", error.msg.len());
        assert!(
            error.details.len() < MAX_QUOTE + 100,
            "{}",
            error.details.len()
        );
    }
    // The end of stderr has the reason, and a cut in the middle of a letter is no panic.
    let error =
        run(exit(1), "", &format!("{}ä reason", "ä".repeat(MAX_QUOTE))).expect_err("failed");
    assert!(error.msg.ends_with("ä reason"), "{error}");
}

#[test]
fn what_cannot_be_started_never_says_that_a_file_is_gone() {
    for (errno, code) in [
        (Errno::ENOENT, Code::PluginMissing),
        (Errno::EACCES, Code::PluginMissing),
        (Errno::ENOEXEC, Code::PluginMissing),
        (Errno::ETXTBSY, Code::TryAgain),
        (Errno::EAGAIN, Code::TryAgain),
        (Errno::E2BIG, Code::Io),
    ] {
        let error = not_started(&io::Error::from(errno));
        assert!(error.is(code), "{errno}: {error}");
        assert!(
            !error.msg.to_lowercase().contains("no such file"),
            "{error}"
        );
    }
}
