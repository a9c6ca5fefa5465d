//! `deploy/kubectl-plexus`, with a scripted kubectl.

mod states;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use plexus_apiserver::ApiServer;
use plexus_e2e::workspace::root;
use plexus_e2e::{CniOutput, skip};
use serde_json::json;
use tempfile::TempDir;

use crate::rendered::kubectl;

/// A kubectl that records its arguments, one call a line, and runs a script for each verb.
struct Kubectl(TempDir);

/// Records the arguments separated by `|`. The directory of the program has a script for each verb.
const KUBECTL: &str = r#"#!/bin/sh
dir=${0%/*}
line=
for argument; do line="$line$argument|"; done
printf '%s\n' "$line" >>"$dir/calls"
[ "$1" != --context ] || shift 2
verb=$1
shift
[ ! -e "$dir/on-$verb" ] || . "$dir/on-$verb"
"#;

/// The running pods, as the plugin asks for them.
const ONE_POD: &str = "kube-system plexus-a n1\n";
const TWO_NODES: &str = "kube-system plexus-a n1\nkube-system plexus-b n2\n";

impl Kubectl {
    /// With these pods of Plexus.
    fn new(pods: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("kubectl");
        fs::write(&program, KUBECTL).expect("write kubectl");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&program, mode).expect("set the mode");
        let kubectl = Self(dir);
        fs::write(kubectl.path("pods"), pods).expect("write the pods");
        kubectl.on("get", "cat \"$dir/pods\"");
        kubectl
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `script` for a verb of kubectl.
    fn on(&self, verb: &str, script: &str) {
        fs::write(self.path(&format!("on-{verb}")), script).expect("write a script");
    }

    /// Runs the plugin.
    fn run(&self, arguments: &[&str]) -> CniOutput {
        self.run_with(arguments, &[], "")
    }

    fn run_with(&self, arguments: &[&str], env: &[(&str, &str)], stdin: &str) -> CniOutput {
        let mut command = Command::new("sh");
        let path = format!("{}:/usr/bin:/bin", self.0.path().display());
        let mut child = command
            .arg(root().join("deploy/kubectl-plexus"))
            .args(arguments)
            .current_dir(self.0.path())
            .env_clear()
            .env("PATH", path)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("execute sh");
        let mut pipe = child.stdin.take().expect("a pipe");
        pipe.write_all(stdin.as_bytes()).expect("write to stdin");
        drop(pipe);
        child.wait_with_output().expect("an end").into()
    }

    /// The calls of a verb since the start, without the separators at their ends.
    fn calls(&self, verb: &str) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let calls = calls
            .lines()
            .map(|line| line.trim_end_matches('|').to_owned());
        calls.filter(|line| line.starts_with(verb)).collect()
    }
}

/// The arguments of kubectl that run plexusd in a pod.
fn exec(pod: &str, arguments: &str) -> String {
    format!(
        "exec|--stdin|--namespace|kube-system|{pod}|--container|plexusd|--|/plexusd|{arguments}"
    )
}

#[test]
fn commands_of_a_node_run_in_its_pod() {
    let kubectl = Kubectl::new(ONE_POD);
    kubectl.on("exec", "echo output; echo error >&2; exit 3");
    for (arguments, expected) in [
        (&["status", "n1", "-o", "json"][..], "status|-o|json"),
        (&["doctor", "n1", "--fix"], "doctor|--fix"),
        (&["ledger", "n1", "retry", "--all"], "ledger|retry|--all"),
        (&["loglevel", "n1", "debug"], "loglevel|debug"),
    ] {
        let output = kubectl.run(arguments);
        assert_eq!(
            output.exit,
            Some(3),
            "the exit status of plexusd: {output:?}"
        );
        assert_eq!((&*output.stdout, &*output.stderr), ("output\n", "error\n"));
        let calls = kubectl.calls("exec");
        assert_eq!(calls.last(), Some(&exec("plexus-a", expected)));
    }
    let gets = kubectl.calls("get");
    let selection = "get|pods|--selector|app.kubernetes.io/name=plexus";
    assert!(
        gets.iter().all(|call| call.starts_with(selection)
            && call.contains("|--all-namespaces|--field-selector|spec.nodeName=n1|")),
        "{gets:?}"
    );
    kubectl.on("logs", "echo line");
    let output = kubectl.run(&["logs", "n1", "--tail", "5"]);
    assert!(output.ok() && output.stdout == "line\n", "{output:?}");
    assert_eq!(
        kubectl.calls("logs"),
        ["logs|--namespace|kube-system|plexus-a|--container|plexusd|--tail|5"]
    );
}

#[test]
fn a_namespace_and_a_context_can_be_selected() {
    let kubectl = Kubectl::new(ONE_POD);
    let env = [("PLEXUS_NAMESPACE", "networking")];
    let output = kubectl.run_with(&["--context", "two words", "status", "n1"], &env, "");
    assert!(output.ok(), "{output:?}");
    let calls = kubectl.calls("--context|two words|");
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(
        calls[0].contains("|--namespace|networking|") && !calls[0].contains("--all-namespaces"),
        "{calls:?}"
    );
}

#[test]
fn without_a_node_each_node_is_asked_once() {
    let kubectl = Kubectl::new(&format!("{TWO_NODES}kube-system plexus-c n2\n"));
    kubectl.on(
        "exec",
        "case $* in *plexus-a*) exit 2 ;; esac; echo screen; exit 1",
    );
    let output = kubectl.run(&["status"]);
    assert_eq!(output.exit, Some(2), "the worst exit status: {output:?}");
    assert_eq!(output.stdout, "node n1\nnode n2\nscreen\n");
    let error = "kubectl plexus: status has findings on n1 n2\n";
    assert_eq!(output.stderr, error);
    assert_eq!(
        kubectl.calls("exec"),
        [exec("plexus-a", "status"), exec("plexus-c", "status")]
    );
    // Standard output has only JSON.
    let output = kubectl.run(&["status", "-o", "json"]);
    assert_eq!(output.stdout, "screen\n");
    assert_eq!(output.stderr, format!("node n1\nnode n2\n{error}"));
}

#[test]
fn a_pod_is_inspected_on_its_node() {
    let kubectl = Kubectl::new(ONE_POD);
    kubectl.on(
        "get",
        "case $1 in pod) printf 'uid-1 n1' ;; *) cat \"$dir/pods\" ;; esac",
    );
    kubectl.on("config", "printf shop");
    for (arguments, expected) in [
        (&["inspect", "web"][..], "shop/web"),
        (&["inspect", "web", "-n", "prod"], "prod/web"),
        (&["inspect", "--namespace=prod", "web"], "prod/web"),
        (&["inspect", "prod/web", "-o", "json"], "prod/web|-o|json"),
    ] {
        let output = kubectl.run(arguments);
        assert!(output.ok(), "{output:?}");
        let calls = kubectl.calls("exec");
        let expected = exec("plexus-a", &format!("inspect|{expected}"));
        assert_eq!(calls.last(), Some(&expected));
    }
    kubectl.on("config", "");
    kubectl.run(&["inspect", "web"]);
    let calls = kubectl.calls("get|pod|");
    assert_eq!(
        calls.last().map(String::as_str),
        Some("get|pod|web|--namespace|default|--output|jsonpath={.metadata.uid} {.spec.nodeName}")
    );
}

#[test]
fn files_are_checked_together_in_a_pod() {
    let kubectl = Kubectl::new(TWO_NODES);
    kubectl.on(
        "exec",
        "text=$(cat); echo \"$text\"; case $text in *bad*) exit 1 ;; esac",
    );
    fs::create_dir_all(kubectl.path("dir/sub")).expect("create directories");
    let write = |name: &str, text: &str| fs::write(kubectl.path(name), text).expect(name);
    write("good.yaml", "good\n");
    write("with space.yaml", "bad\n");
    write("dir/sub/b.conflist", "b\n");
    write("dir/a.json", "a\n");
    write("dir/c.yml", "c\n");
    write("dir/README.md", "text\n");
    symlink(kubectl.path("good.yaml"), kubectl.path("dir/link.yaml")).expect("a link");
    let output = kubectl.run(&["lint", "good.yaml"]);
    assert!(
        output.ok() && output.stdout == "5 good.yaml\ngood\n",
        "{output:?}"
    );
    let output = kubectl.run(&["lint", "with space.yaml", "good.yaml"]);
    assert_eq!(output.exit, Some(1), "{output:?}");
    assert_eq!(output.stdout, "4 with space.yaml\nbad\n5 good.yaml\ngood\n");
    let output = kubectl.run_with(&["lint", "-", "dir"], &[], "piped\n");
    let files = "2 dir/a.json\na\n2 dir/c.yml\nc\n2 dir/sub/b.conflist\nb\n";
    assert!(
        output.ok() && output.stdout == format!("6 <stdin>\npiped\n{files}"),
        "{output:?}"
    );
    let skipped = "skipped in dir: 2 links or files of other types";
    assert!(output.stderr.contains(skipped), "{output:?}");
    assert!(
        kubectl
            .calls("exec")
            .iter()
            .all(|call| *call == exec("plexus-b", "lint|--bundle")),
        "{:?}",
        kubectl.calls("exec")
    );
    kubectl.run(&["lint", "good.yaml", "-o", "json", "dir"]);
    let expected = exec("plexus-b", "lint|--bundle|--output|json");
    assert_eq!(kubectl.calls("exec").last(), Some(&expected));
}

#[test]
fn kubectl_itself_finds_the_running_pod_of_a_node() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let server = ApiServer::start();
    for (name, node, phase, label) in [
        ("plexus-a", "n1", "Running", "plexus"),
        ("plexus-b", "n2", "Running", "plexus"),
        ("plexus-pending", "n1", "Pending", "plexus"),
        ("other", "n1", "Running", "other"),
    ] {
        server.apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "kube-system",
                "labels": {"app.kubernetes.io/name": label},
            },
            "spec": {"nodeName": node, "containers": [{"name": "plexusd", "image": "image"}]},
            "status": {"phase": phase},
        }));
    }
    let plugin = Kubectl::new("");
    let config = server.kubeconfig(plugin.0.path(), "admin");
    let found = Command::new("sh")
        .args(["-c", "command -v kubectl"])
        .output();
    let program = String::from_utf8(found.expect("execute sh").stdout).expect("text");
    let (program, config) = (program.trim(), config.display());
    plugin.on(
        "get",
        &format!("exec {program} --kubeconfig {config} get \"$@\""),
    );
    plugin.on("config", "printf kube-system");
    let home = [("HOME", plugin.0.path().to_str().expect("text"))];
    let output = plugin.run_with(&["status", "n1"], &home, "");
    assert!(output.ok() && output.stderr.is_empty(), "{output:?}");
    let output = plugin.run_with(&["inspect", "other"], &home, "");
    assert!(output.ok(), "{output:?}");
    let output = plugin.run_with(&["doctor"], &home, "");
    assert!(
        output.ok() && output.stdout == "node n1\nnode n2\n",
        "{output:?}"
    );
    assert_eq!(
        plugin.calls("exec"),
        [
            exec("plexus-a", "status"),
            exec("plexus-a", "inspect|kube-system/other"),
            exec("plexus-a", "doctor"),
            exec("plexus-b", "doctor"),
        ]
    );
    let output = plugin.run_with(&["status", "n3"], &home, "");
    assert!(
        !output.ok() && output.stderr.contains("node n3 has no running pod"),
        "{output:?}"
    );
}

/// Expects one line on stderr after those of kubectl.
#[track_caller]
fn expect_error(kubectl: &Kubectl, arguments: &[&str], words: &[&str]) {
    let output = kubectl.run(arguments);
    assert_eq!(output.exit, Some(1), "{output:?}");
    let last = output.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("kubectl plexus: "), "{output:?}");
    for word in words {
        assert!(last.contains(word), "{word} in {output:?}");
    }
    assert_eq!(kubectl.calls("exec"), [""; 0]);
}

#[test]
fn errors_say_what_to_do() {
    let none = Kubectl::new("");
    let hint = "kubectl get nodes";
    expect_error(
        &none,
        &["status", "n9"],
        &["node n9 has no running pod of Plexus", hint],
    );
    expect_error(&none, &["doctor"], &["no pod of Plexus is running"]);
    expect_error(&none, &["lint", "-"], &["no pod of Plexus is running"]);
    let one = Kubectl::new(ONE_POD);
    expect_error(&one, &["logs"], &["needs the name of a node"]);
    expect_error(&one, &["ledger", "--all"], &["needs the name of a node"]);
    expect_error(&one, &["lint"], &["needs a file"]);
    expect_error(
        &one,
        &["lint", "missing.yaml"],
        &["missing.yaml cannot be read"],
    );
    expect_error(&one, &["inspect"], &["needs the name of a pod"]);
    expect_error(&one, &["inspect", "a", "b"], &["needs one pod"]);
    expect_error(&one, &["inspect", "a", "-n"], &["-n needs a namespace"]);
    expect_error(
        &one,
        &["statsu"],
        &["unknown command statsu", "kubectl plexus help"],
    );
    expect_error(&one, &["--context"], &["--context needs a name"]);
    one.on("get", "case $1 in pod) ;; *) cat \"$dir/pods\" ;; esac");
    expect_error(
        &one,
        &["inspect", "web"],
        &["default/web is not on a node yet"],
    );
    one.on("get", "echo 'Error from server (Forbidden)' >&2; exit 1");
    for arguments in [&["status"][..], &["status", "n1"], &["lint", "-"]] {
        expect_error(
            &one,
            arguments,
            &["cannot list the pods", "PLEXUS_NAMESPACE"],
        );
    }
    expect_error(&one, &["inspect", "web"], &["cannot read pod default/web"]);
    let missing = Kubectl::new("");
    fs::remove_file(missing.path("kubectl")).expect("remove kubectl");
    let output = missing.run(&["status"]);
    assert!(
        !output.ok() && output.stderr.contains("kubectl"),
        "{output:?}"
    );
}

#[test]
fn the_usage_names_all_commands() {
    let kubectl = Kubectl::new("");
    for arguments in [&["help"][..], &["--help"]] {
        let output = kubectl.run(arguments);
        assert!(output.ok(), "{output:?}");
        for command in [
            "status", "doctor", "inspect", "lint", "logs", "ledger", "loglevel",
        ] {
            let line = format!("kubectl plexus {command} ");
            assert!(output.stdout.contains(&line), "{line} in {}", output.stdout);
        }
    }
    let output = kubectl.run(&[]);
    assert_eq!(output.exit, Some(1));
    assert!(
        output.stderr.contains("kubectl plexus status"),
        "{output:?}"
    );
}

#[test]
fn the_plugin_is_executable_and_shellcheck_has_no_findings() {
    let plugin = root().join("deploy/kubectl-plexus");
    let metadata = fs::metadata(&plugin).expect("the plugin");
    assert_eq!(metadata.permissions().mode() & 0o111, 0o111);
    let Ok(output) = Command::new("shellcheck").arg(&plugin).output() else {
        skip!("shellcheck is missing: install it (on Debian the package shellcheck)");
    };
    assert!(output.status.success(), "{output:?}");
}
