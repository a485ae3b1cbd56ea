//! The real kine, with what a tenant gets and nothing more.

use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, Txn, TxnOp};
use kamaji_datastore::Tenant;
use kamaji_testkit::process::{Launch, Process};
use kamaji_testkit::{nats, parts, ports};

use crate::live::Live;

const START: Duration = Duration::from_secs(30);

/// The endpoint as the tenant's pod has it, `docs/reference/compatibility.md`, section "Datastores".
fn endpoint(live: &Live, tenant: &Tenant) -> String {
    let server = live.server().unwrap().endpoint();
    let Tenant { schema, user, password } = tenant;
    let password = password.as_ref().unwrap().expose();
    match live {
        Live::Etcd(_) => String::new(),
        Live::Postgres(_) => format!("postgres://{user}:{password}@{server}/{schema}"),
        Live::MariaDb(_) => format!("mysql://{user}:{password}@tcp({server})/{schema}"),
        Live::Nats(_) => {
            format!("nats://{}:{}@{server}?bucket={schema}&noEmbed", nats::USER, nats::PASSWORD)
        }
    }
}

/// Starts kine and returns when it answers; the client is one of its, as an API server is.
async fn start(live: &Live, tenant: &Tenant) -> (Process, Client) {
    let folder = live.server().unwrap().folder();
    for (file, text) in
        [("kine.crt", &live.server().unwrap().client().certificate), ("kine.key", &live.server().unwrap().client().key)]
    {
        std::fs::write(folder.join(file), text).unwrap();
    }
    let port = ports::free().unwrap();
    let file = |name: &str| folder.join(name).display().to_string();
    let launch = Launch {
        name: "kine".into(),
        program: parts::kine(),
        args: vec![
            format!("--listen-address=127.0.0.1:{port}"),
            "--metrics-bind-address=0".into(),
            format!("--ca-file={}", file("ca.crt")),
            format!("--cert-file={}", file("kine.crt")),
            format!("--key-file={}", file("kine.key")),
        ],
        env: vec![("KINE_ENDPOINT".into(), endpoint(live, tenant)), ("GODEBUG".into(), "x509ignoreCN=0".into())],
        log: folder.join(format!("kine-{port}.log")),
    };
    let mut process = Process::start(&launch).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let answers = || async {
        let mut client = Client::connect([&url], None).await.map_err(|error| error.to_string())?;
        client.get("/registry/health", None).await.map(drop).map_err(|error| error.to_string())
    };
    process.wait_ready(START, answers).await.unwrap_or_else(|error| panic!("{error}"));
    (process, Client::connect([&url], None).await.unwrap())
}

/// As an API server creates an object.
async fn create(client: &mut Client, key: &str) -> Result<(), String> {
    let txn = Txn::new()
        .when([Compare::mod_revision(key, CompareOp::Equal, 0)])
        .and_then([TxnOp::put(key, "value", None)])
        .or_else([TxnOp::get(key, None)]);
    let call =
        tokio::time::timeout(Duration::from_secs(10), client.txn(txn)).await.map_err(|error| error.to_string())?;
    let answer = call.map_err(|error| error.to_string())?;
    answer.succeeded().then_some(()).ok_or_else(|| "it is there already".into())
}

async fn kine_serves_a_tenant_with_its_rights_and_no_more(live: Live) {
    let store = live.store("uid-kine");
    let tenant = Tenant { schema: "kine_1".into(), user: "kine-user".into(), password: Some("kine-password".into()) };
    store.ensure_tenant(&tenant).await.unwrap();
    let (kine, mut client) = start(&live, &tenant).await;
    for object in 0..20 {
        create(&mut client, &format!("/registry/configmaps/{object}")).await.unwrap();
    }
    let answer = client.get("/registry/configmaps/7", None).await.unwrap();
    assert_eq!(answer.kvs()[0].value(), b"value");
    // What kine made is nothing to repair.
    assert!(store.is_set_up(&tenant).await.unwrap());
    drop(kine);

    // And it finds its own again.
    let (kine, mut client) = start(&live, &tenant).await;
    assert_eq!(client.get("/registry/configmaps/7", None).await.unwrap().kvs().len(), 1);
    if !matches!(live, Live::Nats(_)) {
        store.revoke(&tenant).await.unwrap();
        create(&mut client, "/registry/configmaps/late").await.unwrap_err();
    }
    drop(kine);
    store.revoke(&tenant).await.unwrap();
    store.erase(&tenant).await.unwrap();
    assert!(store.recount(&tenant).await.unwrap().is_empty());
}

#[tokio::test]
async fn kine_serves_a_tenant_with_its_rights_and_no_more_on_postgres() {
    kine_serves_a_tenant_with_its_rights_and_no_more(Live::postgres().await).await;
}

#[tokio::test]
async fn kine_serves_a_tenant_with_its_rights_and_no_more_on_mariadb() {
    kine_serves_a_tenant_with_its_rights_and_no_more(Live::mariadb().await).await;
}

#[tokio::test]
async fn kine_serves_a_tenant_with_its_rights_and_no_more_on_nats() {
    kine_serves_a_tenant_with_its_rights_and_no_more(Live::nats().await).await;
}
