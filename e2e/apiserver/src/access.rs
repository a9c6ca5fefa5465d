//! Who may do what: bearer tokens, and rules as RBAC has them.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use serde::Deserialize;

use super::object;
use super::path::Path;
use super::refusal::Refusal;

/// A rule of a `ClusterRole`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// `apiGroups`, `""` for the core.
    #[serde(default)]
    pub api_groups: Vec<String>,
    /// `resources`, with subresources as `pods/status`.
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

/// Tokens and rules.
#[derive(Debug, Default)]
pub struct Access {
    tokens: BTreeMap<String, String>,
    /// A user without an entry may do everything.
    rules: BTreeMap<String, Vec<Rule>>,
}

impl Access {
    /// A new token of this user. Older ones stay valid.
    pub fn issue(&mut self, user: &str) -> String {
        let token = format!("token-{}", object::new_uid());
        self.tokens.insert(token.clone(), user.into());
        token
    }

    /// A token of this user.
    pub fn token(&mut self, user: &str) -> String {
        let known = self
            .tokens
            .iter()
            .find(|(_, owner)| *owner == user)
            .map(|(token, _)| token.clone());
        known.unwrap_or_else(|| self.issue(user))
    }

    /// Ends a token.
    pub fn revoke(&mut self, token: &str) {
        self.tokens.remove(token);
    }

    /// From now on this user may do what these rules allow, and nothing else.
    pub fn restrict(&mut self, user: &str, rules: Vec<Rule>) {
        self.rules.insert(user.into(), rules);
    }

    /// The user of a request.
    ///
    /// # Errors
    /// 401 for a token that nobody has.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<String, Refusal> {
        let Some(header) = headers.get(AUTHORIZATION) else {
            return Ok(ANONYMOUS.into());
        };
        let token = header
            .to_str()
            .ok()
            .and_then(|header| header.strip_prefix("Bearer "));
        token
            .and_then(|token| self.tokens.get(token.trim()))
            .cloned()
            .ok_or_else(Refusal::unauthorized)
    }

    /// Whether a user may do this with a resource. `name` is the object's name, also where a field selector says it.
    pub fn authorize(
        &self,
        user: &str,
        verb: &str,
        path: &Path,
        name: &str,
    ) -> Result<(), Refusal> {
        let resource = path.resource_and_subresource();
        let allowed = |rule: &Rule| {
            has(&rule.api_groups, &path.group)
                && has(&rule.resources, &resource)
                && has(&rule.verbs, verb)
                && (rule.resource_names.is_empty()
                    || rule.resource_names.iter().any(|one| one == name))
        };
        if self.allows(user, allowed) {
            return Ok(());
        }
        let scope = match path.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let why = format!(
            "User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{}\" {scope}",
            path.group
        );
        Err(Refusal::forbidden(
            &path.group,
            &path.resource,
            &path.name,
            &why,
        ))
    }

    /// Whether a user may see a path that is no resource. Everybody may see the health and the version, and whoever has
    /// a token the discovery.
    pub fn authorize_path(&self, user: &str, verb: &str, path: &str) -> Result<(), Refusal> {
        let public = matches!(
            path,
            "/healthz" | "/livez" | "/readyz" | "/version" | "/version/"
        );
        let discovery = ["/api", "/apis", "/openapi"]
            .iter()
            .any(|start| path.starts_with(start));
        let allowed = |rule: &Rule| has(&rule.non_resource_urls, path) && has(&rule.verbs, verb);
        if public || (discovery && user != ANONYMOUS) || self.allows(user, allowed) {
            return Ok(());
        }
        Err(Refusal::forbidden(
            "",
            "",
            "",
            &format!("User \"{user}\" cannot {verb} path \"{path}\""),
        ))
    }

    fn allows(&self, user: &str, allowed: impl Fn(&Rule) -> bool) -> bool {
        match self.rules.get(user) {
            Some(rules) => rules.iter().any(allowed),
            None => user != ANONYMOUS,
        }
    }
}

fn has(list: &[String], item: &str) -> bool {
    list.iter().any(|one| one == "*" || one == item)
}
