//! Servers on loopback, ours and others', each with a folder of its own and ended with all it left.

mod haproxy;
mod icecast;
mod nginx;
mod node;
mod spent;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use autoradio_lab::load::Source;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock::Stopwatch;
use node::Node;
pub(super) use node::{DOMAIN, OTHER, answer};
pub(super) use spent::Spent;

/// The path that everybody listens to.
pub(super) const MOUNT: &str = "/live.mp3";
const POLL: Duration = Duration::from_millis(50);
/// How long a server may take until it serves.
const SOON: Duration = Duration::from_secs(20);
/// How long one may take to end when it is told to.
const END: Duration = Duration::from_secs(10);

/// What serves: one program, or one in front of another.
pub(super) struct Server {
    /// The source, ended first.
    source: Option<Source>,
    /// The first is the one that listeners come to.
    programs: Vec<(&'static str, Child)>,
    folder: PathBuf,
    /// Where listeners come to.
    pub(super) address: SocketAddr,
}

impl Server {
    /// A server without programs yet, at a free port.
    fn new(name: &str) -> Result<Self> {
        let unique = format!("autoradio-bench-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(unique);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let [address] = free_addresses()?;
        Ok(Self { source: None, programs: Vec::new(), folder, address })
    }

    /// The bare loop.
    pub(super) fn bare_loop(programs: &Path, core: usize) -> Result<Self> {
        let mut server = Self::new("bare-loop")?;
        let program = autoradio_lab::load::program::bare_loop(programs, server.address, core);
        server.spawn("bare-loop", program)?;
        server.wait_until("the bare loop listens", |it| connects(it.address))?;
        Ok(server)
    }

    /// Icecast with a source.
    pub(super) fn icecast() -> Result<Self> {
        let mut server = Self::new("icecast")?;
        let address = server.address;
        icecast::start(&mut server, address)?;
        Ok(server)
    }

    /// nginx in front of Icecast.
    pub(super) fn nginx() -> Result<Self> {
        let mut server = Self::new("nginx")?;
        let [backend] = free_addresses()?;
        icecast::start(&mut server, backend)?;
        nginx::proxy(&mut server, backend)?;
        Ok(server)
    }

    /// `HAProxy` in front of Icecast.
    pub(super) fn haproxy() -> Result<Self> {
        let mut server = Self::new("haproxy")?;
        let [backend] = free_addresses()?;
        icecast::start(&mut server, backend)?;
        haproxy::proxy(&mut server, backend)?;
        Ok(server)
    }

    /// autoradio with a source.
    pub(super) fn autoradio(programs: &Path) -> Result<Self> {
        let node = Node::start(programs)?;
        let source = node.source()?;
        let mut server = node.into_server();
        server.source = Some(source);
        Ok(server)
    }

    /// nginx that sends everybody elsewhere.
    pub(super) fn nginx_redirecting(to: &str) -> Result<Self> {
        let mut server = Self::new("nginx")?;
        nginx::redirect(&mut server, to)?;
        Ok(server)
    }

    /// `HAProxy` that sends everybody elsewhere.
    pub(super) fn haproxy_redirecting(to: &str) -> Result<Self> {
        let mut server = Self::new("haproxy")?;
        haproxy::redirect(&mut server, to)?;
        Ok(server)
    }

    /// autoradio that sends everybody elsewhere: a drained node with another one in its cluster.
    pub(super) fn autoradio_redirecting(programs: &Path) -> Result<Self> {
        let mut node = Node::start(programs)?;
        node.send_everybody_elsewhere()?;
        Ok(node.into_server())
    }

    /// What its programs, and their children, have spent and hold.
    pub(super) fn spent(&self) -> Result<Spent> {
        let roots: Vec<u32> = self.programs.iter().map(|(_, child)| child.id()).collect();
        Spent::of(&roots)
    }

    fn write(&self, file: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(file);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    fn spawn(&mut self, name: &'static str, mut command: Command) -> Result<()> {
        let log = File::create(self.log(name))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| {
            format!("starting {name}; `cargo xtask setup` installs what is missing")
        })?;
        self.programs.push((name, child));
        Ok(())
    }

    /// Looks until `condition` holds; an error once a program has ended, or it took too long.
    fn wait_until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) -> Result<()> {
        let watch = Stopwatch::start();
        loop {
            // Before anything else: somebody else's server may listen where ours could not.
            self.must_run()?;
            if condition(self) {
                return Ok(());
            }
            if watch.elapsed() > SOON {
                bail!("{what}: not so after {} s", SOON.as_secs());
            }
            sleep(POLL);
        }
    }

    /// An error with its log, if one of the programs has ended.
    pub(super) fn must_run(&mut self) -> Result<()> {
        let ended = self.programs.iter_mut().find_map(|(name, child)| {
            child.try_wait().ok().flatten().map(|status| (*name, status))
        });
        if let Some((name, status)) = ended {
            let log = fs::read_to_string(self.log(name)).unwrap_or_default();
            bail!("{name} ended ({status}):\n{log}");
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.source.take());
        for (_, child) in &mut self.programs {
            end(child);
        }
        // A folder that stays is nobody's harm.
        fs::remove_dir_all(&self.folder).unwrap_or_default();
    }
}

/// Tells a program to end, and ends it if it does not.
fn end(child: &mut Child) {
    let process = i32::try_from(child.id()).map(Pid::from_raw);
    if process.is_ok_and(|process| kill(process, Signal::SIGTERM).is_ok()) {
        let watch = Stopwatch::start();
        while matches!(child.try_wait(), Ok(None)) && watch.elapsed() < END {
            sleep(POLL);
        }
    }
    child.kill().unwrap_or_default();
    child.wait().map(drop).unwrap_or_default();
}

/// Different ports of loopback that nobody listens on.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let sockets: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> =
        sockets.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    addresses.try_into().ok().context("as many addresses as sockets")
}

fn connects(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}
