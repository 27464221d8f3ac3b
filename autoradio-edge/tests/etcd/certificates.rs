//! With certificates: the cluster works, and nobody without one of ours gets anything.

use std::path::Path;
use std::time::Duration;

use autoradio_edge::cluster::{EtcdAccess, Store, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::rig::{Node, names, store, voters};
use crate::support::{mount, path, state_dir};

/// Certificates of one authority, in files.
struct Authority {
    dir: TempDir,
}

impl Authority {
    fn new() -> Self {
        let dir = state_dir();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap();
        std::fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();
        let issuer = Issuer::new(params, key);

        let own = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&own, &issuer).unwrap();
        std::fs::write(dir.path().join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(dir.path().join("cert.key"), own.serialize_pem()).unwrap();
        Self { dir }
    }

    fn files(&self) -> TlsFiles {
        let path = |name: &str| Path::new(self.dir.path()).join(name);
        TlsFiles { ca: path("ca.pem"), certificate: path("cert.pem"), key: path("cert.key") }
    }
}

async fn refusal(url: &str, tls: Option<TlsFiles>) -> String {
    let access = EtcdAccess { endpoints: vec![url.to_owned()], tls, find_members: None };
    let connected = Store::connect(&access, Duration::from_secs(5)).await;
    connected.err().expect("nobody gets in").to_string()
}

#[tokio::test]
async fn a_cluster_with_certificates_lets_nobody_else_in() {
    let ours = Authority::new();
    let first = Node::new("a", &[]).secured(ours.files());
    let second = Node::new("b", &[&first]).secured(ours.files());
    let a = first.start().await;
    let b = second.start().await;
    let founder = store(&a).await;
    let members = voters(&founder, 2).await;
    assert_eq!(names(&members), ["a", "b"]);
    let secure = |url: &String| url.starts_with("https://");
    assert!(members.iter().all(|it| it.member.peer_urls.iter().all(secure)), "{members:?}");
    founder.create_mount(&mount("/secret")).await.unwrap();

    let url = first.managed.endpoint();
    let elsewhere = Authority::new();
    let others = elsewhere.files();
    let stranger = refusal(&url, Some(others.clone())).await;
    assert!(stranger.contains("--etcd-ca"), "{stranger}");
    // One who trusts our authority, but was not signed by it.
    let impostor = TlsFiles { ca: ours.files().ca, ..others };
    let impostor = refusal(&url, Some(impostor)).await;
    assert!(impostor.contains("our certificate"), "{impostor}");
    let plain = refusal(&url.replace("https", "http"), None).await;
    assert!(plain.contains("https://"), "{plain}");
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_node_that_was_alone_in_the_clear_takes_certificates_and_others() {
    let authority = Authority::new();
    let mut first = Node::new("a", &[]);
    first.managed.insecure = false;
    let a = first.start().await;
    store(&a).await.create_mount(&mount("/old")).await.unwrap();
    a.stop().await;

    let first = first.secured(authority.files());
    let second = Node::new("b", &[&first]).secured(authority.files());
    let a = first.start().await;
    let b = second.start().await;
    let joined = store(&b).await;
    let members = voters(&joined, 2).await;
    let peer = format!("https://127.0.0.1:{}", first.managed.peer_port);
    assert!(members.iter().any(|it| it.member.peer_urls == [peer.as_str()]), "{members:?}");
    assert!(joined.mount(&path("/old")).await.is_ok());

    let files = authority.files();
    let shown = std::process::Command::new(env!("CARGO_BIN_EXE_radioctl"))
        .args(["--etcd", &first.managed.endpoint(), "cluster", "members"])
        .env("AUTORADIO_ETCD_CA", files.ca)
        .env("AUTORADIO_ETCD_CERT", files.certificate)
        .env("AUTORADIO_ETCD_KEY", files.key)
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("voter") && shown.contains("leader") && shown.contains(&peer),
        "{shown}"
    );
    a.stop().await;
    b.stop().await;
}
