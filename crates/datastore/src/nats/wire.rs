//! The NATS client protocol, as far as requests and their answers need it: text lines, one request at a time.
//!
//! A client of our own in place of a library: it is small, has no tasks in the background and no second list of
//! endpoints, and its failures are told apart like those of the other drivers.

use std::io;

use rand::Rng as _;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};

/// Longest line that is read: a server of a large cluster lists its peers in one.
const LONGEST_LINE: u64 = 1 << 20;
/// Longest answer that is read.
const LONGEST_ANSWER: usize = 16 << 20;

/// A socket, with or without TLS.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// What a server answers a request with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The payload.
    Message(Vec<u8>),
    /// Nobody listens on the subject.
    NoResponders,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The connection broke, or spoke no NATS.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server said why.
    #[error("{0}")]
    Refused(String),
}

/// A connection that is logged in.
pub(crate) struct Wire {
    socket: BufReader<Box<dyn Socket>>,
    inbox: String,
    requests: u64,
}

/// Reads the server's greeting, byte by byte: what follows it may be a TLS handshake.
pub(crate) async fn greeting(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Value> {
    let mut line = Vec::new();
    loop {
        let byte = socket.read_u8().await?;
        if byte == b'\n' {
            break;
        }
        line.push(byte);
        if line.len() as u64 > LONGEST_LINE {
            return Err(not_nats("its greeting does not end"));
        }
    }
    let text = String::from_utf8_lossy(&line);
    let json = text.trim().strip_prefix("INFO ").ok_or_else(|| not_nats("it does not greet as a NATS server does"))?;
    serde_json::from_str(json).map_err(|_| not_nats("its greeting cannot be read"))
}

fn not_nats(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Wire {
    /// Logs in with these options of `CONNECT`.
    pub async fn log_in(socket: Box<dyn Socket>, options: &Value) -> Result<Self, Failure> {
        let inbox = format!("_INBOX.{:032x}", rand::rng().random::<u128>());
        let mut wire = Self { socket: BufReader::new(socket), inbox, requests: 0 };
        wire.send(format!("CONNECT {options}\r\nPING\r\n").as_bytes()).await?;
        wire.pong().await?;
        let subscription = format!("SUB {}.* 1\r\n", wire.inbox);
        wire.send(subscription.as_bytes()).await?;
        Ok(wire)
    }

    /// Asks for a sign of life.
    pub async fn ping(&mut self) -> Result<(), Failure> {
        self.send(b"PING\r\n").await?;
        self.pong().await
    }

    /// Sends a request and reads its answer.
    pub async fn request(&mut self, subject: &str, payload: &str) -> Result<Answer, Failure> {
        self.requests += 1;
        let reply = format!("{}.{}", self.inbox, self.requests);
        let length = payload.len();
        self.send(format!("PUB {subject} {reply} {length}\r\n{payload}\r\n").as_bytes()).await?;
        loop {
            let line = self.line().await?;
            let mut words = line.split_ascii_whitespace();
            let answer = match words.next() {
                Some("MSG") => self.message(&line, 0).await?,
                Some("HMSG") => {
                    let header = line.split_ascii_whitespace().rev().nth(1).and_then(|word| word.parse().ok());
                    self.message(&line, header.unwrap_or_default()).await?
                }
                _ => continue,
            };
            // An earlier request may have been given up: its answer comes late.
            if words.next() == Some(&reply) {
                return Ok(answer);
            }
        }
    }

    async fn message(&mut self, line: &str, header: usize) -> Result<Answer, Failure> {
        let length = line.split_ascii_whitespace().next_back().and_then(|word| word.parse::<usize>().ok());
        let length = length.filter(|length| *length <= LONGEST_ANSWER).ok_or_else(|| not_nats("it sent no length"))?;
        let mut bytes = vec![0; length];
        self.socket.read_exact(&mut bytes).await?;
        self.socket.read_exact(&mut [0; 2]).await?;
        let payload = bytes.split_off(header.min(length));
        let nobody = bytes.starts_with(b"NATS/1.0 503");
        Ok(if nobody { Answer::NoResponders } else { Answer::Message(payload) })
    }

    async fn pong(&mut self) -> Result<(), Failure> {
        while self.line().await?.trim_end() != "PONG" {}
        Ok(())
    }

    /// The next line that is not housekeeping.
    async fn line(&mut self) -> Result<String, Failure> {
        loop {
            let mut line = Vec::new();
            let count = (&mut self.socket).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if let Some(error) = line.strip_prefix("-ERR ") {
                return Err(Failure::Refused(error.trim_matches('\'').to_owned()));
            }
            if line == "PING" {
                self.send(b"PONG\r\n").await?;
            } else {
                return Ok(line);
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), io::Error> {
        self.socket.write_all(bytes).await?;
        self.socket.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says these words, whatever it hears.
    async fn wire(words: &str) -> Result<Wire, Failure> {
        let (client, mut server) = tokio::io::duplex(4096);
        let words = words.to_owned();
        tokio::spawn(async move {
            server.write_all(words.as_bytes()).await.unwrap();
            let mut heard = Vec::new();
            server.read_to_end(&mut heard).await
        });
        let mut wire = Wire::log_in(Box::new(client), &Value::Null).await?;
        wire.inbox = "in".into();
        Ok(wire)
    }

    #[tokio::test]
    async fn reads_answers_among_housekeeping_and_late_ones() {
        let mut wire = wire(
            "PONG\r\n+OK\r\nPING\r\nMSG in.0 1 4\r\nlate\r\nINFO {}\r\nMSG in.1 1 2\r\nhi\r\n\
             HMSG in.2 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\nHMSG in.3 1 12 14\r\nNATS/1.0\r\n\r\nok\r\n",
        )
        .await
        .unwrap();
        assert_eq!(wire.request("a", "").await.unwrap(), Answer::Message(b"hi".into()));
        assert_eq!(wire.request("a", "").await.unwrap(), Answer::NoResponders);
        assert_eq!(wire.request("a", "").await.unwrap(), Answer::Message(b"ok".into()));
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_servers_words() {
        let refused = wire("-ERR 'Authorization Violation'\r\n").await.err().unwrap();
        assert_eq!(refused.to_string(), "Authorization Violation");
    }

    #[tokio::test]
    async fn what_is_no_nats_server_is_said_so() {
        for greeting_of_another in ["HTTP/1.1 400 Bad Request\r\n", "INFO nonsense\r\n"] {
            let error = greeting(&mut greeting_of_another.as_bytes()).await.unwrap_err();
            assert!(error.to_string().contains("greet"), "{error}");
        }
        let greeted = greeting(&mut "INFO {\"version\":\"2.11.0\"}\r\n".as_bytes()).await.unwrap();
        assert_eq!(greeted["version"], "2.11.0");
    }

    #[tokio::test]
    async fn a_length_without_end_is_not_waited_for() {
        let mut wire = wire("PONG\r\nMSG in.1 1 99999999999\r\n").await.unwrap();
        assert!(wire.request("a", "").await.is_err());
    }
}
