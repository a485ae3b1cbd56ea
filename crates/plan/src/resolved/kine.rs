//! How kine is run for a tenant.

/// How kine is run for a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kine {
    /// Its image.
    pub image: String,
    /// What it shows the store; `None` in clear text.
    pub tls: Option<Tls>,
}

/// What the datastore wants to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Nothing: only its own certificate is checked.
    Authority,
    /// A client certificate besides.
    ClientCertificate,
}
