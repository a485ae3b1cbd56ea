//! A real NATS server with JetStream for tests, with TLS, client certificates and a password.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certificate::client_config;
use crate::parts;
use crate::server::{Command, Error, HOST, Recipe, Server};

/// The login.
pub const USER: &str = "kamaji";
/// Its password.
pub const PASSWORD: &str = "the-nats-password";
/// A login of an account without JetStream, with the same password.
pub const PLAIN_USER: &str = "plain";

const RECIPE: Recipe = Recipe {
    name: "nats",
    unprivileged: false,
    stop_signal: None,
    death_signal: "KILL",
    prepare,
    ready: |_| Ok(()),
    command: |folder, address| Ok(command(folder, address)),
};

/// Starts one; TLS and a client certificate are demanded.
pub async fn start() -> Result<Server, Error> {
    start_on(HOST).await
}

/// As [`start`], on an address of this machine.
pub async fn start_on(host: IpAddr) -> Result<Server, Error> {
    Server::start(&RECIPE, host).await
}

/// One request of [`USER`], and its answer.
pub async fn request(server: &Server, subject: &str, payload: &str) -> io::Result<String> {
    let config = client_config(&server.authority().certificate(), Some(server.client())).map_err(io::Error::other)?;
    let mut socket = TcpStream::connect(server.address()).await?;
    // It speaks first, in clear text.
    while socket.read_u8().await? != b'\n' {}
    let name = ServerName::from(server.address().ip());
    let mut socket = BufReader::new(TlsConnector::from(config).connect(name, socket).await?);
    let length = payload.len();
    let words = format!(
        "CONNECT {{\"user\":\"{USER}\",\"pass\":\"{PASSWORD}\",\"tls_required\":true}}\r\nSUB in 1\r\n\
         PUB {subject} in {length}\r\n{payload}\r\n"
    );
    socket.write_all(words.as_bytes()).await?;
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await? == 0 || line.starts_with("-ERR") {
            return Err(io::Error::other(format!("NATS refused the request: {}", line.trim())));
        }
        if line.starts_with("MSG") {
            let length = line.split_whitespace().next_back().and_then(|length| length.parse().ok());
            let mut bytes = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
            socket.read_exact(&mut bytes).await?;
            return String::from_utf8(bytes).map_err(io::Error::other);
        }
    }
}

fn prepare(folder: &Path) -> Result<(), Error> {
    let file = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        r#"
tls {{
  ca_file: "{}"
  cert_file: "{}"
  key_file: "{}"
  verify: true
}}
jetstream {{ store_dir: "{}" }}
accounts {{
  TENANT: {{ jetstream: enabled, users: [ {{ user: "{USER}", password: "{PASSWORD}" }} ] }}
  PLAIN: {{ users: [ {{ user: "{PLAIN_USER}", password: "{PASSWORD}" }} ] }}
}}
"#,
        file("ca.crt"),
        file("server.crt"),
        file("server.key"),
        file("data"),
    );
    std::fs::write(folder.join("nats.conf"), config).map_err(|source| Error::Files { name: RECIPE.name, source })
}

fn command(folder: &Path, address: SocketAddr) -> Command {
    let args = vec![
        format!("--config={}", folder.join("nats.conf").display()),
        format!("--addr={}", address.ip()),
        format!("--port={}", address.port()),
    ];
    (parts::nats_server(), args)
}
