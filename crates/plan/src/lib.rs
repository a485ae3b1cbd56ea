//! Desired state, pure: what a tenant needs, computed from its specification and what was observed.
//!
//! Nothing in here reads a clock, a file or a network. The steps of a reconcile hand their outcomes on as values, so a
//! step cannot run before the one that it needs:
//! [`resolve`] gives [`resolved::Resolved`]; expose, issue and store give [`exposed::Exposed`], [`issued::Issued`] and
//! [`stored::Stored`]; [`control_plane::plan`] turns the four into objects, and [`status`] into a report.

pub mod address;
pub mod claim;
pub mod component;
pub mod control_plane;
pub mod etcd_cluster;
pub mod exposed;
pub mod internal_ca;
pub mod issuance;
pub mod issued;
pub mod override_record;
pub mod placement;
pub mod rejection;
pub mod reservation;
pub mod resolve;
pub mod resolved;
pub mod status;
pub mod store_users;
pub mod stored;
pub mod template;
pub mod tenant_cluster;
pub mod trouble;
pub mod version;
