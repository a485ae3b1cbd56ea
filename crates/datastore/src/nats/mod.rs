//! NATS JetStream, through kine: a tenant is a bucket, and one NATS account holds one tenant.
//!
//! Logins are the server's configuration, which no client can change, so every tenant of a DataStore would share the
//! DataStore's own: the account is the boundary. The bucket itself is left to kine, which refuses one that it did not
//! configure. What this driver makes is the claim: an empty stream whose description is the owner's record, so that of
//! two tenants set up at once the server lets one through.
//!
//! Source of the rules: `docs/reference/compatibility.md`, section "Datastores".

pub(crate) mod claim;
mod dial;
mod store;
mod stream_api;
mod wire;

pub use store::NatsStore;
