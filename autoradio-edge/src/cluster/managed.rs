//! Managed etcd: the daemon's own single-member cluster on loopback, run as a supervised child.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::{ClusterError, NodeName, Store};
use crate::clock;
use crate::supervise::{self, Child, ChildSpec};

/// etcd's database may grow to this, in bytes, before it refuses writes. Our records take a few megabytes.
const QUOTA_BYTES: u64 = 512 * 1024 * 1024;
/// Time for one question while etcd starts.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// Pause between two such questions.
const PROBE_PAUSE: Duration = Duration::from_millis(50);

/// An etcd to be run by this daemon.
#[derive(Clone, Debug)]
pub struct ManagedEtcd {
    /// This node's name, which is the member's too.
    pub name: NodeName,
    /// The daemon's state directory; the data goes to `etcd/` in it.
    pub state_dir: PathBuf,
    /// Port for clients, on 127.0.0.1.
    pub client_port: u16,
    /// Port for peers, on 127.0.0.1.
    pub peer_port: u16,
    /// The program, `etcd` by default.
    pub program: PathBuf,
}

impl ManagedEtcd {
    /// URL for this etcd's clients.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// Starts etcd and returns when it answers, within `deadline`. It is restarted until the child is stopped.
    pub async fn start(&self, deadline: Duration) -> Result<Child, ClusterError> {
        let spec = self.spec();
        // An etcd of a killed daemon holds the ports; it has to go before they are judged.
        supervise::end_stale(&spec).await?;
        for port in [self.client_port, self.peer_port] {
            port_is_free(port)?;
        }
        let child = supervise::start(spec).await?;
        let until = clock::now() + deadline;
        while Store::connect(&[self.endpoint()], PROBE_TIMEOUT).await.is_err() {
            if clock::now() >= until {
                let last_line = child.last_line();
                child.stop().await;
                return Err(ClusterError::NotHealthy {
                    deadline_ms: deadline.as_millis(),
                    last_line,
                });
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
        Ok(child)
    }

    fn spec(&self) -> ChildSpec {
        let data_dir = self.state_dir.join("etcd");
        let data_flag = format!("--data-dir={}", data_dir.display());
        ChildSpec {
            name: "etcd",
            program: self.program.clone(),
            args: self.flags().into_iter().chain([data_flag]).map(Into::into).collect(),
            env: extra_env(),
            run_as: Some("etcd"),
            dirs: vec![data_dir],
            pid_file: self.state_dir.join("run/etcd.pid"),
            stop_grace: Duration::from_secs(5),
            remedy: "install it (Debian: apt install etcd-server), or use one that runs elsewhere with --etcd URL",
        }
    }

    fn flags(&self) -> Vec<String> {
        let client = self.endpoint();
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        vec![
            format!("--name={}", self.name),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}={peer}", self.name),
            "--initial-cluster-token=autoradio".to_owned(),
            "--initial-cluster-state=new".to_owned(),
            // Nobody needs our history for longer than a resumed watch does.
            "--auto-compaction-mode=periodic".to_owned(),
            "--auto-compaction-retention=1h".to_owned(),
            format!("--quota-backend-bytes={QUOTA_BYTES}"),
            "--logger=zap".to_owned(),
            "--log-outputs=stderr".to_owned(),
        ]
    }
}

/// etcd 3.4 wants to be told that an arm64 machine is meant to run it.
fn extra_env() -> Vec<(String, String)> {
    let arm64 = cfg!(target_arch = "aarch64");
    let variable = ("ETCD_UNSUPPORTED_ARCH".to_owned(), "arm64".to_owned());
    arm64.then_some(variable).into_iter().collect()
}

fn port_is_free(port: u16) -> Result<(), ClusterError> {
    supervise::port_is_free(Ipv4Addr::LOCALHOST.into(), port)
        .map_err(|error| ClusterError::PortTaken { port, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_managed_etcd_listens_on_loopback_only() {
        let etcd = ManagedEtcd {
            name: "fra1".parse().unwrap(),
            state_dir: "/var/lib/autoradio".into(),
            client_port: 2379,
            peer_port: 2380,
            program: "etcd".into(),
        };
        let spec = etcd.spec();
        let flags: Vec<_> = spec.args.iter().filter_map(|flag| flag.to_str()).collect();
        let urls = flags.iter().filter(|flag| flag.contains("http"));
        assert!(urls.clone().all(|flag| flag.contains("http://127.0.0.1:23")), "{flags:?}");
        assert_eq!(urls.count(), 5);
        assert!(flags.contains(&"--data-dir=/var/lib/autoradio/etcd"));
        assert!(flags.contains(&"--initial-cluster=fra1=http://127.0.0.1:2380"));
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = port_is_free(port).expect_err("taken").to_string();
        assert!(error.contains(&format!("port {port}")), "{error}");
    }
}
