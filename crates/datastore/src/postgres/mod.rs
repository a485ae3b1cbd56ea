//! PostgreSQL, through kine: a tenant is a role that may log in and owns one database, which nobody else may enter.
//!
//! The owner's record is the comment on the role: the tenant cannot change it, since a comment on a role takes the
//! privilege to create roles. This driver never connects to a tenant's database as the administrator: settings, views
//! and functions in there are the tenant's, and would run with the administrator's rights.
//!
//! Source of the rules: `docs/reference/compatibility.md`, section "Datastores".

mod dial;
mod observe;
mod query;
mod steps;
mod store;

pub use store::PostgresStore;

/// The oldest release that can end the sessions of a database that is dropped (`DROP DATABASE ... WITH (FORCE)`).
const OLDEST: (i32, &str) = (130_000, "13");
