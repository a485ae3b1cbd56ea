//! Who owns a tenant's schema and user: a key for each, beside the keys of all tenants.
//!
//! Both are written in one transaction before the role and the user are made, and removed in one when the last key is
//! gone: whoever comes in between knows whose the rest is. A record without a role is not taken for a stale one: its owner
//! may be about to make the role, which no comparison could prevent.

use etcd_client::{Compare, CompareOp, GetOptions, GetResponse, KeyValue, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::keys;
use super::pool::{Pool, Repeat};
use crate::record::{Record, Standing, Wanted};
use crate::{Change, Error, Tenant};

/// What is at the key of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Of its last change.
    revision: i64,
    /// `None` when it cannot be read.
    record: Option<Record>,
}

/// What is recorded of a tenant's names, and how many keys its schema had at the same moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    schema: Option<Entry>,
    user: Option<Entry>,
    /// Keys of the schema.
    pub keys: u64,
}

/// Reads both records. One request.
pub(crate) async fn read(pool: &Pool, tenant: &Tenant) -> Result<Records, Error> {
    let operation = format!("read who owns the schema {:?} and the user {:?}", tenant.schema, tenant.user);
    Ok(Records::from(&ask(pool, &operation, &Txn::new().and_then(reads(tenant))).await?))
}

/// Writes what is missing or outdated, unless it is not as it was `found` any more: then says what is there now.
pub(crate) async fn write(
    pool: &Pool,
    tenant: &Tenant,
    wanted: &Wanted,
    found: &Records,
) -> Result<Option<Records>, Error> {
    let value = wanted.to_json().to_string();
    let (mut unchanged, mut puts) = (Vec::new(), Vec::new());
    for (key, entry) in found.by_key(tenant) {
        // A key that is not there has the revision 0.
        let revision = entry.map_or(0, |entry| entry.revision);
        unchanged.push(Compare::mod_revision(key.as_str(), CompareOp::Equal, revision));
        if entry.is_none_or(|entry| entry.change(wanted).is_some()) {
            puts.push(TxnOp::put(key, value.as_str(), None));
        }
    }
    let operation = format!("record who owns the schema {:?} and the user {:?}", tenant.schema, tenant.user);
    let written = Txn::new().when(unchanged).and_then(puts).or_else(reads(tenant));
    let answer = ask(pool, &operation, &written).await?;
    Ok((!answer.succeeded()).then(|| Records::from(&answer)))
}

/// Removes the owner's records, unless they changed since they were `found`, or the schema has keys again.
pub(crate) async fn remove(pool: &Pool, tenant: &Tenant, wanted: &Wanted, found: &Records) -> Result<(), Error> {
    let range = keys::of_schema(&tenant.schema);
    let mut unchanged = vec![Compare::version(range.start, CompareOp::Equal, 0).with_range(range.end)];
    let mut deletes = Vec::new();
    for (key, entry) in found.by_key(tenant) {
        if let Some(entry) = entry.filter(|entry| entry.is_own(wanted)) {
            unchanged.push(Compare::mod_revision(key.as_str(), CompareOp::Equal, entry.revision));
            deletes.push(TxnOp::delete(key, None));
        }
    }
    if deletes.is_empty() {
        return Ok(());
    }
    let operation = format!("free the schema {:?} and the user {:?}", tenant.schema, tenant.user);
    ask(pool, &operation, &Txn::new().when(unchanged).and_then(deletes)).await.map(drop)
}

/// Each transaction compares first, so a second time it does nothing.
async fn ask(pool: &Pool, operation: &str, txn: &Txn) -> Result<TxnResponse, Error> {
    pool.call(operation, Repeat::Safe, |connected| {
        let mut client = connected.client;
        let txn = txn.clone();
        async move { client.txn(txn).await }
    })
    .await
}

/// In the order in which `Records` takes the answers.
fn reads(tenant: &Tenant) -> Vec<TxnOp> {
    let range = keys::of_schema(&tenant.schema);
    let count = GetOptions::new().with_range(range.end).with_count_only();
    let records = keys::of_records(tenant).into_iter().map(|key| TxnOp::get(key, None));
    records.chain([TxnOp::get(range.start, Some(count))]).collect()
}

impl From<&TxnResponse> for Records {
    fn from(answer: &TxnResponse) -> Self {
        let mut answers = answer.op_responses().into_iter().filter_map(|one| match one {
            TxnOpResponse::Get(found) => Some(found),
            TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
        });
        let entry = |found: Option<GetResponse>| found?.kvs().first().map(Entry::from);
        let (schema, user) = (entry(answers.next()), entry(answers.next()));
        let keys = answers.next().map_or(0, |keys| u64::try_from(keys.count()).unwrap_or_default());
        Self { schema, user, keys }
    }
}

impl From<&KeyValue> for Entry {
    fn from(pair: &KeyValue) -> Self {
        let record = serde_json::from_slice(pair.value()).ok().as_ref().and_then(Record::read);
        Self { revision: pair.mod_revision(), record }
    }
}

impl Entry {
    fn standing(&self, wanted: &Wanted) -> Standing {
        // What cannot be read is somebody's.
        self.record.as_ref().map_or(Standing::Foreign, |record| wanted.standing(Some(record)))
    }

    fn is_own(&self, wanted: &Wanted) -> bool {
        matches!(self.standing(wanted), Standing::Own | Standing::Outdated(_))
    }

    /// What writing it anew is, where there is a need.
    fn change(&self, wanted: &Wanted) -> Option<Change> {
        match self.standing(wanted) {
            Standing::Outdated(change) => Some(change),
            Standing::Own | Standing::Unrecorded | Standing::Foreign => None,
        }
    }
}

impl Records {
    fn by_key(&self, tenant: &Tenant) -> impl Iterator<Item = (String, Option<&Entry>)> {
        keys::of_records(tenant).into_iter().zip([self.schema.as_ref(), self.user.as_ref()])
    }

    /// Whether one of the names at least is recorded for this owner: they are written together, so an administrator
    /// removed the other.
    pub fn is_own(&self, wanted: &Wanted) -> bool {
        [&self.schema, &self.user].into_iter().flatten().any(|entry| entry.is_own(wanted))
    }

    /// Whether both names are recorded for this owner, as it would record them.
    pub fn is_complete(&self, wanted: &Wanted) -> bool {
        let is_right = |entry: &Entry| entry.standing(wanted) == Standing::Own;
        [&self.schema, &self.user].into_iter().all(|entry| entry.as_ref().is_some_and(is_right))
    }

    /// Whether both names are recorded for this owner, and all that is to be written is its name.
    pub fn lack_a_name_alone(&self, wanted: &Wanted) -> bool {
        let is_kept =
            |entry: &Entry| matches!(entry.standing(wanted), Standing::Own | Standing::Outdated(Change::OwnerRecorded));
        [&self.schema, &self.user].into_iter().all(|entry| entry.as_ref().is_some_and(is_kept))
    }

    /// What it is to complete them.
    pub fn change(&self, wanted: &Wanted) -> Change {
        let mut entries = [&self.schema, &self.user].into_iter().flatten();
        let is_former = entries.any(|entry| entry.change(wanted) == Some(Change::OwnerReplaced));
        if is_former { Change::OwnerReplaced } else { Change::OwnerRecorded }
    }

    /// Errs when a name is recorded for somebody else.
    pub fn refuse_foreign(&self, tenant: &Tenant, wanted: &Wanted) -> Result<(), Error> {
        let names = [("schema", &tenant.schema), ("user", &tenant.user)];
        let foreign: Vec<_> = names
            .into_iter()
            .zip(self.by_key(tenant))
            .filter_map(|(name, (key, entry))| Some((name, key, entry.filter(|entry| !entry.is_own(wanted))?)))
            .collect();
        let Some(((field, name), _, first)) = foreign.first() else { return Ok(()) };
        let whose = match &first.record {
            Some(record) => wanted.describe(record),
            None => "claimed by somebody unknown".to_owned(),
        };
        // Another name of another tenant may still be in use.
        let same = foreign.iter().filter(|(_, _, entry)| entry.record == first.record);
        let keys: Vec<String> = same.map(|(_, key, _)| format!("the key {key:?}")).collect();
        Err(Error::Conflict {
            detail: format!(
                "the {field} {name:?} on the datastore was {whose}; choose other names, or delete that tenant first; if \
                 it is gone for good, delete {} with etcdctl",
                keys.join(" and ")
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Owner;

    fn wanted(tenant: &Tenant) -> Wanted {
        Wanted::new(&Owner::new("uid"), tenant, false)
    }

    fn tenant(schema: &str, user: &str) -> Tenant {
        Tenant { schema: schema.into(), user: user.into(), password: None }
    }

    fn entry(owner: &str, tenant: &Tenant) -> Entry {
        Entry { revision: 7, record: Some(Record::new(owner, tenant)) }
    }

    #[test]
    fn both_names_are_the_owners_or_are_refused() {
        let (mine, wanted) = (tenant("a", "u"), wanted(&tenant("a", "u")));
        let judge = |schema: Option<&Entry>, user: Option<&Entry>| {
            let records = Records { schema: schema.cloned(), user: user.cloned(), keys: 0 };
            let refused = records.refuse_foreign(&mine, &wanted).is_err();
            (records.is_own(&wanted), records.is_complete(&wanted), refused)
        };
        let own = entry("uid", &mine);
        let own = Some(&own);
        assert_eq!(judge(None, None), (false, false, false));
        assert_eq!(judge(own, own), (true, true, false));
        assert_eq!(judge(own, None), (true, false, false));
        assert_eq!(judge(None, own), (true, false, false));
        let unreadable = Entry { revision: 1, record: None };
        for foreign in [entry("other", &mine), entry("uid", &tenant("b", "u")), unreadable] {
            for (schema, user) in [(Some(&foreign), None), (own, Some(&foreign)), (Some(&foreign), own)] {
                let (_, complete, refused) = judge(schema, user);
                assert!(refused && !complete, "{schema:?} {user:?}");
            }
        }
    }

    #[test]
    fn only_what_lacks_a_name_alone_can_stay_as_it_is() {
        let mine = tenant("a", "u");
        let owner = Owner { name: Some("ns/one".into()), former: Some("old".into()), ..Owner::new("uid") };
        let wanted = Wanted::new(&owner, &mine, false);
        let old = Owner { name: Some("ns/one".into()), ..Owner::new("old") };
        let former = Record::read(&Wanted::new(&old, &mine, false).to_json());
        let (bare, former) = (Some(entry("uid", &mine)), Some(Entry { revision: 7, record: former }));
        let judge = |schema: &Option<Entry>, user: &Option<Entry>| {
            Records { schema: schema.clone(), user: user.clone(), keys: 1 }.lack_a_name_alone(&wanted)
        };
        assert!(judge(&bare, &bare));
        assert!(!judge(&bare, &None) && !judge(&None, &bare) && !judge(&bare, &former) && !judge(&former, &former));
    }

    #[test]
    fn records_of_the_former_uid_are_the_owners_and_to_be_written_anew() {
        let mine = tenant("a", "u");
        let named = |uid: &str, former: Option<&str>| Owner {
            uid: uid.into(),
            name: Some("ns/one".into()),
            former: former.map(str::to_owned),
        };
        let recorded = |owner: &Owner| {
            let record = Record::read(&Wanted::new(owner, &mine, false).to_json());
            Some(Entry { revision: 7, record })
        };
        let restored = Wanted::new(&named("new", Some("old")), &mine, false);
        let old = recorded(&named("old", None));
        for records in [
            Records { schema: old.clone(), user: old.clone(), keys: 1 },
            Records { schema: old.clone(), user: None, keys: 1 },
            Records { schema: recorded(&named("new", None)), user: old.clone(), keys: 1 },
        ] {
            records.refuse_foreign(&mine, &restored).unwrap();
            assert!(records.is_own(&restored) && !records.is_complete(&restored), "{records:?}");
            assert_eq!(records.change(&restored), Change::OwnerReplaced);
            records.refuse_foreign(&mine, &Wanted::new(&named("new", None), &mine, false)).unwrap_err();
        }
        let third = Records { schema: old, user: recorded(&named("third", None)), keys: 1 };
        third.refuse_foreign(&mine, &restored).unwrap_err();
    }

    #[test]
    fn a_refusal_names_the_owner_and_only_the_keys_that_are_its() {
        let mine = tenant("a", "u");
        let said = |schema: Option<Entry>, user: Entry| {
            let records = Records { schema, user: Some(user), keys: 0 };
            records.refuse_foreign(&mine, &wanted(&mine)).unwrap_err().to_string()
        };
        let both = said(Some(entry("other", &mine)), entry("other", &mine));
        assert!(both.contains("the schema \"a\"") && both.contains("UID other"), "{both}");
        let keys = "delete the key \"kamaji.clastix.io/owner/schema/a\" and the key \"kamaji.clastix.io/owner/user/u\"";
        assert!(both.contains(keys), "{both}");
        let two_tenants = said(Some(entry("other", &mine)), entry("third", &tenant("t", "u")));
        assert!(!two_tenants.contains("owner/user"), "{two_tenants}");
        let user = said(None, entry("third", &tenant("t", "u")));
        assert!(user.contains("the user \"u\"") && user.contains("schema \"t\""), "{user}");
    }
}
