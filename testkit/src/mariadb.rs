//! A real MariaDB for tests, from the system's package, with TLS and passwords.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::server::{self, Command, Error, HOST, Recipe, Server};

/// The login with all privileges.
pub const USER: &str = "kamaji_admin";
/// Its password.
pub const PASSWORD: &str = "admin's \"pass\\word";
/// A second one, which must also show a client certificate. Its password is the same.
pub const CERTIFIED_USER: &str = "kamaji_certified";

const RECIPE: Recipe = Recipe {
    name: "mariadb",
    unprivileged: true,
    stop_signal: None,
    death_signal: "KILL",
    prepare,
    ready: |_| Ok(()),
    command,
};

/// Starts one; TLS is offered, not demanded.
pub async fn start() -> Result<Server, Error> {
    start_on(HOST).await
}

/// As [`start`], on an address of this machine.
pub async fn start_on(host: IpAddr) -> Result<Server, Error> {
    Server::start(&RECIPE, host).await
}

fn command_file(command: &'static str) -> Result<PathBuf, Error> {
    let places = ["/usr/sbin", "/usr/bin"].map(|folder| Path::new(folder).join(command));
    let found = places.into_iter().find(|path| path.exists());
    found.ok_or(Error::NotInstalled { command, package: "mariadb-server" })
}

fn prepare(folder: &Path) -> Result<(), Error> {
    let args =
        ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=8M"];
    let mut args: Vec<String> = args.map(str::to_owned).into();
    args.push(format!("--datadir={}", folder.join("data").display()));
    server::initialise(&command_file("mariadb-install-db")?, args)?;
    // Read at each start, one statement per line.
    let password = PASSWORD.replace('\\', "\\\\").replace('\'', "''");
    let statements = format!(
        "CREATE OR REPLACE USER {USER}@'%' IDENTIFIED BY '{password}';\n\
         GRANT ALL PRIVILEGES ON *.* TO {USER}@'%' WITH GRANT OPTION;\n\
         CREATE OR REPLACE USER {CERTIFIED_USER}@'%' IDENTIFIED BY '{password}' REQUIRE X509;\n\
         GRANT ALL PRIVILEGES ON *.* TO {CERTIFIED_USER}@'%' WITH GRANT OPTION;\n"
    );
    std::fs::write(folder.join("init.sql"), statements).map_err(|source| Error::Files { name: RECIPE.name, source })
}

fn command(folder: &Path, address: SocketAddr) -> Result<Command, Error> {
    let file = |name: &str| folder.join(name).display().to_string();
    let args = vec![
        "--no-defaults".to_owned(),
        format!("--datadir={}", file("data")),
        format!("--init-file={}", file("init.sql")),
        format!("--bind-address={}", address.ip()),
        format!("--port={}", address.port()),
        format!("--socket={}", file("socket")),
        format!("--pid-file={}", file("pid")),
        format!("--tmpdir={}", folder.display()),
        format!("--ssl-ca={}", file("ca.crt")),
        format!("--ssl-cert={}", file("server.crt")),
        format!("--ssl-key={}", file("server.key")),
        "--skip-name-resolve".to_owned(),
        "--innodb-log-file-size=8M".to_owned(),
        "--innodb-buffer-pool-size=16M".to_owned(),
        "--innodb-flush-log-at-trx-commit=0".to_owned(),
        "--innodb-doublewrite=0".to_owned(),
    ];
    Ok((command_file("mariadbd")?, args))
}
