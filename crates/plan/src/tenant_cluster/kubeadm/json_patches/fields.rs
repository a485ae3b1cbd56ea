//! What the top-level fields of a configuration can hold.
//!
//! One field of another type makes a kubelet refuse to join, or kube-proxy refuse to start, with the whole document. The
//! types are those of the published APIs, `KubeletConfiguration` v1beta1 and `KubeProxyConfiguration` v1alpha1: from
//! Kubernetes 1.31 to 1.37 minors add fields, and none has changed a type. A field that is not known here may hold
//! anything, as nodes ignore what they do not know.

use serde_json::Value;

use super::pointer::Pointer;

/// What a field can hold, as Go decodes it. `null` is no value, which every field can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Bool,
    Int32,
    Int64,
    Float,
    Text,
    Duration,
    Object,
    List(&'static Self),
    Map(&'static Self),
}

/// Fields by their type.
type Table = [(Type, &'static [&'static str])];

const TEXTS: Type = Type::List(&Type::Text);
const OBJECTS: Type = Type::List(&Type::Object);
const TEXT_MAP: Type = Type::Map(&Type::Text);
const BOOL_MAP: Type = Type::Map(&Type::Bool);

const KUBELET: &Table = &[
    (
        Type::Bool,
        &[
            "cgroupsPerQOS",
            "cpuCFSQuota",
            "enableContentionProfiling",
            "enableControllerAttachDetach",
            "enableDebugFlagsHandler",
            "enableDebuggingHandlers",
            "enableProfilingHandler",
            "enableServer",
            "enableSystemLogHandler",
            "enableSystemLogQuery",
            "failCgroupV1",
            "failSwapOn",
            "kernelMemcgNotification",
            "localStorageCapacityIsolation",
            "makeIPTablesUtilChains",
            "mergeDefaultEvictionSettings",
            "protectKernelDefaults",
            "registerNode",
            "rotateCertificates",
            "runOnce",
            "seccompDefault",
            "serializeImagePulls",
            "serverTLSBootstrap",
            "singleProcessOOMKill",
        ],
    ),
    (
        Type::Int32,
        &[
            "containerLogMaxFiles",
            "containerLogMaxWorkers",
            "eventBurst",
            "eventRecordQPS",
            "evictionMaxPodGracePeriod",
            "healthzPort",
            "imageGCHighThresholdPercent",
            "imageGCLowThresholdPercent",
            "iptablesDropBit",
            "iptablesMasqueradeBit",
            "kubeAPIBurst",
            "kubeAPIQPS",
            "maxParallelImagePulls",
            "maxPods",
            "nodeLeaseDurationSeconds",
            "nodeStatusMaxImages",
            "oomScoreAdj",
            "podsPerCore",
            "port",
            "readOnlyPort",
            "registryBurst",
            "registryPullQPS",
        ],
    ),
    (Type::Int64, &["maxOpenFiles", "podPidsLimit"]),
    (Type::Float, &["memoryThrottlingFactor"]),
    (
        Type::Text,
        &[
            "address",
            "cgroupDriver",
            "cgroupRoot",
            "clusterDomain",
            "configMapAndSecretChangeDetectionStrategy",
            "containerLogMaxSize",
            "containerRuntimeEndpoint",
            "contentType",
            "cpuManagerPolicy",
            "hairpinMode",
            "healthzBindAddress",
            "imagePullCredentialsVerificationPolicy",
            "imageServiceEndpoint",
            "kubeReservedCgroup",
            "kubeletCgroups",
            "memoryManagerPolicy",
            "memoryReservationPolicy",
            "podCIDR",
            "podLogsDir",
            "providerID",
            "reservedSystemCPUs",
            "resolvConf",
            "showHiddenMetricsForVersion",
            "staticPodPath",
            "staticPodURL",
            "systemCgroups",
            "systemReservedCgroup",
            "tlsCertFile",
            "tlsMinVersion",
            "tlsPrivateKeyFile",
            "topologyManagerPolicy",
            "topologyManagerScope",
            "volumePluginDir",
        ],
    ),
    (
        Type::Duration,
        &[
            "containerLogMonitorInterval",
            "cpuCFSQuotaPeriod",
            "cpuManagerReconcilePeriod",
            "evictionPressureTransitionPeriod",
            "fileCheckFrequency",
            "httpCheckFrequency",
            "imageMaximumGCAge",
            "imageMinimumGCAge",
            "nodeStatusReportFrequency",
            "nodeStatusUpdateFrequency",
            "runtimeRequestTimeout",
            "shutdownGracePeriod",
            "shutdownGracePeriodCriticalPods",
            "streamingConnectionIdleTimeout",
            "syncFrequency",
            "volumeStatsAggPeriod",
        ],
    ),
    (
        Type::Object,
        &["authentication", "authorization", "crashLoopBackOff", "logging", "memorySwap", "tracing", "userNamespaces"],
    ),
    (
        TEXTS,
        &[
            "allowedUnsafeSysctls",
            "clusterDNS",
            "enforceNodeAllocatable",
            "preloadedImagesVerificationAllowlist",
            "tlsCipherSuites",
        ],
    ),
    (Type::List(&Type::Int32), &["tlsCurvePreferences"]),
    (OBJECTS, &["registerWithTaints", "reservedMemory", "shutdownGracePeriodByPodPriority"]),
    (BOOL_MAP, &["featureGates"]),
    (
        TEXT_MAP,
        &[
            "cpuManagerPolicyOptions",
            "defaultPodSysctls",
            "evictionHard",
            "evictionMinimumReclaim",
            "evictionSoft",
            "evictionSoftGracePeriod",
            "kubeReserved",
            "qosReserved",
            "systemReserved",
            "topologyManagerPolicyOptions",
        ],
    ),
    (Type::Map(&TEXTS), &["staticPodURLHeader"]),
];

const KUBE_PROXY: &Table = &[
    (Type::Bool, &["bindAddressHardFail", "enableProfiling", "windowsRunAsService"]),
    (Type::Int32, &["oomScoreAdj"]),
    (
        Type::Text,
        &[
            "bindAddress",
            "clusterCIDR",
            "detectLocalMode",
            "healthzBindAddress",
            "hostnameOverride",
            "metricsBindAddress",
            "mode",
            "portRange",
            "showHiddenMetricsForVersion",
        ],
    ),
    (Type::Duration, &["configSyncPeriod"]),
    (
        Type::Object,
        &["clientConnection", "conntrack", "detectLocal", "iptables", "ipvs", "logging", "nftables", "winkernel"],
    ),
    (TEXTS, &["nodePortAddresses"]),
    (BOOL_MAP, &["featureGates"]),
];

/// What no node can read of `document`: the place, what is there and what can be there. The value itself is not told, as
/// it may be a password.
pub(super) fn mistake(document: &Value) -> Option<String> {
    let table = match document.get("kind")?.as_str()? {
        "KubeletConfiguration" => KUBELET,
        "KubeProxyConfiguration" => KUBE_PROXY,
        _ => return None,
    };
    let mut fields = table.iter().flat_map(|(wanted, names)| names.iter().map(move |name| (wanted, *name)));
    fields.find_map(|(wanted, name)| Some(unreadable(wanted, document.get(name)?)?.below(name))).map(Mistake::sentence)
}

/// A value of the wrong type.
struct Mistake {
    /// Where it is, the innermost level first.
    place: Vec<String>,
    found: &'static str,
    wanted: &'static str,
}

impl Mistake {
    fn below(mut self, parent: &str) -> Self {
        self.place.push(parent.to_owned());
        self
    }

    fn sentence(self) -> String {
        let Self { place, found, wanted } = self;
        let place = Pointer::new(place.into_iter().rev().collect());
        format!("{place} becomes {found}, where a node can only read {wanted}")
    }
}

fn unreadable(wanted: &Type, value: &Value) -> Option<Mistake> {
    match (wanted, value) {
        (Type::List(wanted), Value::Array(items)) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(index, item)| Some(unreadable(wanted, item)?.below(&index.to_string())))
        }
        (Type::Map(wanted), Value::Object(members)) => {
            members.iter().find_map(|(key, member)| Some(unreadable(wanted, member)?.below(key)))
        }
        _ if is_readable(*wanted, value) => None,
        _ => Some(Mistake { place: Vec::new(), found: found(value), wanted: described(*wanted) }),
    }
}

fn is_readable(wanted: Type, value: &Value) -> bool {
    match (wanted, value) {
        (_, Value::Null)
        | (Type::Bool, Value::Bool(_))
        | (Type::Float, Value::Number(_))
        | (Type::Text, Value::String(_))
        | (Type::Object, Value::Object(_)) => true,
        (Type::Int32, Value::Number(number)) => {
            let range = f64::from(i32::MIN)..=f64::from(i32::MAX);
            number.as_f64().is_some_and(|number| number.fract() == 0.0 && range.contains(&number))
        }
        // A reader of YAML writes 1.0 as 1 before Go decodes it.
        (Type::Int64, Value::Number(number)) => {
            number.is_i64() || (number.is_f64() && number.as_f64().is_some_and(|number| number.fract() == 0.0))
        }
        (Type::Duration, Value::String(text)) => is_duration(text),
        _ => false,
    }
}

/// The syntax of Go's `time.ParseDuration`: `300ms`, `-1.5h`, `1m30s`, `0`.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut is_read = false;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(unit_at);
        let unit_ends = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, next) = behind.split_at(unit_ends);
        let is_number = number.matches('.').count() <= 1 && number != "." && !number.is_empty();
        if !is_number || !["ns", "us", "µs", "μs", "ms", "s", "m", "h"].contains(&unit) {
            return false;
        }
        is_read = true;
        rest = next;
    }
    is_read
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn described(wanted: Type) -> &'static str {
    match wanted {
        Type::Bool => "true or false",
        Type::Int32 => "a whole number of 32 bits",
        Type::Int64 => "a whole number of 64 bits",
        Type::Float => "a number",
        Type::Text => "a text",
        Type::Duration => "a duration such as 1m30s",
        Type::Object | Type::Map(_) => "an object",
        Type::List(_) => "a list",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The sentence about a field of the kubelet.
    fn kubelets(field: &str, value: &Value) -> Option<String> {
        mistake(&json!({"kind": "KubeletConfiguration", field: value}))
    }

    #[test]
    fn what_a_node_cannot_read_is_told_with_its_place() {
        let cases = [
            ("maxPods", json!("many"), "/maxPods becomes a text, where a node can only read a whole number of 32 bits"),
            ("maxPods", json!(1.5), "/maxPods becomes a number"),
            ("maxPods", json!(3_000_000_000_u32), "/maxPods becomes a number"),
            ("podPidsLimit", json!(u64::MAX), "a whole number of 64 bits"),
            ("memoryThrottlingFactor", json!("0.9"), "/memoryThrottlingFactor becomes a text"),
            ("failSwapOn", json!("false"), "/failSwapOn becomes a text, where a node can only read true or false"),
            ("clusterDomain", json!(1), "/clusterDomain becomes a number, where a node can only read a text"),
            ("syncFrequency", json!(60), "/syncFrequency becomes a number, where a node can only read a duration"),
            ("syncFrequency", json!("1 minute"), "/syncFrequency becomes a text"),
            ("authentication", json!([]), "/authentication becomes a list, where a node can only read an object"),
            ("clusterDNS", json!("10.96.0.10"), "/clusterDNS becomes a text, where a node can only read a list"),
            ("clusterDNS", json!(["10.96.0.10", 1]), "/clusterDNS/1 becomes a number"),
            ("registerWithTaints", json!(["a=b:NoSchedule"]), "/registerWithTaints/0 becomes a text"),
            ("featureGates", json!({"A": true, "B": "yes"}), "/featureGates/B becomes a text"),
            ("systemReserved", json!({"cpu": 1}), "/systemReserved/cpu becomes a number"),
            ("evictionHard", json!({"a/b": {}}), "/evictionHard/a~1b becomes an object"),
            (
                "staticPodURLHeader",
                json!({"Authorization": "secret"}),
                "/staticPodURLHeader/Authorization becomes a text",
            ),
        ];
        for (field, value, sentence) in cases {
            let said = kubelets(field, &value).unwrap_or_else(|| panic!("{field}: {value}"));
            assert!(said.contains(sentence) && !said.contains("secret"), "{field}: {value}: {said}");
        }
    }

    #[test]
    fn what_a_node_can_read_passes() {
        let cases = [
            ("maxPods", json!(250)),
            ("maxPods", json!(250.0)),
            ("oomScoreAdj", json!(-999)),
            ("podPidsLimit", json!(i64::MAX)),
            ("memoryThrottlingFactor", json!(1)),
            ("syncFrequency", json!("1h1.5m300ms")),
            ("syncFrequency", json!("-0")),
            ("cgroupDriver", json!(null)),
            ("clusterDNS", json!([null])),
            ("featureGates", json!({"A": false})),
            ("staticPodURLHeader", json!({"a": ["b"]})),
            ("fieldOfALaterMinor", json!({"a": ["b"]})),
        ];
        for (field, value) in cases {
            assert_eq!(kubelets(field, &value), None, "{field}: {value}");
        }
        assert_eq!(mistake(&json!({"kind": "Another", "maxPods": "many"})), None);
    }

    #[test]
    fn durations_are_read_as_go_does() {
        for text in ["0", "+0", "1s", ".5s", "1.s", "1h2m3s4ms5us6µs7ns", "-1m"] {
            assert!(is_duration(text), "{text}");
        }
        for text in ["", "-", "1", "s", ".s", "1.2.3s", "1d", "1s2", "1 s", "--1s"] {
            assert!(!is_duration(text), "{text}");
        }
    }

    #[test]
    fn what_kubeadm_of_each_minor_writes_passes() {
        let written = [
            include_str!("../../../../tests/oracle/v1.33/configmap.kube-system.kubelet-config.yaml"),
            include_str!("../../../../tests/oracle/v1.34/configmap.kube-system.kubelet-config.yaml"),
            include_str!("../../../../tests/oracle/v1.35/configmap.kube-system.kubelet-config.yaml"),
            include_str!("../../../../tests/oracle/v1.36/configmap.kube-system.kubelet-config.yaml"),
            include_str!("../../../../tests/oracle/v1.37/configmap.kube-system.kubelet-config.yaml"),
            include_str!("../../../../tests/oracle/v1.33/configmap.kube-system.kube-proxy.yaml"),
            include_str!("../../../../tests/oracle/v1.34/configmap.kube-system.kube-proxy.yaml"),
            include_str!("../../../../tests/oracle/v1.35/configmap.kube-system.kube-proxy.yaml"),
            include_str!("../../../../tests/oracle/v1.36/configmap.kube-system.kube-proxy.yaml"),
            include_str!("../../../../tests/oracle/v1.37/configmap.kube-system.kube-proxy.yaml"),
        ];
        for text in written {
            let config_map: Value = serde_saphyr::from_str(text).unwrap();
            let document = ["kubelet", "config.conf"].iter().find_map(|key| config_map["data"][*key].as_str()).unwrap();
            let document: Value = serde_saphyr::from_str(document).unwrap();
            let table = if document["kind"] == "KubeletConfiguration" { KUBELET } else { KUBE_PROXY };
            let known = |name: &str| table.iter().any(|(_, names)| names.contains(&name));
            for name in document.as_object().unwrap().keys() {
                assert!(known(name) || ["apiVersion", "kind"].contains(&name.as_str()), "{name}");
            }
            assert_eq!(mistake(&document), None);
        }
    }
}
