//! Titles towards a master's Icecast: set one, and set the last one again where a mount begins anew.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use autoradio_common::limits::HTTP_INSIST_MS_MAX;
use tracing::{debug, info};

use super::binding::Binding;
use super::icecast::{self, Answer};
use super::server::Shared;
use crate::clock;
use crate::http::FrontError;
use crate::http::gate::Purpose;

/// Pause before an Icecast that did not take an old title is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Sets a title: `query` holds the parameters of `/admin/metadata`.
pub(super) async fn set(
    shared: &Shared,
    binding: &Binding,
    address: SocketAddr,
    query: &str,
) -> Result<Answer, FrontError> {
    let authorization = binding.credentials(Purpose::Title, &shared.settings.secrets);
    let request = format!(
        "GET /admin/metadata?{query} HTTP/1.0\r\nHost: {address}\r\n\
         Authorization: {authorization}\r\n\r\n"
    );
    icecast::ask(address, request.as_bytes()).await
}

/// Gives a master whose source has just come the title that was set last in an earlier epoch. Never returns: what
/// comes after it is the source's own business.
pub(super) async fn replay(shared: &Shared, binding: &Binding, address: SocketAddr) -> Infallible {
    let deadline = clock::now() + Duration::from_millis(HTTP_INSIST_MS_MAX);
    let (mount, epoch) = (&binding.mount, binding.master.epoch);
    while clock::now() < deadline {
        let placement = shared.placement();
        let title = placement.mounts.get(mount).and_then(|placed| placed.title.as_ref());
        // The source may have set a newer one meanwhile.
        let Some(title) = title.filter(|title| title.epoch != epoch) else { break };
        match set(shared, binding, address, &title.query).await {
            Ok(Answer { status: 200, .. }) => {
                info!(%mount, epoch, "the last title plays on at the new master");
                shared.settings.titles.keep(mount, epoch, title.query.clone());
                break;
            }
            Ok(Answer { status, .. }) => debug!(%mount, status, "the last title was not taken"),
            Err(error) => debug!(%mount, %error, "the last title was not taken"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    pending().await
}
