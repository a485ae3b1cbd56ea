//! konnectivity in the management cluster: what turning it on, scaling, upgrading and turning it off change.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    core::v1::{Container, PodTemplateSpec, Secret, Service},
};
use kamaji_pki::{Certificate, KeyAlgorithm, PrivateKey, kubeconfig};
use kamaji_plan::{
    component::konnectivity,
    control_plane::{names::TenantSecret, service},
    issuance::{self, Content, Moment, Request, authorities, kubeconfigs, leaves, mint},
    resolve::Resolved,
    status::{self, Findings, conditions::Outcome},
    tenant_cluster,
};
use serde_json::{Value, json};

use crate::sample::{exposed, issued, minimal, plan, resolve, tenant};

fn with_konnectivity(server: &Value) -> Value {
    let mut spec = minimal();
    spec["addons"] = json!({"konnectivity": {"server": server}});
    spec
}

fn on() -> Value {
    with_konnectivity(&json!({"port": 8132}))
}

fn deployment(spec: &Value, live: Option<&Deployment>) -> Deployment {
    plan(&resolve(&tenant(spec), live).unwrap(), live).1.deployment
}

fn template(deployment: &Deployment) -> PodTemplateSpec {
    deployment.spec.clone().unwrap().template
}

fn server(deployment: &Deployment) -> Container {
    let containers = template(deployment).spec.unwrap().containers;
    containers.into_iter().find(|container| container.name == konnectivity::NAME).unwrap()
}

fn argument(container: &Container, flag: &str) -> Option<String> {
    let flag = format!("--{flag}=");
    container.args.iter().flatten().find_map(|argument| argument.strip_prefix(&flag)).map(str::to_owned)
}

fn replicas(spec: &Value, replicas: i32) -> Value {
    let mut spec = spec.clone();
    spec["controlPlane"]["deployment"] = json!({"replicas": replicas});
    spec
}

/// As the Go operator leaves it: without our annotation.
fn go_operators() -> Deployment {
    Deployment::default()
}

#[test]
fn a_change_of_replicas_leaves_the_pods_alone() {
    let live = deployment(&replicas(&on(), 1), None);
    for count in [0, 2, 5] {
        assert_eq!(template(&deployment(&replicas(&on(), count), Some(&live))), template(&live), "{count}");
    }
    assert_eq!(argument(&server(&live), "enable-lease-controller").as_deref(), Some("true"));
}

#[test]
fn a_server_that_knows_no_leases_is_told_the_number_of_servers() {
    for version in ["v0.30.3", "latest"] {
        let spec = with_konnectivity(&json!({"port": 8132, "version": version}));
        let server = server(&deployment(&replicas(&spec, 3), None));
        assert_eq!(argument(&server, "server-count").as_deref(), Some("3"));
        assert_eq!(argument(&server, "enable-lease-controller"), None);
        assert_eq!(server.env, None);
    }
    let theirs = server(&deployment(&replicas(&on(), 3), Some(&go_operators())));
    assert_eq!(argument(&theirs, "server-count").as_deref(), Some("3"));
    assert_eq!(argument(&theirs, "enable-lease-controller"), None);
}

#[test]
fn agents_count_leases_only_when_both_sides_know_them() {
    let resolved = |spec: &Value, live: Option<&Deployment>| resolve(&tenant(spec), live).unwrap();
    let new = resolved(&on(), None);
    assert_eq!(konnectivity::agent_tag(&new, None), "v0.36.0");
    assert_eq!(konnectivity::agent_tag(&new, Some("v0.35.0")), "v0.35.0");
    let all = [("count-server-leases", "true"), ("server-count-source", "max")];
    assert_eq!(konnectivity::agent_flags(&new, "v0.36.0"), all);
    assert_eq!(konnectivity::agent_flags(&new, "v0.31.0"), all[..1]);
    assert_eq!(konnectivity::agent_flags(&new, "v0.30.0"), []);
    let old_server = resolved(&with_konnectivity(&json!({"port": 8132, "version": "v0.30.0"})), None);
    assert_eq!(konnectivity::agent_tag(&old_server, None), "v0.36.0");
    assert_eq!(konnectivity::agent_flags(&old_server, "v0.36.0"), []);
    assert_eq!(konnectivity::agent_flags(&resolved(&on(), Some(&go_operators())), "v0.36.0"), []);
}

#[test]
fn agents_list_leases_from_the_host_that_they_have_the_servers_from() {
    let host = |change: &dyn Fn(&mut Value)| {
        let mut spec = on();
        change(&mut spec);
        let resolved = resolve(&tenant(&spec), None).unwrap();
        let cluster = tenant_cluster::plan(&resolved, &exposed(&resolved), KeyAlgorithm::EcdsaP256, b"");
        let named = |set: &&DaemonSet| set.metadata.name.as_deref() == Some("konnectivity-agent");
        let set = cluster.daemon_sets.iter().find(named).unwrap().clone();
        let agent = set.spec.unwrap().template.spec.unwrap().containers.remove(0);
        let env = agent.env.clone().unwrap_or_default();
        let variable = |name: &str| env.iter().find(|variable| variable.name == name)?.value.clone();
        let servers = argument(&agent, "proxy-server-host");
        (servers, variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"))
    };
    let at = |servers: &str, port: &str| (Some(servers.to_owned()), Some(servers.to_owned()), Some(port.to_owned()));
    assert_eq!(host(&|_| {}), at("10.96.7.7", "6443"));
    let advertised = |spec: &mut Value| spec["networkProfile"] = json!({"advertiseAddress": "2001:db8::1"});
    assert_eq!(host(&advertised), at("2001:db8::1", "6443"));
    let ingress = |spec: &mut Value| spec["controlPlane"]["ingress"] = json!({"hostname": "one.example.com:8443"});
    assert_eq!(host(&ingress), at("10.96.7.7", "6443"));
    let gateway = |spec: &mut Value| spec["controlPlane"]["gateway"] = json!({"hostname": "one.example.com:8443"});
    assert_eq!(host(&gateway), at("one.example.com", "8443"));
    let old = |spec: &mut Value| spec["addons"]["konnectivity"]["agent"] = json!({"version": "v0.30.0"});
    assert_eq!(host(&old), (Some("10.96.7.7".to_owned()), None, None));
}

#[test]
fn the_server_outlives_the_api_server_beside_it_and_has_one_key() {
    let live = deployment(&on(), None);
    let server = server(&live);
    let sleep = server.lifecycle.unwrap().pre_stop.unwrap().sleep.unwrap().seconds;
    let pod = template(&live).spec.unwrap();
    assert!(sleep > i64::from(kamaji_plan::component::shutdown::SHUTDOWN_DELAY_SECONDS));
    assert!(sleep < pod.termination_grace_period_seconds.unwrap());
    let mounted: Vec<_> = server.volume_mounts.unwrap().into_iter().map(|mount| mount.name).collect();
    assert_eq!(mounted, [konnectivity::PKI_VOLUME, konnectivity::KUBECONFIG_VOLUME, konnectivity::SOCKET_VOLUME]);
    let pki = pod.volumes.unwrap().into_iter().find(|volume| volume.name == konnectivity::PKI_VOLUME).unwrap();
    let sources = pki.projected.unwrap().sources.unwrap();
    let files: Vec<_> = sources.into_iter().flat_map(|source| source.secret.unwrap().items.unwrap()).collect();
    assert_eq!(files.into_iter().map(|item| item.path).collect::<Vec<_>>(), ["apiserver.crt", "apiserver.key"]);
}

#[test]
fn nothing_is_left_when_it_is_turned_off() {
    for start in [None, Some(go_operators())] {
        let off = deployment(&minimal(), start.as_ref());
        let mut live = deployment(&on(), start.as_ref());
        assert_eq!(template(&deployment(&minimal(), Some(&live))), template(&off));
        // The Go operator leaves the volume with the kubeconfig behind.
        live.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers.pop();
        assert_eq!(template(&deployment(&minimal(), Some(&live))), template(&off));
        let resolved = resolve(&tenant(&minimal()), Some(&live)).unwrap();
        let (service, plan) = plan(&resolved, Some(&live));
        assert_eq!(service.spec.unwrap().ports.unwrap().len(), 1);
        assert_eq!(plan.config_maps.len(), 1);
        let text = serde_json::to_string(&plan.deployment).unwrap();
        assert!(!text.contains("konnectivity") && !text.contains("egress"), "{text}");
    }
}

fn version(spec: &Value, version: &str) -> Value {
    let mut spec = spec.clone();
    spec["kubernetes"]["version"] = json!(version);
    spec
}

fn running(tag: &str, tenant_version: &str) -> Deployment {
    let mut live = deployment(&version(&on(), tenant_version), None);
    let pod = live.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    let server = pod.containers.iter_mut().find(|container| container.name == konnectivity::NAME).unwrap();
    let image = server.image.clone().unwrap();
    server.image = Some(format!("{}:{tag}", image.rsplit_once(':').unwrap().0));
    live
}

fn tag(deployment: &Deployment) -> String {
    server(deployment).image.unwrap().rsplit_once(':').unwrap().1.to_owned()
}

#[test]
fn a_running_server_keeps_a_tag_that_another_release_derives_until_the_version_changes() {
    let spec = version(&on(), "v1.37.0");
    assert_eq!(tag(&deployment(&spec, None)), "v0.36.0");
    assert_eq!(tag(&deployment(&spec, Some(&running("v0.37.0", "v1.37.0")))), "v0.37.0");
    assert_eq!(tag(&deployment(&spec, Some(&running("v0.35.0", "v1.36.3")))), "v0.36.0");
}

#[test]
fn a_flag_that_the_go_operator_has_only_just_appended_stays_where_it_is() {
    let mut spec = on();
    spec["controlPlane"]["deployment"] = json!({"extraArgs": {"apiServer": ["--v=2", "--profiling=false"]}});
    let mut live = deployment(&spec, Some(&go_operators()));
    let pod = live.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    let arguments = pod.containers[0].args.as_mut().unwrap();
    let sorted = arguments.clone();
    arguments.sort_by_key(|argument| argument.starts_with("--egress-selector-config-file="));
    assert_ne!(*arguments, sorted);
    assert_eq!(template(&deployment(&spec, Some(&live))), template(&live));
    spec["controlPlane"]["deployment"]["extraArgs"]["apiServer"] = json!(["--profiling=false", "--v=2"]);
    assert_ne!(template(&deployment(&spec, Some(&live))), template(&live));
}

#[test]
fn a_tag_that_was_asked_for_goes_with_the_wish() {
    let live = running("v0.30.0", "v1.36.3");
    assert_eq!(tag(&deployment(&on(), Some(&live))), "v0.36.0");
    let asked = with_konnectivity(&json!({"port": 8132, "version": "v0.33.1"}));
    assert_eq!(tag(&deployment(&asked, Some(&live))), "v0.33.1");
}

#[test]
fn a_port_outside_the_node_ports_is_told_with_its_field() {
    let mut spec = on();
    spec["controlPlane"]["service"]["serviceType"] = json!("NodePort");
    let resolved = resolve(&tenant(&spec), None).unwrap();
    let message =
        "Invalid value: 8132: provided port is not in the valid range. The range of valid ports is 30000-32767";
    let told = |index: usize| service::out_of_range(&resolved, &format!("spec.ports[{index}].nodePort"), message);
    assert_eq!(
        told(1).unwrap().to_string(),
        "spec.addons.konnectivity.server.port: 8132 is none of the node ports of the management cluster (30000-32767), \
         which a Service of type NodePort needs; choose one of these"
    );
    assert!(told(0).unwrap().to_string().starts_with("spec.networkProfile.port: 6443 is none of the node ports"));
    assert_eq!(told(2), None);
    assert_eq!(service::out_of_range(&resolved, "spec.clusterIP", message), None);
    let taken = "Invalid value: 8132: provided port is already allocated";
    assert_eq!(service::out_of_range(&resolved, "spec.ports[1].nodePort", taken), None);
}

/// A tenant's Secrets, and what is missing of them.
struct Keys {
    secrets: BTreeMap<TenantSecret, Secret>,
}

const NOW: &str = "2026-11-21T00:00:00Z";

impl Keys {
    fn new(resolved: &Resolved) -> Self {
        let mut keys = Self { secrets: BTreeMap::new() };
        for which in [TenantSecret::Ca, TenantSecret::FrontProxyCa] {
            let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
            let profile = authorities::profile(which, NOW.parse().unwrap());
            let data = mint::root(which, &profile, &key).unwrap();
            keys.secrets.insert(which, issuance::secret(resolved, which, data, None));
        }
        keys
    }

    fn pem(&self, which: TenantSecret) -> &[u8] {
        issuance::value(&self.secrets[&which], authorities::pair_keys(which).0)
    }

    /// Requests for konnectivity's two Secrets.
    fn missing(&self, resolved: &Resolved, days_later: i64) -> Vec<Request> {
        let now = NOW.parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * days_later);
        let moment = Moment { now, renew_before: SignedDuration::from_hours(24) };
        let ca = Certificate::from_pem(self.pem(TenantSecret::Ca)).unwrap();
        let front_proxy_ca = Certificate::from_pem(self.pem(TenantSecret::FrontProxyCa)).unwrap();
        let authorities = leaves::Authorities { ca: &ca, front_proxy_ca: &front_proxy_ca };
        let live = |which: TenantSecret| self.secrets.get(&which);
        let (algorithm, exposed) = (KeyAlgorithm::EcdsaP256, exposed(resolved));
        let ca_pem = self.pem(TenantSecret::Ca);
        let mut requests = leaves::missing(resolved, &exposed, &authorities, algorithm, live, &moment);
        requests.extend(kubeconfigs::missing(resolved, &exposed, &ca, ca_pem, algorithm, live, &moment));
        let two = [TenantSecret::KonnectivityCertificate, TenantSecret::KonnectivityKubeconfig];
        requests.retain(|request| two.contains(&request.secret));
        requests
    }

    /// Carries them out; with `group`, as the Go operator does.
    fn make(&mut self, resolved: &Resolved, requests: Vec<Request>, group: Option<&str>) {
        let [ca, front_proxy_ca] = [TenantSecret::Ca, TenantSecret::FrontProxyCa].map(|which| &self.secrets[&which]);
        let signers = mint::Signers::new(ca, front_proxy_ca).unwrap();
        for mut request in requests {
            for content in &mut request.content {
                let (Content::Certificate { profile, .. } | Content::Kubeconfig { profile, .. }) = content else {
                    continue;
                };
                profile.organizations.extend(group.map(str::to_owned));
            }
            let data = mint::data(&request, &signers).unwrap();
            self.secrets.insert(request.secret, issuance::secret(resolved, request.secret, data, None));
        }
    }
}

#[test]
fn the_server_is_a_user_in_no_group_for_a_year() {
    let resolved = resolve(&tenant(&on()), None).unwrap();
    let mut keys = Keys::new(&resolved);
    let requests = keys.missing(&resolved, 0);
    assert_eq!(requests.len(), 2);
    keys.make(&resolved, requests, None);
    assert!(keys.missing(&resolved, 0).is_empty());
    assert!(keys.missing(&resolved, 363).is_empty());
    assert_eq!(keys.missing(&resolved, 364).len(), 2);
    let file = &keys.secrets[&TenantSecret::KonnectivityKubeconfig];
    let file = kubeconfig::parse(issuance::value(file, "konnectivity-server.conf")).unwrap();
    assert_eq!(file.server, "https://localhost:6443");
    assert_eq!(file.context, "system:konnectivity-server@kubernetes");
    let pair = &keys.secrets[&TenantSecret::KonnectivityCertificate];
    assert_eq!(pair.type_.as_deref(), Some("kubernetes.io/tls"));
    for pem in [file.client_certificate.as_slice(), issuance::value(pair, "tls.crt")] {
        let certificate = Certificate::from_pem(pem).unwrap();
        assert_eq!(certificate.common_name(), konnectivity::USER);
        assert!(certificate.organizations().is_empty());
        assert!(certificate.has_client_auth());
    }
}

#[test]
fn a_certificate_of_the_go_operator_stays_until_its_template_goes() {
    let theirs = resolve(&tenant(&on()), Some(&go_operators())).unwrap();
    let mut keys = Keys::new(&theirs);
    let requests = keys.missing(&theirs, 0);
    keys.make(&theirs, requests, Some("system:masters"));
    assert!(keys.missing(&theirs, 0).is_empty());
    let kubeconfig = |keys: &Keys| issuance::digest(&keys.secrets[&TenantSecret::KonnectivityKubeconfig]);
    assert_eq!(kubeconfig(&keys).hash, "");
    assert_ne!(kubeconfig(&keys).checksum, "");
    let ours = resolve(&tenant(&on()), None).unwrap();
    let requests = keys.missing(&ours, 0);
    assert_eq!(requests.len(), 2);
    assert!(requests[0].reasons[0].contains("system:masters"), "{:?}", requests[0].reasons);
    keys.make(&ours, requests, None);
    assert!(keys.missing(&ours, 0).is_empty());
    assert_eq!(kubeconfig(&keys).hash, kubeconfig(&keys).checksum);
}

#[test]
fn without_the_addon_nothing_is_issued() {
    let resolved = resolve(&tenant(&minimal()), None).unwrap();
    assert!(Keys::new(&resolved).missing(&resolved, 0).is_empty());
}

#[test]
fn pods_follow_the_servers_kubeconfig_unless_it_is_the_go_operators() {
    let resolved = resolve(&tenant(&on()), None).unwrap();
    let label = |hash: &str| {
        let mut issued = issued();
        issued.secrets.get_mut(&TenantSecret::KonnectivityKubeconfig).unwrap().hash = hash.to_owned();
        let stored = crate::sample::stored(&resolved);
        let plan = kamaji_plan::control_plane::plan(&resolved, &exposed(&resolved), &issued, &stored, None);
        let labels = template(&plan.deployment).metadata.unwrap().labels.unwrap();
        labels.get("component.kamaji.clastix.io/konnectivity-kubeconfig").cloned()
    };
    assert_eq!(label("abc").as_deref(), Some("abc"));
    assert_eq!(label(""), None);
}

#[test]
fn the_status_tells_what_runs_and_is_empty_afterwards() {
    let report = |spec: &Value, before: Option<Value>, live: &Deployment| {
        let mut tenant = kamaji_api::TenantControlPlane::clone(&tenant(spec));
        tenant.status = before.map(|status| serde_json::from_value(status).unwrap());
        let resolved = resolve(&std::sync::Arc::new(tenant.clone()), Some(live)).unwrap();
        let (service, _): (Service, _) = plan(&resolved, Some(live));
        let issued = issued();
        let findings = Findings {
            resolved: Some(&resolved),
            service: Some(&service),
            issued: Some(&issued),
            deployment: Some(live),
            ..Findings::default()
        };
        serde_json::to_value(status::status(&tenant, &findings, &Outcome::Done, NOW.parse().unwrap())).unwrap()
    };
    let (with, without) = (deployment(&on(), None), deployment(&minimal(), None));
    let status = report(&on(), None, &with);
    let konnectivity = &status["addons"]["konnectivity"];
    assert_eq!(konnectivity["enabled"], true);
    assert_eq!(konnectivity["service"]["port"], 8132);
    assert_eq!(konnectivity["configMap"]["name"], "one-konnectivity-egress-selector-configuration");
    assert_eq!(konnectivity["configMap"]["checksum"], "e8b426b27a2452d0137b14cfbbd10a0d");
    assert_eq!(konnectivity["certificate"]["secretName"], "one-konnectivity-certificate");
    assert_eq!(konnectivity["kubeconfig"]["checksum"], "checksum of konnectivity-kubeconfig");
    // It runs until the Deployment is without it.
    let going = report(&minimal(), Some(status.clone()), &with);
    assert_eq!(&going["addons"]["konnectivity"], konnectivity);
    let gone = report(&minimal(), Some(status), &without);
    assert_eq!(gone["addons"]["konnectivity"], report(&minimal(), None, &without)["addons"]["konnectivity"]);
    assert_eq!(report(&on(), None, &without)["addons"]["konnectivity"]["enabled"], false);
}
