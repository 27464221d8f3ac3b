//! A cluster whose etcd asks for certificates.

use autoradio_lab::tls::{Authority, Files};
use autoradio_lab::{Host, Lab};

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
    let known = authority.issue("operator", &["operator".to_owned()], &own).unwrap();
    let stranger = Authority::create(&foreign).unwrap();
    let unknown = stranger.issue("operator", &["operator".to_owned()], &foreign).unwrap();
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

/// Whether etcd says as much as its version.
fn is_answered(client: &Host, url: &str, files: &Files) -> bool {
    let ca = files.ca.to_string_lossy().into_owned();
    let mut args = vec!["--silent", "--show-error", "--fail", "--max-time", "3", "--cacert", &ca];
    let (cert, key) = (files.cert.to_string_lossy(), files.key.to_string_lossy());
    if !cert.is_empty() {
        args.extend(["--cert", &*cert, "--key", &*key]);
    }
    let url = format!("{url}/version");
    args.push(&url);
    client.run("curl", &args).is_ok_and(|answer| answer.contains("etcdserver"))
}
