//! The servers, and what kine or an API server does on them as a tenant.

use std::sync::Arc;

use kamaji_datastore::{BasicAuth, Connection, Driver, Store, Tenant, Tls};
use kamaji_testkit::etcd::{Etcd, Options};
use kamaji_testkit::server::Server;
use kamaji_testkit::{mariadb, nats, postgres};
use mysql_async::prelude::Queryable as _;
use tokio::sync::OnceCell;

static POSTGRES: OnceCell<Server> = OnceCell::const_new();
static MARIADB: OnceCell<Server> = OnceCell::const_new();
static ETCD: OnceCell<Etcd> = OnceCell::const_new();

/// One PostgreSQL for all tests of this process, which ends with it.
pub async fn postgres() -> &'static Server {
    POSTGRES.get_or_init(|| async { postgres::start().await.unwrap() }).await
}

/// One MariaDB for all tests of this process, which ends with it.
pub async fn mariadb() -> &'static Server {
    MARIADB.get_or_init(|| async { mariadb::start().await.unwrap() }).await
}

async fn etcd() -> &'static Etcd {
    ETCD.get_or_init(|| async { Etcd::start(Options::secure()).await.unwrap() }).await
}

/// A server under test.
pub enum Live {
    Etcd(&'static Etcd),
    Postgres(&'static Server),
    MariaDb(&'static Server),
    /// Its own: it holds one tenant.
    Nats(Box<Server>),
}

impl Live {
    pub async fn etcd() -> Self {
        Self::Etcd(etcd().await)
    }

    pub async fn postgres() -> Self {
        Self::Postgres(postgres().await)
    }

    pub async fn mariadb() -> Self {
        Self::MariaDb(mariadb().await)
    }

    pub async fn nats() -> Self {
        Self::Nats(Box::new(nats::start().await.unwrap()))
    }

    /// The server, where it is one of those with logins by password.
    pub fn server(&self) -> Option<&Server> {
        match self {
            Self::Etcd(_) => None,
            Self::Postgres(server) | Self::MariaDb(server) => Some(server),
            Self::Nats(server) => Some(server),
        }
    }

    /// What a DataStore for this server says.
    pub fn connection(&self) -> Connection {
        let (driver, username, password) = match self {
            Self::Etcd(etcd) => {
                let material = etcd.tls().unwrap();
                let root = &material.root;
                let client = (root.certificate.clone().into_bytes(), root.key.clone().into_bytes());
                let tls = Tls { ca: material.authority.certificate().into_bytes(), client: Some(client) };
                let (endpoints, tls) = (etcd.endpoints(), Some(tls));
                return Connection { driver: Driver::Etcd, endpoints, tls, basic_auth: None };
            }
            Self::Postgres(_) => (Driver::PostgreSql, postgres::USER, postgres::PASSWORD),
            Self::MariaDb(_) => (Driver::MySql, mariadb::USER, mariadb::PASSWORD),
            Self::Nats(_) => (Driver::Nats, nats::USER, nats::PASSWORD),
        };
        let server = self.server().unwrap();
        let identity = server.client();
        let client = (identity.certificate.clone().into_bytes(), identity.key.clone().into_bytes());
        Connection {
            driver,
            endpoints: vec![server.endpoint()],
            tls: Some(Tls { ca: server.authority().certificate().into_bytes(), client: Some(client) }),
            basic_auth: Some(BasicAuth { username: username.into(), password: password.into() }),
        }
    }

    /// Opened, for this owner.
    pub fn store(&self, owner: &str) -> Arc<dyn Store> {
        kamaji_datastore::open(&self.connection()).unwrap().for_owner(owner)
    }

    /// Logs in and writes one row or key, as kine does when it starts.
    pub async fn write_as(&self, tenant: &Tenant) -> Result<(), String> {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        match self {
            Self::Etcd(etcd) => {
                let identity = etcd.tls().unwrap().client(&tenant.user).unwrap();
                let mut client = etcd.connect(Some(&identity)).await.map_err(|error| said(&error))?;
                let key = format!("/{}/registry/x", tenant.schema);
                // A change of users or roles in between, here by tests beside this one, is answered so: the request was
                // not looked at, and every client of etcd repeats it.
                loop {
                    match client.put(key.as_str(), "1", None).await {
                        Err(error) if said(&error).contains("revision of auth store is old") => {}
                        result => return result.map(drop).map_err(|error| said(&error)),
                    }
                }
            }
            Self::Postgres(server) => {
                let client = postgres_as(server, tenant, &tenant.schema).await?;
                client.batch_execute(KINE_ON_POSTGRES).await.map_err(|error| format!("{error:?}"))
            }
            Self::MariaDb(server) => {
                let mut conn = mariadb_as(server, tenant, Some(&tenant.schema)).await?;
                for statement in KINE_ON_MYSQL {
                    conn.query_drop(statement).await.map_err(|error| said(&error))?;
                }
                conn.disconnect().await.map_err(|error| said(&error))
            }
            Self::Nats(server) => {
                let bucket = &tenant.schema;
                let made = crate::live::nats_request(
                    server,
                    &format!("$JS.API.STREAM.CREATE.KV_{bucket}"),
                    &format!(
                        "{{\"name\":\"KV_{bucket}\",\"subjects\":[\"$KV.{bucket}.>\"],\"max_msgs_per_subject\":5,\
                         \"storage\":\"file\",\"num_replicas\":1,\"allow_rollup_hdrs\":true,\"deny_delete\":true}}"
                    ),
                )
                .await?;
                let put = crate::live::nats_request(server, &format!("$KV.{bucket}.x"), "1").await?;
                if made.contains("\"error\"") || put.contains("\"error\"") { Err(made + &put) } else { Ok(()) }
            }
        }
    }
}

/// As kine 0.16 sets up its table.
const KINE_ON_POSTGRES: &str = r#"
CREATE TABLE IF NOT EXISTS kine (id BIGSERIAL PRIMARY KEY, name text COLLATE "C", created INTEGER, deleted INTEGER,
    create_revision BIGINT, prev_revision BIGINT, lease INTEGER, value bytea, old_value bytea);
CREATE INDEX IF NOT EXISTS kine_name_index ON kine (name);
CREATE UNIQUE INDEX IF NOT EXISTS kine_name_prev_revision_uindex ON kine (name, prev_revision);
INSERT INTO kine (name, prev_revision) VALUES ('x', (SELECT count(*) FROM kine));
DELETE FROM kine WHERE id = 0; UPDATE kine SET lease = 1"#;

/// As kine 0.16 sets up its table.
const KINE_ON_MYSQL: [&str; 6] = [
    "CREATE TABLE IF NOT EXISTS kine (id BIGINT UNSIGNED AUTO_INCREMENT, name VARCHAR(630) CHARACTER SET ascii, \
     create_revision BIGINT UNSIGNED, prev_revision BIGINT UNSIGNED, value MEDIUMBLOB, PRIMARY KEY (id))",
    "CREATE INDEX IF NOT EXISTS kine_name_index ON kine (name)",
    "ALTER TABLE kine MODIFY COLUMN id BIGINT UNSIGNED AUTO_INCREMENT",
    "INSERT INTO kine (name) VALUES ('x')",
    "UPDATE kine SET prev_revision = 1",
    "DELETE FROM kine WHERE id = 0",
];

/// Logs in to a database of PostgreSQL.
pub async fn postgres_as(server: &Server, tenant: &Tenant, database: &str) -> Result<tokio_postgres::Client, String> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.address().port()).user(&tenant.user).dbname(database);
    config.password(tenant.password.as_ref().unwrap().expose());
    let (client, connection) =
        config.connect(tokio_postgres::NoTls).await.map_err(|error| format!("{error} {error:?}"))?;
    tokio::spawn(connection);
    Ok(client)
}

/// The administrator of PostgreSQL, in a database.
pub async fn postgres_admin(server: &Server, database: &str) -> tokio_postgres::Client {
    let admin =
        Tenant { schema: String::new(), user: postgres::USER.into(), password: Some(postgres::PASSWORD.into()) };
    postgres_as(server, &admin, database).await.unwrap()
}

/// Logs in to MariaDB, into a database or none.
pub async fn mariadb_as(server: &Server, tenant: &Tenant, database: Option<&str>) -> Result<mysql_async::Conn, String> {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(server.address().port())
        .prefer_socket(false)
        .user(Some(tenant.user.as_str()))
        .pass(Some(tenant.password.as_ref().unwrap().expose()))
        .db_name(database);
    mysql_async::Conn::new(options).await.map_err(|error| error.to_string())
}

/// The administrator of MariaDB.
pub async fn mariadb_admin(server: &Server) -> mysql_async::Conn {
    let admin = Tenant { schema: String::new(), user: mariadb::USER.into(), password: Some(mariadb::PASSWORD.into()) };
    mariadb_as(server, &admin, None).await.unwrap()
}

/// One request to NATS and its answer, as the only login there is.
pub async fn nats_request(server: &Server, subject: &str, payload: &str) -> Result<String, String> {
    nats::request(server, subject, payload).await.map_err(|error| error.to_string())
}
