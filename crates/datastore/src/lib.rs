//! kamaji-datastore
