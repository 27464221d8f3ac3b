//! `radioctl` as the operator uses it on a cluster: nodes, draining, backups. Mounts are in `cluster.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::os::unix::fs::PermissionsExt;

use support::{Etcd, PATIENCE, fails, json, mount, radioctl};

#[tokio::test]
async fn the_operator_sees_nodes_and_drains_them() {
    let etcd = Etcd::start().await;
    let none = etcd.radioctl(&["nodes"]);
    assert!(String::from_utf8_lossy(&none.stdout).contains("No node lives"), "{none:?}");
    fails(&etcd.radioctl(&["drain", "a"]), 1, "none does right now");
    fails(&etcd.radioctl(&["drain", "A_1"]), 2, "one DNS label");

    let joined = etcd.join("a").await;
    joined.until("the node is there", PATIENCE, |it| it.nodes.len() == 1).await;
    fails(&etcd.radioctl(&["drain", "b"]), 1, "these do: a");
    let drained = etcd.radioctl(&["drain", "a"]);
    assert!(String::from_utf8_lossy(&drained.stderr).contains("last node"), "{drained:?}");
    assert!(String::from_utf8_lossy(&drained.stdout).contains("a drains"), "{drained:?}");
    let again = etcd.radioctl(&["drain", "a"]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("already"), "{again:?}");
    assert_eq!(json(&etcd.radioctl(&["nodes", "-o", "json"]))[0]["state"], "draining");
    assert!(etcd.radioctl(&["undrain", "a"]).status.success());
    let status = json(&etcd.radioctl(&["status", "-o", "json"]));
    assert_eq!(
        (&status["nodes"][0]["state"], &status["domain"]),
        (&"up".into(), &"radio.test".into())
    );
    let table = etcd.radioctl(&["status"]);
    let table = String::from_utf8_lossy(&table.stdout);
    assert!(
        table.contains("radio.test: 0 listeners") && table.contains("no mounts yet"),
        "{table}"
    );
    fails(&etcd.radioctl(&["undrain", "b"]), 1, "these do: a");
    joined.leave().await;
    etcd.child.stop().await;
}

#[tokio::test]
async fn a_backup_brings_lost_and_changed_mounts_back() {
    let etcd = Etcd::start().await;
    let store = etcd.store().await;
    for path in ["/lost", "/changed", "/same"] {
        store.create_mount(&mount(path)).await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mounts.json");
    let file = file.to_str().unwrap();
    assert!(etcd.radioctl(&["backup", file]).status.success());
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds hashes");

    assert!(etcd.radioctl(&["delete-mount", "/lost", "--yes"]).status.success());
    assert!(etcd.radioctl(&["edit-mount", "/changed", "--name", "Other"]).status.success());
    store.create_mount(&mount("/later")).await.unwrap();
    let asks = etcd.radioctl(&["restore", file]);
    fails(&asks, 2, "--yes");
    fails(&asks, 2, "/lost is created");
    fails(&asks, 2, "/changed changes: name");
    let restored = json(&etcd.radioctl(&["restore", file, "--yes", "-o", "json"]));
    assert_eq!(restored["created"], serde_json::json!(["/lost"]));
    assert_eq!(restored["changed"], serde_json::json!(["/changed"]));
    assert_eq!((&restored["deleted"], &restored["unchanged"]), (&serde_json::json!([]), &1.into()));

    let backup = etcd.radioctl(&["backup"]);
    let text = String::from_utf8(std::fs::read(file).unwrap()).unwrap();
    let piped =
        radioctl(&etcd.managed.endpoint(), &["restore", "-", "--yes", "--delete-others"], &text);
    assert!(
        String::from_utf8_lossy(&piped.stdout).contains("1 deleted, 3 as they were"),
        "{piped:?}"
    );
    assert!(String::from_utf8_lossy(&backup.stdout).contains("/later"), "backed up before");
    assert_eq!(store.current_mounts().await.unwrap().len(), 3);
    etcd.child.stop().await;
}

#[tokio::test]
async fn a_backup_that_cannot_be_restored_changes_nothing() {
    let etcd = Etcd::start().await;
    for (why, text, code, want) in [
        ("no JSON", "what", 1, "no backup"),
        (
            "another schema",
            r#"{"format":"autoradio-mounts","schema":2,"mounts":[]}"#,
            1,
            "schema 2",
        ),
        ("no question can be asked", "", 2, "standard input is the backup"),
    ] {
        let args: &[&str] = if code == 2 { &["restore", "-"] } else { &["restore", "-", "--yes"] };
        let output = radioctl(&etcd.managed.endpoint(), args, text);
        assert_eq!(output.status.code(), Some(code), "{why}");
        fails(&output, code, want);
    }
    fails(&etcd.radioctl(&["restore", "/no/such/file", "--yes"]), 1, "/no/such/file");
    etcd.child.stop().await;
}
