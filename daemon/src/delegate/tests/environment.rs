//! The environment and the open files of a plugin, and its stderr.

use std::collections::BTreeSet;
use std::process::Command;

use tokio::io::AsyncReadExt as _;

use super::*;
use crate::telemetry::CapturedLog;

#[tokio::test]
async fn stdin_ends_and_stderr_is_separate() {
    plexus_api::rows!("R-044", "R-047");
    let bench = Bench::new();
    bench.plugin("a", &format!("echo 'error: bla' >&2; {}", prints("a")));
    let result = bench
        .delegates
        .add(&call(), &attachment(&["a"]))
        .await
        .expect("stdin was read to its end");
    assert!(!result.raw().get().contains("bla"));
}

#[tokio::test]
async fn a_plugin_finds_its_delegate() {
    plexus_api::rows!("R-042", "R-040");
    // Given a plugin in the configured directory, and its IPAM plugin in the runtime's directory.
    let bench = Bench::new();
    let runtime = tempfile::tempdir().expect("dir");
    write_program(
        &runtime.path().join("addresses"),
        "#!/bin/sh\ncat > /dev/null; echo '{\"x\":\"leased\"}'\n",
    );
    let find = r#"IFS=:; for d in $CNI_PATH; do [ -x "$d/addresses" ] && exec "$d/addresses" < "$dir/$me.ADD"; done; exit 1"#;
    bench.plugin("main", find);
    write_program(&runtime.path().join("main"), "#!/bin/sh\nexit 1\n");
    // When the plugin is called, then the configured one runs and finds the IPAM plugin in
    // CNI_PATH.
    let call = PluginCall {
        path: vec![runtime.path().to_owned()],
        ..call()
    };
    let result = bench
        .delegates
        .add(&call, &attachment(&["main"]))
        .await
        .expect("ADD");
    assert!(result.raw().get().contains("leased"));
}

#[tokio::test]
async fn a_plugin_inherits_only_its_pipes() {
    plexus_api::rows!("R-051", "R-043", "R-052");
    // Given a daemon with open files and another running plugin.
    let bench = Bench::new();
    let _open = fs::File::open("/dev/null").expect("open");
    let mut started = bench.fifo("started");
    bench.bare(
        "other",
        "exec 3> $dir/started; echo go >&3; cat > /dev/null; exec sleep 60",
    );
    let look = "ls /proc/self/fd | tr '\\n' ' '; echo; grep Sig[BI] /proc/self/status; readlink /proc/self/ns/net; env";
    bench.bare(
        "a",
        &format!("cat > /dev/null; {{ {look}; }} > $dir/seen; echo '{{}}'"),
    );
    let other = call();
    let cancel = other.limits.cancel.clone();
    let (hanging, here) = (attachment(&["other"]), attachment(&["a"]));
    let looking = async {
        wait_for_start(&mut started).await;
        bench.delegates.add(&call(), &here).await.expect("ADD");
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(bench.delegates.add(&other, &hanging), looking);
    assert!(result.is_err());
    // When the plugin looks, then it has the open files that any child of this process has.
    let seen = bench.read("seen");
    let mut lines = seen.lines();
    let plain = Command::new("/bin/sh")
        .args(["-c", "ls /proc/self/fd | tr '\\n' ' '"])
        .output()
        .expect("sh");
    assert_eq!(
        lines.next().map(str::trim),
        Some(String::from_utf8_lossy(&plain.stdout).trim())
    );
    // And no signal is blocked, and SIGPIPE, which Rust ignores, has its default action.
    assert_eq!(lines.next(), Some("SigBlk:\t0000000000000000"));
    let ignored = lines
        .next()
        .and_then(|line| line.strip_prefix("SigIgn:\t"))
        .expect("SigIgn");
    assert_eq!(
        u64::from_str_radix(ignored, 16).expect("hex") & (1 << 12),
        0,
        "SIGPIPE"
    );
    // And the plugin has the daemon's network namespace, and only the given environment.
    let netns = fs::read_link("/proc/self/ns/net").expect("netns");
    assert_eq!(lines.next(), netns.to_str());
    let names: BTreeSet<_> = lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    let given = [
        "CNI_ARGS",
        "CNI_COMMAND",
        "CNI_CONTAINERID",
        "CNI_IFNAME",
        "CNI_NETNS",
        "CNI_PATH",
        "PATH",
        "PLEXUS_MARKER",
    ];
    // The shell sets the other variables.
    assert_eq!(
        names
            .difference(&["PWD", "OLDPWD", "SHLVL", "_"].into())
            .copied()
            .collect::<Vec<_>>(),
        given
    );
}

#[tokio::test]
async fn stderr_goes_to_the_log() {
    plexus_api::rows!("P-045");
    let bench = Bench::new();
    bench.plugin(
        "a",
        &format!("printf 'one\\ntwo\\nthree\\n' >&2; {}", prints("a")),
    );
    let log = CapturedLog::start();
    bench
        .delegates
        .add(&call(), &attachment(&["a"]))
        .await
        .expect("ADD");
    let text = log.text();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.contains("stderr"))
        .collect();
    assert_eq!(lines.len(), 3, "{text}");
    for (line, text) in lines.iter().zip(["one", "two", "three"]) {
        for part in [text, r#"network="net""#, "verb=ADD", r#"plugin="a""#] {
            assert!(line.contains(part), "{line}");
        }
    }
}

/// Waits until a script has written to the pipe, and returns the text.
pub(super) async fn wait_for_start(started: &mut pipe::Receiver) -> String {
    let mut text = [0; 16];
    let length = tokio::time::timeout(PATIENCE, started.read(&mut text))
        .await
        .expect("the script starts")
        .expect("read");
    assert!(length > 0, "the pipe was opened");
    String::from_utf8_lossy(&text[..length]).trim().to_owned()
}
