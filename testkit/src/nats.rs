//! A real NATS server with JetStream for tests, with TLS, client certificates and a password.

use std::path::Path;

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
    command: |folder, port| Ok(command(folder, port)),
};

/// Starts one; TLS and a client certificate are demanded.
pub async fn start() -> Result<Server, Error> {
    Server::start(&RECIPE).await
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

fn command(folder: &Path, port: u16) -> Command {
    let args = vec![
        format!("--config={}", folder.join("nats.conf").display()),
        format!("--addr={HOST}"),
        format!("--port={port}"),
    ];
    (parts::nats_server(), args)
}
