//! Listeners of the hub with real Icecasts: what they hear while sources, masters and Icecasts come and go.

use std::sync::Arc;
use std::time::Duration;

use autoradio_edge::cluster::MountRecord;

use crate::rig::{
    AUTHORIZATION, Client, FRAME_BYTES, Process, Rig, encoder, frames, master, mount, wait_until,
};

/// Longest silence that a listener may have when its master changes, on a busy machine.
const GAP_MAX: Duration = Duration::from_secs(15);

/// A listener whose answer's head has come.
fn listen(rig: &Rig, node: usize, path: &str, fields: &str) -> Client {
    let mut found = None;
    wait_until("the mount plays", || {
        let mut listener = rig.nodes[node].send(format!("GET {path} HTTP/1.0\r\n{fields}\r\n"));
        let playing = listener.read_head().starts_with("HTTP/1.0 200 ");
        found = playing.then_some(listener);
        playing
    });
    found.expect("a listener")
}

/// Sends frames of this letter until the listener hears one, and nothing but whole frames meanwhile.
fn assert_heard(source: &mut Client, listener: &mut Client, letter: u8) {
    listener.stream.set_read_timeout(Some(GAP_MAX)).expect("a timeout");
    source.write(&frames(letter, 40));
    loop {
        let frame = listener.read_exactly(FRAME_BYTES);
        assert_eq!(frame, frames(frame[4], 1), "a torn frame");
        if frame[4] == letter {
            return;
        }
    }
}

/// A source that insists, as clients do.
fn source(rig: &Rig, node: usize, path: &str) -> Client {
    let head = format!("SOURCE {path} HTTP/1.0\r\n{AUTHORIZATION}Content-Type: audio/mpeg\r\n\r\n");
    let mut found = None;
    wait_until("the source is taken", || {
        let mut source = rig.nodes[node].send(&head);
        let taken = source.read_head().starts_with("HTTP/1.0 200 ");
        found = taken.then_some(source);
        taken
    });
    found.expect("a source")
}

fn edit(rig: &mut Rig, path: &str, change: impl Fn(&mut MountRecord)) {
    change(Arc::make_mut(rig.snapshot.mounts.get_mut(&mount(path)).expect("the mount")));
    rig.place();
}

#[test]
fn a_listener_stays_while_its_source_returns_its_icecast_is_killed_and_its_master_changes() {
    let mut rig = Rig::of_nodes(2);
    let mut first = source(&rig, 0, "/live.mp3");
    let mut near = listen(&rig, 0, "/live.mp3", "");
    let mut far = listen(&rig, 1, "/live.mp3", "");
    for listener in [&mut near, &mut far] {
        assert_heard(&mut first, listener, b'a');
    }
    drop(first);
    let mut second = source(&rig, 1, "/live.mp3");
    for listener in [&mut near, &mut far] {
        assert_heard(&mut second, listener, b'b');
    }
    rig.icecast.kill();
    second.wait_closed();
    rig.snapshot.masters.insert(mount("/live.mp3"), master(2, 2));
    rig.place();
    let mut third = source(&rig, 0, "/live.mp3");
    for listener in [&mut near, &mut far] {
        assert_heard(&mut third, listener, b'c');
    }
}

#[test]
fn listeners_hear_the_fallback_while_their_mount_is_silent_and_come_back_by_themselves() {
    let mut rig = Rig::start();
    edit(&mut rig, "/live.mp3", |record| record.fallback = Some(mount("/two.mp3")));
    let mut own = source(&rig, 0, "/live.mp3");
    let mut fallback = source(&rig, 0, "/two.mp3");
    let mut listener = listen(&rig, 0, "/live.mp3", "");
    assert_heard(&mut own, &mut listener, b'o');
    drop(own);
    wait_until("the fallback plays", || {
        fallback.write(&frames(b'f', 4));
        listener.read_exactly(FRAME_BYTES)[4] == b'f'
    });
    let mut late = listen(&rig, 0, "/live.mp3", "");
    assert_heard(&mut fallback, &mut late, b'g');
    let mut own = source(&rig, 0, "/live.mp3");
    wait_until("its own mount plays", || {
        own.write(&frames(b'p', 4));
        fallback.write(&frames(b'h', 1));
        listener.read_exactly(FRAME_BYTES)[4] == b'p'
    });
    let views = rig.stats.view().mounts;
    let at =
        |path: &str| views.iter().find(|view| view.path.as_str() == path).map(|it| it.listeners);
    assert_eq!((at("/live.mp3"), at("/two.mp3")), (Some(2), Some(0)), "they keep their mount");
}

#[test]
fn a_title_stands_in_a_listeners_first_block_and_no_block_repeats_it() {
    let rig = Rig::start();
    let mut source = source(&rig, 0, "/live.mp3");
    let _first = listen(&rig, 0, "/live.mp3", "");
    let update = "GET /admin/metadata?mode=updinfo&mount=%2flive%2emp3&song=It%27s%3b+caf%c3%a9";
    let answer = rig.send(format!("{update} HTTP/1.0\r\n{AUTHORIZATION}\r\n")).read_all();
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    source.write(&frames(b'a', 200));
    let mut late = listen(&rig, 0, "/live.mp3", "icy-metadata: 1\r\n");
    source.write(&frames(b'b', 200));
    late.read_exactly(16_000);
    let units = usize::from(late.read_exactly(1)[0]);
    let block = String::from_utf8(late.read_exactly(16 * units)).expect("UTF-8");
    assert_eq!(block.trim_end_matches('\0'), "StreamTitle='It's; caf\u{e9}';");
    late.read_exactly(16_000);
    assert_eq!(late.read_exactly(1), [0], "nothing new");
}

#[test]
fn who_joins_an_ogg_stream_late_or_stays_over_its_restart_hears_a_stream_that_can_be_decoded() {
    let rig = Rig::start();
    let start = || {
        let mut command = encoder("libvorbis", "ogg");
        command.args(["-content_type", "application/ogg"]).arg(format!(
            "icecast://source:{}@127.0.0.1:{}/live.mp3",
            crate::rig::PASSWORD,
            rig.port
        ));
        Process::spawn(&mut command)
    };
    let mut ffmpeg = start();
    rig.wait_for("it plays", |mount| mount.bytes_in > 20_000);
    let mut early = listen(&rig, 0, "/live.mp3", "");
    let mut stream = early.read_exactly(40_000);
    ffmpeg.kill();
    rig.wait_for("the source has left", |mount| !mount.source_connected);
    let _again = start();
    let mut late = listen(&rig, 0, "/live.mp3", "");
    let joined = late.read_exactly(30_000);
    stream.extend(early.read_exactly(30_000));
    for (who, stream) in [("late", joined), ("over a restart", stream)] {
        assert!(
            stream.starts_with(b"OggS\0\x02"),
            "{who}: it does not begin with a stream's first page"
        );
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &stream).expect("written");
        let mut decoder = std::process::Command::new("ffmpeg");
        decoder.args(["-v", "error", "-f", "ogg", "-i"]).arg(file.path());
        let (_, said) = Process::spawn(decoder.args(["-f", "null", "-"])).output();
        assert_eq!(said, "", "{who}");
    }
}
