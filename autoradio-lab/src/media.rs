//! Audio made and judged by ffmpeg and ffprobe.

use std::path::Path;

use serde::Deserialize;

use crate::{LabError, command};

/// What ffprobe found in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    /// Codec of the first stream, such as `mp3`.
    pub codec: String,
    /// Length in seconds.
    pub seconds: f64,
}

/// Arguments that make ffmpeg send an endless tone in MP3 at 128 kbit/s to an `icecast://` URL.
pub fn tone_source_args(url: &str) -> Vec<String> {
    let args = "-nostdin -hide_banner -loglevel warning -re -f lavfi \
                -i sine=frequency=440:sample_rate=44100 \
                -codec:a libmp3lame -b:a 128k -content_type audio/mpeg -f mp3";
    args.split_whitespace().chain([url]).map(str::to_owned).collect()
}

/// Asks ffprobe what a file is.
pub fn probe(file: &Path) -> Result<Audio, LabError> {
    let file = file.to_string_lossy();
    let entries = "stream=codec_name:format=duration";
    let args = ["-v", "error", "-show_entries", entries, "-of", "json", &file];
    parse(&command::run("ffprobe", &args)?)
}

fn parse(answer: &str) -> Result<Audio, LabError> {
    #[derive(Deserialize)]
    struct Stream {
        codec_name: String,
    }
    #[derive(Deserialize)]
    struct Format {
        duration: String,
    }
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        streams: Vec<Stream>,
        format: Option<Format>,
    }
    let answer: Answer = serde_json::from_str(answer)
        .map_err(|source| LabError::Answer { what: "ffprobe".to_owned(), source })?;
    let seconds = answer.format.and_then(|format| format.duration.parse().ok());
    Ok(Audio {
        codec: answer.streams.into_iter().next().map_or_else(String::new, |s| s.codec_name),
        seconds: seconds.unwrap_or(0.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ffprobe_answers_are_read() {
        let text = r#"{"programs":[],"streams":[{"codec_name":"mp3"}],
                       "format":{"duration":"9.978000"}}"#;
        let want = Audio { codec: "mp3".to_owned(), seconds: 9.978 };
        assert_eq!(parse(text).unwrap(), want);
        assert_eq!(parse("{}").unwrap().codec, "");
    }
}
