//! Lists: consistent snapshots at a resource version, in pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::list_options::validate_list;
use crate::query::Query;
use crate::representation::Representation;
use crate::selector::Selector;
use crate::status_error::StatusError;
use crate::store::Store;
use crate::target::Target;

const CONTINUE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can \
start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder \
of the results. Continuing with the provided token results in an inconsistent list - objects that were created, \
modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// The position of a page, sent to the client as base64.
struct ContinueToken {
    /// The resource version of the snapshot; `None` for the current one.
    resource_version: Option<u64>,
    /// The last key of the previous page.
    after: String,
}

/// The selected objects of a target, in one page or in full.
pub fn list(
    store: &Store,
    target: &Target,
    selector: &Selector,
    query: &Query,
    representation: &Representation,
) -> Result<Value, StatusError> {
    validate_list(query)?;
    let start = start_of_page(store, query)?;
    let current = store.resource_version();
    let at = start.resource_version.unwrap_or(current);
    if at < store.oldest() {
        return Err(expired(query, start));
    }
    let table = if at == current {
        store.table(&target.table())
    } else {
        store.table_at(&target.table(), at)
    };
    let mut rest = table
        .iter()
        .filter(|(key, object)| **key > start.after && selector.matches(object))
        .peekable();
    let limit = page_limit(query);
    let (mut items, mut last) = (Vec::new(), "");
    while let Some((key, object)) = rest.next_if(|_| limit == 0 || items.len() < limit) {
        items.push(representation.list_item(target, object));
        last = key;
    }
    let mut metadata = json!({"resourceVersion": at.to_string()});
    let remaining = rest.count();
    if remaining > 0 {
        let next = ContinueToken {
            resource_version: Some(at),
            after: last.into(),
        };
        metadata["continue"] = next.encode().into();
        if !selector.has_requirements() {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    Ok(representation.list(target, &metadata, items))
}

/// The error for a snapshot that the history no longer covers.
fn expired(query: &Query, start: ContinueToken) -> StatusError {
    if query.text("continue").is_empty() {
        return StatusError::expired("The resourceVersion for the provided list is too old.");
    }
    let restart = ContinueToken {
        resource_version: None,
        ..start
    };
    StatusError::expired(CONTINUE_EXPIRED).with_continue(&restart.encode())
}

/// The start of the requested page.
fn start_of_page(store: &Store, query: &Query) -> Result<ContinueToken, StatusError> {
    let requested = query.resource_version()?;
    let current = store.resource_version();
    if requested > current {
        return Err(StatusError::too_large_resource_version(requested, current));
    }
    let token = query.text("continue");
    if token.is_empty() {
        let version_match = query.text("resourceVersionMatch");
        let exact = version_match == "Exact"
            || (version_match.is_empty()
                && requested > 0
                && query.number("limit").unwrap_or_default() > 0);
        return Ok(ContinueToken {
            resource_version: exact.then_some(requested),
            after: String::new(),
        });
    }
    if !matches!(query.text("resourceVersion"), "" | "0") {
        return Err(StatusError::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    ContinueToken::decode(token)
        .ok_or_else(|| StatusError::bad_request("continue key is not valid"))
}

/// The maximum number of items; 0 for no limit.
fn page_limit(query: &Query) -> usize {
    // kube-apiserver answers such a list from its watch cache, which does not page.
    if query.text("resourceVersion") == "0" {
        return 0;
    }
    let limit = query.number("limit").unwrap_or_default();
    usize::try_from(limit).unwrap_or(usize::MAX)
}

impl ContinueToken {
    fn decode(token: &str) -> Option<Self> {
        let token: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        if token["v"] != "meta.k8s.io/v1" {
            return None;
        }
        let resource_version = token["rv"].as_i64()?;
        Some(Self {
            resource_version: u64::try_from(resource_version).ok(),
            after: token["start"].as_str()?.trim_end_matches('\0').into(),
        })
    }

    fn encode(&self) -> String {
        let token = json!({
            "v": "meta.k8s.io/v1",
            "rv": self.resource_version.map_or(json!(-1), Into::into),
            "start": format!("{}\0", self.after),
        });
        URL_SAFE_NO_PAD.encode(token.to_string())
    }
}
