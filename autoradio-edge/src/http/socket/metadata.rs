//! Titles: a source sets what is playing. Checked here, passed to the master's Icecast, its answer passed back,
//! and what it took kept for the next master.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::binding::Binding;
use super::server::Shared;
use super::title;
use crate::cluster::MountRecord;
use crate::http::auth::Credentials;
use crate::http::route::{MetadataUpdate, record_of};
use crate::http::{FrontError, RequestHead};

/// Serves one update. Who gives no credentials is asked for them before anything else: libshout waits for that.
pub(super) async fn serve(
    shared: &Shared,
    client: &mut TcpStream,
    head: &RequestHead,
    update: &MetadataUpdate,
) -> Result<(), FrontError> {
    if Credentials::of(head).is_none() {
        return Err(FrontError::Unauthorized);
    }
    let mount = match &update.mount {
        None => return Err(FrontError::MountMissing),
        Some(Err(path)) => return Err(FrontError::MountUnknown { path: path.clone() }),
        Some(Ok(mount)) => mount,
    };
    let record = record_of(&shared.placement(), mount)?;
    shared.authorize(head, &record).await?;
    pass_on(shared, client, &record, &update.query).await
}

/// Passes an update on whose sender may make it.
pub(super) async fn pass_on(
    shared: &Shared,
    client: &mut TcpStream,
    record: &MountRecord,
    query: &str,
) -> Result<(), FrontError> {
    let (placement, mount) = (shared.placement(), &record.path);
    let binding = Binding::of(&placement, mount, record)?;
    let address = shared.master_of(&placement, mount)?;
    let answer = title::set(shared, address, query).await?;
    match answer.status {
        200 => shared.settings.titles.keep(mount, binding.master.epoch, query.to_owned()),
        401 => return Err(answer.refusal().await),
        _ => {}
    }
    let whole = answer.whole().await?;
    let written = client.write_all(&whole).await;
    written.map_err(|source| FrontError::Client { source })
}
