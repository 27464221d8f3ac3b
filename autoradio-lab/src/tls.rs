//! Certificates for a lab's etcd, by an authority of its own.
//!
//! The authority's files are in the lab's folder, each host's in the host's.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::LabError;
use crate::host::Host;

/// Signs certificates of hosts.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Where a host's files are: what `--etcd-ca`, `--etcd-cert` and `--etcd-key` take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Certificate of the authority.
    pub ca: PathBuf,
    /// The host's own certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Files {
    /// Those in a folder, whether they are there or not.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            ca: folder.join("etcd_ca.pem"),
            cert: folder.join("etcd_client.pem"),
            key: folder.join("etcd_client.key"),
        }
    }

    /// The three as flags of the daemon and of radioctl.
    pub(crate) fn flags(&self) -> [String; 6] {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let flag = |name: &str| name.to_owned();
        [
            flag("--etcd-ca"),
            path(&self.ca),
            flag("--etcd-cert"),
            path(&self.cert),
            flag("--etcd-key"),
            path(&self.key),
        ]
    }
}

impl Authority {
    /// Makes one; its files go to `folder`.
    pub fn create(folder: &Path) -> Result<Self, LabError> {
        fs::create_dir_all(folder).map_err(LabError::file(folder))?;
        let key = KeyPair::generate()?;
        let params = authority_params();
        let certificate = params.self_signed(&key)?.pem();
        write(&folder.join("ca.pem"), &certificate)?;
        write(&folder.join("ca.key"), &key.serialize_pem())?;
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// The one whose files are in `folder`.
    pub fn load(folder: &Path) -> Result<Self, LabError> {
        let certificate = read(&folder.join("ca.pem"))?;
        let key = KeyPair::from_pem(&read(&folder.join("ca.key"))?)?;
        Ok(Self { certificate, issuer: Issuer::new(authority_params(), key) })
    }

    /// Gives a host a certificate for its names and addresses, as server and as client.
    pub fn certify(&self, host: &Host) -> Result<Files, LabError> {
        let addresses = [host.v4().to_string(), host.v6().to_string(), "127.0.0.1".to_owned()];
        let names = [host.name().to_owned(), "localhost".to_owned()];
        let names: Vec<String> = names.into_iter().chain(addresses).collect();
        self.issue(host.name(), &names, host.folder())
    }

    /// Signs a certificate for `names`, which may be addresses; its files go to `folder`.
    pub fn issue(&self, subject: &str, names: &[String], folder: &Path) -> Result<Files, LabError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, subject);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        fs::create_dir_all(folder).map_err(LabError::file(folder))?;
        let files = Files::in_folder(folder);
        write(&files.ca, &self.certificate)?;
        write(&files.cert, &certificate)?;
        write(&files.key, &key.serialize_pem())?;
        Ok(files)
    }
}

/// What an authority says of itself; with its key, this is all that signing takes.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "autoradio lab authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn write(path: &Path, text: &str) -> Result<(), LabError> {
    fs::write(path, text).map_err(LabError::file(path))
}

fn read(path: &Path) -> Result<String, LabError> {
    fs::read_to_string(path).map_err(LabError::file(path))
}
