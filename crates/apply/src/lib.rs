//! The one write door to any Kubernetes API.
//!
//! Callers hand over the object as they want it and the object as they last saw it. This crate decides whether a
//! write is needed at all, writes by server-side apply under one field manager, and reads back what the API server
//! made of it. It knows no kind of this project, only Kubernetes' own rules of field ownership.
//!
//! - [`Applier`]: create, apply, patch, delete and publish, each behind a [`Fence`] and counted.
//! - [`prune_candidates`]: which owned objects are no longer wanted.
//! - [`store`]: shared watch caches, trimmed to what the skip rule of [`Applier::apply`] needs.
//!
//! # When an apply is skipped
//!
//! The wanted object must be contained in the live one, **and** the fields that the manager owns must be exactly the
//! fields of the wanted object. The first half finds changed values, the second removed fields, which a comparison
//! of values can never find. Quantities, durations and IP addresses compare by value, because the API server
//! rewrites them. Rule and rationale: `structured-merge-diff`, and "Server-Side Apply" in the Kubernetes
//! documentation.

mod applier;
mod atomic;
mod compare;
mod count;
mod desired;
mod door;
mod error;
mod event;
mod fence;
mod field_list;
mod managed_fields;
mod merge_patch;
mod orphans;
mod prune;
mod settled;
pub mod store;
mod value;

pub use applier::{Applied, Applier, Created, Deleted, Outcome};
pub use count::WriteCounts;
pub use error::Error;
pub use event::{Event, EventType, NOTE_LIMIT};
pub use fence::{Fence, FenceLost};
pub use prune::prune_candidates;
