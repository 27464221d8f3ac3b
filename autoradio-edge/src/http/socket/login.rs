//! Logins of sources: checked, and counted.

use super::server::Shared;
use crate::cluster::MountRecord;
use crate::http::auth::Credentials;
use crate::http::{FrontError, RequestHead};

impl Shared {
    /// Whether the head carries the mount's source credentials.
    pub(super) async fn authorize(
        &self,
        head: &RequestHead,
        record: &MountRecord,
    ) -> Result<(), FrontError> {
        judged(self.verifier.allows(head, record).await)
    }

    /// Whether these are the mount's source credentials.
    pub(super) async fn knows(
        &self,
        given: Credentials,
        record: &MountRecord,
    ) -> Result<(), FrontError> {
        judged(self.verifier.knows(given, record).await)
    }
}

fn judged(allowed: Result<bool, FrontError>) -> Result<(), FrontError> {
    let verdict = match allowed {
        Ok(true) => "granted",
        Ok(false) => "denied",
        Err(_) => "busy",
    };
    metrics::counter!("autoradio_http_logins_total", "verdict" => verdict).increment(1);
    allowed?.then_some(()).ok_or(FrontError::Unauthorized)
}
