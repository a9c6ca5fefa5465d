//! The order of plugins and the results that they get.

use plexus_api::cni::Code;

use super::*;

#[tokio::test]
async fn add_and_check_run_in_order_and_del_runs_in_reverse() {
    plexus_api::rows!("R-022", "R-060", "R-061", "R-062", "R-030", "T-009");
    // Given a chain in which each plugin prints the names of the plugins up to itself.
    let bench = Bench::new();
    for (name, tag) in [("a", "a"), ("b", "ab"), ("c", "abc")] {
        bench.plugin(
            name,
            &format!(
                "env | grep ^CNI_ | sort > $dir/env.$me.$CNI_COMMAND\n{}",
                prints(tag)
            ),
        );
    }
    let attachment = attachment(&["a", "b", "c"]);
    // When all three commands are called.
    let result = bench
        .delegates
        .add(&call(), &attachment)
        .await
        .expect("ADD");
    bench
        .delegates
        .check(&call(), &attachment, &result)
        .await
        .expect("CHECK");
    bench
        .delegates
        .del(&call(), &attachment, Some(&result))
        .await
        .expect("DEL");
    // Then ADD and CHECK run in order, DEL runs in reverse, and each plugin gets the right result.
    let order = [
        "ADD a", "ADD b", "ADD c", "CHECK a", "CHECK b", "CHECK c", "DEL c", "DEL b", "DEL a",
    ];
    assert_eq!(bench.log(), order);
    for (plugin, verb, tag) in [
        ("a", "ADD", None),
        ("b", "ADD", Some("a")),
        ("c", "ADD", Some("ab")),
        ("a", "CHECK", Some("abc")),
        ("b", "CHECK", Some("abc")),
        ("c", "CHECK", Some("abc")),
        ("a", "DEL", Some("abc")),
        ("b", "DEL", Some("abc")),
        ("c", "DEL", Some("abc")),
    ] {
        let stdin = bench.stdin(plugin, verb);
        assert_eq!(
            stdin["prevResult"]["x-tag"].as_str(),
            tag,
            "{verb} {plugin}"
        );
        // And the network and the environment are the same for every command.
        assert_eq!(stdin["name"], "net");
        let of_add = bench.read(&format!("env.{plugin}.ADD"));
        let of_command = bench.read(&format!("env.{plugin}.{verb}"));
        assert_eq!(
            of_command.replace(&format!("CNI_COMMAND={verb}"), "CNI_COMMAND=ADD"),
            of_add
        );
        assert!(
            of_add.contains("CNI_CONTAINERID=c1\n") && of_add.contains("CNI_IFNAME=net1\n"),
            "{of_add}"
        );
    }
    assert!(
        result.raw().get().contains("abc"),
        "the last result is that of the network"
    );
}

#[tokio::test]
async fn add_stops_at_the_first_error() {
    plexus_api::rows!("R-060");
    let bench = Bench::new();
    bench.plugin("a", &prints("a"));
    bench.plugin("b", r#"echo '{"code":11,"msg":"busy"}'; exit 1"#);
    bench.plugin("c", &prints("c"));
    let error = bench
        .delegates
        .add(&call(), &attachment(&["a", "b", "c"]))
        .await
        .expect_err("b fails")
        .error;
    assert_eq!(
        (error.code, error.msg.as_str()),
        (11, r#"plugin "b": busy"#)
    );
    assert_eq!(bench.log(), ["ADD a", "ADD b"]);
}

#[tokio::test]
async fn nothing_runs_if_a_later_plugin_is_missing() {
    plexus_api::rows!("R-040");
    let bench = Bench::new();
    bench.plugin("a", &prints("a"));
    let error = bench
        .delegates
        .add(&call(), &attachment(&["a", "missing"]))
        .await
        .expect_err("missing")
        .error;
    assert!(
        error.is(Code::PluginMissing) && error.msg.contains("missing"),
        "{error}"
    );
    assert_eq!(bench.log(), [""; 0]);
}

#[tokio::test]
async fn a_retried_del_starts_again_from_the_end() {
    plexus_api::rows!("R-061");
    let bench = Bench::new();
    for name in ["a", "c"] {
        bench.plugin(name, "");
    }
    bench.plugin(
        "b",
        r#"[ -e $dir/fixed ] || { echo '{"code":5,"msg":"stuck"}'; exit 1; }"#,
    );
    let attachment = attachment(&["a", "b", "c"]);
    let DelError {
        error,
        ran,
        refused,
    } = bench
        .delegates
        .del(&call(), &attachment, None)
        .await
        .expect_err("b fails");
    assert!(ran && refused, "{error}");
    assert_eq!(
        (error.code, error.msg.as_str()),
        (5, r#"plugin "b": stuck"#)
    );
    assert_eq!(bench.log(), ["DEL c", "DEL b"]);
    fs::write(bench.path("fixed"), "").expect("write");
    bench
        .delegates
        .del(&call(), &attachment, None)
        .await
        .expect("DEL");
    assert_eq!(bench.log(), ["DEL c", "DEL b", "DEL c", "DEL b", "DEL a"]);
}

#[tokio::test]
async fn del_gets_the_result_from_version_0_4_0_on() {
    plexus_api::rows!("R-023", "P-089");
    let bench = Bench::new();
    bench.plugin("a", "");
    let previous = result(r#"{"ips":[{"address":"10.0.0.1/24"}]}"#);
    for (version, previous, expected) in [
        ("0.2.0", Some(&previous), false),
        ("0.3.1", Some(&previous), false),
        ("0.4.0", Some(&previous), true),
        ("1.0.0", Some(&previous), true),
        ("1.1.0", Some(&previous), true),
        ("1.1.0", None, false),
    ] {
        let attachment = attach(list(version, "", &["a"]));
        bench
            .delegates
            .del(&call(), &attachment, previous)
            .await
            .expect("DEL");
        let stdin = bench.stdin("a", "DEL");
        assert_eq!(stdin.get("prevResult").is_some(), expected, "{version}");
        if expected {
            assert_eq!(stdin["prevResult"]["cniVersion"], version);
        }
    }
}

#[tokio::test]
async fn results_are_converted_to_the_version_of_the_list() {
    plexus_api::rows!("T-006", "T-003", "R-087");
    // Given a plugin that prints another version than the requested one, and one that prints none.
    let bench = Bench::new();
    bench.plugin(
        "old",
        r#"echo '{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.0.0.1/24"}]}'"#,
    );
    bench.plugin(
        "unversioned",
        r#"echo '{"ips":[{"address":"10.0.0.2/24"}]}'"#,
    );
    let result = bench
        .delegates
        .add(&call(), &attachment(&["old", "unversioned"]))
        .await
        .expect("ADD");
    let previous = &bench.stdin("unversioned", "ADD")["prevResult"];
    assert_eq!(previous["cniVersion"], "1.0.0");
    assert_eq!(
        previous["ips"],
        serde_json::json!([{"address": "10.0.0.1/24"}])
    );
    assert_eq!(result.version(), Version::V1_0_0);
    assert_eq!(result.result().ips.len(), 1);
    // When it is the last plugin of a list, then the network's result is converted too.
    let result = bench
        .delegates
        .add(&call(), &attachment(&["old"]))
        .await
        .expect("ADD");
    assert_eq!(result.version(), Version::V1_0_0);
    // CHECK gets the recorded result in the list's version, too.
    let attachment = attach(list("0.4.0", "", &["unversioned"]));
    bench
        .delegates
        .check(&call(), &attachment, &result)
        .await
        .expect("CHECK");
    assert_eq!(
        bench.stdin("unversioned", "CHECK")["prevResult"]["cniVersion"],
        "0.4.0"
    );
}

#[tokio::test]
async fn check_stops_at_the_first_error() {
    plexus_api::rows!("R-062");
    let bench = Bench::new();
    bench.plugin("a", "");
    bench.plugin("b", r#"echo '{"code":120,"msg":"gone"}'; exit 1"#);
    bench.plugin("c", "");
    let previous = result("{}");
    let error = bench
        .delegates
        .check(&call(), &attachment(&["a", "b", "c"]), &previous)
        .await
        .expect_err("b fails");
    assert_eq!(
        (error.code, error.msg.as_str()),
        (120, r#"plugin "b": gone"#)
    );
    assert_eq!(bench.log(), ["CHECK a", "CHECK b"]);
}

#[tokio::test]
async fn status_stops_at_the_first_error() {
    plexus_api::rows!("R-064", "R-034");
    let bench = Bench::new();
    bench.plugin(
        "a",
        "env | grep -c 'CNI_\\(CONTAINERID\\|NETNS\\|IFNAME\\|ARGS\\)' > $dir/count; exit 0",
    );
    bench.plugin("b", r#"echo '{"code":50,"msg":"not yet"}'; exit 1"#);
    bench.plugin("c", "");
    let error = bench
        .delegates
        .status(&call(), &list("1.1.0", "", &["a", "b", "c"]))
        .await
        .expect_err("b fails");
    assert_eq!(
        (error.code, error.msg.as_str()),
        (50, r#"plugin "b": not yet"#)
    );
    assert_eq!(bench.log(), ["STATUS a", "STATUS b"]);
    assert_eq!(bench.read("count"), "0\n");
}

#[tokio::test]
async fn gc_continues_after_errors_and_returns_them_all() {
    plexus_api::rows!("R-063");
    let bench = Bench::new();
    for (name, script) in [
        ("a", "echo a >&2; exit 1"),
        ("b", ""),
        ("c", "echo c >&2; exit 1"),
    ] {
        bench.plugin(name, script);
    }
    let valid = [ValidAttachment {
        container_id: "c1".to_owned(),
        ifname: "net1".to_owned(),
    }];
    let network = list("1.1.0", "", &["a", "missing", "b", "c"]);
    let errors = bench
        .delegates
        .gc(&call(), &network, &valid)
        .await
        .expect_err("a and c fail");
    assert_eq!(bench.log(), ["GC a", "GC b", "GC c"]);
    let named: Vec<_> = errors
        .iter()
        .map(|error| error.msg.split(' ').nth(1).expect("a name"))
        .collect();
    assert_eq!(named, [r#""a":"#, r#""missing""#, r#""c":"#]);
    let kept = serde_json::json!([{"containerID": "c1", "ifname": "net1"}]);
    assert_eq!(bench.stdin("b", "GC")["cni.dev/valid-attachments"], kept);
}

#[tokio::test]
async fn commands_that_the_version_or_the_network_excludes_run_nothing() {
    plexus_api::rows!("R-062", "R-063", "R-065");
    let bench = Bench::new();
    bench.plugin("a", "");
    for (version, keys, expected) in [
        ("0.3.1", "", &[][..]),
        ("0.4.0", "", &["CHECK a"]),
        ("1.0.0", "", &["CHECK a"]),
        ("1.1.0", "", &["CHECK a", "STATUS a", "GC a"]),
        ("1.1.0", r#""disableCheck":true,"#, &["STATUS a", "GC a"]),
        ("1.1.0", r#""disableGC":true,"#, &["CHECK a", "STATUS a"]),
    ] {
        drop(fs::remove_file(bench.path("log")));
        let network = list(version, keys, &["a"]);
        let previous = result("{}");
        bench
            .delegates
            .check(&call(), &attach(network.clone()), &previous)
            .await
            .expect("CHECK");
        bench
            .delegates
            .status(&call(), &network)
            .await
            .expect("STATUS");
        bench
            .delegates
            .gc(&call(), &network, &[])
            .await
            .expect("GC");
        assert_eq!(bench.log(), expected, "{version} {keys}");
    }
}

#[tokio::test]
async fn code_3_is_returned_only_if_nothing_has_run() {
    plexus_api::rows!("P-041", "P-043");
    let bench = Bench::new();
    bench.plugin("ok", &prints("ok"));
    bench.plugin("unknown", r#"echo '{"code":3,"msg":"unknown"}'; exit 1"#);
    let error = bench
        .delegates
        .add(&call(), &attachment(&["unknown"]))
        .await
        .expect_err("fails")
        .error;
    assert_eq!(error.code, 3);
    let error = bench
        .delegates
        .add(&call(), &attachment(&["ok", "unknown"]))
        .await
        .expect_err("fails")
        .error;
    assert!(error.is(Code::PluginFailed), "{error}");
}

#[tokio::test]
async fn calls_in_parallel_do_not_mix() {
    plexus_api::rows!("R-052");
    let bench = Bench::new();
    bench.bare(
        "a",
        r#"cat > /dev/null; echo "{\"x\":\"$CNI_CONTAINERID $CNI_NETNS $TRACEPARENT\"}""#,
    );
    let attachment = attachment(&["a"]);
    let adds = (0..16).map(|number| {
        let (bench, attachment) = (&bench, &attachment);
        async move {
            let call = PluginCall {
                container_id: format!("c{number}"),
                netns: Some(format!("/n{number}")),
                env: [("TRACEPARENT".to_owned(), format!("t{number}"))].into(),
                ..call()
            };
            let result = bench.delegates.add(&call, attachment).await.expect("ADD");
            let expected = format!(r#""x":"c{number} /n{number} t{number}""#);
            assert!(result.raw().get().contains(&expected), "{}", result.raw());
        }
    });
    futures_util::future::join_all(adds).await;
}
