//! Supervised children, with real processes.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

mod support;

use std::path::Path;
use std::time::Duration;

use autoradio_edge::supervise::{Child, ChildSpec, ChildState, SuperviseError, start};
use nix::sys::signal::Signal;
use support::{PATIENCE, in_time, lives, signal, until};

fn shell(dir: &Path, script: &str) -> ChildSpec {
    ChildSpec {
        name: "test",
        program: "sh".into(),
        // The directory makes the command line this test's own.
        args: vec!["-c".into(), script.into(), dir.into()],
        env: vec![("GREETING".to_owned(), "hello".to_owned())],
        run_as: None,
        dirs: vec![dir.join("own")],
        pid_file: dir.join("run/test.pid"),
        stop_grace: Duration::from_millis(300),
        remedy: "install a shell",
    }
}

async fn running(child: &Child) -> i32 {
    let mut state = child.state();
    let running = state.wait_for(|state| matches!(state, ChildState::Running { .. }));
    let state = in_time("the child runs", PATIENCE, running).await.unwrap().clone();
    let ChildState::Running { pid } = state else { unreachable!("waited for it") };
    // A process that has just begun has no command line yet for a moment.
    until("the process has begun", PATIENCE, async || lives(pid).then_some(())).await;
    pid
}

#[tokio::test]
async fn a_killed_child_is_back_within_two_seconds_and_a_stopped_one_stays_away() {
    let dir = tempfile::tempdir().unwrap();
    let child = start(shell(dir.path(), "exec sleep 600")).await.unwrap();
    let first = running(&child).await;
    signal(first, Signal::SIGKILL);
    let second = until("the child is back", Duration::from_secs(2), async || {
        child.pid().filter(|pid| *pid != first && lives(*pid))
    })
    .await;
    let state = child.state();
    in_time("the child stops", PATIENCE, child.stop()).await;
    assert!(!lives(second));
    assert_eq!(*state.borrow(), ChildState::Stopped);
    assert!(!dir.path().join("run/test.pid").exists());
}

#[tokio::test]
async fn a_child_that_ignores_sigterm_is_killed_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; sleep 601 & echo $!; while :; do wait; done";
    let child = start(shell(dir.path(), script)).await.unwrap();
    let pid = running(&child).await;
    let helper =
        until("the helper is named", PATIENCE, async || child.last_line().parse().ok()).await;
    assert!(lives(helper));
    in_time("the child stops", PATIENCE, child.stop()).await;
    assert!(!lives(pid));
    until("the helper is gone", PATIENCE, async || (!lives(helper)).then_some(())).await;
}

#[tokio::test]
async fn a_child_gets_sighup_its_own_environment_and_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap 'echo reloaded' HUP; echo \"$GREETING $(pwd) ${CARGO_PKG_NAME:-clean}\"; while :; do sleep 0.05; done";
    let child = start(shell(dir.path(), script)).await.unwrap();
    let own = dir.path().canonicalize().unwrap().join("own");
    let want = format!("hello {} clean", own.display());
    until("the child greets", PATIENCE, async || (child.last_line() == want).then_some(())).await;
    child.reload();
    until("the child reloads", PATIENCE, async || (child.last_line() == "reloaded").then_some(()))
        .await;
    child.stop().await;
}

#[tokio::test]
async fn a_child_that_ends_at_once_waits_and_says_how_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let child = start(shell(dir.path(), "echo no luck; exit 3")).await.unwrap();
    let mut state = child.state();
    let ended = |state: &ChildState| matches!(state, ChildState::Waiting { reason } if reason.contains("exit status: 3"));
    in_time("the child ends", PATIENCE, state.wait_for(ended)).await.unwrap();
    until("its words arrive", PATIENCE, async || (child.last_line() == "no luck").then_some(()))
        .await;
    in_time("the child stops", PATIENCE, child.stop()).await;
}

#[tokio::test]
async fn a_child_left_by_a_killed_daemon_is_ended_before_a_new_one_starts() {
    let dir = tempfile::tempdir().unwrap();
    let spec = shell(dir.path(), "while :; do sleep 0.05; done");
    let child = start(spec.clone()).await.unwrap();
    let old = running(&child).await;
    // The second start stands for a daemon that comes after a killed one.
    let next = in_time("the next daemon starts it", PATIENCE, start(spec)).await.unwrap();
    assert!(!lives(old));
    assert!(lives(running(&next).await));
    drop(child);
    next.stop().await;
}

#[tokio::test]
async fn a_stranger_behind_an_old_pid_file_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut stranger = std::process::Command::new("sleep").arg("602").spawn().unwrap();
    let pid = i32::try_from(stranger.id()).unwrap();
    std::fs::create_dir(dir.path().join("run")).unwrap();
    std::fs::write(dir.path().join("run/test.pid"), format!("{pid}\n/bin/sh\0-c\0other")).unwrap();
    let child = start(shell(dir.path(), "exec sleep 600")).await.unwrap();
    running(&child).await;
    assert!(lives(pid));
    child.stop().await;
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_missing_program_is_named_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let spec = ChildSpec { program: "no-such-program".into(), ..shell(dir.path(), "") };
    let error = start(spec).await.expect_err("missing");
    assert!(matches!(error, SuperviseError::ProgramMissing { .. }));
    let error = error.to_string();
    assert!(error.contains("no-such-program") && error.contains("install a shell"), "{error}");
}
