//! One connection to one MySQL or MariaDB server, as the DataStore's login or as a tenant.

use mysql_async::prelude::Queryable as _;
use mysql_async::{ClientIdentity, Conn, Opts, OptsBuilder, Row, SslOpts};

use super::query;
use crate::asked::Asked;
use crate::connection::{Connection, Endpoint, Secret, Tls};
use crate::sessions::{CONNECT_TIMEOUT, Dial};
use crate::sql::PasswordIs;
use crate::{Driver, Error, Tenant, tls};

/// The oldest release whose databases carry comments.
const OLDEST_MARIADB: ((u16, u16, u16), &str) = ((10, 5, 0), "10.5");
/// The oldest release whose users carry attributes.
const OLDEST_MYSQL: ((u16, u16, u16), &str) = ((8, 0, 21), "8.0.21");

/// Everything but the endpoint, checked.
pub(crate) struct Dialer {
    tls: Option<SslOpts>,
    login: Option<(String, Secret)>,
}

/// A connection as the DataStore's login, and what the server is.
pub(crate) struct Session {
    pub conn: Conn,
    pub server: Server,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// MariaDB, not MySQL.
    pub mariadb: bool,
    pub version: String,
    /// `_` and `%` are wildcards in the database of a grant.
    pub wildcards: bool,
}

impl Dialer {
    /// Checks the TLS material.
    pub fn new(connection: &Connection) -> Result<Self, Error> {
        let tls = match &connection.tls {
            None => None,
            Some(material) => {
                // Its outcome is not used: the client reads the PEM blocks itself, and says less of what is wrong.
                tls::session(material)?;
                Some(ssl(material))
            }
        };
        let login = connection.basic_auth.as_ref().map(|login| (login.username.clone(), login.password.clone()));
        Ok(Self { tls, login })
    }

    /// The DataStore's login, as it is configured.
    pub fn login(&self) -> Option<&str> {
        self.login.as_ref().map(|(name, _)| name.as_str())
    }

    fn options(&self, endpoint: &Endpoint, user: &str, password: &Secret) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname(endpoint.host.as_str())
            .tcp_port(endpoint.port)
            // A server on this machine would be moved to over its socket, past TLS.
            .prefer_socket(false)
            .user(Some(user))
            .pass(Some(password.expose()))
            .ssl_opts(self.tls.clone())
            .stmt_cache_size(0)
    }

    /// Logs in as the tenant, into its database, and out again. Reads nothing and changes nothing.
    pub async fn try_password(
        &self,
        endpoint: &Endpoint,
        tenant: &Tenant,
        password: &Secret,
    ) -> Result<PasswordIs, Error> {
        let endpoint_name = endpoint.to_string();
        let operation = format!("let the user {:?} log in", tenant.user);
        let asked = Asked { endpoint: &endpoint_name, operation: &operation };
        let options: Opts = self.options(endpoint, &tenant.user, password).db_name(Some(tenant.schema.as_str())).into();
        let attempt = async {
            let conn = Conn::new(options).await?;
            conn.disconnect().await
        };
        let error = match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(Ok(())) => return Ok(PasswordIs::Right),
            Ok(Err(error)) => query::failed(asked, error),
            Err(_elapsed) => asked.timed_out(CONNECT_TIMEOUT),
        };
        match error {
            Error::Unauthenticated { .. } => Ok(PasswordIs::Wrong),
            // It came to the database: the password was right.
            error if query::code(&error) == Some(1044) => Ok(PasswordIs::Right),
            error => Err(error),
        }
    }
}

fn ssl(material: &Tls) -> SslOpts {
    let ssl = SslOpts::default().with_root_certs(vec![material.ca.clone().into()]).with_disable_built_in_roots(true);
    let identity = material
        .client
        .as_ref()
        .map(|(certificate, key)| ClientIdentity::new(certificate.clone().into(), key.clone().into()));
    ssl.with_client_identity(identity)
}

impl Dial for Dialer {
    type Session = Session;

    async fn dial(&self, endpoint: &Endpoint, asked: Asked<'_>) -> Result<Session, Error> {
        let Some((name, password)) = &self.login else {
            return Err(Error::InvalidConnection {
                field: "spec.basicAuth",
                detail: format!("it is missing; give the name and password of a login of {}", Driver::MySql),
            });
        };
        let failed = |error| query::failed(asked, error);
        let mut conn = Conn::new(Opts::from(self.options(endpoint, name, password))).await.map_err(failed)?;
        let row: Option<Row> = conn.query_first("SELECT @@version, @@global.read_only").await.map_err(failed)?;
        let text = |column| row.as_ref().and_then(|row| query::text(row, column)).unwrap_or_default();
        let (reported, read_only) = (text(0), text(1));
        let mariadb = reported.to_ascii_lowercase().contains("mariadb");
        // Older MariaDB puts a number before its own, for old clients.
        let version = reported.trim_start_matches("5.5.5-").split(['-', '+']).next().unwrap_or_default().to_owned();
        let (product, (oldest, wanted)) = if mariadb { ("MariaDB", OLDEST_MARIADB) } else { ("MySQL", OLDEST_MYSQL) };
        if parse(&version).is_none_or(|version| version < oldest) {
            let (endpoint, _) = asked.both();
            return Err(Error::TooOld { endpoint, product, version, wanted });
        }
        if !matches!(read_only.as_str(), "0" | "OFF") {
            let (endpoint, operation) = asked.both();
            return Err(Error::Unavailable {
                endpoint,
                operation,
                detail: "it is read-only".into(),
                source: std::sync::Arc::new(std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem)),
            });
        }
        // A grant to a user that has just gone must not make one without a password.
        let mode = if mariadb { "NO_BACKSLASH_ESCAPES,NO_AUTO_CREATE_USER" } else { "NO_BACKSLASH_ESCAPES" };
        let setup = format!("SET SESSION sql_mode = '{mode}', SESSION lock_wait_timeout = 5");
        conn.query_drop(setup).await.map_err(failed)?;
        let wildcards = if mariadb {
            true
        } else {
            let row: Option<Row> = conn.query_first("SELECT @@global.partial_revokes").await.map_err(failed)?;
            row.as_ref().and_then(|row| query::text(row, 0)).is_none_or(|value| value == "0")
        };
        Ok(Session { conn, server: Server { mariadb, version, wildcards } })
    }

    async fn answers(&self, session: &mut Session) -> bool {
        session.conn.ping().await.is_ok()
    }
}

fn parse(version: &str) -> Option<(u16, u16, u16)> {
    let mut parts = version.split('.').map(str::parse::<u16>);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => Some((major, minor, patch)),
        _ => None,
    }
}
