//! Rules for our own types.

use serde_json::json;

use super::{super::additions::DATA_STORE_NAME, Entry, Rule, everywhere, field};

/// An API group, or none.
const GROUP: &str = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A DNS subdomain.
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A DNS subdomain or a wildcard one.
const HOSTNAME: &str = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A DNS label.
const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A kind.
const KIND: &str = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$";
/// A Gateway controller's name.
const CONTROLLER: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$";
/// A Gateway address type.
const ADDRESS_TYPE: &str = r"^Hostname|IPAddress|NamedAddress|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$";

/// Image of the konnectivity agent when none is given.
const AGENT_IMAGE: &str = "registry.k8s.io/kas-network-proxy/proxy-agent";
/// Image of the konnectivity server when none is given.
const SERVER_IMAGE: &str = "registry.k8s.io/kas-network-proxy/proxy-server";

/// Rules of a tenant's name on a datastore: it cannot change, and must not reach beyond the tenant.
const fn data_store_name(changed: &'static str) -> [(&'static str, &'static str); 5] {
    let [slash, control, reserved, length] = DATA_STORE_NAME;
    [("self == oldSelf", changed), slash, control, reserved, length]
}

/// The rules, by type.
///
/// Required fields stand here and not in the types: a type must read whatever an API server once stored, and tell
/// the owner what is missing, while a strict type would stop the watch of all other objects.
pub(super) const TABLE: &[Entry] = &[
    everywhere("TenantControlPlaneSpec", &[Rule::Required(&["controlPlane", "kubernetes"])]),
    everywhere("ControlPlaneSpec", &[Rule::Required(&["service"])]),
    everywhere("ServiceSpec", &[Rule::Required(&["serviceType"])]),
    everywhere("AdditionalPort", &[Rule::Required(&["name", "port", "targetPort"])]),
    everywhere("ParentReference", &[Rule::Required(&["name"])]),
    everywhere("KubernetesSpec", &[Rule::Required(&["kubelet", "version"])]),
    everywhere("JsonPatch", &[Rule::Required(&["op", "path"])]),
    everywhere("KonnectivityServerSpec", &[Rule::Required(&["port"])]),
    everywhere("GatewayAccessPoint", &[Rule::Required(&["port", "type", "value"])]),
    everywhere("DataStoreSpec", &[Rule::Required(&["driver", "endpoints"])]),
    everywhere("BasicAuth", &[Rule::Required(&["password", "username"])]),
    everywhere("TlsConfig", &[Rule::Required(&["certificateAuthority"])]),
    everywhere("CertificateAuthority", &[Rule::Required(&["certificate"])]),
    everywhere("ClientCertificate", &[Rule::Required(&["certificate", "privateKey"])]),
    everywhere("SecretReference", &[Rule::Required(&["keyPath"])]),
    everywhere("KubeconfigGeneratorSpec", &[Rule::Required(&["user"])]),
    everywhere("GeneratorError", &[Rule::Required(&["message", "resource"])]),
    everywhere("EtcdMember", &[Rule::Required(&["healthy", "id", "learner", "name"])]),
    everywhere("PersistentStorage", &[Rule::Required(&["size"])]),
    // TenantControlPlane
    everywhere(
        "TenantControlPlaneSpec",
        &[Rule::Cel(&[
            ("!has(oldSelf.dataStore) || has(self.dataStore)", "unsetting the dataStore is not supported"),
            (
                "!has(oldSelf.dataStoreSchema) || has(self.dataStoreSchema)",
                "unsetting the dataStoreSchema is not supported",
            ),
            (
                "!has(oldSelf.dataStoreUsername) || has(self.dataStoreUsername)",
                "unsetting the dataStoreUsername is not supported",
            ),
            (
                "!has(self.networkProfile.loadBalancerSourceRanges) || \
                 (size(self.networkProfile.loadBalancerSourceRanges) == 0 || \
                 self.controlPlane.service.serviceType == 'LoadBalancer')",
                "LoadBalancer source ranges are supported only with LoadBalancer service type",
            ),
            (
                "!has(self.networkProfile.loadBalancerClass) || \
                 self.controlPlane.service.serviceType == 'LoadBalancer'",
                "LoadBalancerClass is supported only with LoadBalancer service type",
            ),
            (
                "!has(self.controlPlane.service.allocateLoadBalancerNodePorts) || \
                 self.controlPlane.service.serviceType == 'LoadBalancer'",
                "allocateLoadBalancerNodePorts is supported only with LoadBalancer service type",
            ),
            (
                "self.controlPlane.service.serviceType != 'LoadBalancer' || \
                 (oldSelf.controlPlane.service.serviceType != 'LoadBalancer' && \
                 self.controlPlane.service.serviceType == 'LoadBalancer') || \
                 has(self.networkProfile.loadBalancerClass) == has(oldSelf.networkProfile.loadBalancerClass)",
                "LoadBalancerClass cannot be set or unset at runtime",
            ),
        ])],
    ),
    field(
        "TenantControlPlaneSpec",
        "dataStoreSchema",
        &[Rule::Cel(&data_store_name("changing the dataStoreSchema is not supported"))],
    ),
    field(
        "TenantControlPlaneSpec",
        "dataStoreUsername",
        &[Rule::Cel(&data_store_name("changing the dataStoreUsername is not supported"))],
    ),
    everywhere(
        "ControlPlaneSpec",
        &[Rule::Cel(&[(
            "!(has(self.ingress) && has(self.gateway))",
            "using both ingress and gateway is not supported",
        )])],
    ),
    // Deployment
    field(
        "DeploymentSpec",
        "registrySettings",
        &[Rule::Default(|| {
            json!({
                "registry": "registry.k8s.io",
                "apiServerImage": "kube-apiserver",
                "controllerManagerImage": "kube-controller-manager",
                "schedulerImage": "kube-scheduler",
            })
        })],
    ),
    field("RegistrySettings", "registry", &[Rule::Default(|| json!("registry.k8s.io"))]),
    field("RegistrySettings", "apiServerImage", &[Rule::Default(|| json!("kube-apiserver"))]),
    field("RegistrySettings", "controllerManagerImage", &[Rule::Default(|| json!("kube-controller-manager"))]),
    field("RegistrySettings", "schedulerImage", &[Rule::Default(|| json!("kube-scheduler"))]),
    field("DeploymentSpec", "replicas", &[Rule::Default(|| json!(2))]),
    field(
        "DeploymentSpec",
        "strategy",
        &[Rule::Default(
            || json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": "100%" } }),
        )],
    ),
    field("DeploymentSpec", "serviceAccountName", &[Rule::Default(|| json!("default"))]),
    field("ProbeSpec", "initialDelaySeconds", &[Rule::Range(0, None)]),
    field("ProbeSpec", "timeoutSeconds", &[Rule::Range(1, None)]),
    field("ProbeSpec", "periodSeconds", &[Rule::Range(1, None)]),
    field("ProbeSpec", "successThreshold", &[Rule::Range(1, None)]),
    field("ProbeSpec", "failureThreshold", &[Rule::Range(1, None)]),
    // Exposure
    field("AdditionalPort", "protocol", &[Rule::Default(|| json!("TCP"))]),
    field("GatewaySpec", "hostname", &[Rule::Length(Some(1), Some(253)), Rule::Pattern(HOSTNAME)]),
    field(
        "ParentReference",
        "group",
        &[Rule::Default(|| json!("gateway.networking.k8s.io")), Rule::Length(None, Some(253)), Rule::Pattern(GROUP)],
    ),
    field(
        "ParentReference",
        "kind",
        &[Rule::Default(|| json!("Gateway")), Rule::Length(Some(1), Some(63)), Rule::Pattern(KIND)],
    ),
    field("ParentReference", "name", &[Rule::Length(Some(1), Some(253))]),
    field("ParentReference", "namespace", &[Rule::Length(Some(1), Some(63)), Rule::Pattern(LABEL)]),
    field("ParentReference", "port", &[Rule::Range(1, Some(65535))]),
    field("ParentReference", "sectionName", &[Rule::Length(Some(1), Some(253)), Rule::Pattern(SUBDOMAIN)]),
    // Kubernetes
    field(
        "KubernetesSpec",
        "admissionControllers",
        &[Rule::Default(|| json!(crate::contract::DEFAULT_ADMISSION_PLUGINS))],
    ),
    field(
        "KubeletSpec",
        "preferredAddressTypes",
        &[Rule::Default(|| json!(["InternalIP", "ExternalIP", "Hostname"])), Rule::Items(Some(1), None), Rule::Set],
    ),
    field("JsonPatch", "value", &[Rule::AnyValue]),
    // Network profile
    field(
        "NetworkProfileSpec",
        "loadBalancerSourceRanges",
        &[
            Rule::Items(None, Some(16)),
            Rule::Cel(&[("self.all(r, isCIDR(r))", "all LoadBalancer source range entries must be valid CIDR")]),
        ],
    ),
    field(
        "NetworkProfileSpec",
        "loadBalancerClass",
        &[Rule::Length(Some(1), None), Rule::Cel(&[("self == oldSelf", "LoadBalancerClass is immutable")])],
    ),
    field(
        "NetworkProfileSpec",
        "advertiseAddress",
        &[Rule::Cel(&[("self == '' || isIP(self)", "advertiseAddress must be a valid IP address")])],
    ),
    field(
        "NetworkProfileSpec",
        "clusterDomain",
        &[
            Rule::Default(|| json!("cluster.local")),
            Rule::Pattern(r".*\..*"),
            Rule::Cel(&[("self == oldSelf", "changing the cluster domain is not supported")]),
        ],
    ),
    field("NetworkProfileSpec", "port", &[Rule::Default(|| json!(6443))]),
    field(
        "NetworkProfileSpec",
        "serviceCidr",
        &[
            Rule::Default(|| json!("10.96.0.0/16")),
            Rule::Cel(&[("self == '' || isCIDR(self)", "serviceCidr must be empty or a valid CIDR")]),
        ],
    ),
    field(
        "NetworkProfileSpec",
        "serviceCidrs",
        &[
            Rule::Items(Some(1), Some(2)),
            Rule::Cel(&[("self.all(x, isCIDR(x))", "all serviceCidrs entries must be valid CIDRs")]),
        ],
    ),
    field(
        "NetworkProfileSpec",
        "podCidr",
        &[
            Rule::Default(|| json!("10.244.0.0/16")),
            Rule::Cel(&[("self == '' || isCIDR(self)", "podCidr must be empty or a valid CIDR")]),
        ],
    ),
    field(
        "NetworkProfileSpec",
        "podCidrs",
        &[
            Rule::Items(Some(1), Some(2)),
            Rule::Cel(&[("self.all(x, isCIDR(x))", "all podCidrs entries must be valid CIDRs")]),
        ],
    ),
    field("NetworkProfileSpec", "dnsServiceIPs", &[Rule::Items(None, Some(8))]),
    // Addons
    field("KonnectivitySpec", "server", &[Rule::Default(|| json!({ "image": SERVER_IMAGE, "port": 8132 }))]),
    field("KonnectivityServerSpec", "image", &[Rule::Default(|| json!(SERVER_IMAGE))]),
    field("KonnectivitySpec", "agent", &[Rule::Default(|| json!({ "image": AGENT_IMAGE, "mode": "DaemonSet" }))]),
    everywhere(
        "KonnectivityAgentSpec",
        &[Rule::Cel(&[(
            "!(self.mode == 'DaemonSet' && has(self.replicas) && self.replicas != 0) && \
             !(self.mode == 'Deployment' && has(self.replicas) && self.replicas == 0)",
            "replicas must be 0 (or unset) when mode is DaemonSet, and greater than 0 (or unset) when mode is Deployment",
        )])],
    ),
    field("KonnectivityAgentSpec", "image", &[Rule::Default(|| json!(AGENT_IMAGE))]),
    field("KonnectivityAgentSpec", "mode", &[Rule::Default(|| json!("DaemonSet"))]),
    field("KonnectivityAgentSpec", "hostNetwork", &[Rule::Default(|| json!(false))]),
    field(
        "KonnectivityAgentSpec",
        "tolerations",
        &[Rule::Default(|| json!([{ "key": "CriticalAddonsOnly", "operator": "Exists" }]))],
    ),
    // Status of a TenantControlPlane
    field("TenantControlPlaneStatus", "conditions", &[Rule::ListMap(&["type"])]),
    field("KubernetesVersion", "status", &[Rule::Default(|| json!("Provisioning"))]),
    everywhere("KubeadmPhasesStatus", &[Rule::Required(&["bootstrapToken"])]),
    everywhere("DeploymentReport", &[Rule::Required(&["name", "namespace", "selector"])]),
    field("DeploymentReport", "conditions", &[Rule::ListMap(&["type"])]),
    everywhere("ServiceReport", &[Rule::Required(&["name", "namespace", "port"])]),
    field("ServiceReport", "conditions", &[Rule::ListMap(&["type"])]),
    everywhere("IngressReport", &[Rule::Required(&["name", "namespace"])]),
    everywhere("GatewayStatus", &[Rule::Required(&["parents"])]),
    field("GatewayStatus", "parents", &[Rule::Items(None, Some(32)), Rule::Atomic]),
    field("GatewayAccessPoint", "type", &[Rule::Length(Some(1), Some(253)), Rule::Pattern(ADDRESS_TYPE)]),
    everywhere("RouteParentStatus", &[Rule::Required(&["conditions", "controllerName", "parentRef"])]),
    field("RouteParentStatus", "conditions", &[Rule::Items(Some(1), Some(8)), Rule::ListMap(&["type"])]),
    field("RouteParentStatus", "controllerName", &[Rule::Length(Some(1), Some(253)), Rule::Pattern(CONTROLLER)]),
    everywhere("AddonStatus", &[Rule::Required(&["enabled"])]),
    everywhere("KonnectivityStatus", &[Rule::Required(&["enabled"])]),
    // DataStore
    everywhere(
        "DataStoreSpec",
        &[Rule::Cel(&[
            (
                "(self.driver == \"etcd\") ? (self.tlsConfig != null && \
                 (has(self.tlsConfig.certificateAuthority.privateKey.secretReference) || \
                 has(self.tlsConfig.certificateAuthority.privateKey.content))) : true",
                "certificateAuthority privateKey must have secretReference or content when driver is etcd",
            ),
            (
                "(self.driver == \"etcd\") ? (self.tlsConfig != null && \
                 (has(self.tlsConfig.clientCertificate.certificate.secretReference) || \
                 has(self.tlsConfig.clientCertificate.certificate.content))) : true",
                "clientCertificate must have secretReference or content when driver is etcd",
            ),
            (
                "(self.driver == \"etcd\") ? (self.tlsConfig != null && \
                 (has(self.tlsConfig.clientCertificate.privateKey.secretReference) || \
                 has(self.tlsConfig.clientCertificate.privateKey.content))) : true",
                "clientCertificate privateKey must have secretReference or content when driver is etcd",
            ),
            (
                "(self.driver != \"etcd\" && has(self.tlsConfig) && has(self.tlsConfig.clientCertificate)) ? \
                 (((has(self.tlsConfig.clientCertificate.certificate.secretReference) || \
                 has(self.tlsConfig.clientCertificate.certificate.content)))) : true",
                "When driver is not etcd and tlsConfig exists, clientCertificate must be null or contain valid content",
            ),
            (
                "(self.driver != \"etcd\" && has(self.basicAuth)) ? \
                 ((has(self.basicAuth.username.secretReference) || has(self.basicAuth.username.content))) : true",
                "When driver is not etcd and basicAuth exists, username must have secretReference or content",
            ),
            (
                "(self.driver != \"etcd\" && has(self.basicAuth)) ? \
                 ((has(self.basicAuth.password.secretReference) || has(self.basicAuth.password.content))) : true",
                "When driver is not etcd and basicAuth exists, password must have secretReference or content",
            ),
            (
                "(self.driver != \"etcd\") ? (has(self.tlsConfig) || has(self.basicAuth)) : true",
                "When driver is not etcd, either tlsConfig or basicAuth must be provided",
            ),
            (
                "oldSelf == null || self.driver == oldSelf.driver",
                "driver is immutable and cannot be changed after creation",
            ),
        ])],
    ),
    field("DataStoreSpec", "driver", &[Rule::Cel(&[("self == oldSelf", "Datastore driver is immutable")])]),
    field("DataStoreSpec", "endpoints", &[Rule::Items(Some(1), None)]),
    field("ContentRef", "content", &[Rule::Format("byte")]),
    everywhere("SecretReference", &[Rule::AtomicMap]),
    field("SecretReference", "keyPath", &[Rule::Length(Some(1), None)]),
    everywhere("DataStoreStatus", &[Rule::Required(&["ready"])]),
    everywhere("TakenName", &[Rule::Required(&["schema", "tenant"])]),
    // KubeconfigGenerator
    field("KubeconfigGeneratorSpec", "controlPlaneEndpointFrom", &[Rule::Default(|| json!("admin.svc"))]),
    everywhere(
        "CompoundValue",
        &[Rule::Cel(&[(
            "(has(self.stringValue) || has(self.fromDefinition)) && \
             !(has(self.stringValue) && has(self.fromDefinition))",
            "Either stringValue or fromDefinition must be set, but not both.",
        )])],
    ),
    everywhere("KubeconfigGeneratorStatus", &[Rule::Required(&["availableResources", "resources"])]),
    field("KubeconfigGeneratorStatus", "resources", &[Rule::Default(|| json!(0)), Rule::NoFormat]),
    field("KubeconfigGeneratorStatus", "availableResources", &[Rule::Default(|| json!(0)), Rule::NoFormat]),
    // EtcdCluster
    field("EtcdClusterSpec", "replicas", &[Rule::Default(|| json!(1)), Rule::IntegerEnum(&[1, 3])]),
    field("EtcdClusterSpec", "quota", &[Rule::Default(|| json!(crate::etcd_cluster::DEFAULT_QUOTA))]),
    field("EtcdClusterSpec", "storage", &[Rule::Default(|| json!({ "ephemeral": {} }))]),
    everywhere(
        "EtcdStorage",
        &[Rule::Cel(&[
            (
                "!(has(self.persistent) && has(self.ephemeral))",
                "storage is either persistent or ephemeral: remove one of the two",
            ),
            (
                "has(self.persistent) == has(oldSelf.persistent)",
                "the kind of storage cannot change: create another EtcdCluster and move the tenants to it",
            ),
        ])],
    ),
    field(
        "PersistentStorage",
        "storageClassName",
        &[Rule::Cel(&[("self == oldSelf", "storageClassName cannot change: volumes are not moved between classes")])],
    ),
    field("EtcdClusterStatus", "conditions", &[Rule::ListMap(&["type"])]),
    field("EtcdClusterStatus", "members", &[Rule::Atomic]),
];
