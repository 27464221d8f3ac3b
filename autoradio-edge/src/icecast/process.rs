//! Writes Icecast's configuration, runs Icecast, and has it read again what changed.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{IcecastSettings, render};
use crate::cluster::IcecastSecrets;
use crate::placement::Placement;
use crate::supervise::{self, Child, ChildSpec, ChildState, SuperviseError, prepare_dir, user_of};

/// Least time between two reloads.
const RELOAD_PACE: Duration = Duration::from_secs(1);
/// Pause between two looks whether Icecast has opened its port.
const PROBE_PAUSE: Duration = Duration::from_millis(20);
/// Debian's user for Icecast, which refuses to run as root.
const ICECAST_USER: &str = "icecast2";

/// Why Icecast cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum IcecastError {
    /// Another process has Icecast's port.
    #[error(
        "Icecast cannot start: port {port} is taken ({reason}); stop what holds it (a packaged icecast2 service?) or choose another with --icecast-port"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// What the system said.
        reason: String,
    },
    /// The configuration cannot be written.
    #[error(
        "{path}: Icecast's configuration cannot be written: {source}; check owner and free space"
    )]
    Config {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It does not say who listens, or what plays.
    #[error(
        "the Icecast at {address} does not tell its listeners and sources: {source}; see its log"
    )]
    Stats {
        /// Where it should be.
        address: SocketAddr,
        /// What the system said, or what is wrong with its answer.
        source: io::Error,
    },
    /// The process cannot be run.
    #[error(transparent)]
    Child(#[from] SuperviseError),
}

/// A running Icecast.
#[derive(Clone, Debug)]
pub struct Icecast {
    /// What its process is doing.
    pub state: watch::Receiver<ChildState>,
    /// Whether it has taken a connection since it started.
    pub answers: watch::Receiver<bool>,
}

/// Starts Icecast with the placement of this moment and follows every later one until cancelled.
///
/// The task ends when Icecast has ended; await it after cancelling.
pub async fn start(
    settings: IcecastSettings,
    secrets: IcecastSecrets,
    mut placements: watch::Receiver<Arc<Placement>>,
    cancel: CancellationToken,
) -> Result<(Icecast, JoinHandle<()>), IcecastError> {
    let dir = settings.state_dir.join("icecast");
    let spec = spec(&settings, &dir);
    supervise::end_stale(&spec).await?;
    port_is_free(&settings).await?;
    prepare_dir(spec.name, &dir, user_of(spec.run_as).as_ref())?;
    let text = render(&settings, &secrets, &placements.borrow_and_update());
    let file = ConfigFile::new(&dir);
    file.write(&text)?;
    let child = supervise::start(spec).await?;
    let (answering, answers) = watch::channel(false);
    let icecast = Icecast { state: child.state(), answers };
    let address = settings.listen_address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    tokio::spawn(watch_answers(SocketAddr::new(address, settings.port), child.state(), answering));
    let keeper = Keeper { settings, secrets, file, text, child };
    Ok((icecast, tokio::spawn(keeper.run(placements, cancel))))
}

/// Tells whether Icecast answers: after each start it takes a moment to open its port, or never does.
async fn watch_answers(
    address: SocketAddr,
    mut state: watch::Receiver<ChildState>,
    answering: watch::Sender<bool>,
) {
    loop {
        answering.send_replace(false);
        let running = |state: &ChildState| matches!(state, ChildState::Running { .. });
        if state.wait_for(running).await.is_err() {
            return;
        }
        let opened = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(PROBE_PAUSE).await;
            }
            answering.send_replace(true);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = opened => {}
            changed = state.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

fn spec(settings: &IcecastSettings, dir: &Path) -> ChildSpec {
    ChildSpec {
        name: "icecast",
        program: settings.program.clone(),
        args: vec!["-c".into(), dir.join("icecast.xml").into()],
        env: Vec::new(),
        run_as: Some(ICECAST_USER),
        dirs: vec![dir.to_owned()],
        pid_file: settings.state_dir.join("run/icecast.pid"),
        stop_grace: Duration::from_secs(3),
        remedy: "install it (Debian: apt install icecast2)",
    }
}

async fn port_is_free(settings: &IcecastSettings) -> Result<(), IcecastError> {
    let port = settings.port;
    let address = settings.listen_address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    supervise::port_is_free(address, port)
        .await
        .map_err(|error| IcecastError::PortTaken { port, reason: error.to_string() })
}

struct Keeper {
    settings: IcecastSettings,
    secrets: IcecastSecrets,
    file: ConfigFile,
    text: String,
    child: Child,
}

impl Keeper {
    async fn run(
        mut self,
        mut placements: watch::Receiver<Arc<Placement>>,
        cancel: CancellationToken,
    ) {
        let mut state = self.child.state();
        loop {
            // The pause stands first: an Icecast that has just started may not have its signal handler yet.
            tokio::select! {
                () = tokio::time::sleep(RELOAD_PACE) => {}
                () = cancel.cancelled() => break,
            }
            tokio::select! {
                changed = placements.changed() => if changed.is_err() {
                    // Nobody places any more: what is known stays in force until the end.
                    cancel.cancelled().await;
                    break;
                },
                // It was started again: the pause is due again.
                changed = state.changed() => if changed.is_ok() {
                    continue;
                },
                () = cancel.cancelled() => break,
            }
            let placement = placements.borrow_and_update().clone();
            self.follow(&placement);
        }
        self.child.stop().await;
    }

    fn follow(&mut self, placement: &Placement) {
        let text = render(&self.settings, &self.secrets, placement);
        if text == self.text {
            return;
        }
        match self.file.write(&text) {
            Ok(()) => {
                self.text = text;
                self.child.reload();
                info!(mounts = placement.mounts.len(), "Icecast reads its new configuration");
            }
            // Icecast goes on with the old one; the next change tries again.
            Err(error) => warn!(%error, "Icecast keeps its old configuration"),
        }
    }
}

/// `icecast.xml`, replaced as a whole: Icecast never reads half a file.
struct ConfigFile {
    path: PathBuf,
}

impl ConfigFile {
    fn new(dir: &Path) -> Self {
        Self { path: dir.join("icecast.xml") }
    }

    fn write(&self, text: &str) -> Result<(), IcecastError> {
        self.replace(text).map_err(|source| IcecastError::Config {
            path: self.path.display().to_string(),
            source,
        })
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let fresh = self.path.with_extension("xml.new");
        // A leftover could have another owner or mode.
        let _ = fs::remove_file(&fresh);
        // The file holds passwords: for Icecast's group at most.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        if let Some(user) = user_of(Some(ICECAST_USER)) {
            // By descriptor: the folder is Icecast's, who could put a link in the file's place.
            fchown(&file, None, Some(user.gid.as_raw()))?;
        }
        fs::rename(&fresh, &self.path)
    }
}
