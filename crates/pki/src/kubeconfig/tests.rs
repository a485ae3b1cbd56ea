use std::path::Path;

use super::*;

fn identity() -> Identity {
    Identity {
        cluster_name: "tenant".to_owned(),
        user_name: "system:kube-scheduler".to_owned(),
        server: "https://[fd00::1]:6443".to_owned(),
        authority_pem: b"authority".to_vec(),
        client: KeyPairPem { certificate: b"certificate".to_vec(), key: b"secret".to_vec() },
    }
}

/// Writes what was read again; the bytes must not change.
fn assert_same_bytes(file: &[u8]) {
    let Parsed { context: _, cluster_name, user_name, server, authority_pem, client_certificate, client_key } =
        parse(file).unwrap();
    let client = KeyPairPem { certificate: client_certificate, key: client_key };
    let again = render(&Identity { cluster_name, user_name, server, authority_pem, client });
    assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(file));
}

#[test]
fn writes_the_bytes_that_kubeadm_writes() {
    for algorithm in ["rsa-2048", "ecdsa-p256", "ecdsa-p384"] {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kubeadm");
        assert_same_bytes(&std::fs::read(fixtures.join(algorithm).join("admin.conf")).unwrap());
    }
}

#[test]
fn writes_the_captured_bytes_when_they_are_at_hand() {
    for file in crate::captured::files() {
        for secret in crate::captured::secrets(&file) {
            if secret.name.ends_with("-kubeconfig") {
                secret.data.values().for_each(|config| assert_same_bytes(config));
            }
        }
    }
}

#[test]
fn reads_a_bundle_as_large_as_a_secret_can_be() {
    let written = Identity { authority_pem: vec![b'x'; 700 << 10], ..identity() };
    assert_eq!(parse(&render(&written)).unwrap().authority_pem.len(), 700 << 10);
}

#[test]
fn reads_back_what_it_wrote() {
    let written = identity();
    let read = parse(&render(&written)).unwrap();
    assert_eq!(read.context, "system:kube-scheduler@tenant");
    assert_eq!((read.cluster_name, read.user_name), (written.cluster_name, written.user_name));
    assert_eq!((read.server, read.authority_pem), (written.server, written.authority_pem));
    assert_eq!((read.client_certificate, read.client_key), (written.client.certificate, written.client.key));
}

#[test]
fn names_that_yaml_would_read_as_something_else_stay_strings() {
    for name in
        ["true", "NO", "null", "123", "1e3", "0x1f", "2026-01-01", "~", "-", "a: b", "a #b", "", " a", "a:", "'\"\n"]
    {
        let written = Identity { cluster_name: name.to_owned(), user_name: name.to_owned(), ..identity() };
        let read = parse(&render(&written)).unwrap_or_else(|error| panic!("{name:?}: {error}"));
        assert_eq!((read.cluster_name.as_str(), read.user_name.as_str()), (name, name));
    }
}

#[test]
fn follows_the_current_context_among_several() {
    let file = r#"{"apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": "two",
        "clusters": [{"name": "a", "cluster": {"server": "https://a"}},
                     {"name": "b", "cluster": {"server": "https://b", "tls-server-name": "x"}}],
        "contexts": [{"name": "one", "context": {"cluster": "a", "user": "u"}},
                     {"name": "two", "context": {"cluster": "b", "user": "v", "namespace": "default"}}],
        "users": [{"name": "u", "user": {"token": "t"}}, {"name": "v", "user": {}}]}"#;
    let read = parse(file.as_bytes()).unwrap();
    assert_eq!((read.server.as_str(), read.user_name.as_str()), ("https://b", "v"));
    assert!(read.authority_pem.is_empty() && read.client_key.is_empty());
    let read =
        parse(file.replace("\"two\", \"context", "\"two\",\n\"context").replace("current-context", "x").as_bytes());
    assert_eq!(read.unwrap().context, "one");
}

#[test]
fn faults_are_sentences() {
    let good = String::from_utf8(render(&identity())).unwrap();
    let cases = [
        (String::new(), "has no context named \"\""),
        ("a: [".to_owned(), "is not valid near line"),
        ("just text".to_owned(), "is not valid near line 1"),
        (good.replace("current-context: system", "current-context: other"), "no context named \"other:kube-scheduler"),
        (good.replace("    cluster: tenant", "    cluster: gone"), "no cluster named \"gone\""),
        (good.replace("- name: system:kube-scheduler", "- name: gone"), "no user named \"system:kube-scheduler\""),
        (
            good.replace("    server: https://[fd00::1]:6443\n", ""),
            "the cluster \"tenant\" of the kubeconfig has no server",
        ),
        (
            good.replace("client-key-data: ", "client-key-data: x*"),
            "the field client-key of the kubeconfig is not valid",
        ),
        (good.replace("client-key-data: ", "client-key: "), "the field client-key of the kubeconfig names a file"),
    ];
    for (file, expected) in cases {
        let error = parse(file.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}\n{file}");
    }
}

#[test]
fn neither_errors_nor_debug_output_show_the_key() {
    // A key where a list belongs: the YAML parser quotes what it meets.
    let error = parse(b"users: c2VjcmV0LWtleQ==\nclusters: []\n").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("c2VjcmV0"), "{error:?}");
    let read = parse(&render(&identity())).unwrap();
    assert!(!format!("{read:?} {:?}", identity()).contains("secret"));
    assert!(!format!("{:?}", identity().client).contains("115, 101, 99"));
}
