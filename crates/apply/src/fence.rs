//! Permission to write, which can be lost at any moment.

use futures::future::BoxFuture;

/// Says whether this process may write now, and when that ends.
///
/// With leader election the fence is the Lease: a process that has lost it must not finish what it began, because
/// the new leader already works on the same objects.
pub trait Fence: Send + Sync {
    /// Asked before each write.
    ///
    /// # Errors
    ///
    /// [`FenceLost`] when this process may not write.
    fn check(&self) -> Result<(), FenceLost>;

    /// Completes when the permission is lost; a write in flight is then dropped. Completes at once when the
    /// permission is lost already.
    fn lost(&self) -> BoxFuture<'_, ()>;
}

/// This process may not write any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this process does not hold the leader lease")]
pub struct FenceLost;
