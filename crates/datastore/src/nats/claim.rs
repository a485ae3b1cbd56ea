//! Who has the account: the claim that is on it, and the buckets that are in it.

use serde_json::{Value, json};

use super::dial::Dialer;
use crate::record::{Holding, Record, Standing, Wanted};
use crate::sessions::Lease;
use crate::{Error, Tenant};

/// The stream whose description says whose the account is. It never holds a message.
pub(crate) const CLAIM: &str = "KAMAJI_TENANT";

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// The description of the claim.
    pub claim: Option<String>,
    /// Buckets of any name.
    pub buckets: Vec<String>,
}

/// The stream behind a bucket.
pub(crate) fn stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// Reads the claim and the names of the buckets.
pub(crate) async fn observe(lease: &mut Lease<'_, Dialer>, operation: &str) -> Result<Observed, Error> {
    let claim = lease.stream(operation, CLAIM).await?;
    let description = |claim: Value| {
        let text = claim.get("config").and_then(|config| config.get("description")).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let streams = lease.bucket_streams(operation).await?;
    let buckets = streams.iter().filter_map(|name| name.strip_prefix("KV_")).map(str::to_owned).collect();
    Ok(Observed { claim: claim.map(description), buckets })
}

/// The claim of a tenant.
pub(crate) fn config(record: &Record) -> Value {
    json!({
        "name": CLAIM,
        "subjects": ["kamaji.clastix.io.tenant"],
        "description": record.to_json().to_string(),
        "retention": "limits",
        "storage": "file",
        "num_replicas": 1,
        "max_msgs": 1,
        "max_bytes": 1024,
    })
}

impl Observed {
    /// Whose the account is.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is another tenant's.
    pub fn holding(&self, tenant: &Tenant, wanted: &Wanted) -> Result<Holding, Error> {
        let schema = &tenant.schema;
        let taken = |by: &str| {
            Err(Error::Conflict {
                detail: format!(
                    "a NATS account is shared by nobody: it keeps no tenants apart, so a DataStore with the driver NATS \
                     holds one tenant, and this one is {by}; give the tenant with the schema {schema:?} a DataStore with \
                     an account of its own"
                ),
            })
        };
        if let Some(claim) = &self.claim {
            let found = Record::find(claim);
            return match (wanted.standing(found.as_ref()), found) {
                (Standing::Own, _) => Ok(Holding::Own),
                (Standing::Outdated(change), _) => Ok(Holding::Outdated(change)),
                (_, Some(found)) => taken(&wanted.describe(&found)),
                (_, None) => taken("claimed by somebody unknown"),
            };
        }
        match self.buckets.iter().find(|bucket| *bucket != schema) {
            Some(other) => taken(&format!("taken by the bucket {other:?}")),
            None if self.buckets.is_empty() => Ok(Holding::Nothing),
            None => Ok(Holding::Adoptable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Owner;

    fn holding(claim: Option<&str>, buckets: &[&str]) -> Result<Holding, String> {
        let tenant = |schema: &str| Tenant { schema: schema.into(), user: String::new(), password: None };
        let claim = claim.map(|owner| Record::new(owner, &tenant("a")).to_json().to_string());
        let observed = Observed { claim, buckets: buckets.iter().map(ToString::to_string).collect() };
        let wanted = Wanted::new(&Owner::new("uid"), &tenant("a"), false);
        observed.holding(&tenant("a"), &wanted).map_err(|error| error.to_string())
    }

    #[test]
    fn an_account_holds_one_tenant() {
        assert_eq!(holding(None, &[]), Ok(Holding::Nothing));
        assert_eq!(holding(Some("uid"), &["a"]), Ok(Holding::Own));
        assert_eq!(holding(None, &["a"]), Ok(Holding::Adoptable));
        assert!(holding(Some("other"), &[]).unwrap_err().contains("UID other"));
        assert!(holding(None, &["a", "b"]).unwrap_err().contains("bucket \"b\""));
    }
}
