//! Request paths of resources and objects.

use axum::http::Method;

use crate::query::Query;

/// The path of a resource, of an object, or of a subresource of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourcePath {
    /// The API group; empty for the core group.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The resource in the plural, such as `pods`.
    pub resource: String,
    /// The subresource, such as `status`; empty if there is none.
    pub subresource: String,
    /// The namespace; empty for all namespaces and for resources without one.
    pub namespace: String,
    /// The object's name; empty for a collection.
    pub name: String,
}

impl ResourcePath {
    /// Parses `/api/VERSION/…` and `/apis/GROUP/VERSION/…`. Returns `None` for any other path, and
    /// for one without a resource.
    pub fn parse(path: &str) -> Option<Self> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let group = match segments.next()? {
            "api" => "",
            "apis" => segments.next()?,
            _ => return None,
        };
        let version = segments.next()?;
        let segments: Vec<_> = segments.collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        // A namespace is an object too, with its own subresources.
        let (namespace, segments) = match segments.as_slice() {
            ["namespaces"] | ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => {
                ("", segments.as_slice())
            }
            ["namespaces", namespace, segments @ ..] => (*namespace, segments),
            segments => ("", segments),
        };
        let (resource, name, subresource) = match segments {
            [resource] => (*resource, "", ""),
            [resource, name] => (*resource, *name, ""),
            [resource, name, subresource] => (*resource, *name, *subresource),
            _ => return None,
        };
        Some(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The resource as RBAC rules name it: `pods` or `pods/status`.
    pub fn resource_and_subresource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// The verb of a request for this path, as in RBAC rules. Empty if there is none for the
    /// method.
    pub fn verb(&self, method: &Method, query: &Query) -> &'static str {
        let collection = self.name.is_empty();
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
}
