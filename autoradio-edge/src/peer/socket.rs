//! Questions to peers: short, and many at one time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Answers, Heard, PeerAsk, PeerState, Told, authorization};
use crate::clock;
use crate::cluster::{NodeName, NodeRecord};

/// Longest time for a peer's answer, its connection included: a peer that is busy is no peer that is gone.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Longest time that a probe gives to an answer that it does not need.
const PROBE_ANSWER_MAX: Duration = Duration::from_millis(300);
/// Longest wait for a probed port.
const PROBE_MAX: Duration = Duration::from_millis(400);
/// Largest answer of a peer about its state, in bytes.
const ANSWER_BYTES_MAX: u64 = 4 * 1024;
/// Longest time for an answer that an operator waits for, its connection included.
const TOLD_MAX: Duration = Duration::from_secs(2);
/// Largest such answer, in bytes: listeners take some two hundred bytes each.
const TOLD_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What a probed port says of the daemon behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It listens.
    Open,
    /// The peer's kernel says that nobody listens.
    Refused,
    /// Nothing, in time: that may be the network.
    Unknown,
}

/// Knocks at a node's front. A front that opens is asked for its state, though its answer does not matter: it should not
/// have to count connections without a request.
pub async fn probe(node: &NodeRecord, password: &str) -> Probe {
    let connecting = TcpStream::connect(front_of(node));
    match tokio::time::timeout(PROBE_MAX, connecting).await {
        Ok(Ok(stream)) => {
            let authorization = authorization(password);
            let asking = exchange(stream, node, &authorization);
            let _ = tokio::time::timeout(PROBE_ANSWER_MAX, asking).await;
            Probe::Open
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Probe::Refused,
        Ok(Err(_)) | Err(_) => Probe::Unknown,
    }
}

/// Asks all `nodes` for their state at one time.
pub async fn ask_all(nodes: &[Arc<NodeRecord>], password: &str) -> Answers {
    let mut questions = JoinSet::new();
    for node in nodes {
        let (node, authorization) = (node.clone(), authorization(password));
        questions.spawn(async move {
            let asked_ns = clock::boot_ns();
            match ask(&node, &authorization).await {
                // Behind a stale address somebody else may answer.
                Answer::State(state) if state.name != node.name => (None, false),
                Answer::State(state) => (Some(Heard { state, asked_ns }), false),
                Answer::Mute => (None, true),
                Answer::Nobody => (None, false),
            }
        });
    }
    let mut answers = Answers::default();
    for (heard, mute) in questions.join_all().await {
        answers.heard.extend(heard);
        answers.mute += usize::from(mute);
    }
    answers
}

/// Asks all `nodes` the same at one time; what each said, `None` if it said nothing in time, or nothing that is understood.
pub async fn tell_each<Answer: DeserializeOwned + Send + 'static>(
    nodes: impl IntoIterator<Item = Arc<NodeRecord>>,
    ask: &PeerAsk,
    password: &str,
) -> Vec<(NodeName, Option<Answer>)> {
    let mut questions = JoinSet::new();
    for node in nodes {
        let (target, authorization) = (ask.target(), authorization(password));
        questions.spawn(async move {
            let asking = async {
                let stream = TcpStream::connect(front_of(&node)).await.ok()?;
                let asked = request(stream, &node, &target, &authorization, TOLD_BYTES_MAX).await;
                read_answer::<Told<Answer>>(&asked.ok()?)
            };
            let told = tokio::time::timeout(TOLD_MAX, asking).await.ok().flatten();
            let answer = told.filter(|told| told.node == node.name).map(|told| told.answer);
            (node.name.clone(), answer)
        });
    }
    let mut told = questions.join_all().await;
    told.sort_by(|(one, _), (other, _)| one.cmp(other));
    told
}

/// What came of one question.
enum Answer {
    State(PeerState),
    /// Somebody took the connection and gave no state.
    Mute,
    Nobody,
}

async fn ask(node: &NodeRecord, authorization: &str) -> Answer {
    let mut connected = false;
    let asking = async {
        let stream = TcpStream::connect(front_of(node)).await.ok()?;
        connected = true;
        exchange(stream, node, authorization).await.ok().flatten()
    };
    let state = tokio::time::timeout(ANSWER_MAX, asking).await.ok().flatten();
    match state {
        Some(state) => Answer::State(state),
        None if connected => Answer::Mute,
        None => Answer::Nobody,
    }
}

async fn exchange(
    stream: TcpStream,
    node: &NodeRecord,
    authorization: &str,
) -> io::Result<Option<PeerState>> {
    let target = PeerAsk::State.target();
    let answer = request(stream, node, &target, authorization, ANSWER_BYTES_MAX).await?;
    Ok(read_answer(&answer))
}

/// Sends a request and reads the whole answer, head and body.
async fn request(
    mut stream: TcpStream,
    node: &NodeRecord,
    target: &str,
    authorization: &str,
    bytes_max: u64,
) -> io::Result<String> {
    let host = front_of(node);
    let request =
        format!("GET {target} HTTP/1.0\r\nHost: {host}\r\nAuthorization: {authorization}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(bytes_max).read_to_string(&mut answer).await?;
    Ok(answer)
}

/// What an answer says, if that is one of success.
fn read_answer<Body: DeserializeOwned>(answer: &str) -> Option<Body> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?;
    if status == "200" { serde_json::from_str(body).ok() } else { None }
}

fn front_of(node: &NodeRecord) -> SocketAddr {
    SocketAddr::from((node.peer_address, node.http_port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const ANSWER: &str = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n\
        {\"name\":\"b\",\"id\":\"x\",\"quorum\":true,\"quorum_age_ms\":7,\"revision\":9,\"later\":1}\n";

    async fn listening(name: &str) -> (TcpListener, Arc<NodeRecord>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let json = serde_json::json!({
            "schema": 1, "name": name, "domain": "radio.test", "addresses": ["127.0.0.1"],
            "peer_address": "127.0.0.1", "http_port": listener.local_addr().unwrap().port(),
            "icecast_port": 8000, "version": "0",
        });
        (listener, Arc::new(serde_json::from_value(json).unwrap()))
    }

    fn answering(listener: TcpListener, answer: &'static str) {
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1_024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /_peer/state HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
    }

    #[tokio::test]
    async fn who_answers_is_heard_and_who_is_silent_is_told_from_who_is_gone() {
        let (good, b) = listening("b").await;
        let (_silent, c) = listening("c").await;
        let (stranger, d) = listening("d").await;
        let (refusing, b2) = listening("b").await;
        let (gone, e) = listening("e").await;
        drop(gone);
        answering(good, ANSWER);
        answering(stranger, ANSWER);
        answering(refusing, "HTTP/1.0 401 Unauthorized\r\n\r\n{}");
        let before_ns = clock::boot_ns();
        let Answers { heard, mute } = ask_all(&[b, c, d, b2, e], "secret").await;
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert_eq!(
            mute, 2,
            "one says nothing, one says no; a stranger and a closed port are nobody"
        );
        assert_eq!((heard[0].state.revision, heard[0].state.quorum_age_ms), (9, 7));
        assert!(heard[0].asked_ns >= before_ns);
    }

    #[tokio::test]
    async fn who_does_not_answer_an_order_in_time_is_named() {
        let (good, b) = listening("b").await;
        let (_silent, c) = listening("c").await;
        let (stranger, d) = listening("d").await;
        for listener in [good, stranger] {
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 1_024];
                let read = stream.read(&mut request).await.unwrap();
                assert!(
                    request[..read].starts_with(b"GET /_peer/killsource?mount=%2Fa HTTP/1.0\r\n")
                );
                let answer = "HTTP/1.0 200 OK\r\n\r\n{\"node\":\"b\",\"answer\":1}";
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
        let ask = PeerAsk::KillSource("/a".parse().unwrap());
        let told = tell_each::<u64>([d, c, b], &ask, "secret").await;
        let told: Vec<_> = told.iter().map(|(node, told)| (node.as_str(), *told)).collect();
        assert_eq!(told, [("b", Some(1)), ("c", None), ("d", None)]);
    }

    #[tokio::test]
    async fn a_closed_port_is_told_from_an_open_one() {
        let (listener, node) = listening("b").await;
        assert_eq!(probe(&node, "secret").await, Probe::Open);
        drop(listener);
        assert_eq!(probe(&node, "secret").await, Probe::Refused);
    }
}
