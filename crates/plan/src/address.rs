//! Addresses, ranges and DNS names as text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP range such as `10.96.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The address as written, host bits included.
    pub address: IpAddr,
    /// Length of the network prefix in bits.
    pub prefix: u8,
}

impl Cidr {
    /// Parses `address/prefix`; `None` when it is not a range.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        if prefix.is_empty() || prefix.len() > 3 || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let prefix: u8 = prefix.parse().ok()?;
        (prefix <= bits).then_some(Self { address, prefix })
    }

    /// Whether `address` lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(range), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                u32::from(range) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(range), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                u128::from(range) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }

    /// The address at `index` in the range, counted from the network address; `None` when it lies outside.
    ///
    /// Index 1 of the first service range is the address of the Service `kubernetes` (kubeadm v1beta4).
    pub fn nth(&self, index: u32) -> Option<IpAddr> {
        let address = match self.address {
            IpAddr::V4(range) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from((u32::from(range) & mask).checked_add(index)?))
            }
            IpAddr::V6(range) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from((u128::from(range) & mask).checked_add(u128::from(index))?))
            }
        };
        self.contains(address).then_some(address)
    }
}

/// Joins a host and a port; an IPv6 address gets its brackets.
pub fn join_host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Whether `name` is a DNS name as RFC 1123 has it, in lower case; with `wildcard`, a leading `*.` is allowed.
pub fn is_dns_name(name: &str, wildcard: bool) -> bool {
    let name = if wildcard { name.strip_prefix("*.").unwrap_or(name) } else { name };
    !name.is_empty() && name.len() <= 253 && name.split('.').all(is_dns_label)
}

/// Whether `label` is one label of an RFC 1123 name: at most 63 of `a-z0-9-`, no dash at either end.
pub fn is_dns_label(label: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(legal)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_service_address_from_the_network_address() {
        let nth = |text: &str| Cidr::parse(text).unwrap().nth(1).unwrap().to_string();
        assert_eq!(nth("10.96.0.0/16"), "10.96.0.1");
        assert_eq!(nth("10.96.0.77/16"), "10.96.0.1");
        assert_eq!(nth("fd00:10:96::/112"), "fd00:10:96::1");
    }

    #[test]
    fn a_range_of_one_address_has_no_second() {
        assert_eq!(Cidr::parse("10.96.0.0/32").unwrap().nth(1), None);
        assert_eq!(Cidr::parse("255.255.255.255/32").unwrap().nth(1), None);
        assert_eq!(Cidr::parse("0.0.0.0/0").unwrap().nth(1).unwrap().to_string(), "0.0.0.1");
    }

    #[test]
    fn refuses_text_that_is_no_range() {
        for text in ["", "10.96.0.0", "10.96.0.0/33", "fd00::/129", "10.96.0.0/+8", "10.96.0/8", "a/8", "10.0.0.0/"] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }

    #[test]
    fn brackets_only_ipv6() {
        assert_eq!(join_host_port("fd00::1", 6443), "[fd00::1]:6443");
        assert_eq!(join_host_port("10.0.0.1", 6443), "10.0.0.1:6443");
    }

    #[test]
    fn knows_dns_names() {
        assert!(is_dns_name("api.example.com", false));
        assert!(is_dns_name("*.example.com", true));
        for name in ["*.example.com", "a..b", "-a.com", "a.com:6443", "A.com", ""] {
            assert!(!is_dns_name(name, false), "{name}");
        }
    }
}
