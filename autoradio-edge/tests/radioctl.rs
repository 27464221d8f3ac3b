//! `radioctl` as the operator uses it on a cluster: nodes, draining, backups, settings of mounts. What mounts live through is in `cluster.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::os::unix::fs::PermissionsExt;

use support::{Etcd, PATIENCE, fails, json, mount, path, radioctl};

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

#[tokio::test]
async fn the_operator_gives_a_mount_its_settings_and_its_listeners() {
    let etcd = Etcd::start().await;
    for path in ["/jingles.mp3", "/live.mp3"] {
        assert!(etcd.radioctl(&["create-mount", path]).status.success());
    }
    let edit =
        |args: &[&str]| etcd.radioctl(&[&["edit-mount", "/live.mp3", "-o", "json"], args].concat());
    let edited = json(&edit(&[
        "--fallback",
        "/jingles.mp3",
        "--grace",
        "10",
        "--genre",
        "Jazz",
        "--public",
        "no",
        "--max-source-bitrate",
        "320000",
        "--shoutcast-sid",
        "1",
        "--range",
        "true",
    ]));
    assert_eq!((&edited["fallback"], &edited["grace_s"]), (&"/jingles.mp3".into(), &10.into()));
    assert_eq!((&edited["genre"], &edited["public"]), (&"Jazz".into(), &false.into()));
    assert_eq!(edited["source_limits"]["bits_per_second"], 320_000);
    let back = ["edit-mount", "/jingles.mp3", "--fallback", "/live.mp3"];
    fails(&etcd.radioctl(&back), 2, "/jingles.mp3 -> /live.mp3 -> /jingles.mp3");
    fails(&edit(&["--fallback", "/no"]), 2, "create it first");
    fails(&edit(&["--fallback", "no"]), 2, "starts with a slash");
    fails(&edit(&["--relay-url", "https://h/"]), 2, "https is not");
    fails(&etcd.radioctl(&["create-mount", "/x", "--shoutcast-sid", "1"]), 2, "that of /live.mp3");
    fails(&etcd.radioctl(&["show-mount", "/x"]), 3, "does not exist");
    let cleared =
        json(&edit(&["--fallback", "", "--max-source-bitrate", "0", "--public", "as-source"]));
    assert_eq!(cleared["fallback"], serde_json::Value::Null);
    assert_eq!(cleared["source_limits"]["bits_per_second"], serde_json::Value::Null);
    assert_eq!(cleared["genre"], "Jazz", "what is not given stays");
    let table = etcd.radioctl(&["show-mount", "/live.mp3"]);
    let table = String::from_utf8_lossy(&table.stdout);
    assert!(table.contains("SHOUTcast number") && table.contains("10 s"), "{table}");

    let added = json(&etcd.radioctl(&["add-listener", "/live.mp3", "anna", "-o", "json"]));
    assert_eq!(added["password"].as_str().unwrap().len(), 24);
    let stored = etcd.store().await.mount(&path("/live.mp3")).await.unwrap().record;
    assert!(stored.listener_users.unwrap()["anna"].starts_with("$argon2id$"));
    fails(&edit(&["--listener-add-url", "http://h/"]), 2, "not by both");
    fails(&etcd.radioctl(&["add-listener", "/live.mp3", "a:b"]), 2, "colon");
    fails(&etcd.radioctl(&["remove-listener", "/live.mp3", "ben"]), 1, "no listener of /live.mp3");
    let last = etcd.radioctl(&["remove-listener", "/live.mp3", "anna"]);
    assert!(String::from_utf8_lossy(&last.stderr).contains("nobody may listen"), "{last:?}");
    assert_eq!(json(&edit(&["--range", "false"]))["listener_users"], serde_json::json!([]));
    assert_eq!(json(&edit(&["--open-to-all"]))["listener_users"], serde_json::Value::Null);
    etcd.child.stop().await;
}
