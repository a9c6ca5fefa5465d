//! Output that is not a result.

use plexus_api::json::{MAX_DEPTH, MAX_RESULT, MAX_RESULT_VALUES};
use plexus_api::rows;

use crate::{error, parse, refused};

#[test]
fn invalid_results_are_refused() {
    for text in [
        "{",
        "[]",
        "5",
        "\"x\"",
        "garbage",
        "{} {}",
        r#"{"ips":{}}"#,
        r#"{"ips":[null]}"#,
        r#"{"ips":[5]}"#,
        r#"{"ips":[["10.0.0.1/24",null,9]]}"#,
        r#"{"interfaces":[null]}"#,
        r#"{"interfaces":[{"name":5}]}"#,
        r#"{"interfaces":[{"name":"a","mtu":-1}]}"#,
        r#"{"ips":[{"address":"10.0.0.1/24","gateway":"10.0.0.1/24"}]}"#,
        r#"{"ips":[{"address":"10.0.0.1/24","gateway":"x"}]}"#,
        r#"{"ips":[{"address":"10.0.0.1/24","interface":"0"}]}"#,
        r#"{"ips":[{"address":"10.0.0.1/24","interface":0.5}]}"#,
        r#"{"routes":[{"dst":"0.0.0.0/0","table":"main"}]}"#,
        r#"{"dns":{"nameservers":"10.0.0.1"}}"#,
        r#"{"cniVersion":"0.2.0","ip4":[]}"#,
    ] {
        refused(text);
    }
    assert_eq!(error(b"{\"x\":\xff}").code, 6);
}

#[test]
fn duplicate_keys_and_excessive_output_are_refused() {
    rows!("T-012");
    refused(r#"{"ips":[],"ips":[]}"#);
    refused(r#"{"ips":[],"IPs":[]}"#);
    refused("{\"ips\":[],\"ip\u{17f}\":[]}");
    refused(r#"{"interfaces":[{"name":"a"}],"Interfaces":[]}"#);
    refused(r#"{"ips":[{"address":"10.0.0.1/24","interface":0,"Interface":7}]}"#);
    refused(r#"{"ips":[{"address":"10.0.0.1/24","address":"10.0.0.2/24"}]}"#);
    let deep = |levels: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    parse(&deep(MAX_DEPTH - 1));
    for levels in [MAX_DEPTH, 10_000] {
        let error = error(deep(levels).as_bytes());
        assert_eq!(error.code, 6);
        assert!(error.msg.contains("nested"), "{error}");
    }
    let many = |values: usize| format!(r#"{{"x":[0{}]}}"#, ",0".repeat(values - 2));
    parse(&many(MAX_RESULT_VALUES));
    let too_many = error(many(MAX_RESULT_VALUES + 1).as_bytes());
    assert_eq!(too_many.code, 6);
    assert!(too_many.msg.contains("values"), "{too_many}");
    let long = |len: usize| format!(r#"{{"x":"{}"}}"#, "a".repeat(len - 8));
    parse(&long(MAX_RESULT));
    let error = error(long(MAX_RESULT + 1).as_bytes());
    assert_eq!(error.code, 6);
    assert!(error.msg.contains("bytes"), "{error}");
}
