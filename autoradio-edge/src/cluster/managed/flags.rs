//! How etcd is told what to be: its flags. Pure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::ManagedEtcd;
use crate::cluster::TlsFiles;
use crate::supervise::ChildSpec;

/// etcd's database may grow to this, in bytes, before it refuses writes. Our records take a few megabytes; what grows is
/// their history, since every node reports its load up to once a second.
const QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// How long history is kept: a watch that is resumed later lists anew. The pages that a compaction frees are used again,
/// so the file stays as large as the most that it ever held, and nobody has to defragment it.
const HISTORY: &str = "5m";

/// How a member without data begins. One with data takes no notice.
#[derive(Debug)]
pub(super) struct Bootstrap {
    /// All members, `name=peer-url,…`; nothing for a cluster of its own.
    joins: Option<String>,
    /// What tells the new cluster from all others; one that is joined has its own.
    token: u64,
}

impl Bootstrap {
    /// A cluster of its own. Its id, and that of its first member, are made of the peer URL and `token`: with a token
    /// that was used before, a founder that has lost its data would be taken for what it was, and its log for whole.
    pub(super) fn found(token: u64) -> Self {
        Self { joins: None, token }
    }

    /// A member of a cluster that has these members by now.
    pub(super) fn join(members: String) -> Self {
        Self { joins: Some(members), token: 0 }
    }
}

impl ManagedEtcd {
    /// The child; `tls` are the certificates where etcd may read them.
    pub(super) fn spec(&self, bootstrap: &Bootstrap, tls: Option<&TlsFiles>) -> ChildSpec {
        let data_dir = self.data_dir();
        let data_flag = format!("--data-dir={}", data_dir.display());
        let tls_flags = tls.map(tls_flags).unwrap_or_default();
        let flags = self.flags(bootstrap).into_iter().chain(tls_flags);
        ChildSpec {
            name: "etcd",
            program: self.program.clone(),
            args: flags.chain([data_flag]).map(Into::into).collect(),
            env: extra_env(),
            run_as: Some("etcd"),
            dirs: vec![data_dir],
            pid_file: self.state_dir.join("run/etcd.pid"),
            stop_grace: Duration::from_secs(5),
            remedy: "install it (Debian: apt install etcd-server), or use one that runs elsewhere with --etcd URL",
        }
    }

    /// Where peers reach this node's etcd.
    pub(super) fn peer_url(&self) -> String {
        self.url(self.reachable(), self.peer_port)
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    fn reachable(&self) -> IpAddr {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        if self.is_exposed() { self.peer_address } else { loopback }
    }

    /// Where others' connections arrive; behind a NAT that is not where they are sent.
    pub(super) fn listening(&self) -> IpAddr {
        if self.is_exposed() { self.listen_address } else { IpAddr::from([127, 0, 0, 1]) }
    }

    fn url(&self, address: IpAddr, port: u16) -> String {
        format!("{}://{}", self.scheme(), SocketAddr::new(address, port))
    }

    fn flags(&self, bootstrap: &Bootstrap) -> Vec<String> {
        let clients: Vec<String> = self
            .sockets()
            .into_iter()
            .filter(|(_, port)| *port == self.client_port)
            .map(|(address, port)| self.url(address, port))
            .collect();
        let (client, peer) = (self.url(self.reachable(), self.client_port), self.peer_url());
        let alone = format!("{}={peer}", self.name);
        let (members, state) = match &bootstrap.joins {
            Some(members) => (members, "existing"),
            None => (&alone, "new"),
        };
        vec![
            format!("--name={}", self.name),
            format!("--listen-client-urls={}", clients.join(",")),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={}", self.url(self.listening(), self.peer_port)),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={members}"),
            format!("--initial-cluster-token=autoradio-{:016x}", bootstrap.token),
            format!("--initial-cluster-state={state}"),
            // A member that comes back from a cut link must not unseat a leader that all others follow.
            "--pre-vote=true".to_owned(),
            "--auto-compaction-mode=periodic".to_owned(),
            format!("--auto-compaction-retention={HISTORY}"),
            format!("--quota-backend-bytes={QUOTA_BYTES}"),
            "--logger=zap".to_owned(),
            "--log-outputs=stderr".to_owned(),
        ]
    }
}

/// TLS towards clients and between peers, and nobody without a certificate of ours on either side.
fn tls_flags(files: &TlsFiles) -> Vec<String> {
    let side = |prefix: &str| {
        [
            format!("--{prefix}cert-file={}", files.certificate.display()),
            format!("--{prefix}key-file={}", files.key.display()),
            format!("--{prefix}trusted-ca-file={}", files.ca.display()),
            format!("--{prefix}client-cert-auth=true"),
        ]
    };
    [side(""), side("peer-")].concat()
}

/// etcd 3.4 wants to be told that an arm64 machine is meant to run it.
fn extra_env() -> Vec<(String, String)> {
    let arm64 = cfg!(target_arch = "aarch64");
    let variable = ("ETCD_UNSUPPORTED_ARCH".to_owned(), "arm64".to_owned());
    arm64.then_some(variable).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etcd() -> ManagedEtcd {
        ManagedEtcd {
            name: "fra1".parse().unwrap(),
            state_dir: "/var/lib/autoradio".into(),
            peer_address: "192.0.2.7".parse().unwrap(),
            listen_address: "192.0.2.7".parse().unwrap(),
            client_port: 2379,
            peer_port: 2380,
            program: "etcd".into(),
            join: Vec::new(),
            tls: None,
            insecure: false,
        }
    }

    fn files() -> TlsFiles {
        TlsFiles { ca: "/s/ca".into(), certificate: "/s/cert".into(), key: "/s/key".into() }
    }

    fn flags(etcd: &ManagedEtcd, bootstrap: &Bootstrap, tls: Option<&TlsFiles>) -> Vec<String> {
        let args = etcd.spec(bootstrap, tls).args;
        args.into_iter().map(|flag| flag.into_string().unwrap()).collect()
    }

    #[test]
    fn a_managed_etcd_listens_on_loopback_only() {
        let flags = flags(&etcd(), &Bootstrap::found(7), None);
        let urls = flags.iter().filter(|flag| flag.contains("http"));
        assert!(urls.clone().all(|flag| flag.contains("http://127.0.0.1:23")), "{flags:?}");
        assert_eq!(urls.count(), 5);
        assert!(flags.contains(&"--data-dir=/var/lib/autoradio/etcd".to_owned()));
        assert!(flags.contains(&"--initial-cluster=fra1=http://127.0.0.1:2380".to_owned()));
    }

    #[test]
    fn every_founding_is_of_another_cluster() {
        let token = |bootstrap| {
            let flags = flags(&etcd(), &bootstrap, None);
            flags.into_iter().find(|flag| flag.starts_with("--initial-cluster-token")).unwrap()
        };
        assert_ne!(token(Bootstrap::found(7)), token(Bootstrap::found(8)));
    }

    #[test]
    fn certificates_open_it_to_those_who_have_one_too() {
        let secure = ManagedEtcd { tls: Some(files()), ..etcd() };
        let flags = flags(&secure, &Bootstrap::found(7), Some(&files())).join(" ");
        assert!(!flags.contains("http://"), "{flags}");
        for want in [
            "--listen-client-urls=https://127.0.0.1:2379,https://192.0.2.7:2379 ",
            "--advertise-client-urls=https://192.0.2.7:2379 ",
            "--listen-peer-urls=https://192.0.2.7:2380 ",
            "--client-cert-auth=true",
            "--peer-client-cert-auth=true",
            "--peer-trusted-ca-file=/s/ca",
            "--key-file=/s/key",
        ] {
            assert!(flags.contains(want), "{want} in {flags}");
        }
    }

    #[test]
    fn the_operators_word_opens_it_to_everybody_and_ipv6_is_bracketed() {
        let address = "2001:db8::7".parse().unwrap();
        let open = ManagedEtcd {
            insecure: true,
            peer_address: address,
            listen_address: address,
            ..etcd()
        };
        let members = "a=http://192.0.2.1:2380,fra1=http://[2001:db8::7]:2380";
        let flags = flags(&open, &Bootstrap::join(members.to_owned()), None).join(" ");
        for want in [
            "--listen-client-urls=http://127.0.0.1:2379,http://[2001:db8::7]:2379 ",
            "--listen-peer-urls=http://[2001:db8::7]:2380 ",
            &format!("--initial-cluster={members} "),
            "--initial-cluster-state=existing ",
        ] {
            assert!(flags.contains(want), "{want} in {flags}");
        }
        assert!(!flags.contains("cert"), "{flags}");
    }

    #[test]
    fn behind_a_nat_it_tells_one_address_and_listens_on_all() {
        let (public, all) = ("203.0.113.9".parse().unwrap(), "0.0.0.0".parse().unwrap());
        let behind =
            ManagedEtcd { peer_address: public, listen_address: all, tls: Some(files()), ..etcd() };
        let flags = flags(&behind, &Bootstrap::found(7), Some(&files())).join(" ");
        for want in [
            "--listen-client-urls=https://0.0.0.0:2379 ",
            "--advertise-client-urls=https://203.0.113.9:2379 ",
            "--listen-peer-urls=https://0.0.0.0:2380 ",
            "--initial-advertise-peer-urls=https://203.0.113.9:2380 ",
        ] {
            assert!(flags.contains(want), "{want} in {flags}");
        }
    }
}
