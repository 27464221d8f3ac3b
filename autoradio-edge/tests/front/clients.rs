//! Source clients as they are installed, with nothing told to them but where the radio is.

use std::process::Command;

use crate::rig::{PASSWORD, Process, Rig, encoder};

/// What the audio must be.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Mp3,
    Ogg,
}

/// Panics unless curl hears `source`; then ends it.
fn assert_plays(rig: &Rig, who: &str, mut source: Process, kind: Kind) {
    rig.wait_for(who, |mount| mount.source_connected && mount.bytes_in > 8_000);
    let url = rig.url("/live.mp3");
    let curl = Process::spawn(Command::new("curl").args(["-sS", "-m", "3", &url]));
    let (audio, said) = curl.output();
    assert!(audio.len() > 8_000, "{who}: {} bytes, {said}", audio.len());
    match kind {
        Kind::Ogg => assert!(audio.starts_with(b"OggS"), "{who}: no Ogg pages"),
        Kind::Mp3 => {
            let borders = audio.windows(2).filter(|w| w[0] == 0xff && w[1] & 0xe0 == 0xe0).count();
            assert!(borders > 10, "{who}: no MPEG frames in {} bytes", audio.len());
        }
    }
    source.kill();
    rig.wait_for("the source has left", |mount| !mount.source_connected);
}

#[test]
fn ffmpeg_in_both_its_forms_is_heard() {
    let rig = Rig::start();
    for legacy in ["0", "1"] {
        let ffmpeg = rig.ffmpeg(&[PASSWORD, "-legacy_icecast", legacy]);
        assert_plays(&rig, &format!("ffmpeg, legacy {legacy}"), ffmpeg, Kind::Mp3);
    }
}

#[test]
fn libshout_is_heard() {
    let rig = Rig::start();
    let mut command = Command::new("oggfwd");
    command.args(["127.0.0.1", &rig.port.to_string(), PASSWORD, "/live.mp3"]);
    let oggfwd = Process::spawn_fed(encoder("libvorbis", "ogg").arg("-"), &mut command);
    assert_plays(&rig, "oggfwd", oggfwd, Kind::Ogg);
}

#[test]
fn libshout_is_heard_by_each_of_its_protocols() {
    let mut rig = Rig::start();
    rig.change("/live.mp3", |record| record.shoutcast_sid = Some(1));
    for protocol in ["http", "icy", "xaudiocast"] {
        let mut command = Command::new("shout");
        command.args(["--proto", protocol, "--host", "127.0.0.1", "--pass", PASSWORD]);
        // With its own protocol it adds the 1 of custom by itself.
        command.args(["--port", &rig.port.to_string(), "--mount", "/live.mp3", "--format", "mp3"]);
        let shout = Process::spawn_fed(encoder("libmp3lame", "mp3").arg("-"), &mut command);
        assert_plays(&rig, &format!("shout, {protocol}"), shout, Kind::Mp3);
    }
}

#[test]
fn ezstream_is_heard() {
    let rig = Rig::start();
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("ezstream.xml");
    let text = format!(
        "<ezstream><servers><server><hostname>127.0.0.1</hostname><port>{}</port><tls>None</tls>\
         <password>{PASSWORD}</password></server></servers><streams><stream><mountpoint>/live.mp3</mountpoint>\
         <format>MP3</format></stream></streams><intakes><intake><type>stdin</type></intake></intakes></ezstream>",
        rig.port
    );
    std::fs::write(&config, text).expect("written");
    let mut command = Command::new("ezstream");
    command.arg("-c").arg(&config);
    let ezstream = Process::spawn_fed(encoder("libmp3lame", "mp3").arg("-"), &mut command);
    assert_plays(&rig, "ezstream", ezstream, Kind::Mp3);
}

#[test]
fn liquidsoap_is_heard_by_shoutcasts_protocol() {
    let mut rig = Rig::start();
    rig.change("/live.mp3", |record| record.shoutcast_sid = Some(1));
    let script = format!(
        "settings.init.allow_root.set(true) output.shoutcast(%mp3(bitrate=128), host=\"127.0.0.1\", \
         port={}, password=\"{PASSWORD}\", sine())",
        rig.port
    );
    let liquidsoap = Process::spawn(Command::new("liquidsoap").arg(script));
    assert_plays(&rig, "liquidsoap, SHOUTcast", liquidsoap, Kind::Mp3);
}

#[test]
fn chunked_curl_is_heard() {
    let rig = Rig::start();
    let mut command = Command::new("curl");
    command.args(["-sS", "-T", "-", "-H", "Content-Type: audio/mpeg"]).args([
        "-u",
        &format!("source:{PASSWORD}"),
        &rig.url("/live.mp3"),
    ]);
    let curl = Process::spawn_fed(encoder("libmp3lame", "mp3").arg("-"), &mut command);
    assert_plays(&rig, "curl", curl, Kind::Mp3);
}

#[test]
fn liquidsoap_is_heard_with_source_and_with_put_in_chunks() {
    let rig = Rig::start();
    for form in ["", "method=\"put\", chunked=true, "] {
        let script = format!(
            "settings.init.allow_root.set(true) output.icecast(%mp3(bitrate=128), {form}\
             host=\"127.0.0.1\", port={}, user=\"source\", password=\"{PASSWORD}\", \
             mount=\"live.mp3\", sine())",
            rig.port
        );
        let liquidsoap = Process::spawn(Command::new("liquidsoap").arg(script));
        assert_plays(&rig, &format!("liquidsoap, {form}"), liquidsoap, Kind::Mp3);
    }
}
