//! What a request asks for, read from its method, path and query.

use std::collections::BTreeMap;

use axum::http::Method;

/// A request for a resource or an object of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path {
    /// The API group, empty for the core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The resource, plural.
    pub resource: String,
    /// `status`, or empty.
    pub subresource: String,
    /// The namespace, empty for all of them and for what has none.
    pub namespace: String,
    /// The object's name, empty for a collection.
    pub name: String,
}

impl Path {
    /// Reads `/api/VERSION/…` and `/apis/GROUP/VERSION/…`; `None` for every other path and for what is no resource.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let group = match parts.next()? {
            "api" => String::new(),
            "apis" => parts.next()?.to_owned(),
            _ => return None,
        };
        let version = parts.next()?.to_owned();
        let rest: Vec<_> = parts.collect();
        if rest.iter().any(|part| part.is_empty()) {
            return None;
        }
        let own = |text: &str| text.to_owned();
        // A namespace is an object too, with subresources of its own.
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", _, "status" | "finalize"] | ["namespaces"] | ["namespaces", _] => {
                ("", rest.as_slice())
            }
            ["namespaces", namespace, rest @ ..] => (*namespace, rest),
            rest => ("", rest),
        };
        let (resource, name, subresource) = match rest {
            [resource] => (resource, "", ""),
            [resource, name] => (resource, *name, ""),
            [resource, name, subresource] => (resource, *name, *subresource),
            _ => return None,
        };
        Some(Self {
            group,
            version,
            resource: own(resource),
            subresource: own(subresource),
            namespace: own(namespace),
            name: own(name),
        })
    }

    /// `pods`, `pods/status`: how rules of RBAC name it.
    pub fn resource_and_subresource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// The query of a request.
#[derive(Debug, Clone, Default)]
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads a query string. Of a parameter that stands twice the first counts.
    pub fn parse(query: Option<&str>) -> Self {
        let mut parameters = BTreeMap::new();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            parameters
                .entry(key.into_owned())
                .or_insert_with(|| value.into_owned());
        }
        Self(parameters)
    }

    /// A parameter, empty where it is not given.
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// A parameter that is a truth value; `None` where it is not given.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.0
            .get(key)
            .map(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
    }

    /// A parameter that is a number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.text(key).parse().ok()
    }
}

/// The verb of a request, as RBAC and the audit name it. `watch` and a single `name` by field selector are told apart
/// by the caller's query.
pub fn verb(method: &Method, path: &Path, query: &Query) -> &'static str {
    let collection = path.name.is_empty();
    match *method {
        Method::GET | Method::HEAD if query.flag("watch") == Some(true) => "watch",
        Method::GET | Method::HEAD if collection => "list",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if collection => "deletecollection",
        Method::DELETE => "delete",
        _ => "",
    }
}
