//! What can go wrong in the front, and what the client is told then.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use autoradio_common::limits::{
    HTTP_CHUNK_LINE_BYTES_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEAD_MS_MAX, HTTP_ICECAST_HEAD_BYTES_MAX,
};

use super::reply::Reply;
use crate::cluster::MountPath;
use crate::stream::StreamError;

/// Everything that ends a request, a tunnel or the front itself before its time.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// A port of the front cannot be listened on.
    #[error("HTTP port {port} cannot be opened: {}", remedy(.source, "--http-port"))]
    Port {
        /// The port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// The port for `SHOUTcast` sources cannot be listened on.
    #[error("SHOUTcast port {port} cannot be opened: {}", remedy(.source, "--shoutcast-port"))]
    ShoutcastPort {
        /// The port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// The node has all the connections it may have.
    #[error("this node has all the {connections_max} connections it may have, try again")]
    NodeFull {
        /// How many that is.
        connections_max: usize,
    },
    /// The client's address has all the connections it may have.
    #[error("your address has all the connections to this node that it may have")]
    AddressFull,
    /// Bytes that are no request head.
    #[error("the request head is malformed: {source}")]
    HeadMalformed {
        /// Where the parser stopped.
        source: httparse::Error,
    },
    /// A head over the limit, in bytes or in fields.
    #[error("the request head is larger than {HTTP_HEAD_BYTES_MAX} bytes or has too many fields")]
    HeadTooLarge,
    /// A head that is fine here and that Icecast cannot take.
    #[error(
        "with what is passed on, the request head has {bytes} bytes, and Icecast takes \
         {HTTP_ICECAST_HEAD_BYTES_MAX}: shorten the stream's description or title"
    )]
    HeadTooLargeForIcecast {
        /// Its length towards Icecast.
        bytes: usize,
    },
    /// A head that was not complete in time.
    #[error("the request head took longer than {HTTP_HEAD_MS_MAX} ms")]
    HeadTooSlow,
    /// The client closed before it had sent a head.
    #[error("the client closed before its request was complete")]
    ClientGone,
    /// It has opened a connection and sent nothing, as browsers do for later: an answer would be taken for that of a request
    /// which it sends at that moment, and a crowd of answers costs those who play.
    #[error("the client said nothing")]
    ClientMute,
    /// The connection to the client failed.
    #[error("the connection to the client failed: {source}")]
    Client {
        /// What the kernel said.
        source: io::Error,
    },
    /// A line of a source that speaks `SHOUTcast` or Icecast 1.
    #[error(
        "the source's login is malformed: it has a line with the password, then lines like icy-name:text, then an empty one"
    )]
    LoginMalformed,
    /// A proxy that may speak for its clients, and does not say whom it speaks for in a form that is known.
    #[error("the PROXY header is malformed")]
    ProxyMalformed,
    /// `Content-Length` is no number.
    #[error("Content-Length is no number")]
    LengthMalformed,
    /// A chunked body that breaks RFC 9112 §7.1.
    #[error(
        "the chunked body is malformed, or a line of it is over {HTTP_CHUNK_LINE_BYTES_MAX} bytes"
    )]
    ChunkMalformed,
    /// A metadata update that names no mount.
    #[error("the request needs a parameter \"mount\" that names a mount")]
    MountMissing,
    /// No such mount in the cluster.
    #[error("there is no mount {path} here")]
    MountUnknown {
        /// What the client asked for.
        path: String,
    },
    /// No credentials, or wrong ones.
    #[error("this mount's source user name and password are needed")]
    Unauthorized,
    /// No admin credentials, or wrong ones.
    #[error(
        "the user admin and the cluster's admin password are needed; radioctl set-admin-password sets it"
    )]
    AdminUnauthorized,
    /// The access log cannot be written.
    #[error("--access-log {}: {source}; name a file in a folder that is there", path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A listener whom the mount's users or its URL do not let in.
    #[error("this mount's listeners need a user name and a password that are right")]
    ListenerUnauthorized,
    /// The program that decides who listens does not answer.
    #[error("who may listen to this mount cannot be asked at this moment, try again: {reason}")]
    ListenersNotJudged {
        /// What went wrong.
        reason: String,
    },
    /// A source for a mount that is pulled.
    #[error("mount {mount} is pulled from elsewhere and takes no source")]
    Pulled {
        /// The mount.
        mount: MountPath,
    },
    /// More passwords to check than can be checked in time.
    #[error("too many passwords are being checked at this moment, try again")]
    PasswordsBusy,
    /// Nobody holds the mount yet.
    #[error("mount {mount} has no master at this moment, try again")]
    NoMaster {
        /// The mount.
        mount: MountPath,
    },
    /// The mount is known, and nothing is playing on it.
    #[error("mount {mount} has no source at this moment")]
    NoSource {
        /// The mount.
        mount: MountPath,
    },
    /// The mount has all the listeners its record allows.
    #[error("mount {mount} has all the listeners it may have on this node")]
    MountFull {
        /// The mount.
        mount: MountPath,
    },
    /// Neither this node nor another one takes the listener.
    #[error("this node takes no listener at this moment, try again")]
    NoRoom,
    /// The master's Icecast does not accept connections.
    #[error("the mount's Icecast at {address} cannot be reached: {source}")]
    IcecastUnreachable {
        /// Where it should be.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The master's Icecast accepted the connection and said nothing that can be understood.
    #[error("the mount's Icecast at {address} gave no answer")]
    IcecastSilent {
        /// Where it is.
        address: SocketAddr,
    },
    /// The mount's stream cannot be had from its Icecast.
    #[error("the stream of mount {mount} cannot be had at this moment: {source}")]
    StreamUnreachable {
        /// The mount.
        mount: MountPath,
        /// Why.
        source: StreamError,
    },
    /// The master's Icecast refused what the front asked of it.
    #[error("the mount's Icecast answered {status}: {sentence}")]
    IcecastRefused {
        /// Its status.
        status: u16,
        /// Its words, without markup.
        sentence: String,
    },
}

impl FrontError {
    /// What the client is told, `None` when nobody is there to be told anything.
    pub(super) fn reply(&self) -> Option<Reply> {
        let status = match self {
            Self::Port { .. }
            | Self::ShoutcastPort { .. }
            | Self::AccessLog { .. }
            | Self::ClientGone
            | Self::ClientMute
            | Self::Client { .. } => return None,
            Self::HeadMalformed { .. }
            | Self::LengthMalformed
            | Self::ChunkMalformed
            | Self::LoginMalformed
            | Self::ProxyMalformed
            | Self::MountMissing => 400,
            Self::HeadTooLarge | Self::HeadTooLargeForIcecast { .. } => 431,
            Self::HeadTooSlow => 408,
            Self::AddressFull => 429,
            Self::MountUnknown { .. } | Self::NoSource { .. } => 404,
            Self::Unauthorized | Self::AdminUnauthorized | Self::ListenerUnauthorized => 401,
            Self::Pulled { .. } => 403,
            // Icecast refusing our internal password is our fault: the client's own was right.
            Self::IcecastRefused { status: 401, .. }
            | Self::NodeFull { .. }
            | Self::PasswordsBusy
            | Self::ListenersNotJudged { .. }
            | Self::NoMaster { .. }
            | Self::MountFull { .. }
            | Self::NoRoom
            | Self::IcecastUnreachable { .. }
            | Self::IcecastSilent { .. }
            | Self::StreamUnreachable { .. } => 503,
            Self::IcecastRefused { status, .. } => *status,
        };
        Some(Reply::text(status, &self.sentence()))
    }

    /// The message for the client: like `Display`, without addresses of the inside.
    fn sentence(&self) -> String {
        match self {
            Self::IcecastUnreachable { .. }
            | Self::IcecastSilent { .. }
            | Self::StreamUnreachable { .. }
            | Self::IcecastRefused { status: 401, .. } => {
                "the mount's Icecast cannot be reached at this moment, try again".to_owned()
            }
            Self::ListenersNotJudged { .. } => {
                "who may listen to this mount cannot be asked at this moment, try again".to_owned()
            }
            other => other.to_string(),
        }
    }
}

fn remedy(source: &io::Error, flag: &str) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another program has it; stop that program or choose another port with {flag}")
        }
        io::ErrorKind::PermissionDenied => format!(
            "it needs privileges; run as root, grant CAP_NET_BIND_SERVICE, or choose one above \
             1023 with {flag}"
        ),
        _ => source.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_cannot_be_opened_is_named_with_its_remedy() {
        for (kind, want) in [
            (io::ErrorKind::AddrInUse, "another program has it"),
            (io::ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
        ] {
            let error = FrontError::Port { port: 80, source: kind.into() };
            let text = error.to_string();
            assert!(text.contains("port 80") && text.contains(want), "{text}");
        }
    }

    #[test]
    fn clients_see_neither_inner_addresses_nor_inner_passwords_failing() {
        for error in [
            FrontError::StreamUnreachable {
                mount: "/m".parse().expect("a mount path"),
                source: StreamError::Silent { address: ([198, 18, 0, 7], 8000).into() },
            },
            FrontError::IcecastSilent { address: ([198, 18, 0, 7], 8000).into() },
            FrontError::IcecastRefused { status: 401, sentence: "inner".to_owned() },
        ] {
            let reply = error.reply().expect("an answer");
            let text =
                String::from_utf8(reply.to_bytes(super::super::HttpVersion::Http11)).expect("text");
            assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
            assert!(text.contains("\r\nRetry-After: "), "{text}");
            assert!(!text.contains("198.18") && !text.contains("inner"), "{text}");
        }
    }
}
