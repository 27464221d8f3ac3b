//! The daemon with an etcd that runs elsewhere, and with one that joins.

use std::process::{Child, Command, Stdio};

use autoradio_edge::cluster::{Store, known_endpoints};
use nix::sys::signal::Signal;

use crate::rig::{Node, names, only, voters};
use crate::support::{PATIENCE, free_ports, signal, until};

/// A daemon on loopback, ended when the test ends.
struct Daemon(Child);

impl Daemon {
    fn start(node: &Node, more: &[&str]) -> Self {
        let [dns, http, icecast, admin] = free_ports();
        let managed = &node.managed;
        let mut command = Command::new(env!("CARGO_BIN_EXE_autoradio-edge"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(["run", "--domain=radio.test", "--address=127.0.0.1", "--xdp=off"]);
        command.args([format!("--name={}", managed.name), "--dns-listen=127.0.0.1".to_owned()]);
        for (flag, port) in [
            ("dns-port", dns),
            ("http-port", http),
            ("icecast-port", icecast),
            ("etcd-client-port", managed.client_port),
            ("etcd-peer-port", managed.peer_port),
        ] {
            command.arg(format!("--{flag}={port}"));
        }
        command.arg(format!("--admin-listen=127.0.0.1:{admin}"));
        command.arg(format!("--state-dir={}", managed.state_dir.display())).args(more);
        Self(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        signal(i32::try_from(self.0.id()).unwrap(), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

async fn appears(store: &Store, name: &str) {
    let name = name.parse().unwrap();
    until("the node is in the cluster", PATIENCE, async || {
        let (snapshot, _) = store.snapshot().await.ok()?;
        snapshot.nodes.contains_key(&name).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_daemon_uses_an_etcd_that_runs_elsewhere_or_joins_one() {
    let first = Node::new("a", &[]);
    let a = first.start().await;
    let founder = only(&first).await;

    let guest = Node::new("guest", &[]);
    let outside = Daemon::start(&guest, &["--etcd", &first.managed.endpoint()]);
    appears(&founder, "guest").await;
    assert!(!guest.directories().contains(&"etcd".to_owned()), "it runs none itself");
    assert_eq!(known_endpoints(&guest.managed.state_dir), [first.managed.endpoint()]);
    drop(outside);

    let second = Node::new("b", &[]);
    let inside = Daemon::start(&second, &["--join", &first.host(), "--insecure-etcd"]);
    appears(&founder, "b").await;
    assert_eq!(names(&voters(&founder, 2).await), ["a", "b"]);
    drop(inside);
    a.stop().await;
}
