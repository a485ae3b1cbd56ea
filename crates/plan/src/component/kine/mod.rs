//! The kine container, which speaks etcd to kube-apiserver and SQL or NATS to the datastore
//! (docs/reference/compatibility.md, "kine").
//!
//! In go the store's driver, the Secrets' names and what the user set; out come the container, the init container that
//! prepares its certificates, their volumes, and what kube-apiserver must know: a mount and an address.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EmptyDirVolumeSource, EnvFromSource, EnvVar, ResourceRequirements, SecretEnvSource,
    SecretVolumeSource, Volume, VolumeMount,
};
use kamaji_api::{
    contract::{ports, secrets::TenantSecret},
    data_store::Driver,
};

pub use crate::resolved::Tls;
use crate::{
    component::{
        arguments::{Arguments, flag_name},
        container::restricted,
        mount::{read_only, writable},
        shutdown::linger,
    },
    resolved::Resolved,
    template::TemplateRevision,
};

/// Name of the container.
pub const NAME: &str = "kine";
/// Name of the init container.
pub const INIT_NAME: &str = "chmod";
/// Volume with the socket between kube-apiserver and kine.
pub const SOCKET_VOLUME: &str = "kine-uds";
/// Volume with the datastore's certificates as their Secret has them.
pub const CONFIG_VOLUME: &str = "kine-config";
/// Volume with the same files, with the mode that database clients ask of keys.
pub const CERTIFICATES_VOLUME: &str = "kine-certs";
/// All three.
pub const VOLUMES: [&str; 3] = [SOCKET_VOLUME, CONFIG_VOLUME, CERTIFICATES_VOLUME];
/// Where the socket is mounted.
pub const SOCKET_PATH: &str = "/uds";
/// kube-apiserver's `--etcd-servers`.
pub const ADDRESS: &str = "unix:///uds/kine";
/// The image from template `R1` on: the release that the drivers are tested with, for all architectures.
pub const DEFAULT_IMAGE: &str = "rancher/kine:v0.16.4";

/// What decides how kine is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Sidecar<'a> {
    /// The DataStore's driver.
    pub driver: &'a Driver,
    /// The operator's image of kine.
    pub image: &'a str,
    /// Secret with `DB_USER`, `DB_PASSWORD`, `DB_CONNECTION_STRING` and `DB_SCHEMA`.
    pub config_secret: String,
    /// Secret with the certificates; it is there, and empty, without TLS too.
    pub certificate_secret: String,
    /// Absent means clear text.
    pub tls: Option<Tls>,
    /// The user's flags.
    pub extra_args: &'a [String],
    /// The user's limits and requests.
    pub resources: ResourceRequirements,
    /// The tenant's template.
    pub revision: TemplateRevision,
}

impl<'a> Sidecar<'a> {
    /// kine as this tenant has it; `None` when its store needs none.
    pub fn of(resolved: &'a Resolved) -> Option<Self> {
        let kine = resolved.store.kine.as_ref()?;
        Some(Self {
            driver: &resolved.store.driver,
            image: &kine.image,
            config_secret: TenantSecret::DatastoreConfig.name(&resolved.name),
            certificate_secret: TenantSecret::DatastoreCertificate.name(&resolved.name),
            tls: kine.tls,
            extra_args: resolved.extra_args(|extra| extra.kine.as_ref()),
            resources: resolved.resources(|resources| resources.kine.as_ref()),
            revision: resolved.revision,
        })
    }

    /// The container; `None` for a driver that needs no kine.
    pub fn container(&self) -> Option<Container> {
        let endpoint = endpoint(self.driver)?;
        let r1 = self.revision >= TemplateRevision::R1;
        let variable = |name: &str, value: &str| EnvVar {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            ..EnvVar::default()
        };
        let mut env = vec![variable("GODEBUG", "x509ignoreCN=0")];
        if r1 {
            // Arguments are seen by everybody on the node who may list processes.
            env.push(variable("KINE_ENDPOINT", endpoint));
        }
        let secret = SecretEnvSource { name: self.config_secret.clone(), optional: None };
        Some(Container {
            name: NAME.to_owned(),
            image: Some(self.image.to_owned()),
            image_pull_policy: Some(if r1 { "IfNotPresent" } else { "Always" }.to_owned()),
            command: Some(vec!["/bin/kine".to_owned()]),
            args: Some(self.arguments(endpoint)),
            env: Some(env),
            env_from: Some(vec![EnvFromSource { secret_ref: Some(secret), ..EnvFromSource::default() }]),
            ports: Some(vec![ContainerPort {
                name: Some(ports::NAME_KINE.to_owned()),
                container_port: ports::KINE,
                protocol: Some("TCP".to_owned()),
                ..ContainerPort::default()
            }]),
            lifecycle: r1.then(linger),
            resources: Some(self.resources.clone()),
            security_context: r1.then(|| restricted(&[])),
            volume_mounts: Some(vec![writable(CERTIFICATES_VOLUME, "/certs"), socket_mount()]),
            ..Container::default()
        })
    }

    /// The init container, which gives the certificates the mode that database clients ask of keys; `None` without TLS.
    pub fn init_container(&self) -> Option<Container> {
        endpoint(self.driver)?;
        self.tls?;
        let r1 = self.revision >= TemplateRevision::R1;
        Some(Container {
            name: INIT_NAME.to_owned(),
            image: Some(self.image.to_owned()),
            image_pull_policy: r1.then(|| "IfNotPresent".to_owned()),
            command: Some(vec!["sh".to_owned()]),
            args: Some(vec!["-c".to_owned(), "cp /kine/*.* /certs && chmod -R 600 /certs/*.*".to_owned()]),
            security_context: r1.then(|| restricted(&[])),
            volume_mounts: Some(vec![read_only(CONFIG_VOLUME, "/kine"), writable(CERTIFICATES_VOLUME, "/certs")]),
            ..Container::default()
        })
    }

    /// Its volumes, in the order of the pod template; none for a driver that needs no kine.
    pub fn volumes(&self) -> Vec<Volume> {
        if endpoint(self.driver).is_none() {
            return Vec::new();
        }
        let empty = |name: &str, medium: Option<&str>| Volume {
            name: name.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource { medium: medium.map(str::to_owned), size_limit: None }),
            ..Volume::default()
        };
        let config = Volume {
            name: CONFIG_VOLUME.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(self.certificate_secret.clone()),
                default_mode: Some(420),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        };
        vec![empty(SOCKET_VOLUME, Some("Memory")), config, empty(CERTIFICATES_VOLUME, None)]
    }

    /// The argument list, sorted: the user's flags win, but for the endpoint.
    fn arguments(&self, endpoint: &str) -> Vec<String> {
        let r1 = self.revision >= TemplateRevision::R1;
        let mut arguments = Arguments::parse(self.extra_args);
        arguments.default_to("listen-address", ADDRESS);
        if self.tls.is_some() {
            arguments.default_to("ca-file", "/certs/ca.crt");
        }
        if self.tls == Some(Tls::ClientCertificate) {
            arguments.default_to("cert-file", "/certs/server.crt").default_to("key-file", "/certs/server.key");
        }
        if r1 {
            // It would take port 8080 of the pod, and show the tenant's object names to whoever asks.
            arguments.default_to("metrics-bind-address", "0");
        } else {
            arguments.set("endpoint", endpoint);
        }
        let mut list = arguments.to_list();
        // A flag would win over the environment.
        list.retain(|argument| !r1 || flag_name(argument) != "endpoint");
        list
    }
}

/// kube-apiserver's mount of the socket.
pub fn socket_mount() -> VolumeMount {
    writable(SOCKET_VOLUME, SOCKET_PATH)
}

/// The datastore as kine is told of it, with the Secret's values filled in by the kubelet.
fn endpoint(driver: &Driver) -> Option<&'static str> {
    match driver {
        Driver::MySql => Some("mysql://$(DB_USER):$(DB_PASSWORD)@tcp($(DB_CONNECTION_STRING))/$(DB_SCHEMA)"),
        Driver::PostgreSql => Some("postgres://$(DB_USER):$(DB_PASSWORD)@$(DB_CONNECTION_STRING)/$(DB_SCHEMA)"),
        Driver::Nats => Some("nats://$(DB_USER):$(DB_PASSWORD)@$(DB_CONNECTION_STRING)?bucket=$(DB_SCHEMA)&noEmbed"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::shutdown::SHUTDOWN_DELAY_SECONDS;

    fn sidecar<'a>(driver: &'a Driver, tls: Option<Tls>, extra_args: &'a [String]) -> Sidecar<'a> {
        Sidecar {
            driver,
            image: "rancher/kine:v0.11.10-amd64",
            config_secret: "pg-datastore-config".to_owned(),
            certificate_secret: "pg-datastore-certificate".to_owned(),
            tls,
            extra_args,
            resources: ResourceRequirements::default(),
            revision: TemplateRevision::Upstream2026,
        }
    }

    fn arguments(sidecar: &Sidecar<'_>) -> Vec<String> {
        sidecar.container().unwrap().args.unwrap()
    }

    /// As captured from the Go operator of August 2026.
    #[test]
    fn the_first_template_is_the_go_operators() {
        let sidecar = sidecar(&Driver::PostgreSql, Some(Tls::ClientCertificate), &[]);
        let container = serde_json::to_value(sidecar.container().unwrap()).unwrap();
        let expected = serde_json::json!({
            "args": [
                "--ca-file=/certs/ca.crt",
                "--cert-file=/certs/server.crt",
                "--endpoint=postgres://$(DB_USER):$(DB_PASSWORD)@$(DB_CONNECTION_STRING)/$(DB_SCHEMA)",
                "--key-file=/certs/server.key",
                "--listen-address=unix:///uds/kine"
            ],
            "command": ["/bin/kine"],
            "env": [{ "name": "GODEBUG", "value": "x509ignoreCN=0" }],
            "envFrom": [{ "secretRef": { "name": "pg-datastore-config" } }],
            "image": "rancher/kine:v0.11.10-amd64",
            "imagePullPolicy": "Always",
            "name": "kine",
            "ports": [{ "containerPort": 2379, "name": "server", "protocol": "TCP" }],
            "resources": {},
            "volumeMounts": [
                { "mountPath": "/certs", "name": "kine-certs" },
                { "mountPath": "/uds", "name": "kine-uds" }
            ]
        });
        assert_eq!(container, expected);
        let init = serde_json::to_value(sidecar.init_container().unwrap()).unwrap();
        let expected = serde_json::json!({
            "args": ["-c", "cp /kine/*.* /certs && chmod -R 600 /certs/*.*"],
            "command": ["sh"],
            "image": "rancher/kine:v0.11.10-amd64",
            "name": "chmod",
            "volumeMounts": [
                { "mountPath": "/kine", "name": "kine-config", "readOnly": true },
                { "mountPath": "/certs", "name": "kine-certs" }
            ]
        });
        assert_eq!(init, expected);
        let volumes = serde_json::to_value(sidecar.volumes()).unwrap();
        let expected = serde_json::json!([
            { "name": "kine-uds", "emptyDir": { "medium": "Memory" } },
            { "name": "kine-config", "secret": { "defaultMode": 420, "secretName": "pg-datastore-certificate" } },
            { "name": "kine-certs", "emptyDir": {} }
        ]);
        assert_eq!(volumes, expected);
    }

    #[test]
    fn each_driver_has_its_endpoint_and_etcd_has_no_kine() {
        let mysql = sidecar(&Driver::MySql, Some(Tls::Authority), &[]);
        assert_eq!(
            arguments(&mysql),
            [
                "--ca-file=/certs/ca.crt",
                "--endpoint=mysql://$(DB_USER):$(DB_PASSWORD)@tcp($(DB_CONNECTION_STRING))/$(DB_SCHEMA)",
                "--listen-address=unix:///uds/kine"
            ]
        );
        let nats = sidecar(&Driver::Nats, None, &[]);
        assert_eq!(
            arguments(&nats),
            [
                "--endpoint=nats://$(DB_USER):$(DB_PASSWORD)@$(DB_CONNECTION_STRING)?bucket=$(DB_SCHEMA)&noEmbed",
                "--listen-address=unix:///uds/kine"
            ]
        );
        assert!(nats.init_container().is_none() && nats.volumes().len() == 3);
        let etcd = sidecar(&Driver::Etcd, Some(Tls::Authority), &[]);
        assert!(etcd.container().is_none() && etcd.init_container().is_none() && etcd.volumes().is_empty());
    }

    #[test]
    fn the_users_flags_win_but_for_the_endpoint() {
        let extra = ["--endpoint=sqlite://", "--ca-file=/other", "--slow-sql-threshold=2s"].map(str::to_owned);
        let mut sidecar = sidecar(&Driver::PostgreSql, Some(Tls::Authority), &extra);
        let arguments_of_first = arguments(&sidecar);
        assert!(arguments_of_first.contains(&"--ca-file=/other".to_owned()));
        assert!(arguments_of_first.contains(&"--slow-sql-threshold=2s".to_owned()));
        assert!(arguments_of_first.iter().any(|argument| argument.starts_with("--endpoint=postgres://")));
        sidecar.revision = TemplateRevision::R1;
        let arguments_of_r1 = arguments(&sidecar);
        assert!(!arguments_of_r1.iter().any(|argument| argument.starts_with("--endpoint")), "{arguments_of_r1:?}");
    }

    #[test]
    fn the_better_template_keeps_the_password_out_of_arguments_and_is_restricted() {
        let mut sidecar = sidecar(&Driver::PostgreSql, Some(Tls::Authority), &[]);
        sidecar.revision = TemplateRevision::R1;
        let container = sidecar.container().unwrap();
        assert!(!container.args.unwrap().iter().any(|argument| argument.contains("DB_")));
        let endpoint = container.env.unwrap().into_iter().find(|variable| variable.name == "KINE_ENDPOINT").unwrap();
        assert!(endpoint.value.unwrap().starts_with("postgres://$(DB_USER):$(DB_PASSWORD)@"));
        let init = sidecar.init_container().unwrap();
        for context in [container.security_context, init.security_context] {
            assert_eq!(context.unwrap().run_as_non_root, Some(true));
        }
        assert!(
            container.lifecycle.unwrap().pre_stop.unwrap().sleep.unwrap().seconds > i64::from(SHUTDOWN_DELAY_SECONDS)
        );
    }
}
