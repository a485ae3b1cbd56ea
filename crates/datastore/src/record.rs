//! Whose a database, login or bucket is: a record beside it, so that a name is taken only by whom it was made for.
//!
//! The record is one line of JSON. Where it shares its place with words of an administrator, theirs stay above it.

use serde_json::{Value, json};

use crate::{Driver, Error, Tenant};

/// Key of the owner in the record.
const OWNER: &str = "kamaji.clastix.io/owner";

/// The record that is on an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    owner: String,
    schema: String,
    user: String,
}

/// What a call would write down, and whether what carries no record may become its own.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    record: Record,
    takes_over: bool,
}

impl Wanted {
    /// For this tenant of this owner.
    pub fn new(owner: &str, tenant: &Tenant, takes_over: bool) -> Self {
        Self { record: Record::new(owner, tenant), takes_over }
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
    /// There is none: made by the Go operator, by hand, or by somebody else.
    Unrecorded,
    /// It names another owner, or other names of the same.
    Foreign,
}

impl Record {
    /// What to write for this tenant of this owner.
    pub fn new(owner: &str, tenant: &Tenant) -> Self {
        Self { owner: owner.to_owned(), schema: tenant.schema.clone(), user: tenant.user.clone() }
    }

    /// As JSON, one line.
    pub fn to_json(&self) -> Value {
        json!({ OWNER: self.owner, "schema": self.schema, "user": self.user })
    }

    /// The text for a comment that now reads `present`.
    pub fn below(&self, present: Option<&str>) -> String {
        match present.map(str::trim_end).filter(|present| !present.is_empty()) {
            Some(present) => format!("{present}\n{}", self.to_json()),
            None => self.to_json().to_string(),
        }
    }

    /// The record in a comment, if there is one.
    pub fn find(comment: &str) -> Option<Self> {
        comment
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|json| Self::read(&json))
    }

    /// The record in a JSON object, if it is one.
    pub fn read(json: &Value) -> Option<Self> {
        let text = |key: &str| json.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Self { owner: text(OWNER)?, schema: text("schema")?, user: text("user")? })
    }

    /// Whose it is, seen from the one who asks.
    pub fn standing(present: Option<&Self>, wanted: &Self) -> Standing {
        match present {
            None => Standing::Unrecorded,
            Some(present) if present == wanted => Standing::Own,
            Some(_) => Standing::Foreign,
        }
    }

    /// What an object is said to be for, in a refusal.
    pub fn describe(&self) -> String {
        format!("made for the tenant with the UID {} (schema {:?}, user {:?})", self.owner, self.schema, self.user)
    }
}

/// The owner that was given, or the error that none was.
pub(crate) fn required<'a>(driver: Driver, owner: Option<&'a str>, tenant: &Tenant) -> Result<&'a str, Error> {
    owner.filter(|owner| !owner.is_empty()).ok_or_else(|| Error::Incomplete {
        driver,
        schema: tenant.schema.clone(),
        what: "owner",
        way_out: "give the UID of its TenantControlPlane",
    })
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

    fn record(owner: &str) -> Record {
        Record::new(owner, &Tenant { schema: "s'\"\\".into(), user: "u\n".into(), password: None })
    }

    #[test]
    fn a_record_is_found_again_below_an_administrators_words() {
        let (own, other) = (record("uid-1"), record("uid-2"));
        for present in [None, Some(""), Some("payroll, ask Ada"), Some("{\"team\":\"a\"}\n")] {
            let comment = own.below(present);
            let found = Record::find(&comment);
            assert_eq!(Record::standing(found.as_ref(), &own), Standing::Own, "{comment}");
            assert_eq!(Record::standing(found.as_ref(), &other), Standing::Foreign, "{comment}");
            assert!(comment.starts_with(present.unwrap_or_default().trim_end()), "{comment}");
        }
    }

    #[test]
    fn other_comments_are_no_record() {
        for comment in ["", "payroll", "{}", "{\"kamaji.clastix.io/owner\":7,\"schema\":\"a\",\"user\":\"b\"}", "[1]"] {
            assert_eq!(Record::find(comment), None, "{comment}");
        }
    }
}
