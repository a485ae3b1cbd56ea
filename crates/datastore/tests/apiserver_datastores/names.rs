//! Names that need quoting, or cannot be told apart.

use crate::live::Live;
use crate::tenant;

const AWKWARD: [(&str, &str); 6] = [
    ("we\"ird`sch'ema", "we\"ird`us'er"),
    ("per%cent_\\score", "per%cent_\\user"),
    ("Upper", "UpperUser"),
    ("a; DROP DATABASE x; --", "a; DROP ROLE x; --"),
    ("$1 ?", "$1 ?:named"),
    ("ünï-cödé", "ünï-üser"),
];

async fn awkward_names_are_names_like_any_other(live: Live) {
    for (schema, user) in AWKWARD {
        let (store, tenant) = (live.store("uid-names"), tenant(schema, user));
        store.ensure_tenant(&tenant).await.unwrap_or_else(|error| panic!("{tenant:?}: {error}"));
        assert!(store.is_set_up(&tenant).await.unwrap(), "{tenant:?}");
        live.write_as(&tenant).await.unwrap_or_else(|error| panic!("{tenant:?}: {error}"));
        assert!(!store.ensure_tenant(&tenant).await.unwrap().any(), "{tenant:?}");
        store.revoke(&tenant).await.unwrap();
        store.erase(&tenant).await.unwrap();
        assert!(store.recount(&tenant).await.unwrap().is_empty(), "{tenant:?}");
    }
}

#[tokio::test]
async fn awkward_names_are_names_like_any_other_on_postgres() {
    awkward_names_are_names_like_any_other(Live::postgres().await).await;
}

#[tokio::test]
async fn awkward_names_are_names_like_any_other_on_mariadb() {
    awkward_names_are_names_like_any_other(Live::mariadb().await).await;
}

#[tokio::test]
async fn names_that_reach_beyond_are_refused_everywhere() {
    let long = "n".repeat(65);
    for live in [Live::etcd().await, Live::postgres().await, Live::mariadb().await, Live::nats().await] {
        let store = live.store("uid-names");
        let limited = if matches!(live, Live::Etcd(_)) { "" } else { &long };
        for schema in ["", "a/b", "a\0b", "\0", "a\nb", "..", limited] {
            if schema.len() > 64 && matches!(live, Live::Nats(_)) {
                continue;
            }
            let tenant = tenant(schema, "good-user");
            for error in [
                store.ensure_tenant(&tenant).await.map(drop).unwrap_err(),
                store.erase(&tenant).await.unwrap_err(),
                store.recount(&tenant).await.map(drop).unwrap_err(),
            ] {
                assert_eq!(error.category(), "invalid_name", "{schema:?} on {}: {error}", live.connection().driver);
            }
        }
    }
}

#[tokio::test]
async fn names_that_a_server_would_cut_or_change_are_refused_before_it_does() {
    let cut = "x".repeat(64);
    let postgres = Live::postgres().await.store("uid-names");
    for tenant in [tenant(&cut, "short"), tenant("short", &cut)] {
        let error = postgres.ensure_tenant(&tenant).await.unwrap_err();
        assert!(error.to_string().contains("63 bytes"), "{error}");
    }
    let mariadb = Live::mariadb().await.store("uid-names");
    let user = "u".repeat(33);
    let error = mariadb.ensure_tenant(&tenant("short", &user)).await.unwrap_err();
    assert!(error.to_string().contains("32 characters"), "{error}");
    mariadb.ensure_tenant(&tenant("just", &user[1..])).await.unwrap();
    let error = mariadb.ensure_tenant(&tenant("trailing ", "u")).await.unwrap_err();
    assert!(error.to_string().contains("space"), "{error}");
    let nats = Live::nats().await.store("uid-names");
    for bucket in ["a.b", "a b", "a*", ">", "ä"] {
        let error = nats.ensure_tenant(&tenant(bucket, "u")).await.unwrap_err();
        assert_eq!(error.category(), "invalid_name", "{bucket}: {error}");
    }
}
