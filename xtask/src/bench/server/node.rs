//! One autoradio node on loopback, with its etcd and Icecast, and without a kernel program.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use autoradio_lab::load::Source;
use autoradio_lab::status::CreatedMount;
use serde_json::json;

use super::{MOUNT, Server, free_addresses};
use crate::process;

/// The zone, and this node's name.
pub(in crate::bench) const DOMAIN: &str = "radio.test";
const NAME: &str = "node1";
/// A node that is in the cluster's records only.
pub(in crate::bench) const OTHER: &str = "node2";
/// More than loopback can need, in Mbit/s.
const MEGABITS: &str = "100000";
const ANSWER: Duration = Duration::from_secs(2);

/// It runs and knows its mount.
pub(in crate::bench) struct Node {
    server: Server,
    radioctl: PathBuf,
    etcd: SocketAddr,
    mount: CreatedMount,
}

impl Node {
    /// Starts it, creates the mount and waits until it has its master.
    pub(in crate::bench) fn start(programs: &Path) -> Result<Self> {
        let mut server = Server::new("autoradio")?;
        let [dns, icecast, admin, etcd, peer] = free_addresses()?;
        let ports = [
            ("--dns-port", dns),
            ("--http-port", server.address),
            ("--icecast-port", icecast),
            ("--etcd-client-port", etcd),
            ("--etcd-peer-port", peer),
        ];
        let mut command = Command::new(programs.join("autoradio-edge"));
        command.args(["run", "--domain", DOMAIN, "--name", NAME, "--address", "127.0.0.1"]);
        command.args(["--xdp", "off", "--dns-listen", "127.0.0.1", "--full-at", "100"]);
        command.args(["--bwlimit", MEGABITS, "--admin-listen", &admin.to_string()]);
        command
            .args(ports.iter().flat_map(|(flag, at)| [(*flag).to_owned(), at.port().to_string()]));
        command.arg("--state-dir").arg(server.folder.join("state"));
        server.spawn("autoradio", command)?;
        server.wait_until("the node is ready", |_| {
            answer(admin, "/readyz").starts_with("HTTP/1.0 200")
        })?;
        let radioctl = programs.join("radioctl");
        let made = ctl(&radioctl, etcd, &["create-mount", MOUNT, "-o", "json"])?;
        let mount =
            serde_json::from_str(&made).context("radioctl told of the mount in another form")?;
        let master = format!("\"master\":\"{NAME}\"");
        server.wait_until("the mount has its master", |_| {
            answer(admin, "/v1/status").contains(&master)
        })?;
        Ok(Self { server, radioctl, etcd, mount })
    }

    /// A source of the mount.
    pub(in crate::bench) fn source(&self) -> Result<Source> {
        Ok(Source::start(self.server.address, &self.mount)?)
    }

    /// Puts another node into the cluster's records and drains this one.
    pub(super) fn send_everybody_elsewhere(&mut self) -> Result<()> {
        let record = json!({
            "schema": 1, "name": OTHER, "domain": DOMAIN, "addresses": ["127.0.0.2"],
            "peer_address": "127.0.0.2", "http_port": 80, "icecast_port": 8000, "version": "0",
        });
        let mut etcdctl = Command::new("etcdctl");
        etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", &self.etcd.to_string(), "put"]);
        etcdctl.args([&format!("/autoradio/v1/nodes/{OTHER}"), &record.to_string()]);
        process::answer(&mut etcdctl).context("etcdctl could not put a node's record")?;
        ctl(&self.radioctl, self.etcd, &["drain", NAME])?;
        let address = self.server.address;
        self.server.wait_until("everybody is sent elsewhere", |_| {
            answer(address, MOUNT).starts_with("HTTP/1.0 302")
        })
    }

    pub(super) fn into_server(self) -> Server {
        self.server
    }
}

fn ctl(radioctl: &Path, etcd: SocketAddr, words: &[&str]) -> Result<String> {
    let mut command = Command::new(radioctl);
    command.args(["--etcd", &format!("http://{etcd}")]).args(words);
    process::answer(&mut command).with_context(|| format!("radioctl {} failed", words.join(" ")))
}

/// The whole answer; empty if there is none.
pub(in crate::bench) fn answer(server: SocketAddr, path: &str) -> String {
    let exchange = || {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    exchange().unwrap_or_default()
}
