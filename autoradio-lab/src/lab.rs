//! A lab: built by [`Builder`], removed when dropped unless it is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::{Host, tail_of_daemon};
use crate::names::{self, BRIDGE, HOSTS_MAX, Role};
use crate::node::{self, NodeSettings};
use crate::persist::{self, Record};
use crate::tls::Authority;
use crate::topology::{self, Network};
use crate::{Client, LabError, Node, bpffs, clock, teardown};

/// The zone of every lab unless another is asked for.
pub const DOMAIN: &str = "radio.example.com";

/// How long a node may take until it is ready; etcd's first start is most of it.
pub const READY_LIMIT: Duration = Duration::from_secs(30);

/// How much longer each node that joins may take.
const JOIN_LIMIT: Duration = Duration::from_secs(10);

/// What a lab should be like.
#[derive(Clone, Debug)]
pub struct Builder {
    record: Record,
    mtu: u16,
    pass_object: PathBuf,
}

/// Hosts and the network between them.
#[derive(Debug)]
pub struct Lab {
    record: Record,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    kept: bool,
}

impl Lab {
    /// One node, one client, a name of its own; programs and objects of this workspace.
    pub fn builder() -> Builder {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        Builder {
            record: Record {
                name: names::unique(std::process::id()),
                domain: DOMAIN.to_owned(),
                nodes: 1,
                clients: 1,
                xdp: "native".to_owned(),
                binaries: target.join(profile),
                tls: false,
                own_wall_clocks: false,
                direct: false,
                args: Vec::new(),
                owner_process: Some(std::process::id()),
            },
            mtu: 1500,
            pass_object: target.join("bpf/pass"),
        }
    }

    /// A lab that another process left running. Dropping it does not remove it.
    pub fn open(name: &str) -> Result<Self, LabError> {
        require_root()?;
        let mut lab = Self::from_record(persist::load(name)?);
        lab.kept = true;
        Ok(lab)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// The cluster's zone.
    pub fn domain(&self) -> &str {
        &self.record.domain
    }

    /// The nodes, `node1` first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The clients, `client1` first.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// Node number `index`, from 1 as in its name.
    ///
    /// # Panics
    /// If the lab has fewer nodes.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index - 1]
    }

    /// Client number `index`, from 1 as in its name.
    ///
    /// # Panics
    /// If the lab has fewer clients.
    pub fn client(&self, index: usize) -> &Client {
        &self.clients[index - 1]
    }

    /// The host of this name.
    pub fn host(&self, name: &str) -> Result<&Host, LabError> {
        let found = self.hosts().find(|host| host.name() == name);
        found.ok_or_else(|| LabError::Host {
            lab: self.name().to_owned(),
            host: name.to_owned(),
            hosts: self.hosts().map(Host::name).collect::<Vec<_>>().join(", "),
        })
    }

    /// All hosts, nodes first.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.nodes.iter().map(Node::host).chain(self.clients.iter().map(Client::host))
    }

    /// Where a program of this workspace is, such as the daemon.
    pub fn program(&self, name: &str) -> Result<String, LabError> {
        node::program(&self.record.binaries, name)
    }

    /// Starts the daemon on every node, `node1` first because the others join it, and waits until
    /// all are ready and every etcd that can vote does.
    pub fn start_nodes(&self) -> Result<(), LabError> {
        let Some((first, others)) = self.nodes.split_first() else {
            return Ok(());
        };
        first.start()?;
        first.wait_ready(READY_LIMIT)?;
        others.iter().try_for_each(Node::start)?;
        // etcd takes in one member after the other.
        let limit = READY_LIMIT + JOIN_LIMIT * u32::try_from(others.len()).unwrap_or(u32::MAX);
        others.iter().try_for_each(|node| node.wait_ready(limit))?;
        self.wait_whole(limit)
    }

    /// The lab's certificate authority; `None` in a lab without certificates.
    pub fn authority(&self) -> Result<Option<Authority>, LabError> {
        let folder = persist::folder(self.name());
        self.record.tls.then(|| Authority::load(&folder)).transpose()
    }

    /// Looks at `condition` until it holds; an error names `what` when `limit` has passed.
    pub fn wait_until(
        &self,
        what: &str,
        limit: Duration,
        condition: impl FnMut() -> bool,
    ) -> Result<(), LabError> {
        clock::wait_until(what, limit, condition)
    }

    /// Leaves the lab running when this process ends; [`persist::down`] removes it.
    pub fn keep(mut self) -> Result<(), LabError> {
        self.record.owner_process = None;
        persist::save(&self.record)?;
        self.nodes.iter().for_each(Node::detach);
        self.kept = true;
        Ok(())
    }

    fn from_record(record: Record) -> Self {
        let folder = persist::folder(&record.name);
        let hosts = |role, count| {
            (1..=count).map(move |index| (role, index)).collect::<Vec<(Role, usize)>>()
        };
        let host = |(role, index)| Host::new(&record.name, role, index, &folder);
        let settings = NodeSettings {
            domain: record.domain.clone(),
            xdp: record.xdp.clone(),
            binaries: record.binaries.clone(),
            tls: record.tls,
            own_wall_clock: record.own_wall_clocks,
            args: record.args.clone(),
            hosts: hosts(Role::Node, record.nodes).into_iter().map(host).collect(),
        };
        let nodes = hosts(Role::Node, record.nodes).into_iter().map(host);
        let nodes = nodes.map(|host| Node::new(host, settings.clone())).collect();
        let clients = hosts(Role::Client, record.clients).into_iter().map(host);
        let clients = clients.map(Client::new).collect();
        Self { nodes, clients, kept: false, record }
    }

    fn make(&self, network: Network) -> Result<(), LabError> {
        for host in self.hosts() {
            fs::create_dir_all(host.folder()).map_err(LabError::file(host.folder()))?;
        }
        if self.record.direct {
            topology::create_pair(network, self.node(1).host(), self.client(1).host())?;
        } else {
            topology::create_bridge(network)?;
            self.hosts().try_for_each(|host| topology::create_host(network, host))?;
        }
        for node in &self.nodes {
            bpffs::mount(&node.bpf_dir())?;
        }
        if self.record.tls {
            let authority = Authority::create(&persist::folder(self.name()))?;
            self.hosts().try_for_each(|host| authority.certify(host).map(drop))?;
        }
        let nodes: Vec<_> = self.nodes.iter().map(|node| node.host().v4()).collect();
        self.clients.iter().try_for_each(|client| client.use_resolvers(&nodes))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if std::thread::panicking() {
            for node in &self.nodes {
                let log = tail_of_daemon(&node.log_path());
                eprintln!("the end of {}'s log:\n{log}", node.host().name());
            }
        }
        if let Err(error) = teardown::remove(self.name()) {
            eprintln!("lab {} is not wholly removed: {error}", self.name());
        }
        self.nodes.iter().for_each(Node::forget);
    }
}

impl Builder {
    /// Names the lab; without this it gets a name of its own.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.record.name);
        self
    }

    /// How many nodes.
    #[must_use]
    pub fn nodes(mut self, count: usize) -> Self {
        self.record.nodes = count;
        self
    }

    /// How many clients.
    #[must_use]
    pub fn clients(mut self, count: usize) -> Self {
        self.record.clients = count;
        self
    }

    /// The zone; `radio.example.com` without this.
    #[must_use]
    pub fn domain(mut self, name: &str) -> Self {
        name.clone_into(&mut self.record.domain);
        self
    }

    /// The daemon's `--xdp`; `native` without this.
    #[must_use]
    pub fn xdp(mut self, mode: &str) -> Self {
        mode.clone_into(&mut self.record.xdp);
        self
    }

    /// One node and one client on one wire, with no bridge between them and no program on the
    /// client's end: for load generators that bring their own. Such a wire cannot be cut.
    #[must_use]
    pub fn direct(mut self) -> Self {
        (self.record.nodes, self.record.clients, self.record.direct) = (1, 1, true);
        self
    }

    /// etcd asks for certificates: the lab makes an authority of its own and certifies every host.
    #[must_use]
    pub fn tls(mut self, on: bool) -> Self {
        self.record.tls = on;
        self
    }

    /// Every daemon has a wall clock of its own, which [`wall_clock::jump`](crate::wall_clock::jump) sets.
    #[must_use]
    pub fn own_wall_clocks(mut self, on: bool) -> Self {
        self.record.own_wall_clocks = on;
        self
    }

    /// What else every daemon is started with.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.record.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Largest packet on the wires, in bytes; 1500 without this.
    #[must_use]
    pub fn mtu(mut self, bytes: u16) -> Self {
        self.mtu = bytes;
        self
    }

    /// Folder of the daemon and radioctl.
    #[must_use]
    pub fn binaries(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.record.binaries);
        self
    }

    /// Makes the hosts and the network; no daemon runs yet.
    pub fn build(self) -> Result<Lab, LabError> {
        require_root()?;
        let Self { record, mtu, pass_object } = self;
        names::check(&record.name)?;
        for count in [record.nodes, record.clients] {
            if count > HOSTS_MAX {
                return Err(LabError::TooMany { count, max: HOSTS_MAX });
            }
        }
        require_pass_object(&pass_object)?;
        if persist::exists(&record.name) {
            return Err(LabError::Exists { name: record.name });
        }
        persist::save(&record)?;
        let bridge = names::namespace(&record.name, BRIDGE);
        // From here on, an error drops the lab, and that removes what was made.
        let lab = Lab::from_record(record);
        lab.make(Network { bridge: &bridge, mtu, pass_object: &pass_object })?;
        Ok(lab)
    }
}

/// An error, and what to do, unless this process may make namespaces.
pub fn require_root() -> Result<(), LabError> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(LabError::NotRoot) }
}

/// An error unless the program for the veths' far ends has been built.
pub(crate) fn require_pass_object(path: &Path) -> Result<(), LabError> {
    let remedy = "`cargo xtask build-ebpf` makes it";
    let missing = || LabError::Missing { path: path.to_owned(), remedy };
    if path.is_file() { Ok(()) } else { Err(missing()) }
}
