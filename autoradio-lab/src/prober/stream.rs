//! Asks one node for an address some hundred times a second, and keeps which question was answered.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Moment, Worker, failed, message, stopped};
use crate::{Client, LabError};

const PAUSE: Duration = Duration::from_millis(2);
const PORT: u16 = 53;
/// How long an answer may take, in milliseconds, before its question counts as unanswered.
const PATIENCE_MS: u64 = 1_000;

/// A client that asks without a pause.
#[derive(Debug)]
pub struct DnsStream {
    questions: Questions,
    _worker: Worker,
}

type Questions = Arc<Mutex<Vec<Question>>>;

#[derive(Clone, Copy, Debug)]
struct Question {
    asked: Moment,
    answered: bool,
}

/// What became of the questions of some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Questions that were asked.
    pub questions: usize,
    /// Those that were not answered with an address.
    pub unanswered: usize,
}

impl DnsStream {
    /// Starts asking `server` for the A records of `name`.
    pub fn start(client: &Client, server: Ipv4Addr, name: &str) -> Result<Self, LabError> {
        let questions = Questions::default();
        let (log, name) = (questions.clone(), name.to_owned());
        let worker = Worker::start(client, move |stop| {
            if let Err(error) = ask(stop, server, &name, &log) {
                eprintln!("the DNS stream ended: {}", failed("asking DNS")(error));
            }
        })?;
        Ok(Self { questions, _worker: worker })
    }

    /// What became of the questions from `start` up to `end`, and not asked within the last second.
    pub fn between(&self, start: Moment, end: Moment) -> Asked {
        asked(&lock(&self.questions), start, end, Moment::now())
    }

    /// Milliseconds after `start` at which the first and the last of the questions since then were asked that were not
    /// answered; `None` if all were.
    pub fn silence_ms(&self, start: Moment) -> Option<(u64, u64)> {
        let (questions, now) = (lock(&self.questions), Moment::now());
        let lost = |question: &&Question| {
            let over = now.ms_since(question.asked) > PATIENCE_MS;
            question.asked >= start && over && !question.answered
        };
        let mut lost = questions.iter().filter(lost).map(|it| it.asked.ms_since(start));
        let first = lost.next()?;
        Some((first, lost.next_back().unwrap_or(first)))
    }

    /// The same from `start` on.
    pub fn since(&self, start: Moment) -> Asked {
        self.between(start, Moment::now())
    }
}

fn asked(questions: &[Question], start: Moment, end: Moment, now: Moment) -> Asked {
    let of_then = questions.iter().filter(|question| {
        (start..end).contains(&question.asked) && now.ms_since(question.asked) > PATIENCE_MS
    });
    of_then.fold(Asked::default(), |sum, question| Asked {
        questions: sum.questions + 1,
        unanswered: sum.unanswered + usize::from(!question.answered),
    })
}

fn ask(stop: &AtomicBool, server: Ipv4Addr, name: &str, log: &Questions) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((server, PORT))?;
    socket.set_nonblocking(true)?;
    while !stopped(stop) {
        let number = {
            let mut questions = lock(log);
            questions.push(Question { asked: Moment::now(), answered: false });
            questions.len() - 1
        };
        // A node that is gone makes this fail; its question stays unanswered.
        let sent = socket.send(&message::question((number & 0xffff) as u16, name));
        sent.map(drop).unwrap_or_default();
        std::thread::sleep(PAUSE);
        collect(&socket, log);
    }
    Ok(())
}

/// Takes all answers that have come.
fn collect(socket: &UdpSocket, log: &Questions) {
    let mut buffer = [0; 1_500];
    loop {
        match socket.recv(&mut buffer) {
            Ok(bytes) => note(&buffer[..bytes], &mut lock(log)),
            // What a closed port says stands before the answers that came meanwhile.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return,
        }
    }
}

/// Notes an answer; its number is that of the youngest question which may have had it.
fn note(reply: &[u8], questions: &mut [Question]) {
    let named = message::addresses(reply).is_some_and(|named| !named.is_empty());
    let (Some(id), true) = (reply.first_chunk().map(|id| u16::from_be_bytes(*id)), named) else {
        return;
    };
    let numbered = questions.iter_mut().enumerate().rev();
    let mut asked = numbered.filter(|(number, _)| (number & 0xffff) as u16 == id);
    if let Some((_, question)) = asked.next() {
        question.answered = true;
    }
}

fn lock(questions: &Mutex<Vec<Question>>) -> MutexGuard<'_, Vec<Question>> {
    questions.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_counts_once_its_time_is_over_and_an_answer_belongs_to_the_youngest() {
        let start = Moment::now();
        let at = |ms| Moment(start.0 + Duration::from_millis(ms));
        let mut questions: Vec<_> =
            [0, 10, 20].map(|ms| Question { asked: at(ms), answered: false }).into();
        let mut reply = message::question(1, "a.test");
        note(&reply, &mut questions);
        assert!(!questions[1].answered, "a question is no answer");
        reply[2] |= 0x80;
        note(&reply, &mut questions);
        assert!(!questions[1].answered, "nor is one without addresses");
        reply[7] = 1;
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 10, 0, 4, 192, 0, 2, 1]);
        note(&reply, &mut questions);
        assert!(questions[1].answered);
        let count = |end, now| {
            let Asked { questions, unanswered } = asked(&questions, start, at(end), at(now));
            (questions, unanswered)
        };
        assert_eq!(count(30, 1_000), (0, 0), "they may still be answered");
        assert_eq!(count(30, 1_015), (2, 1), "the first two");
        assert_eq!(count(20, 5_000), (2, 1), "those before the end");
        assert_eq!(count(30, 5_000), (3, 2));
    }
}
