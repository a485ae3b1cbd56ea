//! A real PostgreSQL for tests, from the system's package, with TLS and passwords.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::certificate::Identity;
use crate::server::{self, Command, Error, HOST, Recipe, Server};

/// The superuser.
pub const USER: &str = "kamaji_admin";
/// Its password.
pub const PASSWORD: &str = "admin's \"pass\\word";
/// A second superuser, which must also show a client certificate. Its password is the same.
pub const CERTIFIED_USER: &str = "kamaji_certified";

/// Where Debian puts the commands, one folder per major version.
const VERSIONS: &str = "/usr/lib/postgresql";

const RECIPE: Recipe = Recipe {
    name: "postgres",
    unprivileged: true,
    stop_signal: Some(Signal::INT),
    // When it is killed it leaves shared memory behind.
    death_signal: "QUIT",
    prepare,
    ready,
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

/// Has it trust the clients of these authorities, as PEM, and show another certificate, if one is given. It does so for new
/// connections; those that are open stay.
pub fn renew_certificates(server: &Server, trusted: &str, shown: Option<&Identity>) -> Result<(), Error> {
    let files = |source| Error::Files { name: RECIPE.name, source };
    server.replace_certificates(trusted, shown).map_err(files)?;
    server.hang_up();
    Ok(())
}

/// Makes it a standby, which takes no writes and never becomes anything else, from its next start on.
pub fn demote(server: &Server) -> Result<(), Error> {
    let files = |source| Error::Files { name: RECIPE.name, source };
    std::fs::write(server.folder().join("data/standby.signal"), "").map_err(files)
}

/// The newest version that is installed.
fn command_file(command: &'static str) -> Result<PathBuf, Error> {
    let newest = std::fs::read_dir(VERSIONS)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin").join(command))
        .filter(|path| path.exists())
        .max();
    newest.ok_or(Error::NotInstalled { command, package: "postgresql" })
}

fn prepare(folder: &Path) -> Result<(), Error> {
    let data = folder.join("data");
    let args = ["--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale", "--username=postgres"];
    let mut args: Vec<String> = args.map(str::to_owned).into();
    args.push(format!("--pgdata={}", data.display()));
    server::initialise(&command_file("initdb")?, args)?;
    let files = |source| Error::Files { name: RECIPE.name, source };
    let access = format!(
        "local all all trust\nhostssl all {CERTIFIED_USER} all scram-sha-256 clientcert=verify-ca\n\
         host all {CERTIFIED_USER} all reject\nhost all all all scram-sha-256\n"
    );
    std::fs::write(data.join("pg_hba.conf"), access).map_err(files)?;
    // In single-user mode, which takes one statement per line and needs no server.
    let password = PASSWORD.replace('\'', "''");
    let statements =
        [USER, CERTIFIED_USER].map(|user| format!("CREATE ROLE {user} SUPERUSER LOGIN PASSWORD '{password}'"));
    let script = folder.join("roles.sql");
    std::fs::write(&script, statements.join("\n")).map_err(files)?;
    let single =
        format!("exec \"$0\" --single -F -D '{}' postgres < '{}' > /dev/null", data.display(), script.display());
    let postgres = command_file("postgres")?.display().to_string();
    server::initialise(Path::new("/bin/sh"), vec!["-c".into(), single, postgres])
}

/// It takes connections, and refuses logins, before it has read its log of writes.
fn ready(folder: &Path) -> Result<(), String> {
    let status = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
    match status.lines().nth(7).map(str::trim) {
        Some("ready" | "standby") => Ok(()),
        other => Err(format!("the server says {:?} of itself", other.unwrap_or_default())),
    }
}

fn command(folder: &Path, address: SocketAddr) -> Result<Command, Error> {
    let file = |name: &str| folder.join(name).display().to_string();
    let settings = [
        format!("port={}", address.port()),
        format!("listen_addresses={}", address.ip()),
        format!("unix_socket_directories={}", folder.display()),
        "ssl=on".to_owned(),
        format!("ssl_ca_file={}", file("ca.crt")),
        format!("ssl_cert_file={}", file("server.crt")),
        format!("ssl_key_file={}", file("server.key")),
        "fsync=off".to_owned(),
        "dynamic_shared_memory_type=mmap".to_owned(),
        "shared_buffers=16MB".to_owned(),
        "log_statement=all".to_owned(),
    ];
    let mut args = vec!["-D".to_owned(), file("data")];
    args.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
    Ok((command_file("postgres")?, args))
}
