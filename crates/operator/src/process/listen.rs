//! Listeners for the plain-HTTP endpoints.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::go::ListenAddress;

/// A listener that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("--{flag}={address} cannot be listened on: free the port or name another one")]
pub struct ListenError {
    flag: &'static str,
    address: String,
    #[source]
    source: io::Error,
}

impl ListenError {
    /// The kind of error as one word, for logs and metrics.
    pub fn category(&self) -> &'static str {
        "listen"
    }
}

/// Opens the listener of `--flag`; `None` when it is switched off. An empty host means all addresses of both families.
///
/// # Errors
/// When the address is taken or not ours.
pub async fn bind(flag: &'static str, address: &ListenAddress) -> Result<Option<TcpListener>, ListenError> {
    let ListenAddress::On { host, port } = address else { return Ok(None) };
    let opened = if host.is_empty() {
        match TcpListener::bind(("::", *port)).await {
            // A node without IPv6 has no such address.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => TcpListener::bind(("0.0.0.0", *port)).await,
            opened => opened,
        }
    } else {
        TcpListener::bind((host.as_str(), *port)).await
    };
    opened.map(Some).map_err(|source| ListenError { flag, address: format!("{host}:{port}"), source })
}

/// Serves `routes` until `stop`, in a task of its own.
pub fn serve(listener: Option<TcpListener>, routes: Router, stop: &CancellationToken) -> Option<JoinHandle<()>> {
    let stop = stop.clone();
    let listener = listener?;
    Some(tokio::spawn(async move {
        let service = routes.into_make_service_with_connect_info::<SocketAddr>();
        let served = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "an endpoint ended");
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_the_flag_whose_port_is_taken() {
        let first = bind("metrics-bind-address", &ListenAddress::On { host: String::new(), port: 0 }).await;
        let taken = first.unwrap().unwrap().local_addr().unwrap();
        let again = ListenAddress::On { host: taken.ip().to_string(), port: taken.port() };
        // The first listener was dropped with its temporary: open it anew and hold it.
        let held = bind("metrics-bind-address", &again).await.unwrap();
        let refusal = bind("metrics-bind-address", &again).await.unwrap_err().to_string();
        assert!(refusal.contains("--metrics-bind-address=") && refusal.contains("another one"), "{refusal}");
        drop(held);
    }

    #[tokio::test]
    async fn opens_nothing_when_switched_off() {
        assert!(bind("metrics-bind-address", &ListenAddress::Off).await.unwrap().is_none());
    }
}
