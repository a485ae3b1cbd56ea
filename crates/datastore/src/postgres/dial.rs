//! One connection to one PostgreSQL server, as the DataStore's login or as a tenant.

use tokio::net::TcpStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{OLDEST, query};
use crate::asked::Asked;
use crate::connection::{Connection, Endpoint, Secret};
use crate::sessions::{CONNECT_TIMEOUT, Dial};
use crate::sql::PasswordIs;
use crate::{Driver, Error, Tenant, tls};

/// The database that every server has for administration.
const ADMIN_DATABASE: &str = "postgres";

/// Nothing that a stranger put into the administration database may stand in for the catalogue's own names.
const SESSION: &str = "SET search_path = pg_catalog; SET standard_conforming_strings = on; SET lock_timeout = '5s'; \
                       SET statement_timeout = '20s'; SET client_min_messages = warning";

/// Everything but the endpoint, checked.
pub(crate) struct Dialer {
    tls: Option<MakeRustlsConnect>,
    login: Option<(String, Secret)>,
}

/// A connection as the DataStore's login, and what that may.
pub(crate) struct Session {
    pub client: Client,
    pub login: Login,
}

/// Who the server says that the DataStore's login is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub name: String,
    pub version: String,
    pub superuser: bool,
    pub create_database: bool,
    pub create_role: bool,
}

impl Dialer {
    /// Checks the TLS material.
    pub fn new(connection: &Connection) -> Result<Self, Error> {
        let tls = connection.tls.as_ref().map(tls::session).transpose()?;
        let login = connection.basic_auth.as_ref().map(|login| (login.username.clone(), login.password.clone()));
        Ok(Self { tls: tls.map(MakeRustlsConnect::new), login })
    }

    /// The DataStore's login, as it is configured.
    pub fn login(&self) -> Option<&str> {
        self.login.as_ref().map(|(name, _)| name.as_str())
    }

    async fn connect(&self, endpoint: &Endpoint, config: &mut Config, asked: Asked<'_>) -> Result<Client, Error> {
        config.application_name("kamaji");

        let socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port))
            .await
            .and_then(|socket| socket.set_nodelay(true).map(|()| socket))
            .map_err(|error| asked.not_connected(error))?;
        let failed = |error| query::failed(asked, error);
        if let Some(tls) = &self.tls {
            let mut tls = tls.clone();
            let tls = tokio_postgres::tls::MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls, &endpoint.host)
                .map_err(|error| asked.not_connected(error))?;
            config.ssl_mode(SslMode::Require);
            let (client, connection) = config.connect_raw(socket, tls).await.map_err(failed)?;
            // It ends with the client, and what it ends with reaches the client's caller.
            tokio::spawn(connection);
            Ok(client)
        } else {
            config.ssl_mode(SslMode::Disable);
            let (client, connection) = config.connect_raw(socket, NoTls).await.map_err(failed)?;
            tokio::spawn(connection);
            Ok(client)
        }
    }

    /// Logs in as the DataStore's login, into this database.
    pub async fn administer(&self, endpoint: &Endpoint, database: &str, asked: Asked<'_>) -> Result<Client, Error> {
        let Some((name, password)) = &self.login else {
            return Err(Error::InvalidConnection {
                field: "spec.basicAuth",
                detail: format!("it is missing; give the name and password of a login of {}", Driver::PostgreSql),
            });
        };
        let mut config = Config::new();
        config.dbname(database).user(name).password(password.expose());
        let client = self.connect(endpoint, &mut config, asked).await?;
        client.batch_execute(SESSION).await.map_err(|error| query::failed(asked, error))?;
        Ok(client)
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
        let mut config = Config::new();
        config.user(&tenant.user).password(password.expose()).dbname(&tenant.schema);
        let attempt = tokio::time::timeout(CONNECT_TIMEOUT, self.connect(endpoint, &mut config, asked)).await;
        match attempt.unwrap_or_else(|_elapsed| Err(asked.timed_out(CONNECT_TIMEOUT))) {
            Ok(_client) => Ok(PasswordIs::Right),
            Err(Error::Unauthenticated { source, .. }) if query::is_wrong_password(source.as_ref()) => {
                Ok(PasswordIs::Wrong)
            }
            // It is not the DataStore's login that was refused.
            Err(Error::Unauthenticated { endpoint, operation, detail, source }) => {
                Err(Error::Refused { endpoint, operation, detail, source })
            }
            Err(error) => Err(error),
        }
    }
}

impl Dial for Dialer {
    type Session = Session;

    async fn dial(&self, endpoint: &Endpoint, asked: Asked<'_>) -> Result<Session, Error> {
        let client = self.administer(endpoint, ADMIN_DATABASE, asked).await?;
        let failed = |error| query::failed(asked, error);
        let row = client
            .query_one(
                "SELECT current_setting('server_version_num')::int4, current_setting('server_version'), rolname::text, \
                 rolsuper, rolcreatedb, rolcreaterole, pg_is_in_recovery() FROM pg_roles WHERE rolname = current_user",
                &[],
            )
            .await
            .map_err(failed)?;
        let number: i32 = query::get(asked, &row, 0)?;
        let version: String = query::get(asked, &row, 1)?;
        // Distributions append their own words to the version.
        let version = version.split_whitespace().next().unwrap_or_default().to_owned();
        if number < OLDEST.0 {
            let (endpoint, _) = asked.both();
            return Err(Error::TooOld { endpoint, product: "PostgreSQL", version, wanted: OLDEST.1 });
        }
        if query::get(asked, &row, 6)? {
            let (endpoint, operation) = asked.both();
            return Err(Error::Unavailable {
                endpoint,
                operation,
                detail: "it is a standby, which takes no writes".into(),
                source: std::sync::Arc::new(std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem)),
            });
        }
        let login = Login {
            name: query::get(asked, &row, 2)?,
            version,
            superuser: query::get(asked, &row, 3)?,
            create_database: query::get(asked, &row, 4)?,
            create_role: query::get(asked, &row, 5)?,
        };
        Ok(Session { client, login })
    }

    async fn answers(&self, session: &mut Session) -> bool {
        !session.client.is_closed() && session.client.simple_query("").await.is_ok()
    }
}
