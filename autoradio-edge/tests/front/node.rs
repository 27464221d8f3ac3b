//! One node of a test: a front and an admin port in this process, and a real Icecast beside them.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use autoradio_edge::api::{AdminServer, Sources};
use autoradio_edge::cluster::{
    Capacity, IcecastSecrets, NodeName, Standing, StandingReader, TitleWriter,
};
use autoradio_edge::http::{Front, FrontSettings, FrontStats, ListenerGate, SourceGate};
use autoradio_edge::icecast::{IcecastSettings, render};
use autoradio_edge::peer::OwnState;
use autoradio_edge::placement::Placement;
use metrics_exporter_prometheus::PrometheusBuilder;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ports::free_ports;
use crate::rig::{Process, wait_until};

/// How a node's front is set.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) connections_max: usize,
    pub(crate) icecast_proxy: bool,
    /// Whether its Icecast relays what others are master of.
    pub(crate) relays: bool,
    /// A network of proxies that are believed.
    pub(crate) trusted_proxy: Option<&'static str>,
}

impl Default for Kind {
    fn default() -> Self {
        Self { connections_max: 16_384, icecast_proxy: true, relays: false, trusted_proxy: None }
    }
}

/// A front on a free port, what it knows, and its Icecast.
pub(crate) struct Node {
    pub(crate) port: u16,
    pub(crate) shoutcast_port: u16,
    pub(crate) stats: Arc<FrontStats>,
    pub(crate) icecast: Icecast,
    pub(crate) titles: TitleWriter,
    pub(crate) standing: watch::Sender<Standing>,
    pub(crate) close_once: watch::Sender<u64>,
    pub(crate) cancel: CancellationToken,
    pub(crate) front: Option<tokio::task::JoinHandle<()>>,
    placement: watch::Sender<Arc<Placement>>,
}

impl Node {
    /// Starts it without knowledge of any mount. Call it inside a runtime.
    pub(crate) fn start(name: NodeName, kind: Kind, icecast_port: u16) -> Self {
        let [admin_port] = free_ports();
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, admin_port));
        let (front, port) = bind_front();
        let (placement, placements) = watch::channel(Arc::new(Placement::default()));
        let (standing, stands) = watch::channel(Standing::Sure);
        let (close_once, closes) = watch::channel(0);
        let stands = StandingReader::new(stands).with_close_once(closes);
        let gate = SourceGate::new(name.clone(), secrets(), placements.clone(), stands.clone());
        let gate = Arc::new(gate);
        let (server, relay) = (("radio.test".to_owned(), 80), secrets().relay_password);
        let listener_gate = Arc::new(ListenerGate::new(server, relay, placements.clone()));
        let icecast = Icecast::start(&name, admin, icecast_port, kind.relays);
        let titles = TitleWriter::default();
        let settings = FrontSettings {
            domain: "radio.test".to_owned(),
            node: name,
            ports: vec![port],
            secrets: secrets(),
            connections_max: kind.connections_max,
            connections_per_address: 0,
            standing: stands,
            own_state: OwnState::new(|| unreachable!("no test asks for it")),
            icecast_proxy: kind.icecast_proxy,
            capacity_whole: Capacity { listeners: 1_250, ..Capacity::default() },
            ledger: Arc::default(),
            icecast: (Ipv4Addr::LOCALHOST, icecast_port).into(),
            gate: gate.clone(),
            titles: titles.clone(),
            ended: None,
            listener_gate: listener_gate.clone(),
            trusted_proxies: (kind.trusted_proxy.into_iter())
                .map(|network| network.parse().expect("a network"))
                .collect(),
        };
        let (stats, cancel) = (Arc::new(FrontStats::default()), CancellationToken::new());
        let sources = Sources {
            status: Box::new(|| unreachable!("no test asks for it")),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            gate,
            listener_gate,
            look: None,
        };
        let stopped = cancel.clone();
        tokio::spawn(async move {
            let server = AdminServer::bind(admin).await.expect("a free port");
            server.run(sources, stopped).await;
        });
        let running = front.run(settings, placements, stats.clone(), cancel.clone());
        let front = Some(tokio::spawn(running));
        let shoutcast_port = port + 1;
        Self {
            port,
            shoutcast_port,
            stats,
            icecast,
            titles,
            standing,
            close_once,
            cancel,
            front,
            placement,
        }
    }

    /// Puts a placement in force, in Icecast too.
    pub(crate) fn place(&mut self, placement: &Arc<Placement>) {
        self.placement.send_replace(placement.clone());
        self.icecast.place(placement);
    }
}

/// A front on two ports in a row: clients that speak `SHOUTcast` add 1 to the port they are told.
fn bind_front() -> (Front, u16) {
    let tries = std::iter::repeat_with(|| {
        let front = Front::bind(&[0]).expect("a free port");
        let port = front.local_ports()[0];
        front.with_shoutcast(port.checked_add(1)?).ok().map(|front| (front, port))
    });
    tries.take(100).flatten().next().expect("two free ports in a row")
}

impl Drop for Node {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

pub(crate) fn secrets() -> IcecastSecrets {
    IcecastSecrets {
        source_password: "inner-source".to_owned(),
        relay_password: "inner-relay".to_owned(),
        admin_password: "inner-admin".to_owned(),
    }
}

/// A real Icecast on loopback, with our configuration.
pub(crate) struct Icecast {
    pub(crate) port: u16,
    settings: IcecastSettings,
    config: PathBuf,
    text: String,
    process: Process,
    killed: bool,
    _directory: tempfile::TempDir,
}

impl Icecast {
    fn start(node: &NodeName, admin: SocketAddr, port: u16, relays: bool) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path().join("icecast.xml");
        let settings = IcecastSettings {
            listen_address: Some(Ipv4Addr::LOCALHOST.into()),
            relays,
            ..IcecastSettings::debian(
                directory.path().to_owned(),
                (node.clone(), admin),
                port,
                "localhost".to_owned(),
                2_000,
            )
        };
        let text = xml(&settings, &Placement::default());
        std::fs::write(&config, &text).expect("the configuration is written");
        let mut command = Command::new("icecast2");
        command.arg("-c").arg(&config);
        // Icecast refuses to run as root.
        if nix::unistd::geteuid().is_root() {
            let user = nix::unistd::User::from_name("icecast2")
                .expect("a readable user database")
                .expect("the package icecast2 makes this user");
            for path in [directory.path(), &config] {
                nix::unistd::chown(path, Some(user.uid), Some(user.gid)).expect("root may");
            }
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let process = Process::spawn(&mut command);
        wait_until("Icecast listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        Self { port, settings, config, text, process, killed: false, _directory: directory }
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
        self.killed = true;
    }

    fn place(&mut self, placement: &Placement) {
        let text = xml(&self.settings, placement);
        if text != self.text && !self.killed {
            std::fs::write(&self.config, &text).expect("the configuration is written");
            self.text = text;
            let pid = i32::try_from(self.process.id()).expect("a pid");
            kill(Pid::from_raw(pid), Signal::SIGHUP).expect("our own child");
        }
    }
}

/// What the daemon would write, but for the burst: listeners of tests hear what is sent while they listen.
fn xml(settings: &IcecastSettings, placement: &Placement) -> String {
    let text = render(settings, &secrets(), placement);
    assert!(text.contains("<burst-size>65536<"), "{text}");
    text.replace("<burst-size>65536<", "<burst-size>0<")
}
