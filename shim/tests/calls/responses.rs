//! The daemon's responses, as the shim prints them.

use plexus_api::{json, rows};
use serde_json::{Value, json};

use crate::support::{Node, add_response, response};

#[test]
fn only_add_prints_a_result() {
    rows!("P-035", "P-036");
    for verb in ["ADD", "DEL", "CHECK", "STATUS", "GC"] {
        let node = Node::new();
        let _daemon = node.daemon([add_response()]);
        let finished = node.shim(verb).run();
        if verb == "ADD" {
            assert_eq!(
                finished.result(),
                json!({"cniVersion": "1.1.0", "interfaces": [{"name": "eth0"}]})
            );
        } else {
            finished.assert_silent();
        }
    }
}

#[test]
fn unknown_keys_of_a_result_are_printed() {
    let node = Node::new();
    let result = r#"{"cniVersion":"1.1.0","ips":[],"x":1.50}"#;
    let _daemon = node.daemon([response(200, format!(r#"{{"Result":{result}}}"#))]);
    assert_eq!(node.shim("ADD").run().stdout, format!("{result}\n"));
}

#[test]
fn an_error_keeps_its_code_and_gets_the_version_of_the_configuration() {
    rows!("P-035", "P-037", "P-038", "P-039", "P-043");
    for verb in ["ADD", "DEL", "CHECK", "STATUS", "GC"] {
        for code in [3, 7, 11, 50, 51, 120, 999] {
            let node = Node::new();
            let body = json!({"code": code, "msg": "busy", "details": "very"});
            let _daemon = node.daemon([response(400, body.to_string())]);
            let error = node.shim(verb).run().error();
            assert_eq!(
                (error.code, error.version.as_str()),
                (code, "1.1.0"),
                "{verb}"
            );
            assert_eq!(
                (error.msg.as_str(), error.details.as_str()),
                ("busy", "very")
            );
        }
    }
    let node = Node::new();
    let _daemon = node.daemon([response(500, r#"{"code":7,"msg":"two\nlines"}"#)]);
    let error = node
        .shim("ADD")
        .stdin(node.config(json!({"cniVersion": "0.4.0"})))
        .run()
        .error();
    assert_eq!(
        (error.version.as_str(), error.msg.as_str()),
        ("0.4.0", "two lines")
    );
}

#[test]
fn an_error_without_a_code_is_internal() {
    rows!("P-040", "P-043");
    for (body, says) in [
        ("some text error\n", "some text error"),
        ("", "HTTP 400"),
        ("{}", "HTTP 400"),
        (r#"{"code":0,"msg":"why"}"#, "why"),
        ("[1]", "[1]"),
    ] {
        let node = Node::new();
        let _daemon = node.daemon([response(400, body)]);
        let error = node.shim("ADD").run().error();
        assert_eq!(error.code, 100, "{body}");
        assert!(error.msg.contains(says), "{error:?}");
    }
}

#[test]
fn a_success_without_a_valid_result_fails_add() {
    rows!("P-037");
    for body in [
        "",
        "null",
        "{}",
        "[]",
        "garbage",
        r#"{"Result":7}"#,
        r#"{"Result":null}"#,
        r#"{"Result":{}}"#,
        r#"{"Result":{"cniVersion":"9.9.9"}}"#,
        r#"{"Result":{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.1"}]}}"#,
    ] {
        let node = Node::new();
        let _daemon = node.daemon([response(200, body)]);
        let error = node.shim("ADD").run().error();
        assert!([1, 6, 100].contains(&error.code), "{body}: {error:?}");
    }
}

#[test]
fn every_framing_of_a_response_is_supported() {
    let body = r#"{"Result":{"cniVersion":"1.1.0"}}"#;
    let (first, second) = body.split_at(5);
    let chunks = format!(
        "5\r\n{first}\r\n{:X};ext=1\r\n{second}\r\n0\r\ntrailer: x\r\n\r\n",
        second.len()
    );
    for raw in [
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}ignored",
            body.len()
        ),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n{chunks}"
        ),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\ntransfer-encoding: Chunked\r\n\r\n{chunks}"
        ),
        format!("HTTP/1.1 200\r\n\r\n{body}"),
        format!("HTTP/1.0 200 OK\nX: y\n\n{body}"),
        format!("HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{body}"),
    ] {
        let node = Node::new();
        let _daemon = node.daemon([raw.clone().into_bytes()]);
        let finished = node.shim("ADD").run();
        assert_eq!(finished.code, Some(0), "{raw}: {finished:?}");
        assert_eq!(finished.result(), json!({"cniVersion": "1.1.0"}), "{raw}");
    }
}

#[test]
fn an_incomplete_response_is_an_error() {
    for raw in [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"Result\":{\"cniVersion\":\"1.1.0\"}}",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n{\"Result\":{}}",
        "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{\"Result\":{}}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{\"Result\":{}}\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{\"Result\":{}}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{\"Result\":{}}",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n{\"Result\":{}}",
        "SSH-2.0-OpenSSH\r\n\r\n",
    ] {
        let node = Node::new();
        let _daemon = node.daemon([raw.into()]);
        let error = node.shim("ADD").run().error();
        assert_eq!(error.code, 11, "{raw}: {error:?}");
        assert!(error.msg.contains("did not respond"), "{raw}: {error:?}");
    }
}

#[test]
fn the_largest_result_is_printed() {
    let node = Node::new();
    let result = |padding: &str| format!(r#"{{"cniVersion":"1.1.0","x":"{padding}"}}"#);
    let largest = result(&"x".repeat(json::MAX_RESULT - result("").len()));
    let _daemon = node.daemon([response(200, format!(r#"{{"Result":{largest}}}"#))]);
    assert!(node.shim("ADD").run().stdout == format!("{largest}\n"));
}

#[test]
fn an_endless_response_is_an_error() {
    let node = Node::new();
    let endless = "x".repeat(8 << 20);
    let head = format!("HTTP/1.1 200 OK\r\nX: {endless}");
    // The part within the limit would be a result.
    let body = format!(
        "HTTP/1.1 200 OK\r\n\r\n{{\"Result\":{{\"cniVersion\":\"1.1.0\"}}}}{}",
        " ".repeat(8 << 20)
    );
    let _daemon = node.daemon([head.into_bytes(), body.into_bytes()]);
    for part in ["head", "body"] {
        assert_eq!(node.shim("ADD").run().error().code, 11, "{part}");
    }
}

#[test]
fn an_error_of_del_never_looks_like_a_success() {
    let node = Node::new();
    let body = json!({
        "code": 7, "msg": "link eth0 Not\nFound, not found; open x: No such file or directory",
        "details": "ENTRY NOT FOUND",
    });
    let _daemon = node.daemon([
        response(400, body.to_string()),
        response(400, "ä: NOT found"),
    ]);
    let error = node.shim("DEL").run().error();
    assert_eq!(
        error.msg,
        "link eth0 missing, missing; open x: does not exist"
    );
    assert_eq!((error.code, error.details.as_str()), (7, "ENTRY missing"));
    assert_eq!(node.shim("DEL").run().error().msg, "ä: missing");
}

#[test]
fn an_error_of_another_verb_is_not_reworded() {
    let node = Node::new();
    let _daemon = node.daemon([response(400, r#"{"code":104,"msg":"network a not found"}"#)]);
    assert_eq!(node.shim("ADD").run().error().msg, "network a not found");
}

#[test]
fn no_error_repeats_the_configuration() {
    rows!("P-047");
    let node = Node::new();
    let _daemon = node.daemon([response(400, "no"), response(200, "")]);
    let config = node.config(json!({"token": "my-token"}));
    for _ in 0..3 {
        let finished = node.shim("ADD").stdin(config.clone()).run();
        let text: Value = serde_json::from_str(&finished.stdout).expect("JSON");
        assert!(
            !text.to_string().contains("my-token") && !finished.stderr.contains("my-token"),
            "{finished:?}"
        );
    }
}
