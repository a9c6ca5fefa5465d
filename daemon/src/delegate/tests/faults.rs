//! Plugins that misbehave.

use std::fs::OpenOptions;

use plexus_api::cni::Code;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::environment::wait_for_start;
use super::*;

#[tokio::test]
async fn a_plugin_may_ignore_its_stdin() {
    plexus_api::rows!("R-045");
    let bench = Bench::new();
    let big = "x".repeat(1 << 20);
    // `deaf` exits at once; `talker` writes more than a pipe holds before it reads.
    bench.bare("deaf", "echo '{}'");
    bench.bare(
        "talker",
        "head -c 524288 /dev/zero | tr '\\0' ' '; cat > /dev/null; echo '{}'",
    );
    for name in ["deaf", "talker"] {
        let text = format!(r#"{{"name":"net","cniVersion":"1.0.0","type":"{name}","x":"{big}"}}"#);
        let defaults = Defaults {
            name: None,
            version: Version::LATEST,
        };
        let attachment = attach(NetworkConfig::parse(&text, defaults).expect("a network"));
        let done = timeout(PATIENCE, bench.delegates.add(&call(), &attachment)).await;
        done.expect("no deadlock").expect("ADD");
    }
}

#[tokio::test]
async fn the_error_of_a_failed_plugin_quotes_its_output() {
    plexus_api::rows!("R-046", "P-043");
    let bench = Bench::new();
    for (script, code, parts) in [
        (
            r#"echo '{"code":11,"msg":"busy","details":"d"}'; exit 1"#,
            11,
            &["busy"][..],
        ),
        ("echo boom >&2; exit 3", 101, &["boom", "exit status 3"]),
        ("exit 4", 101, &["exit status 4"]),
        ("echo garbage; exit 1", 101, &["garbage", "exit status 1"]),
        ("kill -9 $$", 101, &["SIGKILL"]),
    ] {
        bench.plugin("a", script);
        let error = bench
            .delegates
            .add(&call(), &attachment(&["a"]))
            .await
            .expect_err(script)
            .error;
        assert_eq!(error.code, code, "{error}");
        assert!(error.msg.starts_with(r#"plugin "a": "#), "{error}");
        for part in parts {
            assert!(error.msg.contains(part), "{script}: {error}");
        }
    }
}

#[tokio::test]
async fn an_invalid_result_is_refused() {
    plexus_api::rows!("T-005", "T-012");
    let bench = Bench::new();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (script, part) in [
        ("exit 0".to_owned(), "no result"),
        ("echo garbage".to_owned(), "cannot be read"),
        (format!(r#"echo '{{"x":{deep}}}'"#), "deep"),
        ("head -c 100000000 /dev/zero".to_owned(), "more than"),
    ] {
        bench.plugin("a", &script);
        let error = bench
            .delegates
            .add(&call(), &attachment(&["a"]))
            .await
            .expect_err(part)
            .error;
        assert!(error.is(Code::Decode), "{error}");
        assert!(
            error.msg.starts_with(r#"plugin "a": "#) && error.msg.contains(part),
            "{error}"
        );
        assert!(error.details.len() < 2000, "{}", error.details.len());
    }
}

#[tokio::test]
async fn a_flood_on_stderr_is_harmless() {
    plexus_api::rows!("P-045", "R-047");
    let bench = Bench::new();
    bench.plugin(
        "a",
        &format!("head -c 100000000 /dev/zero >&2; {}", prints("a")),
    );
    bench
        .delegates
        .add(&call(), &attachment(&["a"]))
        .await
        .expect("ADD");
}

#[tokio::test]
async fn a_surviving_child_process_is_not_waited_for() {
    plexus_api::rows!("R-049");
    // Given a plugin whose child process holds all three pipes until the test ends that process.
    let bench = Bench::new();
    mkfifo(&bench.path("hold"), Mode::S_IRWXU).expect("mkfifo");
    let hold = OpenOptions::new()
        .read(true)
        .write(true)
        .open(bench.path("hold"))
        .expect("open");
    let mut left = bench.fifo("left");
    bench.bare(
        "a",
        "exec 4<&0; { cat $dir/hold; echo alive > $dir/left; } >&2 <&4 & echo '{\"x\":1}'",
    );
    // When the plugin runs, then its result is returned at once.
    let done = timeout(PATIENCE, bench.delegates.add(&call(), &attachment(&["a"]))).await;
    assert!(
        done.expect("no wait")
            .expect("ADD")
            .raw()
            .get()
            .contains("\"x\":1")
    );
    // And the child process still runs.
    drop(hold);
    assert_eq!(wait_for_start(&mut left).await, "alive");
}

/// A plugin that hangs, with a child that hangs; both hold the pipe `$dir/started` open.
const HANGS: &str = "exec 3> $dir/started; echo $$ >&3; sleep 60 & sleep 60";

#[tokio::test]
async fn a_plugin_that_hangs_is_killed_with_its_children() {
    plexus_api::rows!("R-049");
    let bench = Bench::with_timeout(Duration::from_secs(2));
    let mut started = bench.fifo("started");
    bench.bare("a", HANGS);
    let error = bench
        .delegates
        .add(&call(), &attachment(&["a"]))
        .await
        .expect_err("hangs")
        .error;
    assert_eq!(
        (error.code, error.msg.as_str()),
        (11, r#"plugin "a": was killed: it took longer than 2.0s"#)
    );
    let id = wait_for_start(&mut started).await;
    assert!(
        !Path::new("/proc").join(id).exists(),
        "the plugin is dead before the call returns"
    );
    let end = timeout(PATIENCE, started.read_to_end(&mut Vec::new())).await;
    end.expect("every holder of the pipe is dead")
        .expect("read");
}

#[tokio::test]
async fn the_deadline_of_the_call_applies_too() {
    plexus_api::rows!("R-049");
    let bench = Bench::new();
    bench.bare("a", "exec sleep 60");
    let soon = PluginCall {
        limits: limits(Duration::from_secs(2)),
        ..call()
    };
    let error = bench
        .delegates
        .add(&soon, &attachment(&["a"]))
        .await
        .expect_err("hangs")
        .error;
    assert!(
        error.is(Code::TryAgain) && error.msg.contains("longer than"),
        "{error}"
    );
    assert!(
        soon.limits.deadline.elapsed() < PATIENCE / 2,
        "before the limit for a plugin"
    );
    let error = bench
        .delegates
        .add(&soon, &attachment(&["a"]))
        .await
        .expect_err("too late")
        .error;
    assert!(
        error.is(Code::TryAgain) && error.msg.contains("was not started"),
        "{error}"
    );
}

#[tokio::test]
async fn endless_output_does_not_hide_the_deadline() {
    plexus_api::rows!("R-049", "T-012");
    let bench = Bench::with_timeout(Duration::from_millis(300));
    bench.bare("a", "yes & yes >&2");
    let error = timeout(PATIENCE, bench.delegates.add(&call(), &attachment(&["a"])))
        .await
        .expect("the deadline applies");
    assert!(error.expect_err("killed").error.is(Code::TryAgain));
}

#[tokio::test]
async fn a_cancelled_call_kills_its_plugin_and_starts_no_other() {
    plexus_api::rows!("R-050");
    // Given three plugins, the second of which hangs.
    let bench = Bench::new();
    let mut started = bench.fifo("started");
    bench.plugin("one", &prints("one"));
    bench.plugin("two", HANGS);
    bench.plugin("three", &prints("three"));
    let call = call();
    let attachment = attachment(&["one", "two", "three"]);
    // When the call is cancelled while the second hangs.
    let caller = async {
        wait_for_start(&mut started).await;
        call.limits.cancel.cancel();
    };
    let (result, ()) = tokio::join!(bench.delegates.add(&call, &attachment), caller);
    // Then the second is killed with its children, and the third never runs.
    assert!(
        result
            .expect_err("cancelled")
            .error
            .msg
            .contains("cancelled")
    );
    let end = timeout(PATIENCE, started.read_to_end(&mut Vec::new())).await;
    end.expect("every holder of the pipe is dead")
        .expect("read");
    assert_eq!(bench.log(), ["ADD one", "ADD two"]);
    let error = bench
        .delegates
        .add(&call, &attachment)
        .await
        .expect_err("still cancelled")
        .error;
    assert!(error.is(Code::TryAgain), "{error}");
    assert_eq!(bench.log().len(), 2);
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing_running() {
    let bench = Bench::new();
    let mut started = bench.fifo("started");
    bench.bare("a", HANGS);
    let (call, attachment) = (call(), attachment(&["a"]));
    tokio::select! {
        _ = bench.delegates.add(&call, &attachment) => panic!("the plugin hangs"),
        _ = wait_for_start(&mut started) => {}
    }
    let end = timeout(PATIENCE, started.read_to_end(&mut Vec::new())).await;
    end.expect("every holder of the pipe is dead")
        .expect("read");
}

#[tokio::test]
async fn a_plugin_that_is_killed_does_not_refuse_a_del() {
    let bench = Bench::new();
    bench.bare("hangs", "exec sleep 60");
    bench.bare("out-of-memory", "kill -9 $$");
    bench.bare("crashes", "kill -SEGV $$");
    for (name, refuses) in [
        ("hangs", false),
        ("out-of-memory", false),
        ("crashes", true),
    ] {
        let mut call = call();
        if name == "hangs" {
            call.limits = call.limits.within(Duration::from_secs(2));
        }
        let DelError {
            error,
            ran,
            refused,
        } = bench
            .delegates
            .del(&call, &attachment(&[name]), None)
            .await
            .expect_err(name);
        assert_eq!((ran, refused), (true, refuses), "{error}");
    }
}

#[tokio::test]
async fn the_error_of_a_failed_start_names_the_plugin() {
    let bench = Bench::new();
    bench.plugin("text", "");
    for (content, part) in [
        ("#!/nonexistent/interpreter\n", "interpreter"),
        ("no program", "not a program"),
    ] {
        write_program(&bench.path("text"), content);
        let DelError {
            error,
            ran,
            refused,
        } = bench
            .delegates
            .del(&call(), &attachment(&["text"]), None)
            .await
            .expect_err(part);
        assert!(!ran && !refused, "{error}");
        assert!(error.is(Code::PluginMissing), "{error}");
        assert!(
            error.msg.starts_with(r#"plugin "text": cannot be started"#)
                && error.msg.contains(part),
            "{error}"
        );
    }
}
