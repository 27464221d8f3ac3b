//! Who may do what: sources with their mount's password, the operator with the cluster's. Checked, and counted.

use super::server::Shared;
use crate::cluster::MountRecord;
use crate::http::admin::ADMIN_USER;
use crate::http::auth::Credentials;
use crate::http::{FrontError, RequestHead};

impl Shared {
    /// Whether the head carries the mount's source credentials.
    pub(super) async fn authorize(
        &self,
        head: &RequestHead,
        record: &MountRecord,
    ) -> Result<(), FrontError> {
        judged(self.verifier.allows(head, record).await, FrontError::Unauthorized)
    }

    /// Whether these are the mount's source credentials.
    pub(super) async fn knows(
        &self,
        given: Credentials,
        record: &MountRecord,
    ) -> Result<(), FrontError> {
        judged(self.verifier.knows(given, record).await, FrontError::Unauthorized)
    }

    /// Whether the head carries the credentials of the cluster's admin pages.
    pub(super) async fn authorize_admin(&self, head: &RequestHead) -> Result<(), FrontError> {
        let known = self.placement().admin.clone();
        let (Some(given), Some(record)) = (Credentials::of(head), known) else {
            return Err(FrontError::AdminUnauthorized);
        };
        let allowed = self.admin_verifier.knows_admin(given, &record).await;
        judged(allowed, FrontError::AdminUnauthorized)
    }

    /// Whether the head carries credentials that may set the mount's title: its source's, or the admin's.
    pub(super) async fn authorize_title(
        &self,
        head: &RequestHead,
        record: &MountRecord,
    ) -> Result<(), FrontError> {
        let admin = Credentials::of(head).is_some_and(|given| given.user == ADMIN_USER);
        if !admin {
            return self.authorize(head, record).await;
        }
        let allowed = self.authorize_admin(head).await;
        // A mount's source may have the same name.
        if allowed.is_err() && record.source_username == ADMIN_USER {
            return self.authorize(head, record).await;
        }
        allowed
    }
}

/// Counts how a login went; `denied` when it was not granted.
fn judged(allowed: Result<bool, FrontError>, denied: FrontError) -> Result<(), FrontError> {
    let verdict = match allowed {
        Ok(true) => "granted",
        Ok(false) => "denied",
        Err(_) => "busy",
    };
    metrics::counter!("autoradio_http_logins_total", "verdict" => verdict).increment(1);
    allowed?.then_some(()).ok_or(denied)
}
