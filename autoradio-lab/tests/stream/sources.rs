//! Sources as they are installed, with nothing told to them but where the radio is: each is heard, by the judgement of ffprobe.

use std::fs;

use autoradio_lab::status::CreatedMount;
use autoradio_lab::{Lab, Running, media};

use crate::rig::{SOON, wait_connected};

/// How long each is listened to, in seconds.
const LISTEN_S: u32 = 4;

/// A program that streams. In its words, `HOST`, `USER`, `PASSWORD`, `MOUNT` and `FOLDER` stand for what they are.
struct Source {
    mount: &'static str,
    codec: &'static str,
    /// A file in `FOLDER`, called as the mount is: what the program reads as its settings.
    settings: &'static str,
    /// For a shell.
    words: &'static str,
}

/// A tone for those who bring none, encoded as MP3 or Ogg Vorbis.
const MP3: &str = "ffmpeg -loglevel error -re -f lavfi -i sine -b:a 128k -f mp3 -";
const OGG: &str =
    "ffmpeg -loglevel error -re -f lavfi -i anoisesrc -codec:a libvorbis -b:a 128k -f ogg -";

const SOURCES: [Source; 9] = [
    Source {
        mount: "/ffmpeg.mp3",
        codec: "mp3",
        settings: "",
        words: "ffmpeg -loglevel error -re -f lavfi -i sine -b:a 128k -f mp3 \
                -content_type audio/mpeg icecast://USER:PASSWORD@HOST:80MOUNT",
    },
    Source {
        mount: "/legacy.mp3",
        codec: "mp3",
        settings: "",
        words: "ffmpeg -loglevel error -re -f lavfi -i sine -b:a 128k -f mp3 -legacy_icecast 1 \
                -content_type audio/mpeg icecast://USER:PASSWORD@HOST:80MOUNT",
    },
    Source {
        mount: "/liquidsoap.mp3",
        codec: "mp3",
        settings: "settings.init.allow_root.set(true)\n\
                   output.icecast(%mp3(bitrate=128), host=\"HOST\", port=80, user=\"USER\", \
                   password=\"PASSWORD\", mount=\"MOUNT\", sine())\n",
        words: "liquidsoap FOLDERMOUNT",
    },
    Source {
        mount: "/oggfwd.ogg",
        codec: "vorbis",
        settings: "",
        words: "OGG | oggfwd HOST 80 PASSWORD MOUNT",
    },
    Source {
        mount: "/ezstream.mp3",
        codec: "mp3",
        settings: "<ezstream><servers><server><protocol>HTTP</protocol><hostname>HOST</hostname>\
                   <port>80</port><user>USER</user><password>PASSWORD</password><tls>None</tls>\
                   </server></servers><streams><stream><mountpoint>MOUNT</mountpoint>\
                   <format>MP3</format></stream></streams><intakes><intake><type>stdin</type>\
                   </intake></intakes></ezstream>\n",
        words: "MP3 | ezstream -c FOLDERMOUNT",
    },
    Source {
        mount: "/shout2send.mp3",
        codec: "mp3",
        settings: "",
        words: "gst-launch-1.0 audiotestsrc is-live=true ! audioconvert ! lamemp3enc bitrate=128 cbr=true \
                target=1 ! shout2send ip=HOST port=80 username=USER password=PASSWORD mount=MOUNT",
    },
    Source {
        mount: "/curl.mp3",
        codec: "mp3",
        settings: "",
        words: "MP3 | curl --silent --show-error -T - -H 'Content-Type: audio/mpeg' \
                -u USER:PASSWORD http://HOSTMOUNT",
    },
    Source {
        mount: "/put.mp3",
        codec: "mp3",
        settings: "settings.init.allow_root.set(true)\n\
                   output.icecast(%mp3(bitrate=128), method=\"put\", chunked=true, host=\"HOST\", \
                   port=80, user=\"USER\", password=\"PASSWORD\", mount=\"MOUNT\", sine())\n",
        words: "liquidsoap FOLDERMOUNT",
    },
    // It plays a file that curl asks it to, by its own protocol.
    Source {
        mount: "/mpd.ogg",
        codec: "vorbis",
        settings: "music_directory \"FOLDER\"\nbind_to_address \"FOLDER/mpd.socket\"\n\
                   db_file \"FOLDER/mpd.db\"\n\
                   audio_output {\n type \"shout\"\n name \"radio\"\n encoder \"vorbis\"\n \
                   host \"HOST\"\n port \"80\"\n mount \"MOUNT\"\n user \"USER\"\n \
                   password \"PASSWORD\"\n bitrate \"128\"\n format \"44100:16:1\"\n}\n",
        words: "ffmpeg -loglevel error -f lavfi -i anoisesrc=d=60 FOLDER/noise.flac && \
                mpd FOLDERMOUNT && \
                printf 'add \"noise.flac\"\\nplay\\n' | \
                curl --silent --max-time 1 --unix-socket FOLDER/mpd.socket telnet://mpd; sleep 60",
    },
];

fn filled(text: &str, lab: &Lab, mount: &CreatedMount) -> String {
    let folder = lab.client(1).host().folder().to_string_lossy();
    [
        ("OGG |", &*format!("{OGG} |")),
        ("MP3 |", &*format!("{MP3} |")),
        ("FOLDER", &folder),
        ("HOST", lab.domain()),
        ("USER", &mount.source_username),
        ("PASSWORD", &mount.source_password),
        ("MOUNT", &mount.path),
    ]
    .iter()
    .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn start(lab: &Lab, source: &Source) -> Running {
    let mount = lab.node(1).create_mount(source.mount).expect("a mount");
    let client = lab.client(1).host();
    let settings = format!("{}{}", client.folder().display(), source.mount);
    fs::write(settings, filled(source.settings, lab, &mount)).unwrap();
    let words = filled(source.words, lab, &mount);
    client.spawn("sh", &["-c", &words], &source.mount[1..]).expect("a source")
}

/// Begins to listen, for a while. Returns who does, and the file with what it hears.
fn listen(lab: &Lab, source: &Source) -> (Running, String) {
    let client = lab.client(1).host();
    let file = format!("{}{}.heard", client.folder().display(), source.mount);
    let (url, seconds) = (format!("http://{}{}", lab.domain(), source.mount), LISTEN_S.to_string());
    let args = ["-sS", "--fail", "--location", "--max-time", &seconds, "--output", &file, &url];
    let log = format!("{}.listener", &source.mount[1..]);
    (client.spawn("curl", &args, &log).expect("curl starts"), file)
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn every_source_is_heard() {
    let lab = Lab::builder().build().expect("a lab");
    lab.start_nodes().expect("the node is ready");
    let sources: Vec<Running> = SOURCES.iter().map(|source| start(&lab, source)).collect();
    for (source, running) in SOURCES.iter().zip(&sources) {
        wait_connected(&lab, source.mount, running);
    }
    let listeners: Vec<_> = SOURCES.iter().map(|source| listen(&lab, source)).collect();
    for ((source, running), (mut listener, file)) in SOURCES.iter().zip(&sources).zip(listeners) {
        listener.wait(SOON).unwrap();
        let said = format!("{}\n{}", running.log_tail(), listener.log_tail());
        let audio = media::probe(file.as_ref())
            .unwrap_or_else(|error| panic!("{}: {error}: {said}", source.mount));
        assert_eq!(audio.codec, source.codec, "{}: {said}", source.mount);
        assert!(audio.seconds > f64::from(LISTEN_S) / 2.0, "{}: {audio:?}: {said}", source.mount);
    }
}
