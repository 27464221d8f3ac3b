//! Playlists: small files that carry a mount's public URL to a player. Pure.

use quick_xml::escape::escape;

/// The forms of playlist that are made for every mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaylistKind {
    /// `.m3u`.
    M3u,
    /// `.pls`.
    Pls,
    /// `.xspf`.
    Xspf,
}

impl PlaylistKind {
    /// All forms.
    pub(super) const ALL: [Self; 3] = [Self::M3u, Self::Pls, Self::Xspf];

    /// What a path ends in to ask for this form.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::M3u => ".m3u",
            Self::Pls => ".pls",
            Self::Xspf => ".xspf",
        }
    }

    /// Its media type.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::M3u => "audio/x-mpegurl",
            Self::Pls => "audio/x-scpls",
            Self::Xspf => "application/xspf+xml",
        }
    }

    /// The file: one entry, `title` at `url`. Line breaks in the title become spaces.
    pub(super) fn render(self, title: &str, url: &str) -> String {
        let title: String =
            title.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        match self {
            Self::M3u => format!("#EXTM3U\r\n#EXTINF:-1,{title}\r\n{url}\r\n"),
            Self::Pls => format!(
                "[playlist]\r\nNumberOfEntries=1\r\nFile1={url}\r\nTitle1={title}\r\nLength1=-1\r\nVersion=2\r\n"
            ),
            Self::Xspf => format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                 <playlist xmlns=\"http://xspf.org/ns/0/\" version=\"1\">\n  <trackList>\n    \
                 <track><location>{}</location><title>{}</title></track>\n  </trackList>\n</playlist>\n",
                escape(url),
                escape(&title)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_playlist_carries_the_url_and_a_title_that_cannot_break_it() {
        let url = "http://radio.test/a%20b.mp3";
        for (kind, want_url, want_title) in [
            (PlaylistKind::M3u, format!("\r\n{url}\r\n"), ",A & <B>  C\r\n"),
            (PlaylistKind::Pls, format!("\r\nFile1={url}\r\n"), "Title1=A & <B>  C\r\n"),
            (
                PlaylistKind::Xspf,
                format!("<location>{url}</location>"),
                "<title>A &amp; &lt;B&gt;  C</title>",
            ),
        ] {
            let text = kind.render("A & <B>\r\nC", url);
            assert!(text.contains(&want_url), "{kind:?}: {text}");
            assert!(text.contains(want_title), "{kind:?}: {text}");
        }
    }
}
