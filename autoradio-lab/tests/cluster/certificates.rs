//! A cluster whose etcd asks for certificates.

use autoradio_lab::tls::{Authority, Files};
use autoradio_lab::{Host, Lab, command};

use crate::rig::{MOUNT, SOON, started};

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn with_certificates_nodes_form_a_cluster_and_nobody_else_gets_anything() {
    let (lab, _mount) = started(Lab::builder().nodes(3).clients(1).tls(true));
    for node in lab.nodes() {
        assert_eq!(node.mount_paths().unwrap(), [MOUNT], "on {}", node.host().name());
    }
    lab.wait_master(MOUNT, SOON).unwrap();

    let client = lab.client(1).host();
    let (own, foreign) = (client.folder().join("own"), client.folder().join("foreign"));
    let authority = lab.authority().unwrap().expect("the lab has one");
    // Between members, etcd also compares the address that a certificate is shown from.
    let names = [client.v4().to_string()];
    let known = authority.issue("operator", &names, &own).unwrap();
    let stranger = Authority::create(&foreign).unwrap();
    let unknown = stranger.issue("operator", &names, &foreign).unwrap();
    // The stranger trusts the cluster; the cluster does not trust the stranger.
    let unknown = Files { ca: known.ca.clone(), ..unknown };
    let nobody = Files { cert: "".into(), key: "".into(), ..known.clone() };
    for node in lab.nodes() {
        for port in [2_379, 2_380] {
            let at = format!("{}:{port}", node.host().v4());
            assert!(is_answered(client, &format!("https://{at}"), &known), "{at}, own authority");
            assert!(!is_answered(client, &format!("https://{at}"), &unknown), "{at}, foreign");
            assert!(!is_answered(client, &format!("https://{at}"), &nobody), "{at}, without any");
            assert!(!is_answered(client, &format!("http://{at}"), &nobody), "{at}, in the clear");
        }
    }
}

/// Whether etcd gives any answer at all.
fn is_answered(client: &Host, url: &str, files: &Files) -> bool {
    let mut curl = client.command("curl");
    // In HTTP/2, the port for peers would speak nothing but gRPC.
    curl.args([
        "--silent",
        "--http1.1",
        "--max-time",
        "3",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
    ]);
    curl.arg("--cacert").arg(&files.ca);
    if !files.cert.as_os_str().is_empty() {
        curl.arg("--cert").arg(&files.cert).arg("--key").arg(&files.key);
    }
    curl.arg(format!("{url}/version"));
    let status = command::output(curl).unwrap().stdout;
    String::from_utf8_lossy(&status) != "000"
}
