//! Players as they are installed: each keeps its one connection, and goes on reading from it, when the source and Icecast are
//! killed.
//!
//! What is proved is that the same connection of the same program goes on, and that the program has read two seconds of audio
//! from it since the loss. How it sounds, nobody hears.

use std::collections::BTreeMap;

use autoradio_lab::{Lab, Running, faults, media};

use crate::rig::{SOON, wait_connected};
use crate::sockets::{Reading, readings};

const MP3: &str = "/live.mp3";
const OGG: &str = "/live.ogg";
/// Two seconds of audio, which have to come after each loss. So much has to be read too, since a player may just have begun to
/// play what came before.
const FRESH_BYTES: u64 = 32 * 1024;

/// A program that listens.
struct Player {
    /// Its process, as the kernel calls it.
    process: &'static str,
    mount: &'static str,
    /// Its command line; the URL goes in place of `URL`.
    words: &'static str,
}

const PLAYERS: [Player; 6] = [
    Player {
        process: "curl",
        mount: MP3,
        words: "curl --silent --show-error --fail -L -o HEARD URL",
    },
    Player { process: "mpv", mount: MP3, words: "mpv --no-config --ao=null --no-video URL" },
    Player { process: "mpg123", mount: MP3, words: "mpg123 --test URL" },
    Player { process: "ogg123", mount: OGG, words: "ogg123 --device null URL" },
    // It refuses to run as root.
    Player {
        process: "vlc",
        mount: MP3,
        words: "runuser -u nobody -- cvlc --intf dummy --aout dummy --no-video URL",
    },
    Player {
        process: "gst-launch-1.0",
        mount: MP3,
        words: "gst-launch-1.0 souphttpsrc location=URL ! icydemux ! mpegaudioparse ! \
                mpg123audiodec ! fakesink sync=true",
    },
];

/// Waits until each player has read so much more than `before` from the connection that it had then, or from any.
fn wait_reading(lab: &Lab, before: &BTreeMap<String, Reading>) -> BTreeMap<String, Reading> {
    let client = lab.client(1).host();
    let fresh = |now: &BTreeMap<String, Reading>, player: &Player| {
        let Some(now) = now.get(player.process) else { return false };
        before
            .get(player.process)
            .map_or(now.read >= FRESH_BYTES, |it| now.goes_on(it, FRESH_BYTES))
    };
    let mut now = BTreeMap::new();
    lab.wait_until("all players read their stream", SOON * 2, || {
        now = readings(client);
        PLAYERS.iter().all(|player| fresh(&now, player))
    })
    .unwrap_or_else(|error| panic!("{error}: before {before:?}, now {now:?}"));
    now
}

fn start(lab: &Lab, player: &Player, heard: &str) -> Running {
    let url = format!("http://{}{}", lab.domain(), player.mount);
    let words = player.words.replace("HEARD", heard).replace("URL", &url);
    let words: Vec<&str> = words.split_whitespace().collect();
    lab.client(1).host().spawn(words[0], &words[1..], player.process).expect("a player")
}

/// An encoder that is started again whenever it ends.
fn source(lab: &Lab, mount: &str, encoder: &str) -> Running {
    let created = lab.node(1).create_mount(mount).expect("a mount");
    let url = created.source_url(lab.domain());
    let ffmpeg = format!(
        "while :; do ffmpeg -nostdin -loglevel warning -re -f lavfi -i anoisesrc {encoder} {url}; sleep 0.2; done"
    );
    lab.client(1).host().spawn("sh", &["-c", &ffmpeg], "source").expect("a source")
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn every_player_keeps_its_connection_when_its_source_and_icecast_are_killed() {
    let lab = Lab::builder().build().expect("a lab");
    lab.start_nodes().expect("the node is ready");
    let mp3 = "-codec:a libmp3lame -b:a 128k -content_type audio/mpeg -f mp3";
    let ogg = "-codec:a libvorbis -b:a 128k -content_type application/ogg -f ogg";
    let sources = [(MP3, source(&lab, MP3, mp3)), (OGG, source(&lab, OGG, ogg))];
    for (mount, source) in &sources {
        wait_connected(&lab, mount, source);
    }
    let heard = lab.client(1).host().folder().join("heard");
    let start = |player: &Player| start(&lab, player, &heard.to_string_lossy());
    let mut players: Vec<Running> = PLAYERS.iter().map(start).collect();
    let mut read = wait_reading(&lab, &BTreeMap::new());

    let client = lab.client(1).host();
    assert_eq!(faults::kill(client, "ffmpeg").unwrap(), 2, "the sources");
    read = wait_reading(&lab, &read);
    faults::kill(lab.node(1).host(), "icecast2").unwrap();
    wait_reading(&lab, &read);

    for (running, player) in players.iter_mut().zip(&PLAYERS) {
        assert_eq!(running.ended(), None, "{}: {}", player.process, running.log_tail());
    }
    drop(players);
    let audio = media::probe(&heard).unwrap();
    assert_eq!(audio.codec, "mp3");
    assert!(audio.seconds > 4.0, "{audio:?}");
}
