//! What is there under a tenant's names, once it is known not to be somebody else's.

use super::grants::{self, Observed};
use super::pool::Pool;
use super::records::{self, Records};
use crate::record::{self, Wanted};
use crate::{Change, Error, Leftovers, Tenant};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Role and user.
    pub observed: Observed,
    /// Whose they are, and how many keys there are.
    pub records: Records,
    /// `None` for a caller without an owner: it neither heeds nor writes records.
    wanted: Option<Wanted>,
}

/// Looks, and refuses what is somebody else's.
///
/// # Errors
/// [`Error::Conflict`] when a name is recorded for another owner, or when what is there has no record and the tenant is
/// not known to be older than the records.
pub(crate) async fn held(pool: &Pool, tenant: &Tenant, wanted: Option<Wanted>) -> Result<Held, Error> {
    let (observed, records) = grants::observe(pool, tenant).await?;
    let mut held = Held { observed, records, wanted };
    if held.refuse_foreign(tenant).is_err() {
        // Records are written first, but were not read last: another call for the same tenant may be at work.
        held.records = records::read(pool, tenant).await?;
        held.refuse_foreign(tenant)?;
    }
    Ok(held)
}

impl Held {
    fn refuse_foreign(&self, tenant: &Tenant) -> Result<(), Error> {
        let Some(wanted) = &self.wanted else { return Ok(()) };
        self.records.refuse_foreign(tenant, wanted)?;
        let is_any = self.observed.is_any() || self.records.keys > 0;
        if is_any && !self.records.is_own(wanted) { wanted.take_over() } else { Ok(()) }
    }

    /// Whether the caller has an owner.
    pub fn is_owned(&self) -> bool {
        self.wanted.is_some()
    }

    /// Whether nothing is missing.
    pub fn is_complete(&self, tenant: &Tenant) -> bool {
        self.observed.is_complete(tenant) && self.wanted.as_ref().is_none_or(|wanted| self.records.is_complete(wanted))
    }

    /// Records the owner, before anything is made or repaired under the names. Says what that was, if there was a need.
    pub async fn record(&self, pool: &Pool, tenant: &Tenant) -> Result<Option<Change>, Error> {
        let Some(wanted) = &self.wanted else { return Ok(None) };
        if self.records.is_complete(wanted) {
            return Ok(None);
        }
        let now = match records::write(pool, tenant, wanted, &self.records).await {
            Ok(Some(now)) => now,
            Ok(None) => return Ok(Some(self.records.change(wanted))),
            Err(error) if self.records.lack_a_name_alone(wanted) => return record::not_completed(error).map(|()| None),
            Err(error) => return Err(error),
        };
        now.refuse_foreign(tenant, wanted)?;
        if now.is_complete(wanted) {
            return Ok(None);
        }
        Err(Error::Conflict {
            detail: format!(
                "the owner's records of the schema {:?} and the user {:?} on the datastore were changed at the same \
                 moment; nothing was made, and it is tried again",
                tenant.schema, tenant.user
            ),
        })
    }

    /// Removes the records when they are all that is left.
    pub async fn free(&self, pool: &Pool, tenant: &Tenant) -> Result<(), Error> {
        match &self.wanted {
            Some(wanted) if !self.observed.role_exists() && !self.has_user(tenant) => {
                records::remove(pool, tenant, wanted, &self.records).await
            }
            Some(_) | None => Ok(()),
        }
    }

    fn has_user(&self, tenant: &Tenant) -> bool {
        self.observed.user_is_own(tenant) || self.observed.user_has_role(tenant)
    }

    /// What is left of the tenant; its records count as a role.
    pub fn leftovers(&self, tenant: &Tenant) -> Leftovers {
        let is_recorded = self.wanted.as_ref().is_some_and(|wanted| self.records.is_own(wanted));
        Leftovers {
            keys: self.records.keys,
            users: u64::from(self.has_user(tenant)),
            roles: u64::from(self.observed.role_exists()) + u64::from(is_recorded),
            sessions: 0,
        }
    }
}
