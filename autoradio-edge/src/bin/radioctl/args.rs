//! What can be typed.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const AFTER_HELP: &str = "\
Examples:
  radioctl create-mount /live.mp3 --name 'Live from the cellar'
  radioctl list-mounts
  radioctl show-mount /live.mp3 -o json
  radioctl edit-mount /live.mp3 --new-password
  radioctl status
  radioctl drain fra1
  radioctl cluster members
  radioctl dns trace --name radio.example.com
  radioctl --etcd https://10.0.0.1:2379,https://10.0.0.2:2379 list-mounts

Exit codes:
  0  done
  1  failed: the message says why and what to do
  2  wrong usage: nothing was tried
  3  there is no such mount or node
  4  the mount exists already
  5  the cluster, or this host's daemon, cannot be reached";

/// Operate an autoradio cluster: its mounts, its nodes.
#[derive(Debug, Parser)]
#[command(name = "radioctl", version, styles = STYLES, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Radioctl {
    /// etcd to talk to: URLs of one or more members, separated by commas [default: this host's, else those that its daemon knows]
    #[arg(
        long,
        value_name = "URL,…",
        env = "AUTORADIO_ETCD",
        value_delimiter = ',',
        global = true
    )]
    pub(crate) etcd: Vec<String>,

    /// Where this host's daemon keeps its state: it notes there where the cluster's etcd is
    #[arg(
        long,
        value_name = "DIR",
        env = "AUTORADIO_STATE_DIR",
        default_value = "/var/lib/autoradio",
        global = true
    )]
    pub(crate) state_dir: PathBuf,

    /// Certificate of the authority behind etcd's [default: `/etc/autoradio/etcd_ca.pem`, if it is there]
    #[arg(long, value_name = "FILE", env = "AUTORADIO_ETCD_CA", global = true)]
    pub(crate) etcd_ca: Option<String>,

    /// Certificate to show to etcd [default: `/etc/autoradio/etcd_client.pem`]
    #[arg(long, value_name = "FILE", env = "AUTORADIO_ETCD_CERT", global = true)]
    pub(crate) etcd_cert: Option<String>,

    /// Key of that certificate [default: `/etc/autoradio/etcd_client.key`]
    #[arg(long, value_name = "FILE", env = "AUTORADIO_ETCD_KEY", global = true)]
    pub(crate) etcd_key: Option<String>,

    /// How results are shown
    #[arg(short, long, value_enum, default_value_t = Format::Table, global = true)]
    pub(crate) output: Format,

    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs: one JSON document on standard output
    Json,
}

/// One command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a mount and print, once, what its source needs
    ///
    /// The password is generated unless --password-stdin is given. Only a hash of it is kept, so note it now; a lost
    /// one is replaced with `radioctl edit-mount PATH --new-password`. The mount is usable within two seconds.
    #[command(after_help = "Examples:\n  radioctl create-mount /live.mp3\n  \
        pass show radio | radioctl create-mount /live.ogg --password-stdin --source-username anna")]
    CreateMount {
        /// Path of the mount, like /live.mp3
        path: String,
        /// What to set
        #[command(flatten)]
        settings: MountArgs,
    },
    /// Show all mounts
    ListMounts,
    /// Show one mount: addresses for its source and its listeners, its master, its limits
    ShowMount {
        /// Path of the mount
        path: String,
    },
    /// Change a mount; what is not given stays as it is
    ///
    /// An empty text or URL ('') removes it, and so does 0 a limit or a number.
    #[command(
        after_help = "Examples:\n  radioctl edit-mount /live.mp3 --name 'Late show' --max-listeners 500\n  \
        radioctl edit-mount /live.mp3 --new-password\n  \
        radioctl edit-mount /live.mp3 --fallback /jingles.mp3 --grace 10\n  \
        radioctl edit-mount /live.mp3 --fallback '' --max-source-bitrate 320000"
    )]
    EditMount {
        /// Path of the mount
        path: String,
        /// What to change
        #[command(flatten)]
        settings: MountArgs,
        /// Generate a new source password and print it once
        #[arg(long, conflicts_with = "password_stdin")]
        new_password: bool,
    },
    /// Let somebody listen to a mount, which then is no longer open to all; who is there gets another password
    ///
    /// The password is generated and printed once unless --password-stdin is given. Only a hash of it is kept.
    #[command(after_help = "Example:\n  radioctl add-listener /private.mp3 anna")]
    AddListener {
        /// Path of the mount
        path: String,
        /// Name that the listener gives
        user: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Let somebody no longer listen to a mount
    ///
    /// They can come no more; who listens at this moment goes on. When the last has gone, nobody may listen: edit-mount --open-to-all opens
    /// the mount.
    RemoveListener {
        /// Path of the mount
        path: String,
        /// Name that the listener gave
        user: String,
    },
    /// Delete a mount; its source and its listeners are cut off
    DeleteMount {
        /// Path of the mount
        path: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Show all nodes: state, load, addresses
    Nodes,
    /// Show the cluster at a glance: nodes with their load, mounts with master, epoch, source and listeners
    Status,
    /// Have a node take nothing new: it leaves DNS at once and hands its mounts over
    ///
    /// Listeners that it serves stay until they leave; new ones are redirected. The wish outlives the node's restarts.
    #[command(
        after_help = "Example:\n  radioctl drain fra1 && ssh fra1 reboot; radioctl undrain fra1"
    )]
    Drain {
        /// Name of the node
        node: String,
    },
    /// Have a drained node take part again
    Undrain {
        /// Name of the node
        node: String,
    },
    /// Write all mounts as JSON, password hashes included
    #[command(
        after_help = "Examples:\n  radioctl backup mounts.json\n  radioctl backup | gpg -e > mounts.gpg"
    )]
    Backup {
        /// Where to; - is standard output
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Make the cluster's mounts those of a backup: shows what that changes, and asks
    #[command(
        after_help = "Examples:\n  radioctl restore mounts.json\n  gpg -d mounts.gpg | radioctl restore - --yes"
    )]
    Restore {
        /// The backup; - is standard input
        file: PathBuf,
        /// Delete the mounts that are not in it
        #[arg(long)]
        delete_others: bool,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// The members of etcd, which keeps the cluster's state
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// What becomes of DNS queries to this host: its daemon is asked, not etcd
    #[command(subcommand)]
    Dns(DnsCommand),
    /// Print the completion script of a shell
    #[command(
        after_help = "Example:\n  radioctl completions bash > /etc/bash_completion.d/radioctl"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// A command about the members of etcd.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show the members: addresses, who votes, who leads, who answers
    Members,
    /// Remove a node that leaves for good: its member of etcd, and what it left in the cluster's state
    ///
    /// Stop the node first. To come back, it needs --join; its old data is of no use any more.
    Remove {
        /// Name of the node, or ID or peer URL of a member that has not started
        node: String,
        /// Remove it although too few of the others are healthy to change anything afterwards
        #[arg(long)]
        force: bool,
    },
}

/// A command about DNS on this host.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DnsCommand {
    /// Show how many queries a second come to which end, in the kernel and in userspace
    ///
    /// A verdict `pass_…` of the kernel is a packet left to userspace, or to other programs of this host.
    #[command(
        after_help = "Examples:\n  radioctl dns stats\n  radioctl dns stats --interval 10 -o json"
    )]
    Stats {
        /// Over how many seconds, 1 to 3600
        #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3_600))]
        interval: u64,
    },
    /// Show queries as they come to the kernel, each with its verdict
    ///
    /// Shows what the kernel program sees, until --count, --timeout or Ctrl-C. Names longer than 61 characters go to
    /// userspace unread. With `-o json` every query is one JSON object in a line.
    #[command(after_help = "Examples:\n  radioctl dns trace --count 20\n  \
        radioctl dns trace --name radio.example.com --timeout 60 -o json | jq .client")]
    Trace {
        /// Only queries for this name
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// End after so many queries
        #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
        count: Option<u64>,
        /// End after so many seconds
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
        timeout: Option<u64>,
    },
    /// Time the kernel program and show percentiles
    ///
    /// Timing costs each query two readings of the clock, so it is on only for as long as this takes.
    #[command(after_help = "Example:\n  radioctl dns latency --seconds 60")]
    Latency {
        /// For how many seconds, 1 to 3600
        #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
        seconds: u64,
    },
}

/// What a mount can be told at its making and later.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MountArgs {
    /// User name that sources give (when made: source)
    #[arg(long, value_name = "NAME")]
    pub(crate) source_username: Option<String>,
    /// Read the source password from the first line of standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Name shown to listeners, in place of what the source says; so are the next four
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Description shown to listeners
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Genre shown to listeners
    #[arg(long, value_name = "TEXT")]
    pub(crate) genre: Option<String>,
    /// Home page shown to listeners
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Whether directories may list it
    #[arg(long, value_enum, value_name = "WHETHER")]
    pub(crate) public: Option<Public>,
    /// Most listeners of this mount on one node
    #[arg(long, value_name = "N")]
    pub(crate) max_listeners: Option<u32>,
    /// Mount that listeners hear while this one has nothing to play
    #[arg(long, value_name = "PATH")]
    pub(crate) fallback: Option<String>,
    /// Seconds that listeners are kept without anything to play, 0 to 3600 (when made: 30)
    #[arg(long, value_name = "SECONDS")]
    pub(crate) grace: Option<u32>,
    /// Bytes that a listener gets at once on connecting, 0 to 262144 (when made: 65536)
    #[arg(long, value_name = "BYTES")]
    pub(crate) burst: Option<u32>,
    /// Whether a request for a range is answered 206, as Apple's players want it; they show no titles then (when made: false)
    #[arg(long, value_name = "BOOL")]
    pub(crate) range: Option<bool>,
    /// Stream that the mount's master pulls, like `http://host:8000/live.mp3`; the mount then takes no source
    #[arg(long, value_name = "URL")]
    pub(crate) relay_url: Option<String>,
    /// Program that is asked about every listener, as Icecast asks (`listener_add`)
    #[arg(long, value_name = "URL")]
    pub(crate) listener_add_url: Option<String>,
    /// Program that is told of every listener who has left (`listener_remove`)
    #[arg(long, value_name = "URL")]
    pub(crate) listener_remove_url: Option<String>,
    /// Let everybody listen: forget listeners' users and URLs
    #[arg(long, conflicts_with_all = ["listener_add_url", "listener_remove_url"])]
    pub(crate) open_to_all: bool,
    /// Number by which SHOUTcast sources mean this mount; those that give none mean 1
    #[arg(long, value_name = "N")]
    pub(crate) shoutcast_sid: Option<u32>,
    /// Most bits per second of its source, over ten seconds; a source above is closed
    #[arg(long, value_name = "BITS")]
    pub(crate) max_source_bitrate: Option<u64>,
    /// Most bytes of one connection of its source
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_source_bytes: Option<u64>,
    /// Longest time of one connection of its source
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_source_seconds: Option<u64>,
}

/// Whether directories may list a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Public {
    /// They may
    Yes,
    /// They may not
    No,
    /// As its source says
    AsSource,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Radioctl::command().debug_assert();
    }
}
