//! Ranges of IP addresses that a load balancer gives out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why a pool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A range is not in CIDR notation.
    #[error("{range:?} is no address range: write it like 10.0.0.0/24 or fd00::/120")]
    Range {
        /// What was given.
        range: String,
    },
}

impl Error {
    /// One word per kind of failure, stable for metrics and tests.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Range { .. } => "range",
        }
    }
}

/// Addresses of one or both families.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPool {
    ranges: Vec<Range>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    ipv6: bool,
    first: u128,
    last: u128,
}

impl AddressPool {
    /// Reads ranges in CIDR notation, separated by commas.
    ///
    /// The first and the last address of an IPv4 range of more than two, and the first of such an IPv6 range, are left
    /// out: they name the network, everybody, and any router.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let ranges = text
            .split(',')
            .map(|range| {
                let range = range.trim();
                Range::parse(range).ok_or_else(|| Error::Range { range: range.to_owned() })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { ranges })
    }

    /// Whether it has addresses of this family.
    pub fn has_family(&self, ipv6: bool) -> bool {
        self.ranges.iter().any(|range| range.ipv6 == ipv6)
    }

    /// Whether the address is one of its.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ipv6, number) = number(address);
        self.ranges.iter().any(|range| range.ipv6 == ipv6 && (range.first..=range.last).contains(&number))
    }

    /// Its addresses of this family, from the lowest.
    pub fn addresses(&self, ipv6: bool) -> impl Iterator<Item = IpAddr> {
        self.ranges
            .iter()
            .filter(move |range| range.ipv6 == ipv6)
            .flat_map(|range| (range.first..=range.last).filter_map(|number| address(range.ipv6, number)))
    }
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (base, length) = text.split_once('/')?;
        let (ipv6, base) = number(base.parse().ok()?);
        let bits: u32 = if ipv6 { 128 } else { 32 };
        let length: u32 = length.parse().ok()?;
        let host_bits = bits.checked_sub(length)?;
        let size_less_one = 1_u128.checked_shl(host_bits).unwrap_or(0).wrapping_sub(1);
        let first = base & !size_less_one;
        let last = first | size_less_one;
        if host_bits < 2 {
            return Some(Self { ipv6, first, last });
        }
        Some(Self { ipv6, first: first + 1, last: if ipv6 { last } else { last - 1 } })
    }
}

fn number(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(address) => (false, u32::from(address).into()),
        IpAddr::V6(address) => (true, address.into()),
    }
}

fn address(ipv6: bool, number: u128) -> Option<IpAddr> {
    if ipv6 { Some(Ipv6Addr::from(number).into()) } else { Some(Ipv4Addr::from(u32::try_from(number).ok()?).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(pool: &str, ipv6: bool) -> Vec<String> {
        AddressPool::parse(pool).unwrap().addresses(ipv6).map(|address| address.to_string()).collect()
    }

    #[test]
    fn leaves_out_network_and_broadcast() {
        assert_eq!(
            listed("10.0.0.0/29", false),
            ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
        );
        assert_eq!(listed("fd00::/126", true), ["fd00::1", "fd00::2", "fd00::3"]);
        assert_eq!(listed("10.0.0.7/32", false), ["10.0.0.7"]);
    }

    #[test]
    fn takes_both_families() {
        let pool = AddressPool::parse("10.0.0.0/24, fd00::/120").unwrap();
        assert!(pool.has_family(false) && pool.has_family(true));
        assert!(pool.contains("fd00::ff".parse().unwrap()));
        assert!(!pool.contains("10.0.1.1".parse().unwrap()));
        assert!(!pool.contains("10.0.0.255".parse().unwrap()));
    }

    #[test]
    fn accepts_the_whole_of_ipv6() {
        let pool = AddressPool::parse("::/0").unwrap();
        assert!(pool.contains("ffff::".parse().unwrap()));
    }

    #[test]
    fn refuses_what_is_no_range() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/24,"] {
            assert_eq!(AddressPool::parse(text).unwrap_err().category(), "range", "{text}");
        }
    }
}
