//! Values as Go's flag packages write them: booleans, durations, listen addresses.

use std::time::Duration;

/// Why a flag's value was not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ValueError {
    /// Not a duration such as `1h30m`.
    #[error("{0:?} is not a duration: write numbers with units out of ns, us, ms, s, m, h, for example 30s or 1h30m")]
    Duration(String),
    /// A duration below zero.
    #[error("{0:?} is a negative duration: write one of at least 0s")]
    Negative(String),
    /// Not one of Go's words for true and false.
    #[error("{0:?} is neither true nor false: write true or false")]
    Bool(String),
    /// Not a listen address such as `:8080`.
    #[error("{0:?} is not a listen address: write [host]:port, for example :8080, or 0 to switch the listener off")]
    Address(String),
}

impl ValueError {
    /// The kind of error as one word, for logs and metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Duration(_) | Self::Negative(_) => "duration",
            Self::Bool(_) => "bool",
            Self::Address(_) => "address",
        }
    }
}

/// Parses a duration in the syntax of Go's `time.ParseDuration`, which knows no days: `300ms`, `1.5h`, `1h30m`, `0`.
///
/// # Errors
/// For any other text, for a negative duration, and for one that does not fit.
pub fn duration(text: &str) -> Result<Duration, ValueError> {
    let malformed = || ValueError::Duration(text.to_owned());
    let unsigned = match text.strip_prefix('-') {
        Some(magnitude) if magnitude.trim_matches(|c| c == '0' || c == 's').is_empty() => magnitude,
        Some(_) => return Err(ValueError::Negative(text.to_owned())),
        None => text.strip_prefix('+').unwrap_or(text),
    };
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = unsigned;
    let mut nanoseconds: u128 = 0;
    while !rest.is_empty() || unsigned.is_empty() {
        let number_ends = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(malformed)?;
        let (number, tail) = rest.split_at(number_ends);
        let unit_ends = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_ends);
        let scale: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(malformed()),
        };
        nanoseconds = scaled(number, scale).and_then(|n| nanoseconds.checked_add(n)).ok_or_else(malformed)?;
        rest = tail;
    }
    u64::try_from(nanoseconds).map(Duration::from_nanos).map_err(|_| malformed())
}

/// `number` (digits with at most one point) times `scale`, rounded down.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut value = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.chars() {
        place /= 10;
        value = value.checked_add(place.checked_mul(u128::from(digit.to_digit(10)?))?)?;
    }
    Some(value)
}

/// Parses a boolean in the syntax of Go's `strconv.ParseBool`.
///
/// # Errors
/// For any other word.
pub fn boolean(text: &str) -> Result<bool, ValueError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(ValueError::Bool(text.to_owned())),
    }
}

/// Where a listener binds: nowhere, or to a host (empty: all addresses, both families) and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// No listener (`0`, as controller-runtime reads it).
    Off,
    /// A listener on this host and port; port 0 lets the system choose.
    On {
        /// Name or address; empty for all.
        host: String,
        /// TCP port.
        port: u16,
    },
}

/// Parses a listen address in Go's form `[host]:port`.
///
/// # Errors
/// For anything else.
pub fn listen_address(text: &str) -> Result<ListenAddress, ValueError> {
    let malformed = || ValueError::Address(text.to_owned());
    if text == "0" || text.is_empty() {
        return Ok(ListenAddress::Off);
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
    let port = port.parse().map_err(|_| malformed())?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if bare.is_none() && host.contains([':', '[', ']']) {
        return Err(malformed());
    }
    Ok(ListenAddress::On { host: bare.unwrap_or(host).to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_as_go_does() {
        for (text, expected) in [
            ("30s", Duration::from_secs(30)),
            ("10h", Duration::from_hours(10)),
            ("1h30m", Duration::from_mins(90)),
            ("1.5h", Duration::from_mins(90)),
            (".5s", Duration::from_millis(500)),
            ("1m0.25s", Duration::from_millis(60_250)),
            ("300ms", Duration::from_millis(300)),
            ("7us", Duration::from_micros(7)),
            ("7µs", Duration::from_micros(7)),
            ("9ns", Duration::from_nanos(9)),
            ("0", Duration::ZERO),
            ("+3s", Duration::from_secs(3)),
            ("-0s", Duration::ZERO),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses_as_a_duration() {
        for text in ["", "30", "1d", "s", "1.2.3s", ".s", "3 s", "1h-3m", "9999999999999h", "ein", "+", "-"] {
            assert!(duration(text).is_err(), "{text:?} was read as {:?}", duration(text));
        }
        assert_eq!(duration("-3s"), Err(ValueError::Negative("-3s".into())));
    }

    #[test]
    fn reads_booleans_as_go_does() {
        assert_eq!((boolean("T"), boolean("0"), boolean("False")), (Ok(true), Ok(false), Ok(false)));
        assert!(boolean("yes").is_err());
    }

    #[test]
    fn reads_listen_addresses_of_both_families() {
        let on = |host: &str, port| Ok(ListenAddress::On { host: host.into(), port });
        assert_eq!(listen_address(":8080"), on("", 8080));
        assert_eq!(listen_address("127.0.0.1:0"), on("127.0.0.1", 0));
        assert_eq!(listen_address("[::1]:9090"), on("::1", 9090));
        assert_eq!(listen_address("localhost:81"), on("localhost", 81));
        assert_eq!(listen_address("0"), Ok(ListenAddress::Off));
        for text in ["8080", "::1:9090", ":http", ":70000"] {
            assert!(listen_address(text).is_err(), "{text}");
        }
    }
}
