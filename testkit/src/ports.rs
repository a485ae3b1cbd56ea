//! Free TCP ports for the parts that tests start.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

use rand::Rng as _;

/// Below the range that the kernel gives to outgoing connections (32768 and up by default), so that a part
/// that is stopped finds its port still free when it starts again, and below the NodePort range.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// Ports that this process was given already: between the trial bind and the part's own bind they look free.
static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// Why no port could be given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Every port that was tried is in use.
    #[error("no free TCP port was found between {} and {}: end the processes that listen there", RANGE.start, RANGE.end)]
    NoneFree,
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::NoneFree => "no_free_port",
        }
    }
}

/// A TCP port on 127.0.0.1 that nothing listens on now and that this function gives only once per process.
///
/// Another process may still take it first: whoever starts a part retries with another port when the part
/// says that its address is in use.
pub fn free() -> Result<u16, Error> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rng = rand::rng();
    for _ in 0..1_000 {
        let port = rng.random_range(RANGE);
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    Err(Error::NoneFree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_no_port_twice() {
        let ports: HashSet<u16> = (0..100).map(|_| free().unwrap()).collect();
        assert_eq!(ports.len(), 100);
    }
}
