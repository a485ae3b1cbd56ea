//! What kube-controller-manager and kube-scheduler have in common: a kubeconfig, a port, `/healthz`.

use std::time::Duration;

use crate::api_server::{ApiServer, HOST};
use crate::http_get::{self, Target};
use crate::process::{self, Launch, Process};
use crate::{parts, ports};

const START_TIMEOUT: Duration = Duration::from_mins(1);
const PORT_ATTEMPTS: usize = 5;

/// Why a component does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its process failed.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// No free port.
    #[error(transparent)]
    Port(#[from] ports::Error),
    /// No readiness question could be put together.
    #[error(transparent)]
    Http(#[from] http_get::Error),
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Process(error) => error.category(),
            Self::Port(_) => "port",
            Self::Http(_) => "http",
        }
    }
}

/// Starts one with all rights beside `server`, of the same version, and returns when `/healthz` says so.
///
/// The API server must be ready: a controller manager that finds no bootstrap RBAC exits for good.
pub(crate) async fn start(server: &ApiServer, command: &str, args: &[String]) -> Result<Process, Error> {
    let mut attempt = 1;
    loop {
        let port = ports::free()?;
        let file = |name: &str| server.folder().join(name).display().to_string();
        let mut all = vec![
            format!("--kubeconfig={}", server.kubeconfig_path().display()),
            format!("--bind-address={HOST}"),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            "--leader-elect=false".to_owned(),
        ];
        all.extend(args.iter().cloned());
        let mut process = Process::start(&Launch {
            name: command.to_owned(),
            program: parts::kubernetes(server.version(), command),
            args: all,
            env: Vec::new(),
            log: server.folder().join(format!("{command}.log")),
        })?;
        let ready = Target::https(HOST, port, "/healthz", &server.authority().certificate(), None, None)?;
        match process.wait_ready(START_TIMEOUT, || ready.ready()).await {
            Err(error) if error.is_address_in_use() && attempt < PORT_ATTEMPTS => attempt += 1,
            result => {
                result?;
                return Ok(process);
            }
        }
    }
}
