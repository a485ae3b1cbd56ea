//! etcd v3: a tenant is a user without password (its certificate's common name), a role of the same name as its
//! schema, and that role's permission on the keys under `/<schema>/`. Whose the two names are is recorded beside them.
//!
//! Source of the rules: `docs/reference/compatibility.md`, section "Datastores".

pub mod admin;

mod auth_status;
mod dial;
mod failure;
mod grants;
mod holding;
pub(crate) mod keys;
mod pool;
mod records;
mod store;
mod version;

pub use admin::Admin;
pub use store::EtcdStore;
