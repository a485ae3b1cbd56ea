//! What is told of what the operator leaves alone, with the way to remove it.

/// What becomes of what is not a tenant's that goes.
pub fn stays(data_store: &str) -> String {
    format!("The tenant goes, and what bears its names on the DataStore {data_store} stays as it is.")
}

/// What becomes of the names of a tenant that is gone, `namespace/name`, and of what is not its own under them.
pub fn given_up(tenant: &str) -> String {
    format!("The names of {tenant} are not reserved any more; what bears them stays.")
}

/// The note that something stays, for an Event, which is cut at its end: `whose` it is comes last, and without what
/// somebody could do who stays.
pub fn kept(fate: &str, removal: &str, whose: &str) -> String {
    let whose = whose.split("; choose ").next().unwrap_or(whose);
    format!("{fate} What of it nobody needs can be removed {removal}. Why: {whose}.")
}

#[cfg(test)]
mod tests {
    use kamaji_apply::NOTE_LIMIT;
    use kamaji_datastore::{Driver, Tenant, removal};

    use super::*;

    #[test]
    fn a_note_about_long_names_on_etcd_fits_into_an_event() {
        let [schema, user, name] = ["s", "u", "n"].map(|letter| letter.repeat(63));
        let uid = "8d2f3b0a-6c0e-4b0b-9f3e-0d9a6a7c1f11";
        let whose = format!(
            "the schema {schema:?} on the datastore was made for the tenant with the UID {uid} (schema {schema:?}, user \
             {user:?}); choose other names, or delete that tenant first; if it is gone for good, delete the key \
             \"kamaji.clastix.io/owner/schema/{schema}\" and the key \"kamaji.clastix.io/owner/user/{user}\" with etcdctl"
        );
        let removal = removal(Driver::Etcd, &Tenant { schema, user, password: None });
        for fate in [stays(&name), given_up(&format!("{name}/{name}"))] {
            let note = kept(&fate, &removal, &whose);
            assert!(note.len() <= NOTE_LIMIT, "{}: {note}", note.len());
            for part in [fate.as_str(), &removal, uid] {
                assert!(note.contains(part), "{part}: {note}");
            }
            assert!(!note.contains("choose other names"), "there is nobody left to do it: {note}");
            assert_eq!(note.matches("kamaji.clastix.io/owner/").count(), 2, "{note}");
        }
    }
}
