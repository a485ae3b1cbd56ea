//! Whose a database, login or bucket is: a record beside it, so that a name is taken only by whom it was made for.
//!
//! The record is one line of JSON. Where it shares its place with words of an administrator, theirs stay above it, or
//! before it on the same line.

use serde_json::{Value, json};

use crate::{Change, Driver, Error, Owner, Tenant};

/// Key of the owner in the record.
const OWNER: &str = "kamaji.clastix.io/owner";
/// Key of the owner's `namespace/name` in the record.
const NAME: &str = "tenant";
/// The annotation by which a tenant says which UID it had before.
const FORMER_UID: &str = "kamaji.clastix.io/former-uid";

/// The record that is on an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    owner: String,
    schema: String,
    user: String,
    /// `namespace/name` of the owner; older releases wrote none.
    name: Option<String>,
}

/// Whose it is what a tenant asks for, as its record and its shape say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holding {
    /// Nothing is there.
    Nothing,
    /// Recorded as this tenant's.
    Own,
    /// Recorded as this tenant's in words that are to be replaced; what that is.
    Outdated(Change),
    /// Without a record, and just as the Go operator makes it.
    Adoptable,
}

impl Holding {
    /// What writing the record beside something that is there is, where there is a need.
    pub fn to_record(self) -> Option<Change> {
        match self {
            Self::Adoptable => Some(Change::OwnerRecorded),
            Self::Outdated(change) => Some(change),
            Self::Nothing | Self::Own => None,
        }
    }

    /// Whether the tenant works with the record as it is, too: it only lacks the owner's name.
    pub fn is_good_enough(self) -> bool {
        self == Self::Outdated(Change::OwnerRecorded)
    }
}

/// What a call would write down, and what may become its own besides what it wrote down before.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    record: Record,
    former: Option<String>,
    takes_over: bool,
}

impl Wanted {
    /// For this tenant of this owner. With `takes_over` what carries no record may become its own.
    pub fn new(owner: &Owner, tenant: &Tenant, takes_over: bool) -> Self {
        let record = Record { name: owner.name.clone(), ..Record::new(&owner.uid, tenant) };
        Self { record, former: owner.former.clone(), takes_over }
    }

    /// Refuses what carries no record: an application's database and login look just like those of an older tenant.
    ///
    /// # Errors
    /// [`Error::Conflict`] unless the tenant is known to be older than the records.
    pub fn take_over(&self) -> Result<(), Error> {
        if self.takes_over {
            return Ok(());
        }
        let Record { schema, user, .. } = &self.record;
        let detail = format!(
            "what the datastore has under the schema {schema:?} and the user {user:?} was not made for this tenant; choose \
             other names, or delete it if nobody needs it"
        );
        Err(Error::Conflict { detail })
    }

    /// Whose that is which carries this record, seen from the one who asks.
    ///
    /// A former UID alone proves nothing: whoever may write an annotation may have read it somewhere. That the record has
    /// the same `namespace/name` shows that the tenant is where the former one was, with all that was its own there.
    pub fn standing(&self, present: Option<&Record>) -> Standing {
        let Some(present) = present else { return Standing::Unrecorded };
        let has_name = self.has_name_of(present);
        if (&present.schema, &present.user) != (&self.schema, &self.user) {
            Standing::Foreign
        } else if present.owner == self.owner {
            let is_complete = self.name.is_none() || has_name;
            if is_complete { Standing::Own } else { Standing::Outdated(Change::OwnerRecorded) }
        } else if self.former.as_ref() == Some(&present.owner) && has_name {
            Standing::Outdated(Change::OwnerReplaced)
        } else {
            Standing::Foreign
        }
    }

    /// What an object with this record is said to be for, in a refusal.
    pub fn describe(&self, present: &Record) -> String {
        let Record { owner, schema, user, .. } = present;
        let way_back = if self.has_name_of(present) && self.owner != *owner {
            format!(
                ", which had the name of this one; if it is this one before it was restored, and no other cluster uses \
                 this datastore under these names, annotate it with {FORMER_UID}={owner}"
            )
        } else {
            String::new()
        };
        format!("made for the tenant with the UID {owner} (schema {schema:?}, user {user:?}){way_back}")
    }

    fn has_name_of(&self, present: &Record) -> bool {
        self.name.is_some() && self.name == present.name
    }
}

impl std::ops::Deref for Wanted {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

/// What a record means to whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It names the owner who asks, with the same names.
    Own,
    /// It is that of the owner who asks, and says less of it, or its former UID. The change is what writing it anew is.
    Outdated(Change),
    /// There is none: made by the Go operator, by hand, or by somebody else.
    Unrecorded,
    /// It names another owner, or other names of the same.
    Foreign,
}

impl Record {
    /// What to write for this tenant of this owner.
    pub fn new(owner: &str, tenant: &Tenant) -> Self {
        Self { owner: owner.to_owned(), schema: tenant.schema.clone(), user: tenant.user.clone(), name: None }
    }

    /// As JSON, one line.
    pub fn to_json(&self) -> Value {
        let mut json = json!({ OWNER: self.owner, "schema": self.schema, "user": self.user });
        if let (Some(name), Some(fields)) = (&self.name, json.as_object_mut()) {
            fields.insert(NAME.to_owned(), name.clone().into());
        }
        json
    }

    /// The text for a comment that now reads `present`. A record in it is replaced.
    pub fn below(&self, present: Option<&str>) -> String {
        let mut words = present.unwrap_or_default().to_owned();
        if Self::find(&words).is_some() {
            let kept = words.lines().filter_map(|line| match Self::of_line(line) {
                Some((before, _)) => Some(before.trim_end()).filter(|before| !before.is_empty()),
                None => Some(line),
            });
            words = kept.collect::<Vec<_>>().join("\n");
        }
        match words.trim_end() {
            "" => self.to_json().to_string(),
            words => format!("{words}\n{}", self.to_json()),
        }
    }

    /// As [`Self::below`], on one line: MariaDB forgets all others of a database's comment when it starts.
    pub fn behind(&self, present: Option<&str>) -> String {
        self.below(present).lines().collect::<Vec<_>>().join(" ")
    }

    /// The record in a comment, if there is one.
    pub fn find(comment: &str) -> Option<Self> {
        comment.lines().rev().find_map(Self::of_line).map(|(_, record)| record)
    }

    /// The record at the end of a line, and the words before it.
    fn of_line(line: &str) -> Option<(&str, Self)> {
        let at = |start: usize| {
            let (words, json) = line.split_at_checked(start)?;
            Some((words, Self::read(&serde_json::from_str::<Value>(json).ok()?)?))
        };
        at(0).or_else(|| at(line.rfind(&format!("{{\"{OWNER}\""))?))
    }

    /// The record in a JSON object, if it is one.
    pub fn read(json: &Value) -> Option<Self> {
        let text = |key: &str| json.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Self { owner: text(OWNER)?, schema: text("schema")?, user: text("user")?, name: text(NAME) })
    }
}

/// The owner that was given, or the error that none was.
pub(crate) fn required<'a>(driver: Driver, owner: Option<&'a Owner>, tenant: &Tenant) -> Result<&'a Owner, Error> {
    owner.filter(|owner| !owner.uid.is_empty()).ok_or_else(|| Error::Incomplete {
        driver,
        schema: tenant.schema.clone(),
        what: "owner",
        way_out: "give the UID of its TenantControlPlane",
    })
}

/// What a record that could not be completed is to the caller: the tenant worked without, and it is tried again at the
/// next look.
///
/// # Errors
/// An outage, or that the names were taken meanwhile.
pub(crate) fn not_completed(error: Error) -> Result<(), Error> {
    if error.is_outage() || matches!(error, Error::Conflict { .. }) {
        return Err(error);
    }
    tracing::warn!(%error, "an owner's record stays without namespace and name; it is tried again at the next look");
    Ok(())
}

/// The password that was given, or the error that none was.
pub(crate) fn password(driver: Driver, tenant: &Tenant) -> Result<&crate::Secret, Error> {
    let given = tenant.password.as_ref().filter(|password| !password.expose().is_empty());
    given.ok_or_else(|| Error::Incomplete {
        driver,
        schema: tenant.schema.clone(),
        what: "password",
        way_out: "give it as DB_PASSWORD in the tenant's datastore-config Secret",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> Tenant {
        Tenant { schema: "s'\"\\".into(), user: "u\n".into(), password: None }
    }

    fn wanted(uid: &str, name: Option<&str>, former: Option<&str>) -> Wanted {
        let [name, former] = [name, former].map(|text| text.map(str::to_owned));
        Wanted::new(&Owner { uid: uid.to_owned(), name, former }, &tenant(), false)
    }

    #[test]
    fn a_record_is_found_again_below_an_administrators_words() {
        let (own, other) = (wanted("uid-1", None, None), wanted("uid-2", None, None));
        for present in [None, Some(""), Some("payroll, ask Ada"), Some("{\"team\":\"a\"}\n")] {
            let comment = own.below(present);
            let found = Record::find(&comment);
            assert_eq!(own.standing(found.as_ref()), Standing::Own, "{comment}");
            assert_eq!(other.standing(found.as_ref()), Standing::Foreign, "{comment}");
            assert!(comment.starts_with(present.unwrap_or_default().trim_end()), "{comment}");
            let replaced = other.below(Some(&comment));
            assert_eq!(replaced, other.below(present), "there is one record at a time");
        }
    }

    #[test]
    fn a_record_is_found_again_on_the_line_of_an_administrators_words() {
        let (own, other) = (wanted("uid-1", None, None), wanted("uid-2", Some("ns/{\"one"), None));
        for (present, words) in
            [(None, ""), (Some(""), ""), (Some("ask {Ada}"), "ask {Ada} "), (Some("ask\nAda\n"), "ask Ada ")]
        {
            let comment = own.behind(present);
            assert_eq!(comment, format!("{words}{}", own.to_json()));
            assert_eq!(own.standing(Record::find(&comment).as_ref()), Standing::Own, "{comment}");
            let replaced = other.behind(Some(&comment));
            assert_eq!(replaced, format!("{words}{}", other.to_json()), "there is one record at a time");
            assert_eq!(other.standing(Record::find(&replaced).as_ref()), Standing::Own, "{replaced}");
        }
    }

    #[test]
    fn other_comments_are_no_record() {
        for comment in ["", "payroll", "{}", "{\"kamaji.clastix.io/owner\":7,\"schema\":\"a\",\"user\":\"b\"}", "[1]"] {
            assert_eq!(Record::find(comment), None, "{comment}");
        }
    }

    #[test]
    fn a_record_without_the_owners_name_gets_it_and_one_with_it_stays() {
        let (bare, named) = (wanted("uid", None, None), wanted("uid", Some("ns/one"), None));
        assert_eq!(named.standing(Some(&bare)), Standing::Outdated(Change::OwnerRecorded));
        assert_eq!(named.standing(Record::read(&named.to_json()).as_ref()), Standing::Own);
        assert_eq!(bare.standing(Some(&named)), Standing::Own, "who tells no name takes none away");
    }

    #[test]
    fn a_record_of_the_former_uid_is_taken_over_under_the_same_name_alone() {
        let old = wanted("old", Some("ns/one"), None);
        let standing = |name, former| wanted("new", name, former).standing(Some(&old));
        assert_eq!(standing(Some("ns/one"), Some("old")), Standing::Outdated(Change::OwnerReplaced));
        for (name, former) in [
            (Some("ns/one"), None),
            (Some("ns/one"), Some("")),
            (Some("ns/one"), Some("older")),
            (Some("ns/two"), Some("old")),
            (Some("other/one"), Some("old")),
            (None, Some("old")),
        ] {
            assert_eq!(standing(name, former), Standing::Foreign, "{name:?} {former:?}");
        }
        let restored = wanted("new", Some("ns/one"), Some("old"));
        assert_eq!(restored.standing(Some(&wanted("old", None, None))), Standing::Foreign, "nobody's name is no name");
        let mut other_names = old.record.clone();
        other_names.schema = "t".to_owned();
        assert_eq!(restored.standing(Some(&other_names)), Standing::Foreign);
        // Afterwards the annotation has no effect.
        assert_eq!(restored.standing(Some(&restored)), Standing::Own);
        assert_eq!(restored.standing(Some(&wanted("third", Some("ns/one"), None))), Standing::Foreign);
    }

    #[test]
    fn only_who_has_the_recorded_name_is_told_the_way_back() {
        let old = wanted("old", Some("ns/one"), None);
        let told = wanted("new", Some("ns/one"), None).describe(&old);
        assert!(told.contains("UID old") && told.ends_with("kamaji.clastix.io/former-uid=old"), "{told}");
        assert!(
            told.contains("if") && told.contains("no other cluster uses this datastore under these names"),
            "{told}"
        );
        let thief = wanted("new", Some("ns/two"), None).describe(&old);
        assert!(thief.contains("UID old") && !thief.contains("former-uid") && !thief.contains("ns/one"), "{thief}");
    }
}
