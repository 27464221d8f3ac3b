//! The admin port's socket, and the one in the state directory that only this host's operator can open.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use autoradio_common::limits::HTTP_STOP_MS_MAX;
use axum::Router;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{ApiError, LOCAL_SOCKET, SOCKET_PATH_BYTES_MAX, Sources, local_router, router};

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
        if path.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
            return Err(ApiError::LocalTooLong { path });
        }
        let listener =
            listen(&path).map_err(|source| ApiError::BindLocal { path: path.clone(), source })?;
        Ok(Self { listener, path })
    }

    /// Serves until `cancel` fires.
    pub async fn run(self, sources: impl Into<Arc<Sources>>, cancel: CancellationToken) {
        let router = local_router(sources.into(), cancel.clone());
        self.serve(router, cancel).await;
    }

    async fn serve(self, router: Router, cancel: CancellationToken) {
        let served = axum::serve(self.listener, router);
        let served = served.with_graceful_shutdown(cancel.clone().cancelled_owned());
        let late = async {
            cancel.cancelled().await;
            tokio::time::sleep(Duration::from_millis(HTTP_STOP_MS_MAX)).await;
        };
        tokio::select! {
            served = served.into_future() => if let Err(error) = served {
                warn!(%error, "the socket for radioctl has closed");
            },
            // Who neither asks nor reads may not hold up the node.
            () = late => {}
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

#[cfg(test)]
mod tests {
    use super::super::dns::lines;
    use super::*;
    use axum::routing::get;
    use futures_util::stream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Serves a trace that sees nothing; the folder, what stops it, and what ends when it has stopped.
    fn serving() -> (tempfile::TempDir, CancellationToken, tokio::task::JoinHandle<()>) {
        let dir = tempfile::tempdir().expect("a folder");
        let (server, stop) =
            (LocalServer::bind(dir.path()).expect("bound"), CancellationToken::new());
        let stopped = stop.clone();
        let trace = get(async move || lines(stream::pending(), stopped));
        let task = tokio::spawn(server.serve(Router::new().route("/", trace), stop.clone()));
        (dir, stop, task)
    }

    #[tokio::test]
    async fn a_running_trace_ends_when_the_node_stops() {
        let (dir, stop, served) = serving();
        let socket = dir.path().join(LOCAL_SOCKET);
        let mut client = UnixStream::connect(&socket).await.expect("connected");
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("asked");
        let mut head = [0; 12];
        timeout(PATIENCE, client.read_exact(&mut head)).await.expect("in time").expect("a head");
        assert_eq!(&head, b"HTTP/1.1 200");
        stop.cancel();
        let soon = Duration::from_millis(HTTP_STOP_MS_MAX / 2);
        timeout(soon, served).await.expect("nothing is waited for").expect("served");
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.expect("the end");
        assert!(rest.ends_with("\r\n\r\n0\r\n\r\n"), "an end, not a break: {rest}");
        assert!(!socket.exists());
    }

    #[tokio::test]
    async fn who_asks_half_a_question_does_not_hold_up_the_stop() {
        let (dir, stop, served) = serving();
        let socket = dir.path().join(LOCAL_SOCKET);
        let mut client = UnixStream::connect(&socket).await.expect("connected");
        client.write_all(b"GET / HTTP/1.1\r\nhost:").await.expect("asked");
        stop.cancel();
        timeout(PATIENCE, served).await.expect("in time").expect("served");
        assert!(!socket.exists());
    }

    #[tokio::test]
    async fn a_socket_has_the_longest_path_that_there_can_be_and_no_longer() {
        let dir = tempfile::tempdir().expect("a folder");
        let used = dir.path().as_os_str().len() + "/".len() + "/".len() + LOCAL_SOCKET.len();
        let name = "x".repeat(SOCKET_PATH_BYTES_MAX - used);
        for (state_dir, fits) in
            [(dir.path().join(&name), true), (dir.path().join(name + "x"), false)]
        {
            fs::create_dir(&state_dir).expect("a folder");
            match LocalServer::bind(&state_dir) {
                Ok(server) => assert!(fits && server.path.exists()),
                Err(error) => assert!(!fits && error.to_string().contains("107 bytes"), "{error}"),
            }
        }
    }
}
