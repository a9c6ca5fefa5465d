//! Authentication by bearer token, and authorization by RBAC rules.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use serde::Deserialize;

use crate::object;
use crate::path::ResourcePath;
use crate::status_error::StatusError;

/// A rule of a `ClusterRole`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyRule {
    /// `apiGroups`; `""` is the core group.
    #[serde(default)]
    pub api_groups: Vec<String>,
    /// `resources`, with subresources as in `pods/status`.
    #[serde(default)]
    pub resources: Vec<String>,
    /// `verbs`.
    pub verbs: Vec<String>,
    /// `resourceNames`; empty for all.
    #[serde(default)]
    pub resource_names: Vec<String>,
    /// `nonResourceURLs`.
    #[serde(default, rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
}

/// The user of a request without a token.
const ANONYMOUS: &str = "system:anonymous";

/// The tokens and the rules of all users.
#[derive(Debug, Default)]
pub struct AccessControl {
    /// The user of each token.
    tokens: BTreeMap<String, String>,
    /// The rules of each restricted user. A user without an entry may do everything.
    rules: BTreeMap<String, Vec<PolicyRule>>,
}

impl AccessControl {
    /// Issues another token. Earlier tokens of the user stay valid.
    pub fn issue_token(&mut self, user: &str) -> String {
        let token = format!("token-{}", object::new_uid());
        self.tokens.insert(token.clone(), user.into());
        token
    }

    /// A valid token of the user. Issues a token if the user has none.
    pub fn token(&mut self, user: &str) -> String {
        let known = self
            .tokens
            .iter()
            .find(|(_, owner)| *owner == user)
            .map(|(token, _)| token.clone());
        known.unwrap_or_else(|| self.issue_token(user))
    }

    pub fn revoke_token(&mut self, token: &str) {
        self.tokens.remove(token);
    }

    /// Restricts the user to these rules.
    pub fn restrict(&mut self, user: &str, rules: Vec<PolicyRule>) {
        self.rules.insert(user.into(), rules);
    }

    /// The user who sent a request.
    ///
    /// # Errors
    /// 401 if the token is unknown.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<String, StatusError> {
        let Some(header) = headers.get(AUTHORIZATION) else {
            return Ok(ANONYMOUS.into());
        };
        header
            .to_str()
            .ok()
            .and_then(|header| header.strip_prefix("Bearer "))
            .and_then(|token| self.tokens.get(token.trim()))
            .cloned()
            .ok_or_else(StatusError::unauthorized)
    }

    /// Checks a request for a resource. `name` is the object's name, from the path or from a field
    /// selector.
    ///
    /// # Errors
    /// 403 if no rule allows the request.
    pub fn authorize(
        &self,
        user: &str,
        verb: &str,
        path: &ResourcePath,
        name: &str,
    ) -> Result<(), StatusError> {
        let resource = path.resource_and_subresource();
        let allows = |rule: &PolicyRule| {
            contains(&rule.api_groups, &path.group)
                && contains(&rule.resources, &resource)
                && contains(&rule.verbs, verb)
                && (rule.resource_names.is_empty()
                    || rule.resource_names.iter().any(|allowed| allowed == name))
        };
        if self.any_rule(user, allows) {
            return Ok(());
        }
        let scope = match path.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let reason = format!(
            "User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{}\" {scope}",
            path.group
        );
        Err(StatusError::forbidden(
            &path.group,
            &path.resource,
            &path.name,
            &reason,
        ))
    }

    /// Checks a request for a path that is not a resource. Health checks and the version are
    /// public; discovery needs a token; other paths need a rule.
    ///
    /// # Errors
    /// 403 if the user may not read the path.
    pub fn authorize_non_resource(
        &self,
        user: &str,
        verb: &str,
        path: &str,
    ) -> Result<(), StatusError> {
        let public = matches!(
            path,
            "/healthz" | "/livez" | "/readyz" | "/version" | "/version/"
        );
        let discovery = ["/api", "/apis", "/openapi"]
            .iter()
            .any(|prefix| path.starts_with(prefix));
        let allows = |rule: &PolicyRule| {
            contains(&rule.non_resource_urls, path) && contains(&rule.verbs, verb)
        };
        if public || (discovery && user != ANONYMOUS) || self.any_rule(user, allows) {
            return Ok(());
        }
        Err(StatusError::forbidden(
            "",
            "",
            "",
            &format!("User \"{user}\" cannot {verb} path \"{path}\""),
        ))
    }

    fn any_rule(&self, user: &str, allows: impl Fn(&PolicyRule) -> bool) -> bool {
        match self.rules.get(user) {
            Some(rules) => rules.iter().any(allows),
            None => user != ANONYMOUS,
        }
    }
}

/// Whether a list of a rule has `item` or the wildcard.
fn contains(list: &[String], item: &str) -> bool {
    list.iter().any(|entry| entry == "*" || entry == item)
}
