//! The admin port's socket.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{ApiError, Sources, router};

/// A bound admin port, not yet served.
pub struct AdminServer {
    listener: TcpListener,
}

impl AdminServer {
    /// Binds the port.
    pub async fn bind(address: SocketAddr) -> Result<Self, ApiError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| ApiError::Bind { address, source })?;
        if !address.ip().to_canonical().is_loopback() {
            warn!(
                %address,
                "the admin port is open beyond this machine: whoever reaches it can try the passwords of sources; \
                 let no stranger through"
            );
        }
        Ok(Self { listener })
    }

    /// Serves until `cancel` fires.
    pub async fn run(self, sources: Sources, cancel: CancellationToken) {
        let served = axum::serve(self.listener, router(Arc::new(sources)));
        let served = served.with_graceful_shutdown(cancel.cancelled_owned());
        if let Err(error) = served.await {
            warn!(%error, "the admin port has closed");
        }
    }
}
