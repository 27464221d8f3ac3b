//! What was typed: every setting as text, so that all mistakes can be reported at once.

use clap::Args;

/// Settings of `autoradio-edge run`. Every flag has an environment twin.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// The zone this cluster answers for, like radio.example.com (also read from $DOMAIN)
    #[arg(long, env = "AUTORADIO_DOMAIN", value_name = "NAME")]
    pub domain: Option<String>,

    /// This node's name, one DNS label [default: the host name's first label]
    #[arg(long, env = "AUTORADIO_NAME", value_name = "LABEL")]
    pub name: Option<String>,

    /// Interface whose DNS queries the kernel answers [default: that of the default route]
    #[arg(long, env = "AUTORADIO_INTERFACE", value_name = "NAME")]
    pub interface: Option<String>,

    /// Address that clients reach this node at, repeatable [default: those of the interface]
    #[arg(long, env = "AUTORADIO_ADDRESS", value_name = "IP", value_delimiter = ',')]
    pub address: Vec<String>,

    /// Address that other nodes reach this node at, behind a NAT the router's [default: this host's own]
    #[arg(long, env = "AUTORADIO_PEER_ADDRESS", value_name = "IP")]
    pub peer_address: Option<String>,

    /// Where the kernel program runs: auto, native, generic or off
    #[arg(long, env = "AUTORADIO_XDP", value_name = "MODE", default_value = "auto")]
    pub xdp: String,

    /// Address to answer DNS on, repeatable [default: all]
    #[arg(long, env = "AUTORADIO_DNS_LISTEN", value_name = "IP", value_delimiter = ',')]
    pub dns_listen: Vec<String>,

    /// Port of DNS; the kernel answers on 53 only
    #[arg(long, env = "AUTORADIO_DNS_PORT", value_name = "PORT", default_value = "53")]
    pub dns_port: String,

    /// Most addresses in one DNS answer, 1 to 16
    #[arg(long, env = "AUTORADIO_DNS_ANSWERS", value_name = "N", default_value = "3")]
    pub dns_answers: String,

    /// Which of a name's answers a client gets: random, or sticky to the client's network (/24 or /56)
    #[arg(long, env = "AUTORADIO_DNS_SELECT", value_name = "HOW", default_value = "random")]
    pub dns_select: String,

    /// Most answers a second to one network of clients (/24 or /56), 1 to 1000000, or off; a valid DNS cookie exempts.
    /// Kernel and userspace each count by themselves, and so does each node
    #[arg(long, env = "AUTORADIO_DNS_RRL", value_name = "N", default_value = "1000")]
    pub dns_rrl: String,

    /// Every how manieth answer over --dns-rrl goes out truncated, so that real resolvers ask again by TCP, 1 to 10; 0: none
    #[arg(long, env = "AUTORADIO_DNS_RRL_SLIP", value_name = "N", default_value = "2")]
    pub dns_rrl_slip: String,

    /// Where the kernel program is pinned, so that it answers on while the daemon restarts: a folder on a BPF file system
    #[arg(
        long,
        env = "AUTORADIO_BPF_DIR",
        value_name = "DIR",
        default_value = "/sys/fs/bpf/autoradio"
    )]
    pub bpf_dir: String,

    /// The zone's name servers [default: the first three nodes in name order]
    #[arg(long, env = "AUTORADIO_NAMESERVERS", value_name = "NAME", value_delimiter = ',')]
    pub nameservers: Vec<String>,

    /// Port for listeners, sources and pages, repeatable
    #[arg(
        long,
        env = "AUTORADIO_HTTP_PORT",
        value_name = "PORT",
        value_delimiter = ',',
        default_value = "80"
    )]
    pub http_port: Vec<String>,

    /// Port for sources that speak SHOUTcast version 1: by custom, clients add 1 to the port they are told, so 81 goes with 80 [default: none]
    #[arg(long, env = "AUTORADIO_SHOUTCAST_PORT", value_name = "PORT")]
    pub shoutcast_port: Option<String>,

    /// Network of proxies in front of this node, like 10.0.0.0/8, repeatable: whom they name in X-Forwarded-For or a PROXY header (version 1
    /// or 2) is the client
    #[arg(long, env = "AUTORADIO_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',')]
    pub trusted_proxy: Vec<String>,

    /// Port of this node's Icecast
    #[arg(long, env = "AUTORADIO_ICECAST_PORT", value_name = "PORT", default_value = "8000")]
    pub icecast_port: String,

    /// Address and port for health checks, metrics and status: keep it private, whoever reaches it can try source passwords
    #[arg(
        long,
        env = "AUTORADIO_ADMIN_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:8080"
    )]
    pub admin_listen: String,

    /// Where state is kept: etcd's data, Icecast's configuration
    #[arg(
        long,
        env = "AUTORADIO_STATE_DIR",
        value_name = "DIR",
        default_value = "/var/lib/autoradio"
    )]
    pub state_dir: String,

    /// Port of this node's etcd for clients
    #[arg(long, env = "AUTORADIO_ETCD_CLIENT_PORT", value_name = "PORT", default_value = "2379")]
    pub etcd_client_port: String,

    /// Port of this node's etcd for its peers
    #[arg(long, env = "AUTORADIO_ETCD_PEER_PORT", value_name = "PORT", default_value = "2380")]
    pub etcd_peer_port: String,

    /// Node of the cluster to join, by name or address, with :PORT if its etcd is not on --etcd-client-port; repeatable
    #[arg(long, env = "AUTORADIO_JOIN", value_name = "HOST", value_delimiter = ',')]
    pub join: Vec<String>,

    /// URL of an etcd that runs elsewhere, repeatable; this node then runs none
    #[arg(long, env = "AUTORADIO_ETCD", value_name = "URL", value_delimiter = ',')]
    pub etcd: Vec<String>,

    /// Speak with etcd, and let it be spoken to, across the network without certificates: whoever reaches it owns the radio
    #[arg(long, env = "AUTORADIO_INSECURE_ETCD")]
    pub insecure_etcd: bool,

    /// Certificate of the authority behind all certificates of etcd [default: `/etc/autoradio/etcd_ca.pem`]
    #[arg(long, env = "AUTORADIO_ETCD_CA", value_name = "FILE")]
    pub etcd_ca: Option<String>,

    /// This node's certificate for etcd, as client and server [default: `/etc/autoradio/etcd_client.pem`]
    #[arg(long, env = "AUTORADIO_ETCD_CERT", value_name = "FILE")]
    pub etcd_cert: Option<String>,

    /// Key of that certificate [default: `/etc/autoradio/etcd_client.key`]
    #[arg(long, env = "AUTORADIO_ETCD_KEY", value_name = "FILE")]
    pub etcd_key: Option<String>,

    /// Seconds without a sign of life after which a node counts as dead, 2 to 60
    #[arg(
        long,
        env = "AUTORADIO_MASTER_ELECTION_TTL",
        value_name = "SECONDS",
        default_value = "3"
    )]
    pub master_election_ttl: String,

    /// Seconds between two reports of this node's load to its peers, at least, 1 to 60
    #[arg(long, env = "AUTORADIO_HEARTBEAT", value_name = "SECONDS", default_value = "1")]
    pub heartbeat: String,

    /// Most listeners this node serves at one time [default, and most: what its file descriptors allow]
    #[arg(long, env = "AUTORADIO_MAX_CLIENTS", value_name = "N")]
    pub max_clients: Option<String>,

    /// Connections that one client address may have to this node's front, 0 for any number; nodes of the cluster and this
    /// machine are not counted
    #[arg(
        long,
        env = "AUTORADIO_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        default_value = "1024"
    )]
    pub connections_per_address: String,

    /// What this node may send, in Mbit/s [default: the speed of the interface, or 1000]
    #[arg(long, env = "AUTORADIO_BWLIMIT", value_name = "MBITS")]
    pub bwlimit: Option<String>,

    /// Percent of these two at which the node counts as full, 1 to 100: the rest is a reserve for the loss of a peer
    #[arg(long, env = "AUTORADIO_FULL_AT", value_name = "PERCENT", default_value = "80")]
    pub full_at: String,

    /// Longest time that a node which is told to stop waits for its listeners to leave, 0 to 3600 seconds
    #[arg(long, env = "AUTORADIO_DRAIN_TIMEOUT", value_name = "SECONDS", default_value = "10")]
    pub drain_timeout: String,

    /// Whether listeners are served by the front; if not, they are redirected to Icecast's own port
    #[arg(
        long,
        env = "AUTORADIO_ENABLE_ICECAST_PROXY",
        value_name = "BOOL",
        default_value = "true",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true
    )]
    pub enable_icecast_proxy: String,

    /// Form of the log: text or json
    #[arg(long, env = "AUTORADIO_LOG_FORMAT", value_name = "FORM", default_value = "text")]
    pub log_format: String,

    /// What is logged, like `info` or `autoradio_edge=debug`
    #[arg(long, env = "AUTORADIO_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}
