//! Free TCP ports for the parts that tests start.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

use rand::Rng as _;

/// Below the range that the kernel gives to outgoing connections (32768 and up by default), so that a part
/// that is stopped finds its port still free when it starts again, and below the NodePort range.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

/// Names the share of the range that a process takes its ports from, `<index>/<count>`: `cargo xtask test` runs test
/// binaries side by side, and none may take a port that a part of another one has left for a moment.
const LANE: &str = "KAMAJI_TEST_LANE";

static SHARE: LazyLock<std::ops::Range<u16>> = LazyLock::new(|| share(std::env::var(LANE).ok().as_deref()));

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
        let port = rng.random_range(SHARE.clone());
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    Err(Error::NoneFree)
}

/// The ports of one lane; all of them without one.
fn share(lane: Option<&str>) -> std::ops::Range<u16> {
    let parsed = lane.and_then(|lane| lane.split_once('/')).and_then(|(index, count)| {
        let (index, count) = (index.parse::<u16>().ok()?, count.parse::<u16>().ok()?);
        (index < count).then_some((index, count))
    });
    let Some((index, count)) = parsed else { return RANGE };
    let width = (RANGE.end - RANGE.start) / count;
    let start = RANGE.start + index * width;
    start..start + width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_share_no_port() {
        assert_eq!((share(Some("0/2")), share(Some("1/2"))), (20_000..25_000, 25_000..30_000));
        assert_eq!(share(Some("2/3")), 26_666..29_999);
        assert_eq!((share(None), share(Some("2/2")), share(Some("x"))), (RANGE, RANGE, RANGE));
    }

    #[test]
    fn gives_no_port_twice() {
        let ports: HashSet<u16> = (0..100).map(|_| free().unwrap()).collect();
        assert_eq!(ports.len(), 100);
    }
}
