//! Users: their tokens, permissions and kubeconfigs.

use std::fs;
use std::path::{Path, PathBuf};

use super::ApiServer;
use crate::access::PolicyRule;
use crate::kubeconfig::Kubeconfig;

impl ApiServer {
    /// A token of the user. Returns the same token until it is revoked. A user who is not
    /// [restricted](Self::restrict) may do everything.
    pub fn token(&self, user: &str) -> String {
        self.state.access().token(user)
    }

    /// Issues another token of the user. Earlier ones stay valid until they are
    /// [revoked](Self::revoke_token).
    pub fn issue_token(&self, user: &str) -> String {
        self.state.access().issue_token(user)
    }

    /// Revokes a token.
    pub fn revoke_token(&self, token: &str) {
        self.state.access().revoke_token(token);
    }

    /// Restricts the user to these rules.
    pub fn restrict(&self, user: &str, rules: Vec<PolicyRule>) {
        self.state.access().restrict(user, rules);
    }

    /// The address and the credentials for a client of the user.
    pub fn credentials(&self, user: &str) -> Kubeconfig {
        Kubeconfig {
            server: self.url(),
            server_name: None,
            ca: self.ca_pem().into(),
            token: Some(self.token(user)),
            identity: None,
        }
    }

    /// Writes a kubeconfig for the user into `dir`.
    pub fn kubeconfig(&self, dir: &Path, user: &str) -> PathBuf {
        self.credentials(user).write(dir)
    }

    /// Writes the files that a pod finds in `/var/run/secrets/kubernetes.io/serviceaccount` into
    /// `dir`, which is created if necessary. Another call rotates the token.
    pub fn service_account_dir(&self, dir: &Path, user: &str, namespace: &str) {
        fs::create_dir_all(dir).expect("the directory must be writable");
        for (file, text) in [
            ("ca.crt", self.ca_pem()),
            ("namespace", namespace),
            ("token", &self.token(user)),
        ] {
            // Renamed, so that readers never see a partial file.
            let temporary = dir.join(format!(".{file}.new"));
            fs::write(&temporary, text)
                .and_then(|()| fs::rename(&temporary, dir.join(file)))
                .expect("the directory must be writable");
        }
    }

    /// The environment variables by which a pod finds the server.
    pub fn service_env(&self) -> [(&'static str, String); 2] {
        let address = self.address();
        [
            ("KUBERNETES_SERVICE_HOST", address.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT", address.port().to_string()),
        ]
    }
}
