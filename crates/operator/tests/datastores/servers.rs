//! Real datastores: what is in them, and what a tenant's kine or kube-apiserver does there.

use std::{collections::BTreeSet, sync::Arc};

use etcd_client::GetOptions;
use kamaji_datastore::Driver;
use kamaji_testkit::{
    certificate::{Authority, Identity},
    etcd::{Etcd, Options},
    mariadb, nats, postgres,
    server::Server,
};
use mysql_async::prelude::Queryable as _;
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell, OwnedMutexGuard};

/// A server of one of the four kinds.
pub enum Live {
    Etcd(Box<Etcd>),
    Postgres(Box<Server>),
    MariaDb(Box<Server>),
    Nats(Box<Server>),
}

/// A server for one test alone: what is in it can be counted before and after.
pub type Held = OwnedMutexGuard<Live>;

/// One server of this kind for all tests of this process, which have it one after the other. A NATS server holds one
/// tenant, so each test has its own.
pub async fn hold(driver: Driver) -> Held {
    static ETCD: OnceCell<Arc<Mutex<Live>>> = OnceCell::const_new();
    static POSTGRES: OnceCell<Arc<Mutex<Live>>> = OnceCell::const_new();
    static MARIADB: OnceCell<Arc<Mutex<Live>>> = OnceCell::const_new();
    let kept = match driver {
        Driver::Etcd => &ETCD,
        Driver::PostgreSql => &POSTGRES,
        Driver::MySql => &MARIADB,
        Driver::Nats => return own(driver).await,
    };
    let start = || async { Arc::new(Mutex::new(Live::start(driver).await)) };
    Arc::clone(kept.get_or_init(start).await).lock_owned().await
}

/// A server that no other test gets, for one that stops it or changes its logins.
pub async fn own(driver: Driver) -> Held {
    Arc::new(Mutex::new(Live::start(driver).await)).lock_owned().await
}

/// What a tenant's pods show their datastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub schema: String,
    pub user: String,
    pub password: String,
    /// Certificate and key, where there are any.
    pub certificate: Option<(String, String)>,
}

impl Live {
    async fn start(driver: Driver) -> Self {
        match driver {
            Driver::Etcd => Self::Etcd(Box::new(Etcd::start(Options::secure()).await.unwrap())),
            Driver::PostgreSql => Self::Postgres(Box::new(postgres::start().await.unwrap())),
            Driver::MySql => Self::MariaDb(Box::new(mariadb::start().await.unwrap())),
            Driver::Nats => Self::Nats(Box::new(nats::start().await.unwrap())),
        }
    }

    pub fn driver(&self) -> Driver {
        match self {
            Self::Etcd(_) => Driver::Etcd,
            Self::Postgres(_) => Driver::PostgreSql,
            Self::MariaDb(_) => Driver::MySql,
            Self::Nats(_) => Driver::Nats,
        }
    }

    /// The server, where it is one with logins by password.
    pub fn server(&self) -> Option<&Server> {
        match self {
            Self::Etcd(_) => None,
            Self::Postgres(server) | Self::MariaDb(server) | Self::Nats(server) => Some(server),
        }
    }

    pub fn server_mut(&mut self) -> Option<&mut Server> {
        match self {
            Self::Etcd(_) => None,
            Self::Postgres(server) | Self::MariaDb(server) | Self::Nats(server) => Some(server),
        }
    }

    pub fn endpoint(&self) -> String {
        match self {
            Self::Etcd(etcd) => etcd.endpoints().remove(0),
            Self::Postgres(server) | Self::MariaDb(server) | Self::Nats(server) => server.endpoint(),
        }
    }

    pub fn authority(&self) -> &Authority {
        match self {
            Self::Etcd(etcd) => &etcd.tls().unwrap().authority,
            Self::Postgres(server) | Self::MariaDb(server) | Self::Nats(server) => server.authority(),
        }
    }

    /// The client certificate of the DataStore.
    pub fn client(&self) -> &Identity {
        match self {
            Self::Etcd(etcd) => &etcd.tls().unwrap().root,
            Self::Postgres(server) | Self::MariaDb(server) | Self::Nats(server) => server.client(),
        }
    }

    /// Name and password of the DataStore's login.
    pub fn admin(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Etcd(_) => None,
            Self::Postgres(_) => Some((postgres::USER, postgres::PASSWORD)),
            Self::MariaDb(_) => Some((mariadb::USER, mariadb::PASSWORD)),
            Self::Nats(_) => Some((nats::USER, nats::PASSWORD)),
        }
    }

    /// Everything that can be left in it, a line for each.
    pub async fn holdings(&self) -> BTreeSet<String> {
        match self {
            Self::Etcd(etcd) => in_etcd(etcd).await,
            Self::Postgres(_) => self.rows(IN_POSTGRES).await,
            Self::MariaDb(_) => self.rows(IN_MARIADB).await,
            Self::Nats(server) => {
                let answer = nats::request(server, "$JS.API.STREAM.NAMES", "").await.unwrap();
                let answer: Value = serde_json::from_str(&answer).unwrap();
                let streams = answer["streams"].as_array().cloned().unwrap_or_default();
                streams.iter().map(|name| format!("stream {}", name.as_str().unwrap())).collect()
            }
        }
    }

    /// The first column of what the administrator of a SQL server gets for this statement.
    async fn rows(&self, sql: &str) -> BTreeSet<String> {
        let (user, password) = self.admin().unwrap();
        if let Self::Postgres(server) = self {
            let client = postgres_as(server, user, password, "postgres").await.unwrap();
            return client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        }
        let mut conn = mariadb_as(self.server().unwrap(), user, password, None).await.unwrap();
        conn.query(sql).await.unwrap().into_iter().collect()
    }

    /// Has the administrator of a SQL server run statements, one by one.
    pub async fn run(&self, statements: &[&str]) {
        let (user, password) = self.admin().unwrap();
        for statement in statements {
            let said = if let Self::Postgres(server) = self {
                let client = postgres_as(server, user, password, "postgres").await.unwrap();
                client.batch_execute(statement).await.map_err(|error| format!("{error:?}"))
            } else {
                let mut conn = mariadb_as(self.server().unwrap(), user, password, None).await.unwrap();
                conn.query_drop(*statement).await.map_err(|error| error.to_string())
            };
            said.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// Logs in and writes something, as a tenant's kine or kube-apiserver does when it starts.
    pub async fn write_as(&self, login: &Login) -> Result<(), String> {
        let Login { schema, user, password, certificate } = login;
        match self {
            Self::Etcd(etcd) => {
                let (certificate, key) = certificate.clone().unwrap();
                let mut client = etcd.connect(Some(&Identity { certificate, key })).await.map_err(said)?;
                client.put(format!("/{schema}/registry/x"), "1", None).await.map(drop).map_err(said)
            }
            Self::Postgres(server) => {
                let client = postgres_as(server, user, password, schema).await?;
                client.batch_execute(KINE).await.map_err(|error| format!("{error:?}"))
            }
            Self::MariaDb(server) => {
                let mut conn = mariadb_as(server, user, password, Some(schema)).await?;
                conn.query_drop(KINE).await.map_err(said)
            }
            Self::Nats(server) => {
                let stream = format!(
                    "{{\"name\":\"KV_{schema}\",\"subjects\":[\"$KV.{schema}.>\"],\"max_msgs_per_subject\":5,\
                     \"allow_rollup_hdrs\":true}}"
                );
                nats::request(server, &format!("$JS.API.STREAM.CREATE.KV_{schema}"), &stream).await.map_err(said)?;
                nats::request(server, &format!("$KV.{schema}.x"), "1").await.map(drop).map_err(said)
            }
        }
    }
}

const KINE: &str = "CREATE TABLE IF NOT EXISTS kine (id INTEGER)";

const IN_POSTGRES: &str = "SELECT 'database ' || datname || ' of ' || pg_get_userbyid(datdba) FROM pg_database \
    UNION ALL SELECT 'role ' || rolname FROM pg_roles \
    UNION ALL SELECT 'record ' || description FROM pg_shdescription";

const IN_MARIADB: &str = "SELECT CONCAT('database ', SCHEMA_NAME, ' ', SCHEMA_COMMENT) FROM information_schema.SCHEMATA \
    UNION ALL SELECT CONCAT('user ', User, '@', Host) FROM mysql.user \
    UNION ALL SELECT CONCAT('grant on ', Db, ' to ', User) FROM mysql.db";

async fn in_etcd(etcd: &Etcd) -> BTreeSet<String> {
    let mut client = etcd.client().await.unwrap();
    let users = client.user_list().await.unwrap();
    let roles = client.role_list().await.unwrap();
    let everything = GetOptions::new().with_all_keys().with_keys_only();
    let keys = client.get("", Some(everything)).await.unwrap();
    let users = users.users().iter().map(|name| format!("user {name}"));
    let roles = roles.roles().iter().map(|name| format!("role {name}"));
    let keys = keys.kvs().iter().map(|pair| format!("key {}", pair.key_str().unwrap()));
    users.chain(roles).chain(keys).collect()
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn postgres_as(
    server: &Server,
    user: &str,
    password: &str,
    database: &str,
) -> Result<tokio_postgres::Client, String> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.address().port()).user(user).password(password).dbname(database);
    let connected = config.connect(tokio_postgres::NoTls).await;
    let (client, connection) = connected.map_err(|error| format!("{error:?}"))?;
    tokio::spawn(connection);
    Ok(client)
}

async fn mariadb_as(
    server: &Server,
    user: &str,
    password: &str,
    database: Option<&str>,
) -> Result<mysql_async::Conn, String> {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(server.address().port())
        .prefer_socket(false)
        .user(Some(user))
        .pass(Some(password))
        .db_name(database);
    mysql_async::Conn::new(options).await.map_err(said)
}
