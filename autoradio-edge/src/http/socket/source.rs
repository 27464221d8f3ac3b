//! Sources: who may stream, who holds a mount, what each kind of client is answered. The audio goes through `tunnel`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::server::Shared;
use super::sniff::Sniffed;
use super::tunnel::{self, End};
use crate::cluster::{Master, MountPath, MountRecord};
use crate::http::reply::Reply;
use crate::http::route::{master_of, record_of};
use crate::http::{Body, FrontError, HttpVersion, RequestHead};
use crate::placement::Placement;

/// What a source is answered, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `HTTP/1.1 100 Continue` now, 200 when the body ends: PUT with `Expect` (ffmpeg, butt, curl).
    Continue,
    /// 200 now, as Icecast says it: everything that streams until it closes.
    AtOnce,
    /// 200 now, in HTTP/1.1: clients that send chunks. Some make their chunks depend on the answer's version.
    AtOnceChunked,
    /// 200 when the body ends: PUT of a file, which is a body like any other, only played as it comes.
    AtEnd,
}

impl Form {
    fn of(head: &RequestHead, body: &Body) -> Self {
        // Whatever the version: liquidsoap's PUT is HTTP/1.0 and still takes nothing but 100.
        let expects = head.lists("Expect", "100-continue");
        match body {
            _ if expects => Self::Continue,
            Body::Counted(_) => Self::AtEnd,
            Body::Chunked(_) => Self::AtOnceChunked,
            Body::UntilClose => Self::AtOnce,
        }
    }

    /// Whether an answer is owed when the body has ended.
    fn owes_end(self) -> bool {
        matches!(self, Self::Continue | Self::AtEnd)
    }

    /// What goes out before the audio comes in.
    fn opening(self) -> &'static [u8] {
        match self {
            Self::Continue => b"HTTP/1.1 100 Continue\r\n\r\n",
            Self::AtOnce => b"HTTP/1.0 200 OK\r\n\r\n",
            Self::AtOnceChunked => b"HTTP/1.1 200 OK\r\n\r\n",
            Self::AtEnd => b"",
        }
    }
}

/// Serves a source until it, its Icecast, its placement or the front ends.
pub(super) async fn serve(
    shared: &Shared,
    client: &mut TcpStream,
    request: &Sniffed,
    mount: &MountPath,
) -> Result<(), FrontError> {
    let placement = shared.placement();
    let record = record_of(&placement, mount)?;
    shared.authorize(&request.head, &record).await?;
    let body = Body::of(&request.head)?;
    let form = Form::of(&request.head, &body);
    if body == Body::Counted(0) {
        // A body of no bytes is a question about the password: it must not take a live source's place.
        return answer_end(client, request.head.version).await;
    }
    let binding = Binding::of(&placement, mount, &record)?;
    let turn = shared.desk.take(mount).await;
    let end = tokio::select! {
        end = stream(shared, client, request, mount, form, body) => end?,
        () = turn.stop.cancelled() => End::Takeover,
        () = binding.broken(shared.placements.clone()) => End::Placement,
        () = shared.cancel.cancelled() => End::Stopped,
    };
    drop(turn);
    metrics::counter!("autoradio_http_tunnels_ended_total", "reason" => end.label()).increment(1);
    info!(%mount, reason = end.label(), "source left");
    match end {
        End::Body if form.owes_end() => answer_end(client, request.head.version).await,
        End::Malformed if form.owes_end() => Err(FrontError::ChunkMalformed),
        _ => Ok(()),
    }
}

async fn stream(
    shared: &Shared,
    client: &mut TcpStream,
    request: &Sniffed,
    mount: &MountPath,
    form: Form,
    body: Body,
) -> Result<End, FrontError> {
    let address = master_of(&shared.placement(), mount)?;
    let password = &shared.settings.secrets.source_password;
    let upstream_head = tunnel::head(&request.head, mount, address, password);
    let icecast = match tunnel::open(address, &upstream_head).await {
        Ok(icecast) => icecast,
        Err(error) => {
            warn!(%mount, %error, "source refused: its tunnel did not open");
            return Err(error);
        }
    };
    let content_type = request.head.field_text("Content-Type");
    let on_air = shared.stats.on_air(mount, content_type.unwrap_or("audio/mpeg"));
    let opening = client.write_all(form.opening()).await;
    opening.map_err(|source| FrontError::Client { source })?;
    info!(%mount, %address, user_agent = request.head.field_text("User-Agent"), "source connected");
    Ok(tunnel::pump(client, &request.rest(), body, icecast, &on_air).await)
}

async fn answer_end(client: &mut TcpStream, version: HttpVersion) -> Result<(), FrontError> {
    let bytes = Reply::empty().to_bytes(version);
    let written = client.write_all(&bytes).await;
    written.map_err(|source| FrontError::Client { source })
}

/// What a tunnel stands on. When any of it changes, the client has to connect again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Binding {
    mount: MountPath,
    master: Master,
    source_username: String,
    source_password_hash: String,
}

impl Binding {
    fn of(
        placement: &Placement,
        mount: &MountPath,
        record: &MountRecord,
    ) -> Result<Self, FrontError> {
        let placed = placement.mounts.get(mount);
        let master = placed.and_then(|placed| placed.master.clone());
        Ok(Self {
            mount: mount.clone(),
            master: master.ok_or_else(|| FrontError::NoMaster { mount: mount.clone() })?,
            source_username: record.source_username.clone(),
            source_password_hash: record.source_password_hash.clone(),
        })
    }

    fn holds(&self, placement: &Placement) -> bool {
        placement.mounts.get(&self.mount).is_some_and(|placed| {
            placed.master.as_ref() == Some(&self.master)
                && placed.record.source_username == self.source_username
                && placed.record.source_password_hash == self.source_password_hash
        })
    }

    /// Returns once a placement breaks the binding; never, if none will come any more.
    async fn broken(&self, mut placements: watch::Receiver<Arc<Placement>>) {
        while self.holds(&placements.borrow_and_update().clone()) {
            if placements.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Who streams to what on this node: at most one source per mount, the newest.
#[derive(Debug, Default)]
pub(super) struct SourceDesk {
    turns: Mutex<HashMap<MountPath, Seated>>,
}

#[derive(Clone, Debug)]
struct Seated {
    stop: CancellationToken,
    ended: CancellationToken,
}

/// A source's right to a mount, until dropped. Whoever holds it ends when `stop` is cancelled.
#[derive(Debug)]
struct Turn {
    desk: Arc<SourceDesk>,
    mount: MountPath,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl SourceDesk {
    /// Ends the mount's source, if it has one, waits until its tunnel is gone, and gives the mount to the caller.
    async fn take(self: &Arc<Self>, mount: &MountPath) -> Turn {
        loop {
            let before = match self.turns().entry(mount.clone()) {
                std::collections::hash_map::Entry::Occupied(before) => before.get().clone(),
                std::collections::hash_map::Entry::Vacant(free) => {
                    let seated =
                        Seated { stop: CancellationToken::new(), ended: CancellationToken::new() };
                    free.insert(seated.clone());
                    return Turn {
                        desk: self.clone(),
                        mount: mount.clone(),
                        stop: seated.stop,
                        ended: seated.ended,
                    };
                }
            };
            before.stop.cancel();
            before.ended.cancelled().await;
        }
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, HashMap<MountPath, Seated>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.desk.turns().remove(&self.mount);
        self.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{head_of, placement_of};

    #[test]
    fn each_client_is_answered_in_the_form_it_waits_for() {
        for (who, text, want) in [
            ("libshout", "SOURCE /m HTTP/1.0\r\nContent-Length: 0\r\n\r\n", Form::AtOnce),
            ("ffmpeg", "PUT /m HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", Form::Continue),
            ("ffmpeg legacy", "SOURCE /m HTTP/1.1\r\n\r\n", Form::AtOnce),
            (
                "liquidsoap, SOURCE in chunks",
                "SOURCE /m HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: \r\n\r\n",
                Form::AtOnceChunked,
            ),
            (
                "curl -T -",
                "PUT /m HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
                Form::Continue,
            ),
            ("curl -T file", "PUT /m HTTP/1.1\r\nContent-Length: 9\r\n\r\n", Form::AtEnd),
            (
                "liquidsoap, PUT",
                "PUT /m HTTP/1.0\r\nice-name: x\r\nExpect: 100-continue\r\n\r\n",
                Form::Continue,
            ),
        ] {
            let head = head_of(text);
            let body = Body::of(&head).expect(who);
            assert_eq!(Form::of(&head, &body), want, "{who}");
        }
    }

    #[test]
    fn a_tunnel_stands_while_master_epoch_and_credentials_stay() {
        let mut placement = placement_of(&["/m"]);
        let mount: MountPath = "/m".parse().expect("a mount path");
        let record = placement.mounts[&mount].record.clone();
        let none = Binding::of(&placement, &mount, &record);
        assert!(matches!(none, Err(FrontError::NoMaster { .. })));

        let master = |epoch| Master { node: "node1".parse().expect("a node name"), epoch };
        let placed = placement.mounts.get_mut(&mount).expect("the mount");
        placed.master = Some(master(1));
        let binding = Binding::of(&placement, &mount, &record).expect("a master");
        assert!(binding.holds(&placement));

        let mut newer_epoch = placement.clone();
        newer_epoch.mounts.get_mut(&mount).expect("the mount").master = Some(master(2));
        let mut newer_password = placement.clone();
        let changed =
            MountRecord { source_password_hash: "other".to_owned(), ..MountRecord::clone(&record) };
        newer_password.mounts.get_mut(&mount).expect("the mount").record = Arc::new(changed);
        for (why, placement) in
            [("epoch", newer_epoch), ("password", newer_password), ("deleted", placement_of(&[]))]
        {
            assert!(!binding.holds(&placement), "{why}");
        }
    }

    #[tokio::test]
    async fn the_newest_source_gets_the_mount_after_the_older_one_has_gone() {
        let desk = Arc::new(SourceDesk::default());
        let mount: MountPath = "/m".parse().expect("a mount path");
        let first = desk.take(&mount).await;
        let second = tokio::spawn({
            let (desk, mount) = (desk.clone(), mount.clone());
            async move { desk.take(&mount).await }
        });
        first.stop.cancelled().await;
        assert!(!second.is_finished(), "the first one still holds the mount");
        drop(first);
        let second = second.await.expect("no panic");
        assert!(!second.stop.is_cancelled());
        drop(second);
        assert!(desk.turns().is_empty());
    }
}
