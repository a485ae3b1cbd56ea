//! A member of an etcd cluster, as etcd sees it.

/// A member as etcd lists it, with what it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its identity.
    pub id: u64,
    /// Ordinal of its pod; none for a member that is not ours.
    pub ordinal: Option<i32>,
    /// Its peer URLs.
    pub peer_urls: Vec<String>,
    /// It has run once: etcd knows its client URLs.
    pub started: bool,
    /// It does not vote yet.
    pub learner: bool,
    /// It answers and knows a leader.
    pub healthy: bool,
}
