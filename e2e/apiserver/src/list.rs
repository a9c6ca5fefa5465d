//! Lists: snapshots at a resource version, in pages.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::negotiate::View;
use super::path::Query;
use super::refusal::{Cause, Refusal};
use super::selector::{Selector, in_namespace};
use super::store::Store;
use super::target::Target;

const CONTINUE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can \
start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder \
of the results. Continuing with the provided token results in an inconsistent list - objects that were created, \
modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// Where a page begins. A continue token is this in base64.
struct Place {
    /// `None` continues with what is there now.
    revision: Option<u64>,
    /// The last key of the page before.
    after: String,
}

/// The objects of a target that a selector selects, in a page or all, in the form of `view`.
pub fn list(
    store: &Store,
    target: &Target,
    selector: &Selector,
    query: &Query,
    view: &View,
) -> Result<Value, Refusal> {
    validate(query)?;
    let given = query.text("resourceVersion");
    let asked = revision(given)?;
    let (limit, continued) = (
        query.number("limit").unwrap_or_default(),
        query.text("continue"),
    );
    let exact = query.text("resourceVersionMatch") == "Exact"
        || (limit > 0 && asked > 0 && query.text("resourceVersionMatch").is_empty());
    // A list that may be old comes from the cache of the API server, which does not cut it into pages.
    let limit = if given == "0" {
        0
    } else {
        usize::try_from(limit).unwrap_or(usize::MAX)
    };
    let current = store.revision();
    if asked > current {
        return Err(Refusal::too_large_resource_version(asked, current));
    }
    let place = if continued.is_empty() {
        Place {
            revision: exact.then_some(asked),
            after: String::new(),
        }
    } else if !given.is_empty() && given != "0" {
        return Err(Refusal::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    } else {
        Place::parse(continued).ok_or_else(|| Refusal::bad_request("continue key is not valid"))?
    };
    let at = place.revision.unwrap_or(current);
    if at < store.oldest() {
        return Err(match continued {
            "" => Refusal::expired("The resourceVersion for the provided list is too old."),
            _ => Refusal::expired(CONTINUE_EXPIRED).with_continue(
                &Place {
                    revision: None,
                    after: place.after,
                }
                .token(),
            ),
        });
    }
    let namespace = (!target.namespace.is_empty()).then_some(target.namespace.as_str());
    let table = if at == current {
        store.table(&target.storage())
    } else {
        store.table_at(&target.storage(), at)
    };
    let selected =
        |object: &Arc<Value>| in_namespace(object, namespace) && selector.matches(object);
    let mut rest = table
        .iter()
        .filter(|(key, object)| **key > place.after && selected(object))
        .peekable();
    let (mut items, mut last) = (Vec::new(), "");
    while let Some((key, object)) = rest.next_if(|_| limit == 0 || items.len() < limit) {
        items.push(view.show_item(target, object));
        last = key;
    }
    let mut metadata = json!({"resourceVersion": at.to_string()});
    let left = rest.count();
    if left > 0 {
        metadata["continue"] = Place {
            revision: Some(at),
            after: last.into(),
        }
        .token()
        .into();
        if selector.is_empty() {
            metadata["remainingItemCount"] = left.into();
        }
    }
    Ok(view.show_list(target, &metadata, items))
}

/// A resource version of a query, 0 where there is none.
pub fn revision(text: &str) -> Result<u64, Refusal> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|error| {
        Refusal::bad_request(&format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: {error}"
        ))
    })
}

/// Refuses parameters that do not go together.
fn validate(query: &Query) -> Result<(), Refusal> {
    let wanted = query.text("resourceVersionMatch");
    let mut causes = Vec::new();
    let field = "resourceVersionMatch";
    if !wanted.is_empty() {
        if query.text("resourceVersion").is_empty() {
            causes.push(Cause::forbidden(
                field,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !query.text("continue").is_empty() {
            causes.push(Cause::forbidden(
                field,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if !matches!(wanted, "Exact" | "NotOlderThan") {
            causes.push(Cause::not_supported(
                field,
                wanted,
                "\"Exact\", \"NotOlderThan\", \"\"",
            ));
        }
        if wanted == "Exact" && query.text("resourceVersion") == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            causes.push(Cause::forbidden(field, why));
        }
    }
    if query.flag("sendInitialEvents").is_some() {
        causes.push(Cause::forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        ));
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid("meta.k8s.io", "ListOptions", "", &causes))
    }
}

impl Place {
    fn parse(token: &str) -> Option<Self> {
        let token: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        if token["v"] != "meta.k8s.io/v1" {
            return None;
        }
        let revision = token["rv"].as_i64()?;
        Some(Self {
            revision: u64::try_from(revision).ok(),
            after: token["start"].as_str()?.trim_end_matches('\0').into(),
        })
    }

    fn token(&self) -> String {
        let revision = self.revision.map_or(json!(-1), Into::into);
        let start = format!("{}\0", self.after);
        URL_SAFE_NO_PAD
            .encode(json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start}).to_string())
    }
}
