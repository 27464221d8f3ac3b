//! Which etcd: one of our own, alone or joined to others, or one that runs elsewhere; and with which certificates. Pure.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use super::check::Checker;
use super::host::{FileFact, HostFacts};
use super::{ConfigError, RunArgs};
use crate::cluster::TlsFiles;

/// Where certificates are looked for: authority, certificate, key.
const DEFAULT_FILES: [&str; 3] = [
    "/etc/autoradio/etcd_ca.pem",
    "/etc/autoradio/etcd_client.pem",
    "/etc/autoradio/etcd_client.key",
];

/// Where this node's etcd is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdChoice {
    /// The daemon runs it.
    Managed {
        /// `host:port` of the nodes to join through; none for a cluster of its own.
        join: Vec<String>,
        /// Whether it is open to the network without certificates.
        insecure: bool,
    },
    /// Somebody else does.
    External {
        /// URLs of its members.
        endpoints: Vec<String>,
    },
}

/// Files of certificates that the operator names or that are looked for, in the order of [`DEFAULT_FILES`], and whether
/// they were named.
pub(super) fn files(named: [Option<&String>; 3]) -> [(PathBuf, bool); 3] {
    let mut index = 0;
    named.map(|named| {
        let default = DEFAULT_FILES[index];
        index += 1;
        (PathBuf::from(named.map_or(default, String::as_str)), named.is_some())
    })
}

/// The certificates, if there are any: all three files, or none. The error names the one that is amiss.
pub(super) fn certificates(
    files: [(PathBuf, bool); 3],
    fact: impl Fn(&PathBuf) -> FileFact,
) -> Result<Option<TlsFiles>, (usize, String)> {
    let facts = [0, 1, 2].map(|index| fact(&files[index].0));
    let wanted = |(file, fact): (&(PathBuf, bool), &FileFact)| file.1 || *fact != FileFact::Missing;
    if !files.iter().zip(&facts).any(wanted) {
        return Ok(None);
    }
    for (index, fact) in facts.into_iter().enumerate() {
        match fact {
            FileFact::Readable => {}
            FileFact::Missing => {
                let reason =
                    "there is no such file; etcd's certificates are three files: give all or none";
                return Err((index, reason.to_owned()));
            }
            FileFact::Unreadable(reason) => {
                return Err((index, format!("cannot be read: {reason}")));
            }
        }
    }
    let [ca, certificate, key] = files.map(|(path, _)| path);
    Ok(Some(TlsFiles { ca, certificate, key }))
}

impl Checker {
    pub(super) fn etcd_tls(&mut self, args: &RunArgs, host: &HostFacts) -> Option<TlsFiles> {
        let files = args.etcd_files();
        certificates(files.clone(), |path| host.file(path)).unwrap_or_else(|(index, reason)| {
            let flag = ["--etcd-ca", "--etcd-cert", "--etcd-key"][index];
            self.invalid(flag, &files[index].0.to_string_lossy(), reason);
            None
        })
    }

    pub(super) fn etcd(&mut self, args: &RunArgs, tls: bool, client_port: u16) -> EtcdChoice {
        if !args.etcd.is_empty() {
            if !args.join.is_empty() {
                let reason = "is about an etcd that this node runs, and --etcd says that it runs none; give one of the two";
                self.invalid("--join", &args.join.join(","), reason);
            }
            for url in &args.etcd {
                if let Err(reason) = external(url, tls, args.insecure_etcd) {
                    self.invalid("--etcd", url, reason);
                }
            }
            return EtcdChoice::External { endpoints: args.etcd.clone() };
        }
        if !args.join.is_empty() && !tls && !args.insecure_etcd && self.errors_of_files() == 0 {
            let reason = "nodes speak with each other by certificates, and there are none; put them into \
                /etc/autoradio (etcd_ca.pem, etcd_client.pem, etcd_client.key), or accept the risk with --insecure-etcd";
            self.invalid("--join", &args.join.join(","), reason);
        }
        if tls && args.insecure_etcd {
            let reason = "there are certificates, and they are used; leave one of the two out";
            self.invalid("--insecure-etcd", "true", reason);
        }
        let hosts = args.join.iter().filter_map(|host| match host_and_port(host, client_port) {
            Ok(host) => Some(host),
            Err(reason) => {
                self.invalid("--join", host, reason);
                None
            }
        });
        EtcdChoice::Managed { join: hosts.collect(), insecure: args.insecure_etcd }
    }

    /// A file that is amiss has been told of; that certificates are missing therefore need not be.
    fn errors_of_files(&self) -> usize {
        let of_file = |error: &&ConfigError| matches!(error, ConfigError::Invalid { flag, .. } if ["--etcd-ca", "--etcd-cert", "--etcd-key"].contains(flag));
        self.errors.iter().filter(of_file).count()
    }
}

impl RunArgs {
    /// The files of certificates to look for, and whether they were named.
    pub(super) fn etcd_files(&self) -> [(PathBuf, bool); 3] {
        files([self.etcd_ca.as_ref(), self.etcd_cert.as_ref(), self.etcd_key.as_ref()])
    }
}

fn external(url: &str, tls: bool, insecure: bool) -> Result<(), &'static str> {
    let uri: http::Uri = url.parse().map_err(|_| "must be a URL, like https://192.0.2.1:2379")?;
    let host = uri.host().unwrap_or_default();
    match (uri.scheme_str(), tls) {
        (Some("https"), true) => Ok(()),
        (Some("https"), false) => Err("needs certificates: --etcd-ca, --etcd-cert, --etcd-key"),
        (Some("http"), true) => Err("there are certificates, which are for https:// only"),
        (Some("http"), false) if insecure || is_loopback(host) => Ok(()),
        (Some("http"), false) => Err(
            "whoever reads this connection owns the radio: use https:// with certificates, or accept the risk with --insecure-etcd",
        ),
        _ => Err("must be a URL, like https://192.0.2.1:2379"),
    }
}

fn is_loopback(host: &str) -> bool {
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

fn host_and_port(text: &str, port: u16) -> Result<String, &'static str> {
    const WANT: &str = "must be a host and perhaps a port, like 192.0.2.1 or fra1.example.com:2379";
    let bare = text.trim_matches(['[', ']']);
    if bare.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{bare}]:{port}"));
    }
    let authority: http::uri::Authority = text.parse().map_err(|_| WANT)?;
    let has_port = authority.port().is_some();
    if authority.host().is_empty()
        || text.contains('@')
        || (has_port && authority.port_u16().is_none())
    {
        return Err(WANT);
    }
    Ok(if has_port { text.to_owned() } else { format!("{text}:{port}") })
}
