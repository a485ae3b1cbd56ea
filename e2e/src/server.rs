//! A real database server beside the cluster, where the pods of tenants reach it.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use etcd_client::GetOptions;
use kamaji_api::data_store::Driver;
use kamaji_testkit::{
    certificate::Identity,
    etcd::{Etcd, Options},
    mariadb, nats, postgres,
    server::Server as Database,
};
use mysql_async::prelude::Queryable as _;
use serde_json::Value;
use tokio::{sync::Mutex, time::timeout};

use crate::story::NODE;

/// How long an administrator waits for an answer.
const CALL: Duration = Duration::from_secs(20);

/// A running server; it ends, and its data goes, when this is dropped.
pub struct Server {
    /// Endpoints, administrator and certificates: what a DataStore is told.
    pub access: Access,
    running: Mutex<Running>,
}

/// How a server is reached by its administrator.
pub struct Access {
    /// The protocol.
    pub driver: Driver,
    /// `host:port`.
    pub endpoints: Vec<String>,
    /// User name and password; etcd knows its clients by their certificates.
    pub login: Option<(&'static str, &'static str)>,
    /// Certificate of the authority that signed the server's, PEM.
    pub authority: String,
    /// Key of the authority, where the operator signs with it.
    pub authority_key: Option<String>,
    /// The administrator's certificate.
    pub client: Identity,
}

enum Running {
    Etcd(Etcd),
    Database(Database),
}

impl Server {
    /// Starts one on the node's address. Every one takes the client certificates of its own authority; an etcd also those
    /// of `also_trusted`, PEM.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(driver: Driver, also_trusted: &str) -> Result<Self> {
        let host: IpAddr = NODE.parse()?;
        let (running, access) = match driver {
            Driver::PostgreSql => {
                of_database(driver, postgres::start_on(host).await?, (postgres::USER, postgres::PASSWORD))
            }
            Driver::MySql => of_database(driver, mariadb::start_on(host).await?, (mariadb::USER, mariadb::PASSWORD)),
            Driver::Nats => of_database(driver, nats::start_on(host).await?, (nats::USER, nats::PASSWORD)),
            _ => of_etcd(
                Etcd::start(Options { host, also_trusted: also_trusted.to_owned(), ..Options::secure() }).await?,
            )?,
        };
        Ok(Self { access, running: Mutex::new(running) })
    }

    /// Ends it; its data stays.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&self) -> Result<()> {
        match &mut *self.running.lock().await {
            Running::Etcd(etcd) => Ok(etcd.stop().await?),
            Running::Database(database) => Ok(database.stop().await?),
        }
    }

    /// Ends it, if it runs, and starts it with the same data.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn restart(&self) -> Result<()> {
        match &mut *self.running.lock().await {
            Running::Etcd(etcd) => {
                etcd.stop().await?;
                Ok(etcd.restart().await?)
            }
            Running::Database(database) => Ok(database.restart().await?),
        }
    }

    /// Freezes it: connections are taken and stay open, and nothing is answered.
    ///
    /// # Errors
    /// When it cannot be frozen.
    pub async fn hang(&self) -> Result<()> {
        match &*self.running.lock().await {
            Running::Etcd(etcd) => Ok(etcd.pause()?),
            Running::Database(database) => Ok(database.pause()?),
        }
    }

    /// Ends a [`Server::hang`].
    ///
    /// # Errors
    /// When it cannot go on.
    pub async fn resume(&self) -> Result<()> {
        match &*self.running.lock().await {
            Running::Etcd(etcd) => Ok(etcd.resume()?),
            Running::Database(database) => Ok(database.resume()?),
        }
    }

    /// Whatever was done to it: it answers again.
    ///
    /// # Errors
    /// When it does not come back.
    pub(crate) async fn wake(&self) -> Result<()> {
        self.resume().await?;
        if self.contents().await.is_ok() { Ok(()) } else { self.restart().await }
    }

    /// Everything that a tenant may have on it, as its administrator sees it: databases, logins, rights, streams, keys.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn contents(&self) -> Result<BTreeSet<String>> {
        let running = self.running.lock().await;
        let asked = async {
            match &*running {
                Running::Etcd(etcd) => etcd_contents(etcd).await,
                Running::Database(server) => match self.access.driver {
                    Driver::PostgreSql => postgres_contents(server).await,
                    Driver::MySql => mariadb_contents(server).await,
                    _ => nats_contents(server).await,
                },
            }
        };
        timeout(CALL, asked).await.with_context(|| format!("{} does not answer", self.access.driver))?
    }

    /// Has a PostgreSQL trust the clients of these authorities, PEM, and show another certificate, if one is given, to new
    /// connections.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub async fn renew_certificates(&self, trusted: &str, shown: Option<&Identity>) -> Result<()> {
        match &*self.running.lock().await {
            Running::Database(server) => Ok(postgres::renew_certificates(server, trusted, shown)?),
            Running::Etcd(_) => anyhow::bail!("an etcd reads whom it trusts only at its start"),
        }
    }

    /// The first column of the rows that a statement gives on PostgreSQL.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn postgres(&self, statement: &str) -> Result<Vec<String>> {
        match &*self.running.lock().await {
            Running::Database(server) => query_postgres(server, statement).await,
            Running::Etcd(_) => anyhow::bail!("an etcd knows no statements"),
        }
    }
}

fn of_database(driver: Driver, server: Database, login: (&'static str, &'static str)) -> (Running, Access) {
    let access = Access {
        driver,
        endpoints: vec![server.endpoint()],
        login: Some(login),
        authority: server.authority().certificate(),
        authority_key: None,
        client: server.client().clone(),
    };
    (Running::Database(server), access)
}

fn of_etcd(etcd: Etcd) -> Result<(Running, Access)> {
    let tls = etcd.tls().context("an etcd without TLS")?;
    let access = Access {
        driver: Driver::Etcd,
        endpoints: etcd.endpoints(),
        login: None,
        authority: tls.authority.certificate(),
        authority_key: Some(tls.authority.identity().key),
        client: tls.root.clone(),
    };
    Ok((Running::Etcd(etcd), access))
}

async fn etcd_contents(etcd: &Etcd) -> Result<BTreeSet<String>> {
    let mut client = etcd.client().await?;
    let mut found = BTreeSet::new();
    found.extend(client.user_list().await?.users().iter().map(|user| format!("user {user}")));
    found.extend(client.role_list().await?.roles().iter().map(|role| format!("role {role}")));
    let keys = client.get("", Some(GetOptions::new().with_all_keys().with_keys_only())).await?;
    found.extend(keys.kvs().iter().map(|pair| format!("key {}", String::from_utf8_lossy(pair.key()))));
    Ok(found)
}

async fn postgres_contents(server: &Database) -> Result<BTreeSet<String>> {
    let statement = "SELECT 'database ' || datname FROM pg_database UNION SELECT 'role ' || rolname FROM pg_roles";
    Ok(query_postgres(server, statement).await?.into_iter().collect())
}

async fn query_postgres(server: &Database, statement: &str) -> Result<Vec<String>> {
    let mut config = tokio_postgres::Config::new();
    config.host(server.address().ip().to_string()).port(server.address().port());
    config.user(postgres::USER).password(postgres::PASSWORD).dbname("postgres");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.context("no login to PostgreSQL")?;
    let connection = tokio::spawn(connection);
    let rows = client.query(statement, &[]).await;
    drop(client);
    connection.await??;
    rows?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

async fn mariadb_contents(server: &Database) -> Result<BTreeSet<String>> {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(server.address().ip().to_string())
        .tcp_port(server.address().port())
        .prefer_socket(false)
        .user(Some(mariadb::USER))
        .pass(Some(mariadb::PASSWORD));
    let mut connection = mysql_async::Conn::new(options).await.context("no login to MariaDB")?;
    // A grant outlives its database.
    let statement = "SELECT CONCAT('database ', schema_name) FROM information_schema.schemata \
                     UNION SELECT CONCAT('user ', user, '@', host) FROM mysql.user \
                     UNION SELECT CONCAT('grant on ', db, ' to ', user, '@', host) FROM mysql.db";
    let found: Vec<String> = connection.query(statement).await?;
    connection.disconnect().await?;
    Ok(found.into_iter().collect())
}

async fn nats_contents(server: &Database) -> Result<BTreeSet<String>> {
    let answer: Value = serde_json::from_str(&nats::request(server, "$JS.API.STREAM.NAMES", "").await?)?;
    ensure!(answer.get("error").is_none(), "NATS does not name its streams: {answer}");
    let streams = answer.get("streams").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(streams.iter().filter_map(Value::as_str).map(|stream| format!("stream {stream}")).collect())
}
