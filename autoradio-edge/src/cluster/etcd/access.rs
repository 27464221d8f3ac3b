//! How etcd is reached: endpoints, and the certificates for it.

use std::path::PathBuf;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};

use super::ClusterError;

/// Silence on a connection after which it is tested, and time for the answer. etcd forbids tests below 5 s.
const CONNECTION_TEST: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(3));

/// Where certificates are: files in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority that signed every certificate of the cluster.
    pub ca: PathBuf,
    /// This host's certificate: it is client, and with managed etcd server and peer too.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How etcd is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdAccess {
    /// URLs of members of one cluster, in order of preference: all `https://` with certificates, else all `http://`.
    pub endpoints: Vec<String>,
    /// Certificates, if etcd is to be reached by TLS.
    pub tls: Option<TlsFiles>,
    /// Adds the cluster's other members as they come and go. Holds the name of the member that is not added: this
    /// node's own, which is an endpoint already. Without it the endpoints are what was given.
    pub find_members: Option<String>,
}

impl EtcdAccess {
    /// Plain access to these endpoints and no others.
    pub fn plain(endpoints: Vec<String>) -> Self {
        Self { endpoints, ..Self::default() }
    }
}

/// Makes connections to endpoints.
#[derive(Clone)]
pub(super) struct Dialer {
    options: ConnectOptions,
    tls: bool,
}

impl Dialer {
    /// Reads the certificates; a dial takes `timeout` at most.
    pub(super) fn new(access: &EtcdAccess, timeout: Duration) -> Result<Self, ClusterError> {
        let (interval, answer) = CONNECTION_TEST;
        let mut options = ConnectOptions::new()
            .with_connect_timeout(timeout)
            .with_keep_alive(interval, answer)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        if let Some(files) = &access.tls {
            options = options.with_tls(tls_options(files)?);
        }
        Ok(Self { options, tls: access.tls.is_some() })
    }

    /// A connection to one endpoint. Nothing is dialled before the first question.
    pub(super) async fn connect(&self, url: &str) -> Result<Client, ClusterError> {
        let wrong = |reason: String| ClusterError::Endpoint { endpoint: url.to_owned(), reason };
        match (url.split_once("://"), self.tls) {
            (Some(("https", _)), true) | (Some(("http", _)), false) => {}
            (Some(("http", _)), true) => {
                return Err(wrong("certificates are for https:// URLs only".to_owned()));
            }
            (Some(("https", _)), false) => {
                return Err(wrong("an https:// URL needs certificates".to_owned()));
            }
            _ => return Err(wrong("not an http:// or https:// URL".to_owned())),
        }
        // One client for each endpoint: the library would balance over several, and every dead one would then make its
        // share of the questions time out.
        let client = Client::connect([url], Some(self.options.clone())).await;
        client.map_err(|error| wrong(error.to_string()))
    }
}

fn tls_options(files: &TlsFiles) -> Result<TlsOptions, ClusterError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| ClusterError::Certificate {
            path: path.display().to_string(),
            reason: error.to_string(),
        })
    };
    let identity = Identity::from_pem(read(&files.certificate)?, read(&files.key)?);
    let ca = Certificate::from_pem(read(&files.ca)?);
    Ok(TlsOptions::new().ca_certificate(ca).identity(identity))
}
