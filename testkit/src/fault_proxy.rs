//! A TCP proxy that misbehaves on request, to put between an operator and an API server or a datastore.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::ports;

const BUFFER: usize = 16 * 1024;
const BIND_ATTEMPTS: usize = 5;

/// Why the proxy does not do what it is told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No free port.
    #[error(transparent)]
    Port(#[from] ports::Error),
    /// Its port could not be opened.
    #[error("the fault proxy cannot listen on {address}")]
    Bind {
        /// Address to listen on.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It runs in an async runtime that has ended.
    #[error("the fault proxy has ended with the async runtime that started it")]
    Ended,
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Port(_) => "port",
            Self::Bind { .. } => "bind",
            Self::Ended => "ended",
        }
    }
}

/// What the proxy does with connections, those that are open included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Forwards everything.
    Pass,
    /// Closes what is open and its port with it: the kernel refuses new connections.
    Refuse,
    /// Accepts connections and keeps them open, but forwards nothing more, in either direction.
    Hang,
    /// Forwards every chunk this much later, in each direction.
    Latency(Duration),
}

type Command = (Mode, oneshot::Sender<Result<(), Error>>);

/// A running proxy on a port of 127.0.0.1; ends, and closes its connections, when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Starts one that passes everything on to `upstream`.
    pub async fn start(upstream: SocketAddr) -> Result<Self, Error> {
        let mut attempt = 1;
        let (listener, address) = loop {
            let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
            match TcpListener::bind(address).await {
                Ok(listener) => break (listener, address),
                Err(_) if attempt < BIND_ATTEMPTS => attempt += 1,
                Err(source) => return Err(Error::Bind { address, source }),
            }
        };
        let (commands, received) = mpsc::unbounded_channel();
        let task = tokio::spawn(serve(listener, address, upstream, received));
        Ok(Self { address, commands, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does; in force when this returns.
    pub async fn set(&self, mode: Mode) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        self.commands.send((mode, done)).map_err(|_| Error::Ended)?;
        answer.await.map_err(|_| Error::Ended)?
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    upstream: SocketAddr,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let mut listener = Some(listener);
    let (mode, _) = watch::channel(Mode::Pass);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some((wanted, done)) = command else { return };
                let result = match wanted {
                    Mode::Refuse => {
                        listener = None;
                        connections.shutdown().await;
                        Ok(())
                    }
                    Mode::Pass | Mode::Hang | Mode::Latency(_) => open(&mut listener, address).await,
                };
                if result.is_ok() {
                    mode.send_replace(wanted);
                }
                // Whoever gave the command may have given up on it.
                let _ = done.send(result);
            }
            Ok(client) = accept(listener.as_ref()) => {
                connections.spawn(forward(client, upstream, mode.subscribe()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(client, _)| client),
        None => std::future::pending().await,
    }
}

async fn open(listener: &mut Option<TcpListener>, address: SocketAddr) -> Result<(), Error> {
    if listener.is_none() {
        let opened = TcpListener::bind(address).await.map_err(|source| Error::Bind { address, source })?;
        *listener = Some(opened);
    }
    Ok(())
}

async fn forward(client: TcpStream, upstream: SocketAddr, mut mode: watch::Receiver<Mode>) {
    // Errors here are the two peers' own: each sees its connection end.
    if delay(&mut mode).await.is_none() {
        return;
    }
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let up = pump(client_read, server_write, mode.clone());
    let down = pump(server_read, client_write, mode);
    let _ = tokio::try_join!(up, down);
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await?;
        if delay(&mut mode).await.is_none() {
            return Ok(());
        }
        match buffer.get(..count) {
            Some(chunk) if !chunk.is_empty() => to.write_all(chunk).await?,
            Some(_) | None => return to.shutdown().await,
        }
    }
}

/// Returns when the mode lets a chunk through; nothing when the proxy is gone.
async fn delay(mode: &mut watch::Receiver<Mode>) -> Option<()> {
    let passing = *mode.wait_for(|mode| !matches!(mode, Mode::Hang)).await.ok()?;
    if let Mode::Latency(latency) = passing {
        tokio::time::sleep(latency).await;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = connection.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        address
    }

    async fn say(connection: &mut TcpStream) -> io::Result<[u8; 5]> {
        connection.write_all(b"hello").await?;
        let mut answer = [0; 5];
        connection.read_exact(&mut answer).await?;
        Ok(answer)
    }

    const SHORT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn passes_both_ways() {
        let proxy = FaultProxy::start(echo().await).await.unwrap();
        let mut connection = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(&say(&mut connection).await.unwrap(), b"hello");
    }

    #[tokio::test]
    async fn refuses_and_recovers_on_the_same_port() {
        let proxy = FaultProxy::start(echo().await).await.unwrap();
        let mut open = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut open).await.unwrap();
        proxy.set(Mode::Refuse).await.unwrap();
        say(&mut open).await.unwrap_err();
        let error = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        proxy.set(Mode::Pass).await.unwrap();
        let mut connection = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut connection).await.unwrap();
    }

    #[tokio::test]
    async fn hangs_and_delivers_late() {
        let proxy = FaultProxy::start(echo().await).await.unwrap();
        let mut open = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut open).await.unwrap();
        proxy.set(Mode::Hang).await.unwrap();
        open.write_all(b"hello").await.unwrap();
        let mut answer = [0; 5];
        assert!(tokio::time::timeout(SHORT, open.read_exact(&mut answer)).await.is_err());
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(tokio::time::timeout(SHORT, say(&mut new)).await.is_err());
        proxy.set(Mode::Pass).await.unwrap();
        open.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"hello");
    }

    #[tokio::test]
    async fn adds_latency_in_both_directions() {
        let proxy = FaultProxy::start(echo().await).await.unwrap();
        let mut connection = TcpStream::connect(proxy.address()).await.unwrap();
        say(&mut connection).await.unwrap();
        proxy.set(Mode::Latency(SHORT)).await.unwrap();
        let begin = std::time::Instant::now();
        say(&mut connection).await.unwrap();
        assert!(begin.elapsed() >= SHORT * 2, "{:?}", begin.elapsed());
    }
}
