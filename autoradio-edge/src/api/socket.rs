//! The admin port's socket, and the one in the state directory that only this host's operator can open.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{ApiError, LOCAL_SOCKET, Sources, local_router, router};

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
    pub async fn run(self, sources: impl Into<Arc<Sources>>, cancel: CancellationToken) {
        let served = axum::serve(self.listener, router(sources.into()));
        let served = served.with_graceful_shutdown(cancel.cancelled_owned());
        if let Err(error) = served.await {
            warn!(%error, "the admin port has closed");
        }
    }
}

/// Connections that wait to be taken.
const BACKLOG: i32 = 16;

/// The bound socket of this host's operator, not yet served.
pub struct LocalServer {
    listener: UnixListener,
    path: PathBuf,
}

impl LocalServer {
    /// Binds the socket in the state directory, in place of one that a killed daemon left.
    pub fn bind(state_dir: &Path) -> Result<Self, ApiError> {
        let path = state_dir.join(LOCAL_SOCKET);
        let listener =
            listen(&path).map_err(|source| ApiError::BindLocal { path: path.clone(), source })?;
        Ok(Self { listener, path })
    }

    /// Serves until `cancel` fires.
    pub async fn run(self, sources: impl Into<Arc<Sources>>, cancel: CancellationToken) {
        let served = axum::serve(self.listener, local_router(sources.into()));
        let served = served.with_graceful_shutdown(cancel.cancelled_owned());
        if let Err(error) = served.await {
            warn!(%error, "the socket for radioctl has closed");
        }
        // Gone already is as good as gone now.
        let _ = fs::remove_file(&self.path);
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Before anybody can connect: it tells who asks for what.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}
