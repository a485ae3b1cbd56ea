//! A real etcd for tests: one member or several, plain or with client certificates and authentication.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use etcd_client::{Certificate, Client, ConnectOptions, TlsOptions, UserAddOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificate::{self, Authority, Identity};
use crate::http_get::{self, Target};
use crate::process::{self, Launch, Process};
use crate::server::HOST;
use crate::{parts, ports, scratch};

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Streams that are open keep etcd from ending by itself: watches of an API server never end.
const STOP_GRACE: Duration = Duration::from_millis(500);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const PORT_ATTEMPTS: usize = 5;

/// Why etcd does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A member's process failed.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// No folder for the data.
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    /// No free port.
    #[error(transparent)]
    Port(#[from] ports::Error),
    /// No certificates.
    #[error(transparent)]
    Certificate(#[from] certificate::Error),
    /// No readiness question could be put together.
    #[error(transparent)]
    Http(#[from] http_get::Error),
    /// A certificate could not be written.
    #[error("the certificates of etcd could not be written")]
    Write(#[source] std::io::Error),
    /// etcd refused a call.
    #[error("etcd refused to {action}")]
    Call {
        /// What was asked, as a verb.
        action: &'static str,
        /// What the client said.
        #[source]
        source: Box<etcd_client::Error>,
    },
    /// There is no such member.
    #[error("this etcd has no member {index}: count from 0")]
    NoMember {
        /// The index that was asked for.
        index: usize,
    },
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Process(error) => error.category(),
            Self::Scratch(_) => "scratch",
            Self::Port(_) => "port",
            Self::Certificate(_) => "certificate",
            Self::Http(_) => "http",
            Self::Write(_) => "write",
            Self::Call { .. } => "call",
            Self::NoMember { .. } => "no_member",
        }
    }

    /// Whether another try with other ports is worth it.
    pub fn is_address_in_use(&self) -> bool {
        matches!(self, Self::Process(error) if error.is_address_in_use())
    }
}

/// What kind of etcd.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many members; at least one.
    pub members: usize,
    /// TLS for clients and peers, client certificates required, authentication enabled with user `root`.
    pub secure: bool,
    /// Address of this machine that the members listen on.
    pub host: IpAddr,
    /// Authorities whose clients are accepted besides its own one's, as PEM; of use only where it is secure.
    pub also_trusted: String,
    /// Appended to every member's arguments, for example `--quota-backend-bytes=16777216`.
    pub extra_args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { members: 1, secure: false, host: HOST, also_trusted: String::new(), extra_args: Vec::new() }
    }
}

impl Options {
    /// One member with TLS, client certificates and authentication.
    pub fn secure() -> Self {
        Self { secure: true, ..Self::default() }
    }
}

/// Certificates of a secure etcd.
#[derive(Debug)]
pub struct EtcdTls {
    /// Signs servers and clients alike, as a DataStore's authority does.
    pub authority: Authority,
    /// The members' certificate.
    pub server: Identity,
    /// Client certificate of user `root`.
    pub root: Identity,
}

impl EtcdTls {
    fn new(host: IpAddr) -> Result<Self, certificate::Error> {
        let authority = Authority::new("etcd-ca")?;
        Ok(Self {
            server: authority.server("etcd", &[&host.to_string(), "::1", "localhost"])?,
            root: authority.client("root", &[])?,
            authority,
        })
    }

    /// Client certificate whose common name is this etcd user.
    pub fn client(&self, user: &str) -> Result<Identity, certificate::Error> {
        self.authority.client(user, &[])
    }
}

/// A running etcd. Its processes end and its data goes when it is dropped.
#[derive(Debug)]
pub struct Etcd {
    // Before the folder: processes end before their files go.
    members: Vec<Member>,
    tls: Option<EtcdTls>,
    folder: TempDir,
}

#[derive(Debug)]
struct Member {
    launch: Launch,
    client: SocketAddr,
    ready: Target,
    process: Option<Process>,
}

impl Etcd {
    /// Starts etcd and returns when every member answers linearizable reads and, if secure, demands authentication.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            let started = async {
                let mut etcd = Self::launch(&options)?;
                etcd.wait_ready().await?;
                Ok(etcd)
            };
            match started.await {
                Err(Error::Process(error)) if error.is_address_in_use() && attempt < PORT_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    /// Starts the processes and returns at once, so that an API server can start beside them.
    pub(crate) fn launch(options: &Options) -> Result<Self, Error> {
        let folder = scratch::folder("etcd")?;
        let tls = if options.secure { Some(EtcdTls::new(options.host)?) } else { None };
        if let Some(tls) = &tls {
            let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).map_err(Error::Write);
            write("ca.crt", &format!("{}{}", tls.authority.certificate(), options.also_trusted))?;
            write("server.crt", &tls.server.certificate)?;
            write("server.key", &tls.server.key)?;
            write("root.crt", &tls.root.certificate)?;
            write("root.key", &tls.root.key)?;
        }
        let scheme = if options.secure { "https" } else { "http" };
        let host = options.host.to_string();
        let count = options.members.max(1);
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            let address = |port| SocketAddr::new(options.host, port);
            addresses.push((address(ports::free()?), address(ports::free()?)));
        }
        let mut cluster = String::new();
        for (index, (_, peer)) in addresses.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            // Writing to a String cannot fail.
            let _ = write!(cluster, "{comma}member-{index}={scheme}://{peer}");
        }
        let mut members = Vec::with_capacity(count);
        for (index, (client, peer)) in addresses.into_iter().enumerate() {
            let mut args = arguments(folder.path(), index, scheme, client, peer, &cluster);
            if options.secure {
                args.extend(tls_arguments(folder.path()));
            }
            if count == 1 {
                // A member alone has nobody to wait for; this saves most of its election at start.
                args.extend(["--heartbeat-interval=10".to_owned(), "--election-timeout=100".to_owned()]);
            }
            args.extend(options.extra_args.iter().cloned());
            let launch = Launch {
                name: format!("etcd member-{index}"),
                program: parts::etcd(),
                args,
                env: Vec::new(),
                log: folder.path().join(format!("member-{index}.log")),
            };
            let ready = match &tls {
                None => Target::http(&host, client.port(), "/readyz"),
                Some(tls) => {
                    let authority = tls.authority.certificate();
                    Target::https(&host, client.port(), "/readyz", &authority, Some(&tls.root), None)?
                }
            };
            let process = Some(Process::start(&launch)?);
            members.push(Member { launch, client, ready, process });
        }
        Ok(Self { members, tls, folder })
    }

    /// Completes [`Etcd::launch`].
    pub(crate) async fn wait_ready(&mut self) -> Result<(), Error> {
        self.wait_members().await?;
        if self.tls.is_some() {
            self.enable_authentication().await?;
        }
        Ok(())
    }

    async fn wait_members(&mut self) -> Result<(), Error> {
        for Member { process, ready, .. } in &mut self.members {
            if let Some(process) = process {
                process.wait_ready(START_TIMEOUT, || ready.ready()).await?;
            }
        }
        Ok(())
    }

    async fn enable_authentication(&self) -> Result<(), Error> {
        let mut client = self.client().await?;
        // The role `root` exists from the start; the certificate's common name is the whole login.
        let user = Some(UserAddOptions::new().with_no_pwd());
        client.user_add("root", "", user).await.map_err(|error| call("add the user root", error))?;
        client.user_grant_role("root", "root").await.map_err(|error| call("grant the role root", error))?;
        client.auth_enable().await.map_err(|error| call("enable authentication", error))?;
        Ok(())
    }

    /// Client endpoints as a DataStore's `spec.endpoints` has them: `host:port`, no scheme.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.client.to_string()).collect()
    }

    /// Client endpoints with scheme.
    pub fn urls(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.endpoints().iter().map(|endpoint| format!("{scheme}://{endpoint}")).collect()
    }

    /// The certificates, if this etcd is secure.
    pub fn tls(&self) -> Option<&EtcdTls> {
        self.tls.as_ref()
    }

    /// Folder with data, logs and (if secure) `ca.crt`, `server.{crt,key}`, `root.{crt,key}`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Logs in as root (secure) or anonymously (plain).
    pub async fn client(&self) -> Result<Client, Error> {
        self.connect(self.tls.as_ref().map(|tls| &tls.root)).await
    }

    /// Logs in with this client certificate, or without any.
    pub async fn connect(&self, identity: Option<&Identity>) -> Result<Client, Error> {
        let mut options = ConnectOptions::new().with_connect_timeout(CALL_TIMEOUT).with_timeout(CALL_TIMEOUT);
        if let Some(tls) = &self.tls {
            let mut client = TlsOptions::new().ca_certificate(Certificate::from_pem(tls.authority.certificate()));
            if let Some(identity) = identity {
                client = client.identity(etcd_client::Identity::from_pem(&identity.certificate, &identity.key));
            }
            options = options.with_tls(client);
        }
        Client::connect(self.urls(), Some(options)).await.map_err(|error| call("accept a client", error))
    }

    /// `spec` of a DataStore for this etcd, everything inline; nothing if it is not secure, which a DataStore with
    /// driver etcd cannot express (`docs/reference/compatibility.md`, DataStore).
    pub fn data_store_spec(&self) -> Option<Value> {
        let tls = self.tls.as_ref()?;
        let content = |text: &str| json!({ "content": BASE64.encode(text) });
        let authority = tls.authority.identity();
        Some(json!({
            "driver": "etcd",
            "endpoints": self.endpoints(),
            "tlsConfig": {
                "certificateAuthority": {
                    "certificate": content(&authority.certificate),
                    "privateKey": content(&authority.key),
                },
                "clientCertificate": {
                    "certificate": content(&tls.root.certificate),
                    "privateKey": content(&tls.root.key),
                },
            },
        }))
    }

    /// Ends all members; their data stays for [`Etcd::restart`].
    pub async fn stop(&mut self) -> Result<(), Error> {
        for index in 0..self.members.len() {
            self.stop_member(index).await?;
        }
        Ok(())
    }

    /// Starts every member that does not run, with the same ports and data, and waits until all are ready.
    pub async fn restart(&mut self) -> Result<(), Error> {
        for member in &mut self.members {
            member.start()?;
        }
        self.wait_members().await
    }

    /// Ends one member, counted from 0. Ending it twice is fine.
    pub async fn stop_member(&mut self, index: usize) -> Result<(), Error> {
        let member = self.members.get_mut(index).ok_or(Error::NoMember { index })?;
        if let Some(process) = member.process.take() {
            process.stop(STOP_GRACE).await?;
        }
        Ok(())
    }

    /// Starts one member again and waits until it is ready, which needs a quorum.
    pub async fn restart_member(&mut self, index: usize) -> Result<(), Error> {
        let member = self.members.get_mut(index).ok_or(Error::NoMember { index })?;
        member.start()?;
        if let Some(process) = &mut member.process {
            process.wait_ready(START_TIMEOUT, || member.ready.ready()).await?;
        }
        Ok(())
    }

    /// Freezes all members: connections stay open and are answered no more.
    pub fn pause(&self) -> Result<(), Error> {
        self.running().try_for_each(|process| Ok(process.pause()?))
    }

    /// Ends an [`Etcd::pause`].
    pub fn resume(&self) -> Result<(), Error> {
        self.running().try_for_each(|process| Ok(process.resume()?))
    }

    /// Its members' processes that run.
    pub fn running(&self) -> impl Iterator<Item = &Process> {
        self.members.iter().filter_map(|member| member.process.as_ref())
    }
}

impl Member {
    fn start(&mut self) -> Result<(), Error> {
        if self.process.is_none() {
            self.process = Some(Process::start(&self.launch)?);
        }
        Ok(())
    }
}

fn call(action: &'static str, source: etcd_client::Error) -> Error {
    Error::Call { action, source: Box::new(source) }
}

fn arguments(
    folder: &Path,
    index: usize,
    scheme: &str,
    client: SocketAddr,
    peer: SocketAddr,
    cluster: &str,
) -> Vec<String> {
    vec![
        format!("--name=member-{index}"),
        format!("--data-dir={}", folder.join(format!("member-{index}")).display()),
        format!("--listen-client-urls={scheme}://{client}"),
        format!("--advertise-client-urls={scheme}://{client}"),
        format!("--listen-peer-urls={scheme}://{peer}"),
        format!("--initial-advertise-peer-urls={scheme}://{peer}"),
        format!("--initial-cluster={cluster}"),
        "--initial-cluster-state=new".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}

fn tls_arguments(folder: &Path) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let (ca, certificate, key) = (file("ca.crt"), file("server.crt"), file("server.key"));
    vec![
        "--client-cert-auth".to_owned(),
        format!("--trusted-ca-file={ca}"),
        format!("--cert-file={certificate}"),
        format!("--key-file={key}"),
        "--peer-client-cert-auth".to_owned(),
        format!("--peer-trusted-ca-file={ca}"),
        format!("--peer-cert-file={certificate}"),
        format!("--peer-key-file={key}"),
    ]
}
