use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;

/// The JSON lines of a log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The result of a call with this verb, and what it logs.
async fn logged<T>(
    verb: &str,
    work: impl Future<Output = Result<T, CniError>>,
) -> (Result<T, CniError>, Vec<Value>) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    let env = [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "abc"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"),
    ];
    let env = env
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let guard = tracing::subscriber::set_default(subscriber);
    let call = CallSpan::new(&env);
    let outcome = call.observe(&Metrics::new(false), work).await;
    drop(guard);
    let text = String::from_utf8(lines.0.lock().expect("not poisoned").clone()).expect("UTF-8");
    (
        outcome,
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect(),
    )
}

#[tokio::test]
async fn every_line_of_a_call_has_the_fields_of_the_span() {
    let (_, lines) = logged("ADD", async {
        tracing::debug!("in between");
        CallSpan::record_networks("eth0=pods");
        Ok(())
    })
    .await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &lines {
        let span = &line["span"];
        let fields = ["name", "verb", "pod", "container_id", "ifname"]
            .map(|key| span[key].as_str().unwrap_or_default());
        assert_eq!(
            fields,
            ["cni", "ADD", "default/web", "abc", "eth0"],
            "{line}"
        );
    }
    assert_eq!(
        (lines[1]["level"].as_str(), lines[1]["message"].as_str()),
        (Some("INFO"), Some("done"))
    );
    assert_eq!(lines[1]["span"]["networks"], "eth0=pods");
    assert!(lines[1]["duration_ms"].is_number(), "{}", lines[1]);
}

#[tokio::test]
async fn a_failed_call_is_logged_once() {
    for (verb, level) in [("ADD", "ERROR"), ("DEL", "ERROR"), ("STATUS", "WARN")] {
        let error =
            CniError::new(Code::TryAgain, "ADD pod default/web: failed").with_details("cause");
        let (_, lines) = logged::<()>(verb, async { Err(error) }).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        assert_eq!(
            (line["level"].as_str(), line["code"].as_u64()),
            (Some(level), Some(11)),
            "{line}"
        );
        assert_eq!(
            (&line["message"], &line["details"]),
            (&"ADD pod default/web: failed".into(), &"cause".into())
        );
        let error = CniError::new(Code::TryAgain, "failed");
        let (_, lines) = logged::<()>(verb, async { Err(error) }).await;
        assert_eq!(lines[0].get("details"), None, "no empty details");
    }
}

#[tokio::test]
async fn a_successful_status_is_logged_at_debug_only() {
    let (_, lines) = logged("STATUS", async { Ok(()) }).await;
    assert_eq!(
        lines.iter().map(|line| &line["level"]).collect::<Vec<_>>(),
        ["DEBUG"]
    );
}

#[tokio::test]
async fn a_panic_becomes_an_error() {
    let work = async { if true { panic!("in a test") } else { Ok(()) } };
    let (outcome, lines) = logged("DEL", work).await;
    assert_eq!(outcome.expect_err("an error").code, Code::Internal as u32);
    assert_eq!(lines[0]["code"], 100);
}
