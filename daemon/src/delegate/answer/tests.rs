use super::*;

fn run(termination: Termination, stdout: &str, stderr: &str) -> Result<Vec<u8>, CniError> {
    let run = RunOutput {
        termination,
        stdout: stdout.into(),
        stderr: stderr.into(),
    };
    output(run, Duration::from_secs(2)).map_err(CniError::from)
}

fn exit(code: i32) -> Termination {
    Termination::Exited(ExitStatus::from_raw(code << 8))
}

#[test]
fn stderr_does_not_turn_success_into_failure() {
    plexus_api::rows!("R-047");
    assert_eq!(run(exit(0), "{}", "error: bla"), Ok(b"{}".to_vec()));
}

/// Termination, stdout and stderr of a run; code, message and details of its error.
type Failure<'a> = (Termination, &'a str, &'a str, u32, &'a str, &'a str);

fn assert_failures(failures: &[Failure<'_>]) {
    for &(termination, stdout, stderr, code, msg, details) in failures {
        let error = run(termination, stdout, stderr).expect_err(stdout);
        assert_eq!(
            (error.code, error.msg.as_str(), error.details.as_str()),
            (code, msg, details),
            "{stdout} {stderr}"
        );
    }
}

#[test]
fn a_failure_has_the_error_that_the_plugin_printed() {
    plexus_api::rows!("R-046");
    let failed = exit(1);
    let printed = r#"{"code":11,"msg":"busy","details":"d"}"#;
    let lines = r#"{"cniVersion":"1.0.0","code":7,"msg":"two\nlines"}"#;
    let only_code = r#"{"code":120}"#;
    let code_0 = r#"{"code":0,"msg":"none"}"#;
    let negative = r#"{"msg":"none","code":-5}"#;
    let go = r#"{"Code":11,"m\u017fg":"busy","DETAILS":"d\ud800","x":1e400}"#;
    assert_failures(&[
        (failed, printed, "x", 11, "busy", "d"),
        (failed, lines, "", 7, "two lines", ""),
        (failed, only_code, "", 120, "failed with code 120", ""),
        (failed, code_0, "", 101, "none", ""),
        (failed, negative, "", 101, "none", ""),
        (failed, go, "", 11, "busy", "d\u{fffd}"),
    ]);
}

#[test]
fn a_failure_without_a_cni_error_quotes_the_output() {
    plexus_api::rows!("R-046");
    let object = r#"failed with exit status 3 and its output is not a CNI error: "{}""#;
    let garbage = r#"failed with exit status 1 and its output is not a CNI error: "garbage""#;
    let list = r#"failed with exit status 1 and its output is not a CNI error: "[11,\"busy\"]""#;
    let stderr = "failed with exit status 3: boom";
    let silent = "failed with exit status 4 and printed nothing";
    assert_failures(&[
        (exit(3), "", "boom\n", 101, stderr, ""),
        (exit(3), "{}", "boom", 101, object, "boom"),
        (exit(4), "", "", 101, silent, ""),
        (exit(1), "garbage", "boom", 101, garbage, "boom"),
        (exit(1), r#"[11,"busy"]"#, "", 101, list, ""),
    ]);
}

#[test]
fn a_killed_plugin_is_reported_with_the_signal_or_the_reason() {
    plexus_api::rows!("R-046");
    let signal = |number| Termination::Exited(ExitStatus::from_raw(number));
    let sigkill = "was killed by signal 9 (SIGKILL) and printed nothing";
    let real_time = "was killed by signal 34 and printed nothing";
    let timed_out = "was killed: it took longer than 2.0s";
    let cancelled = "was stopped: the call was cancelled";
    assert_failures(&[
        (signal(9), "", "", 101, sigkill, ""),
        (signal(34), "", "", 101, real_time, ""),
        (Termination::TimedOut, "{}", "stuck", 11, timed_out, "stuck"),
        (Termination::Cancelled, "{}", "", 11, cancelled, ""),
    ]);
}

#[test]
fn codes_of_plugins_are_kept() {
    plexus_api::rows!("P-043");
    for code in [3, 7, 11, 50, 51, 120] {
        let error =
            run(exit(1), &format!(r#"{{"code":{code},"msg":"m"}}"#), "").expect_err("failed");
        assert_eq!(error.code, code);
    }
}

#[test]
fn quotations_are_bounded() {
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
    // The end of stderr has the reason. A cut in the middle of a character does not panic.
    let error =
        run(exit(1), "", &format!("{}ä reason", "ä".repeat(MAX_QUOTE))).expect_err("failed");
    assert!(error.msg.ends_with("ä reason"), "{error}");
}

#[test]
fn the_error_of_a_failed_start_never_says_no_such_file() {
    for (errno, code) in [
        (Errno::ENOENT, Code::PluginMissing),
        (Errno::EACCES, Code::PluginMissing),
        (Errno::ENOEXEC, Code::PluginMissing),
        (Errno::ETXTBSY, Code::TryAgain),
        (Errno::EAGAIN, Code::TryAgain),
        (Errno::E2BIG, Code::Io),
    ] {
        let error = CniError::from(not_started(&io::Error::from(errno)));
        assert!(error.is(code), "{errno}: {error}");
        assert!(
            !error.msg.to_lowercase().contains("no such file"),
            "{error}"
        );
    }
}

#[test]
fn the_end_of_stderr_is_logged() {
    plexus_api::rows!("P-045");
    let lines = |count: usize| (1..=count).map(|n| format!("line {n}")).collect::<Vec<_>>();
    let (few, is_cut) = last_lines(b"line 1\n\nline 2");
    assert_eq!((few, is_cut), (lines(2), false));
    let (many, is_cut) = last_lines(lines(MAX_LINES + 1).join("\n").as_bytes());
    assert_eq!((&many[..], is_cut), (&lines(MAX_LINES + 1)[1..], true));
    let (long, is_cut) = last_lines(&[b'x'; MAX_STDERR + 1]);
    assert_eq!((long, is_cut), (vec!["x".repeat(MAX_STDERR)], true));
}
