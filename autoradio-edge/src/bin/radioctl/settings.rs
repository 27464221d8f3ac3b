//! What a mount is told: judged as words, then set on its record.

use autoradio_edge::cluster::{MountPath, MountRecord};

use crate::args::{MountArgs, Public};
use crate::failure::Usage;

/// Longest name, description, user name or password, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 255;

/// What to set on a mount.
#[derive(Debug)]
pub(crate) struct Settings {
    /// What happens to the password.
    pub(crate) password: Password,
    /// What happens to the fallback.
    fallback: Fallback,
    /// All the rest.
    typed: MountArgs,
}

/// What becomes of a mount's fallback.
#[derive(Debug, PartialEq, Eq)]
enum Fallback {
    /// It stays.
    Kept,
    /// It goes.
    Removed,
    /// It is this one.
    Given(MountPath),
}

/// Where a password comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Password {
    /// It stays.
    Kept,
    /// The operator chose it.
    Given(String),
    /// One is to be generated.
    Generated,
}

impl Settings {
    /// Judges what was typed.
    pub(crate) fn lift(typed: MountArgs, password: Password) -> anyhow::Result<Self> {
        let texts = [
            ("--source-username", &typed.source_username),
            ("--name", &typed.name),
            ("--description", &typed.description),
            ("--genre", &typed.genre),
            ("--url", &typed.url),
        ];
        for (option, text) in texts {
            text_is_plain(option, text.as_deref().unwrap_or_default())?;
        }
        if let Some(name) = &typed.source_username {
            user_name("--source-username", name)?;
        }
        let fallback = match typed.fallback.as_deref() {
            None => Fallback::Kept,
            Some("") => Fallback::Removed,
            Some(path) => Fallback::Given(
                path.parse().map_err(|error| Usage(format!("--fallback: {error}")))?,
            ),
        };
        Ok(Self { password, fallback, typed })
    }

    /// Sets what was given. Empty texts and limits of 0 remove.
    pub(crate) fn change(&self, record: &mut MountRecord) {
        let typed = &self.typed;
        if let Some(username) = &typed.source_username {
            record.source_username.clone_from(username);
        }
        for (given, field) in [
            (&typed.name, &mut record.name),
            (&typed.description, &mut record.description),
            (&typed.genre, &mut record.genre),
            (&typed.url, &mut record.url),
            (&typed.relay_url, &mut record.relay_url),
            (&typed.listener_add_url, &mut record.listener_add_url),
            (&typed.listener_remove_url, &mut record.listener_remove_url),
        ] {
            if let Some(text) = given {
                *field = Some(text.clone()).filter(|text| !text.is_empty());
            }
        }
        for (given, field) in [
            (typed.max_source_bitrate, &mut record.source_limits.bits_per_second),
            (typed.max_source_bytes, &mut record.source_limits.bytes),
            (typed.max_source_seconds, &mut record.source_limits.seconds),
        ] {
            set_limit(given, field);
        }
        set_limit(typed.max_listeners, &mut record.max_listeners);
        set_limit(typed.shoutcast_sid, &mut record.shoutcast_sid);
        match &self.fallback {
            Fallback::Kept => {}
            Fallback::Removed => record.fallback = None,
            Fallback::Given(mount) => record.fallback = Some(mount.clone()),
        }
        record.grace_s = typed.grace.unwrap_or(record.grace_s);
        record.burst_bytes = typed.burst.unwrap_or(record.burst_bytes);
        record.range = typed.range.unwrap_or(record.range);
        match typed.public {
            None => {}
            Some(Public::Yes) => record.public = Some(true),
            Some(Public::No) => record.public = Some(false),
            Some(Public::AsSource) => record.public = None,
        }
        if typed.open_to_all {
            record.listener_users = None;
            record.listener_add_url = None;
            record.listener_remove_url = None;
        }
    }
}

fn set_limit<N: Copy + PartialOrd + From<u8>>(given: Option<N>, field: &mut Option<N>) {
    if let Some(limit) = given {
        *field = Some(limit).filter(|limit| *limit > N::from(0));
    }
}

/// Judges a user name that somebody will give by HTTP's Basic scheme.
pub(crate) fn user_name(option: &str, name: &str) -> anyhow::Result<()> {
    text_is_plain(option, name)?;
    if name.is_empty() || name.contains(':') {
        return Err(Usage(format!(
            "{option}: give a name without a colon; HTTP's Basic scheme ends the name there"
        ))
        .into());
    }
    Ok(())
}

/// Judges a text that is shown or typed somewhere.
pub(crate) fn text_is_plain(option: &str, text: &str) -> anyhow::Result<()> {
    if text.len() > TEXT_BYTES_MAX {
        let bytes = text.len();
        return Err(Usage(format!("{option}: {bytes} bytes, limit {TEXT_BYTES_MAX}")).into());
    }
    if text.chars().any(char::is_control) {
        return Err(Usage(format!("{option}: control characters are not allowed")).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(typed: MountArgs, record: &mut MountRecord) {
        Settings::lift(typed, Password::Kept).unwrap().change(record);
    }

    #[test]
    fn words_that_make_no_sense_are_refused_with_the_reason() {
        let args = MountArgs::default;
        for (why, typed, want) in [
            (
                "a colon ends the name in Basic",
                MountArgs { source_username: Some("a:b".into()), ..args() },
                "colon",
            ),
            (
                "an empty user name",
                MountArgs { source_username: Some(String::new()), ..args() },
                "colon",
            ),
            ("a line break", MountArgs { name: Some("a\nb".into()), ..args() }, "--name: control"),
            ("another", MountArgs { genre: Some("a\rb".into()), ..args() }, "--genre: control"),
            ("no path", MountArgs { fallback: Some("x".into()), ..args() }, "--fallback"),
            (
                "too long",
                MountArgs { description: Some("x".repeat(256)), ..args() },
                "256 bytes, limit 255",
            ),
        ] {
            let error = Settings::lift(typed, Password::Kept).expect_err(why).to_string();
            assert!(error.contains(want), "{why}: {error}");
        }
    }

    #[test]
    fn everything_that_can_be_set_can_be_removed_again() {
        let new = || MountRecord::new("/m".parse().unwrap(), "source", String::new());
        let mut record = new();
        let set = MountArgs {
            name: Some("A".into()),
            description: Some("B".into()),
            genre: Some("C".into()),
            url: Some("http://h/".into()),
            public: Some(Public::No),
            max_listeners: Some(7),
            fallback: Some("/f".into()),
            grace: Some(5),
            burst: Some(0),
            range: Some(true),
            relay_url: Some("http://h/x".into()),
            listener_add_url: Some("http://h/add".into()),
            listener_remove_url: Some("http://h/remove".into()),
            shoutcast_sid: Some(2),
            max_source_bitrate: Some(320_000),
            max_source_bytes: Some(1),
            max_source_seconds: Some(2),
            ..MountArgs::default()
        };
        changed(set, &mut record);
        assert_eq!((record.public, record.grace_s, record.burst_bytes), (Some(false), 5, 0));
        assert_eq!(record.fallback.as_ref().map(MountPath::as_str), Some("/f"));
        assert_eq!((record.source_limits.bytes, record.source_limits.seconds), (Some(1), Some(2)));
        assert!(record.range && record.listener_add_url.is_some());
        let before = record.clone();
        changed(MountArgs::default(), &mut record);
        assert_eq!(record, before, "what is not given stays");
        let empty = || Some(String::new());
        let removed = MountArgs {
            name: empty(),
            description: empty(),
            genre: empty(),
            url: empty(),
            public: Some(Public::AsSource),
            max_listeners: Some(0),
            fallback: empty(),
            grace: Some(30),
            burst: Some(65_536),
            range: Some(false),
            relay_url: empty(),
            open_to_all: true,
            shoutcast_sid: Some(0),
            max_source_bitrate: Some(0),
            max_source_bytes: Some(0),
            max_source_seconds: Some(0),
            ..MountArgs::default()
        };
        changed(removed, &mut record);
        assert_eq!(record, new());
    }
}
