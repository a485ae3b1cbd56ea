//! MySQL and MariaDB, through kine: a tenant is a user from any host and a database, on which the user has what kine
//! needs.
//!
//! The owner's record is the comment on the database on MariaDB, and the attribute of the user on MySQL: neither has
//! the other. With its right to alter tables a tenant may also change its database's comment, which takes only its own
//! names from it.
//!
//! Source of the rules: `docs/reference/compatibility.md`, section "Datastores".

mod dial;
mod names;
mod observe;
mod query;
mod steps;
mod store;

pub use store::MySqlStore;
