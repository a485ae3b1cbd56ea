//! What the servers' own logs show: no password, and nothing written while nothing changes.

use kamaji_datastore::Tenant;
use mysql_async::prelude::Queryable as _;

use crate::live::{Live, mariadb_admin};

/// A log grows a moment after its statement; a statement of ours with this mark is what is waited for.
async fn postgres_log(live: &Live, mark: &str) -> String {
    let admin = crate::live::postgres_admin(live.server().unwrap(), "postgres").await;
    admin.batch_execute(&format!("SELECT '{mark}'")).await.unwrap();
    let path = live.server().unwrap().folder().join("server.log");
    loop {
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains(&format!("SELECT '{mark}'")) {
            return text;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn secretive(user: &str) -> Tenant {
    Tenant { schema: user.into(), user: user.into(), password: Some(format!("{user}-s3cret-1").into()) }
}

#[tokio::test]
async fn postgres_logs_no_password_and_no_writes_at_rest() {
    let live = Live::postgres().await;
    let (store, tenant) = (live.store("uid-log"), secretive("logged"));
    store.ensure_tenant(&tenant).await.unwrap();
    let new = Tenant { password: Some("logged-s3cret-2".into()), ..tenant.clone() };
    assert!(store.ensure_tenant(&new).await.unwrap().any());
    let writes = |text: &str| {
        let of_tenant = text.lines().filter(|line| line.contains("\"logged\""));
        of_tenant
            .filter(|line| ["CREATE", "ALTER", "GRANT", "REVOKE", "COMMENT"].iter().any(|word| line.contains(word)))
            .count()
    };
    let before = postgres_log(&live, "before").await;
    for _ in 0..5 {
        assert!(store.is_set_up(&new).await.unwrap());
        assert!(!store.ensure_tenant(&new).await.unwrap().any());
    }
    let after = postgres_log(&live, "after").await;
    assert!(writes(&before) >= 5, "the log is not read right");
    assert_eq!(writes(&after), writes(&before));
    assert!(!after.contains("s3cret"));
}

#[tokio::test]
async fn mariadb_logs_no_password_and_no_writes_at_rest() {
    let live = Live::mariadb().await;
    let mut admin = mariadb_admin(live.server().unwrap()).await;
    let file = live.server().unwrap().folder().join("general.log");
    admin.query_drop(format!("SET GLOBAL general_log_file = '{}'", file.display())).await.unwrap();
    admin.query_drop("SET GLOBAL general_log = 1").await.unwrap();
    let (store, tenant) = (live.store("uid-log"), secretive("logged"));
    store.ensure_tenant(&tenant).await.unwrap();
    let new = Tenant { password: Some("logged-s3cret-2".into()), ..tenant.clone() };
    assert!(store.ensure_tenant(&new).await.unwrap().any());
    let writes = || {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("s3cret"));
        let of_tenant = text.lines().filter(|line| line.contains("`logged`"));
        of_tenant.filter(|line| ["CREATE", "ALTER", "GRANT", "REVOKE"].iter().any(|word| line.contains(word))).count()
    };
    let before = writes();
    for _ in 0..5 {
        assert!(store.is_set_up(&new).await.unwrap());
        assert!(!store.ensure_tenant(&new).await.unwrap().any());
    }
    assert!(before >= 4, "the log is not read right");
    assert_eq!(writes(), before);
}
