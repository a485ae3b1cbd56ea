//! Everything in a tenant's cluster that depends on the tenant's minor.
//!
//! The values are those of kubeadm of that minor; `cargo xtask oracle` runs it, and the tests compare.

use crate::version::Version;

/// What kubeadm of one minor writes and others do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minor {
    /// The minor.
    pub minor: u32,
    /// Tag of CoreDNS's image.
    pub core_dns: &'static str,
    /// Whether CoreDNS answers about the tenant's own names past its cache.
    pub core_dns_bypasses_cache: bool,
    /// Whether CoreDNS' container names the ports of its probes.
    pub core_dns_names_probe_ports: bool,
    /// How kube-proxy programs a node; empty leaves the choice to kube-proxy.
    pub kube_proxy_mode: &'static str,
    /// Whether the kubelet's configuration has the object `crashLoopBackOff`.
    pub has_crash_loop_back_off: bool,
}

const OLDEST: Minor = Minor {
    minor: 31,
    core_dns: "v1.11.3",
    core_dns_bypasses_cache: false,
    core_dns_names_probe_ports: false,
    kube_proxy_mode: "",
    has_crash_loop_back_off: false,
};

const MINOR_32: Minor = Minor { minor: 32, core_dns_bypasses_cache: true, has_crash_loop_back_off: true, ..OLDEST };
const MINOR_33: Minor = Minor { minor: 33, core_dns: "v1.12.0", ..MINOR_32 };
const MINOR_34: Minor = Minor { minor: 34, core_dns: "v1.12.1", core_dns_names_probe_ports: true, ..MINOR_33 };
const MINOR_35: Minor = Minor { minor: 35, core_dns: "v1.13.1", ..MINOR_34 };
const MINOR_36: Minor = Minor { minor: 36, core_dns: "v1.14.2", ..MINOR_35 };
const MINOR_37: Minor = Minor { minor: 37, core_dns: "v1.14.6", kube_proxy_mode: "iptables", ..MINOR_36 };

const LATER: [Minor; 6] = [MINOR_32, MINOR_33, MINOR_34, MINOR_35, MINOR_36, MINOR_37];

/// The row of a tenant's version; of a minor beyond the table, the nearest.
pub fn of(version: &Version) -> Minor {
    LATER.into_iter().rev().find(|row| row.minor <= version.minor).unwrap_or(OLDEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::{NEWEST_MINOR, OLDEST_ACCEPTED_MINOR};

    #[test]
    fn every_accepted_minor_has_its_own_row() {
        for minor in OLDEST_ACCEPTED_MINOR..=NEWEST_MINOR {
            assert_eq!(of(&Version::parse(&format!("v1.{minor}.0")).unwrap()).minor, minor);
        }
    }
}
