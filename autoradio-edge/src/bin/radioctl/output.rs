//! Shows results on standard output and everything else on standard error.

mod cluster;
mod dns;

use std::io::{self, IsTerminal, Write};

use anstyle::AnsiColor;
use autoradio_edge::cluster::{MemberStatus, MountPath, MountRecord, Snapshot, voters_advice};
use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::args::Format;
use crate::view::{DOMAIN_UNKNOWN, Front, LimitsView, MountView, listener_url, view};

/// Where and how results are shown.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    colours: bool,
}

impl Output {
    /// Colours only for somebody who looks, and who has not said `NO_COLOR`.
    pub(crate) fn new(format: Format) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            format,
            colours: io::stdout().is_terminal() && io::stderr().is_terminal() && !unwanted,
        }
    }

    /// All mounts of a snapshot.
    pub(crate) fn mounts(&self, snapshot: &Snapshot) -> anyhow::Result<()> {
        let front = Front::of(snapshot);
        let shown = |front: Option<&Front>| -> Vec<MountView> {
            let mounts = snapshot.mounts.values();
            mounts.map(|record| view(record, None, snapshot, front)).collect()
        };
        if self.format == Format::Json {
            return Self::json(&shown(front.as_ref()));
        }
        if snapshot.mounts.is_empty() {
            return Self::note(
                "There are no mounts yet. Make one: radioctl create-mount /live.mp3",
            );
        }
        let front_shown = front.clone().unwrap_or_else(Front::unknown);
        let mut table = self.table();
        table.set_header(["MOUNT", "NAME", "MASTER", "LISTEN AT"].map(bold));
        for mount in shown(Some(&front_shown)) {
            table.add_row([
                mount.path,
                mount.name.unwrap_or_default(),
                mount.master.unwrap_or_else(|| "-".to_owned()),
                mount.listen_url.unwrap_or_default(),
            ]);
        }
        Self::text(&format!("{table}\n"))?;
        Self::explain_domain(front.as_ref())
    }

    /// One mount; with its password when that was made just now.
    pub(crate) fn mount(
        &self,
        record: &MountRecord,
        password: Option<String>,
        snapshot: &Snapshot,
    ) -> anyhow::Result<()> {
        let front = Front::of(snapshot);
        let made = password.is_some();
        if self.format == Format::Json {
            return Self::json(&view(record, password, snapshot, front.as_ref()));
        }
        let front_shown = front.clone().unwrap_or_else(Front::unknown);
        let shown = view(record, password, snapshot, Some(&front_shown));
        let mut table = self.table();
        for (what, value) in rows(shown) {
            if let Some(value) = value {
                table.add_row([bold(what), Cell::new(value)]);
            }
        }
        Self::text(&format!("{table}\n"))?;
        if made {
            Self::note("The password is shown this once; only its hash is kept.")?;
        }
        Self::explain_domain(front.as_ref())
    }

    /// Somebody who may listen now; with their password when that was made just now.
    pub(crate) fn listener(
        &self,
        path: &MountPath,
        user: &str,
        password: Option<&str>,
        snapshot: &Snapshot,
    ) -> anyhow::Result<()> {
        let front = Front::of(snapshot);
        let url = |front: &Front| listener_url(front, path, user, password);
        if self.format == Format::Json {
            return Self::json(&serde_json::json!({
                "path": path, "user": user, "password": password, "listen_url": front.as_ref().map(url),
            }));
        }
        let mut table = self.table();
        let front_shown = front.clone().unwrap_or_else(Front::unknown);
        table.add_row([bold("Listener"), Cell::new(user)]);
        password.map(|password| table.add_row([bold("Password"), Cell::new(password)]));
        table.add_row([bold("Listen at"), Cell::new(url(&front_shown))]);
        Self::text(&format!("{table}\n"))?;
        if password.is_some() {
            Self::note("The password is shown this once; only its hash is kept.")?;
        }
        Self::explain_domain(front.as_ref())
    }

    /// The members of etcd.
    pub(crate) fn members(&self, members: &[MemberStatus]) -> anyhow::Result<()> {
        if self.format == Format::Json {
            return Self::json(&members);
        }
        let mut table = self.table();
        table.set_header(["NODE", "ROLE", "HEALTHY", "PEERS AT", "CLIENTS AT", "ID"].map(bold));
        for status in members {
            let member = &status.member;
            let role = match (status.leader, member.learner) {
                (true, _) => "leader",
                (false, true) => "learner",
                (false, false) => "voter",
            };
            table.add_row([
                if member.name.is_empty() { "(not started)" } else { &member.name },
                role,
                yes_or_no(status.healthy),
                &member.peer_urls.join(","),
                &member.client_urls.join(","),
                &format!("{:x}", member.id),
            ]);
        }
        Self::text(&format!("{table}\n"))?;
        let voters = members.iter().filter(|status| !status.member.learner).count();
        voters_advice(voters).map_or(Ok(()), |advice| Self::note(&format!("Note: {advice}.")))
    }

    /// Something is done and there is nothing else to show. JSON: `{"done": true}`.
    pub(crate) fn done(&self, sentence: &str) -> anyhow::Result<()> {
        match self.format {
            Format::Json => Self::json(&serde_json::json!({ "done": true })),
            Format::Table => Self::text(&format!("{sentence}\n")),
        }
    }

    /// Text as it is. A reader that has had enough (`| head`) is no error.
    pub(crate) fn text(text: &str) -> anyhow::Result<()> {
        match io::stdout().lock().write_all(text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }

    /// Why the command failed, on standard error.
    pub(crate) fn failure(&self, error: &anyhow::Error) {
        Self::aside(&self.paint("error:", AnsiColor::Red), &format!("{error:#}"));
    }

    /// Something the operator should know although the command goes on, on standard error.
    pub(crate) fn warning(&self, sentence: &str) {
        Self::aside(&self.paint("warning:", AnsiColor::Yellow), sentence);
    }

    fn note(sentence: &str) -> anyhow::Result<()> {
        Self::text(&format!("{sentence}\n"))
    }

    fn explain_domain(front: Option<&Front>) -> anyhow::Result<()> {
        if front.is_some() {
            return Ok(());
        }
        Self::note(&format!(
            "{DOMAIN_UNKNOWN} is the cluster's name, which nodes tell; none lives right now. Start one: autoradio-edge run --domain NAME"
        ))
    }

    fn aside(head: &str, sentence: &str) {
        // Nobody is left to tell if standard error is closed.
        let _ = writeln!(io::stderr().lock(), "{head} {sentence}");
    }

    fn json(value: &impl Serialize) -> anyhow::Result<()> {
        Self::text(&format!("{}\n", serde_json::to_string_pretty(value)?))
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        // Addresses are copied from here: a wrapped one is of no use.
        table.set_content_arrangement(ContentArrangement::Disabled);
        if !self.colours {
            table.force_no_tty();
        }
        table
    }

    fn paint(&self, text: &str, colour: AnsiColor) -> String {
        let style = colour.on_default().bold();
        if self.colours { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

fn bold(text: &str) -> Cell {
    Cell::new(text).add_attribute(Attribute::Bold)
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// What a source may not exceed, in words; `None` if that is nothing.
fn limits(limits: &LimitsView) -> Option<String> {
    let limits = [
        limits.bits_per_second.map(|most| format!("{most} bits/s")),
        limits.bytes.map(|most| format!("{most} bytes")),
        limits.seconds.map(|most| format!("{most} s")),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    (!limits.is_empty()).then(|| limits.join(", "))
}

fn rows(mount: MountView) -> Vec<(&'static str, Option<String>)> {
    let listeners = mount.listener_users.map(|users| match users.len() {
        0 => "nobody".to_owned(),
        _ => users.join(", "),
    });
    vec![
        ("Mount", Some(mount.path)),
        ("Name", mount.name),
        ("Description", mount.description),
        ("Genre", mount.genre),
        ("Home page", mount.url),
        ("Public", mount.public.map(|public| yes_or_no(public).to_owned())),
        ("Source user", Some(mount.source_username)),
        ("Source password", mount.source_password),
        ("Source URL", mount.source_url),
        ("Source host", mount.source_host),
        ("Listen at", mount.listen_url),
        ("Playlist", mount.playlist_url),
        ("Max listeners", mount.max_listeners.map(|max| format!("{max} per node"))),
        ("Listeners", listeners),
        ("Asked about listeners", mount.listener_add_url),
        ("Told of leaving ones", mount.listener_remove_url),
        ("Fallback", mount.fallback),
        ("Grace", Some(format!("{} s", mount.grace_s))),
        ("Burst", Some(format!("{} bytes", mount.burst_bytes))),
        ("Ranges", mount.range.then(|| "answered 206".to_owned())),
        ("Pulled from", mount.relay_url),
        ("SHOUTcast number", mount.shoutcast_sid.map(|sid| sid.to_string())),
        ("Source limits", limits(&mount.source_limits)),
        ("Master", Some(mount.master.unwrap_or_else(|| "none".to_owned()))),
        ("Epoch", mount.epoch.map(|epoch| epoch.to_string())),
    ]
}
