//! Who a tenant is inside a datastore, and which names it may have.

use crate::{Error, Secret};

/// A tenant's place in a datastore. Both names are recorded facts (`status.storage.setup`, else the
/// `<tcp>-datastore-config` Secret): they never change while the tenant lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Database, key prefix or bucket.
    pub schema: String,
    /// Login of the tenant's API server or kine; on etcd the common name of its client certificate.
    pub user: String,
    /// Password of that login. etcd ignores it: there the client certificate is the login.
    pub password: Option<Secret>,
}

impl Tenant {
    /// Refuses names that would reach beyond the tenant, on any driver.
    ///
    /// # Errors
    /// [`Error::InvalidName`] when the schema or user is empty, holds `/` or a control character, is `.` or `..`, or
    /// is `root`.
    pub fn check_names(&self) -> Result<(), Error> {
        check("schema", &self.schema)?;
        check("user", &self.user)
    }
}

/// Refuses a name for a reason of a driver's own.
pub(crate) fn refuse(field: &'static str, name: &str, reason: &'static str) -> Error {
    Error::InvalidName { field, name: name.to_owned(), reason }
}

/// Why no tenant may be what the DataStore itself logs in as.
pub(crate) const OWN_LOGIN: &str = "it is the login of the DataStore itself";

fn check(field: &'static str, name: &str) -> Result<(), Error> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.contains('/') {
        "it contains '/', which would put it inside the keys of another tenant"
    } else if name.chars().any(char::is_control) {
        "it contains a control character"
    } else if matches!(name, "." | "..") {
        // kube-apiserver cleans --etcd-prefix as a path: these would leave the tenant's own keys.
        "it is a relative path"
    } else if name == "root" {
        "it is the administrator of the datastore"
    } else {
        return Ok(());
    };
    Err(refuse(field, name, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(schema: &str, user: &str) -> Tenant {
        Tenant { schema: schema.into(), user: user.into(), password: None }
    }

    #[test]
    fn takes_uids_and_ordinary_names() {
        for name in ["8d2f3b0a-6c0e-4b0b-9f3e-0d9a6a7c1f11", "default_tenant", "a", "ä ö", "a.b", "Root", "rooted"] {
            tenant(name, name).check_names().unwrap();
        }
    }

    #[test]
    fn refuses_names_that_reach_beyond_the_tenant() {
        for name in ["", "/", "a/b", "/a", "a/", "a\0", "\0", "a\nb", "\u{7f}", "\u{85}", ".", "..", "root"] {
            for (tenant, field) in [(tenant(name, "user"), "schema"), (tenant("schema", name), "user")] {
                let error = tenant.check_names().unwrap_err();
                assert_eq!(error.category(), "invalid_name", "{name:?}");
                let message = error.to_string();
                assert!(message.contains(field) && message.contains("choose another name"), "{message}");
                assert!(!message.contains('\0') && !message.contains('\n'), "{message:?}");
            }
        }
    }
}
