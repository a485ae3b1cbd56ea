//! Objects with as many optional fields as fit together. Values differ from the API server's defaults, else a removal
//! could not be seen.

use serde_json::{Value, json};

pub(crate) fn config_map() -> Value {
    json!({
        "metadata": {
            "name": "rich", "labels": {"a": "1", "b": "2"}, "annotations": {"c": "3", "d": "4"},
            "finalizers": ["example.com/a", "example.com/b"],
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": "one", "uid": "11111111", "controller": true, "blockOwnerDeletion": true},
                {"apiVersion": "v1", "kind": "Node", "name": "two", "uid": "22222222", "blockOwnerDeletion": true},
            ],
        },
        "data": {"k": "v", "l": "w"},
        "binaryData": {"m": "AAEC", "n": "AwQF"},
    })
}

pub(crate) fn secret() -> Value {
    json!({
        "metadata": {"name": "rich", "labels": {"a": "1"}, "annotations": {"c": "3"}},
        "type": "Opaque",
        "data": {"tls.crt": "Y2VydA==", "tls.key": "a2V5"},
    })
}

pub(crate) fn service() -> Value {
    json!({
        "metadata": {"name": "rich", "labels": {"a": "1"}, "annotations": {"c": "3"}},
        "spec": {
            "type": "LoadBalancer",
            "allocateLoadBalancerNodePorts": false,
            "externalIPs": ["192.0.2.1", "192.0.2.2"],
            "externalTrafficPolicy": "Local",
            "internalTrafficPolicy": "Local",
            "loadBalancerClass": "example.com/lb",
            "loadBalancerIP": "192.0.2.9",
            "loadBalancerSourceRanges": ["192.0.2.0/24", "198.51.100.0/24"],
            "publishNotReadyAddresses": true,
            "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 77}},
            "trafficDistribution": "PreferClose",
            "selector": {"a": "1", "b": "2"},
            "ports": [
                {"name": "api", "port": 6443, "protocol": "TCP", "targetPort": "https", "appProtocol": "kubernetes.io/h2c"},
                {"name": "udp", "port": 6444, "protocol": "UDP", "targetPort": 7443},
                {"name": "extra", "port": 8132},
            ],
        },
    })
}

pub(crate) fn deployment() -> Value {
    json!({
        "metadata": {"name": "rich", "labels": {"a": "1", "b": "2"}, "annotations": {"c": "3"}},
        "spec": {
            "replicas": 3,
            "minReadySeconds": 7,
            "progressDeadlineSeconds": 77,
            "revisionHistoryLimit": 3,
            "paused": true,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
            "selector": {"matchLabels": {"app": "rich"}},
            "template": {
                "metadata": {"labels": {"app": "rich", "more": "1"}, "annotations": {"d": "4"}},
                "spec": pod_spec(),
            },
        },
    })
}

fn pod_spec() -> Value {
    json!({
        "activeDeadlineSeconds": null,
        "affinity": affinity(),
        "automountServiceAccountToken": false,
        "containers": [container(), {
            "name": "kine", "image": "kine:1", "command": ["kine"], "ports": [{"containerPort": 2379}],
            "env": [{"name": "A", "value": "1"}],
        }],
        "dnsConfig": {"nameservers": ["192.0.2.1"], "searches": ["a.example"], "options": [{"name": "ndots", "value": "2"}]},
        "dnsPolicy": "None",
        "enableServiceLinks": false,
        "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["a", "b"]}, {"ip": "192.0.2.2", "hostnames": ["c"]}],
        "hostIPC": true,
        "hostUsers": true,
        "hostname": "h",
        "imagePullSecrets": [{"name": "pull"}, {"name": "other"}],
        "initContainers": [
            {"name": "setup", "image": "busybox", "command": ["cp"], "volumeMounts": [{"name": "empty", "mountPath": "/e"}]},
            {"name": "sidecar", "image": "s", "restartPolicy": "Always"},
        ],
        "nodeSelector": {"disk": "ssd", "zone": "a"},
        "os": {"name": "linux"},
        "preemptionPolicy": "Never",
        "priorityClassName": "system-cluster-critical",
        "readinessGates": [{"conditionType": "example.com/ready"}],
        "runtimeClassName": "gvisor",
        "schedulerName": "other",
        "securityContext": {
            "runAsUser": 1, "runAsGroup": 2, "runAsNonRoot": true, "fsGroup": 3, "fsGroupChangePolicy": "OnRootMismatch",
            "supplementalGroups": [4, 5], "seccompProfile": {"type": "RuntimeDefault"},
            "sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}],
            "seLinuxOptions": {"level": "s0"},
        },
        "serviceAccountName": "sa",
        "setHostnameAsFQDN": true,
        "shareProcessNamespace": true,
        "subdomain": "sub",
        "terminationGracePeriodSeconds": 77,
        "tolerations": [
            {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
            {"key": "b", "operator": "Equal", "value": "c", "effect": "NoSchedule"},
        ],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": "rich"}}, "matchLabelKeys": ["pod-template-hash"],
                "nodeAffinityPolicy": "Ignore", "nodeTaintsPolicy": "Honor",
            },
            {
                "maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2,
                "labelSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["rich"]}]},
            },
        ],
        "volumes": volumes(),
    })
}

fn affinity() -> Value {
    let term = json!({
        "labelSelector": {"matchLabels": {"app": "rich"}}, "topologyKey": "kubernetes.io/hostname",
        "namespaces": ["a"], "namespaceSelector": {"matchLabels": {"n": "1"}},
    });
    let node = json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]});
    json!({
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [node]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": node}],
        },
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "podAffinityTerm": term}]},
    })
}

fn container() -> Value {
    json!({
        "name": "kube-apiserver",
        "image": "registry.k8s.io/kube-apiserver:v1.36.3",
        "imagePullPolicy": "Never",
        "command": ["kube-apiserver"],
        "args": ["--a", "--b=c"],
        "workingDir": "/w",
        "env": [
            {"name": "PLAIN", "value": "1"},
            {"name": "EMPTY", "value": ""},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"containerName": "kine", "resource": "limits.cpu", "divisor": "1m"}}},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": true}}},
            {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k"}}},
        ],
        "envFrom": [{"prefix": "P_", "secretRef": {"name": "s", "optional": true}}, {"configMapRef": {"name": "c"}}],
        "lifecycle": {
            "preStop": {"sleep": {"seconds": 5}},
            "postStart": {"exec": {"command": ["true"]}},
        },
        "livenessProbe": {
            "httpGet": {
                "path": "/livez", "port": 6443, "scheme": "HTTPS", "host": "127.0.0.1",
                "httpHeaders": [{"name": "X-A", "value": "1"}],
            },
            "initialDelaySeconds": 2, "periodSeconds": 3, "timeoutSeconds": 4, "failureThreshold": 5,
            "terminationGracePeriodSeconds": 6,
        },
        "readinessProbe": {"tcpSocket": {"port": "https", "host": "127.0.0.1"}, "successThreshold": 2, "periodSeconds": 7},
        "startupProbe": {"grpc": {"port": 6443, "service": "health"}, "failureThreshold": 24},
        "ports": [
            {"name": "https", "containerPort": 6443, "protocol": "TCP"},
            {"name": "udp", "containerPort": 6444, "protocol": "UDP"},
            {"containerPort": 8132},
        ],
        "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}],
        "resources": {
            "limits": {"cpu": "0.5", "memory": "1073741824", "ephemeral-storage": "1.5Gi"},
            "requests": {"cpu": "100m", "memory": "1000Ki"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            "privileged": false, "readOnlyRootFilesystem": true, "runAsUser": 7, "runAsNonRoot": true,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "stdin": true, "stdinOnce": true, "tty": true,
        "terminationMessagePath": "/t", "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "pki", "mountPath": "/etc/kubernetes/pki", "readOnly": true, "recursiveReadOnly": "IfPossible", "mountPropagation": "None"},
            {"name": "empty", "mountPath": "/e", "subPath": "x"},
            {"name": "empty", "mountPath": "/f", "subPathExpr": "$(PLAIN)", "mountPropagation": "HostToContainer"},
        ],
    })
}

fn volumes() -> Value {
    json!([
        {"name": "pki", "projected": {"defaultMode": 256, "sources": [
            {"secret": {"name": "a", "items": [{"key": "tls.crt", "path": "a.crt", "mode": 256}]}},
            {"configMap": {"name": "b", "optional": true}},
            {"serviceAccountToken": {"path": "token", "audience": "x"}},
            {"serviceAccountToken": {"path": "short", "expirationSeconds": 700}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ]}},
        {"name": "empty", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": "secret", "secret": {"secretName": "s", "optional": true, "defaultMode": 256, "items": [{"key": "a", "path": "b"}]}},
        {"name": "config", "configMap": {"name": "c", "optional": true, "defaultMode": 256}},
        {"name": "host", "hostPath": {"path": "/x", "type": "Directory"}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "p", "readOnly": true}},
        {"name": "down", "downwardAPI": {"defaultMode": 256, "items": [
            {"path": "cpu", "resourceFieldRef": {"containerName": "kine", "resource": "limits.cpu"}},
        ]}},
        {"name": "csi", "csi": {"driver": "d", "readOnly": true, "volumeAttributes": {"a": "b"}, "nodePublishSecretRef": {"name": "n"}}},
        {"name": "generic", "ephemeral": {"volumeClaimTemplate": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "s"},
        }}},
    ])
}

pub(crate) fn stateful_set() -> Value {
    json!({
        "metadata": {"name": "rich"},
        "spec": {
            "serviceName": "rich", "replicas": 3, "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": "rich"}},
            "template": {
                "metadata": {"labels": {"app": "rich"}},
                "spec": {"containers": [{"name": "etcd", "image": "etcd"}]},
            },
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
            }],
        },
    })
}

pub(crate) fn role_binding() -> Value {
    json!({
        "metadata": {"name": "rich"},
        "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}],
    })
}

pub(crate) fn role() -> Value {
    json!({
        "metadata": {"name": "rich"},
        "rules": [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["a"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
        ],
    })
}

pub(crate) fn network_policy() -> Value {
    json!({
        "metadata": {"name": "rich"},
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": 6443}], "from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}]}],
        },
    })
}

pub(crate) fn ingress() -> Value {
    json!({
        "metadata": {"name": "rich"},
        "spec": {
            "ingressClassName": "c",
            "tls": [{"hosts": ["a.example"], "secretName": "s"}],
            "rules": [{"host": "a.example", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 6443}}}},
            ]}}],
        },
    })
}

pub(crate) fn pod_disruption_budget() -> Value {
    json!({
        "metadata": {"name": "rich"},
        "spec": {
            "maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {"a": "b"}},
        },
    })
}

pub(crate) fn daemon_set() -> Value {
    json!({
        "metadata": {"name": "rich"},
        "spec": {
            "selector": {"matchLabels": {"app": "rich"}},
            "updateStrategy": {"type": "RollingUpdate"},
            "template": {"metadata": {"labels": {"app": "rich"}}, "spec": pod_spec()},
        },
    })
}

pub(crate) fn service_account() -> Value {
    json!({
        "metadata": {"name": "rich"}, "automountServiceAccountToken": false, "imagePullSecrets": [{"name": "pull"}],
    })
}

pub(crate) fn webhook() -> Value {
    json!({
        "webhooks": [{
            "name": "a.apply.test", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Ignore",
            "clientConfig": {"service": {"name": "s", "namespace": "n", "path": "/validate"}, "caBundle": "AAEC"},
            "rules": [{"apiGroups": ["apply.test"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nothings"]}],
        }],
    })
}
