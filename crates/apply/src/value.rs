//! Leaf values that the API server writes in another form than it was given.

use std::net::IpAddr;

use serde_json::Value;

/// Place of a value in an object, from the root. List items count under the name of their list.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: &'a str,
}

impl<'a> Path<'a> {
    pub(crate) fn root(segment: &'a str) -> Self {
        Self { parent: None, segment }
    }

    pub(crate) fn child(&'a self, segment: &'a str) -> Self {
        Self { parent: Some(self), segment }
    }

    /// Names from the leaf up to the root.
    pub(crate) fn upwards(&self) -> impl Iterator<Item = &'a str> {
        std::iter::successors(Some(*self), |path| path.parent.copied()).map(|path| path.segment)
    }

    pub(crate) fn leaf(&self) -> &'a str {
        self.segment
    }

    pub(crate) fn parent_name(&self) -> &'a str {
        self.parent.map_or("", |parent| parent.segment)
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(parent) = self.parent {
            write!(formatter, "{parent}.")?;
        }
        formatter.write_str(self.segment)
    }
}

// Objects whose values are resource quantities, and single fields that are.
const QUANTITY_MAPS: [&str; 6] = ["limits", "requests", "capacity", "hard", "overhead", "allocatable"];
const QUANTITY_FIELDS: [&str; 3] = ["sizeLimit", "divisor", "averageValue"];

// Text that means nothing to the API server: here `1m` and `60s` are two different values.
const VERBATIM: [&str; 14] = [
    "metadata",
    "data",
    "binaryData",
    "args",
    "command",
    "env",
    "labels",
    "annotations",
    "matchLabels",
    "matchExpressions",
    "nodeSelector",
    "selector",
    "image",
    "httpHeaders",
];

/// The two leaf values at `path` mean the same.
///
/// Quantities are compared by value where Kubernetes has quantities; durations and IP addresses anywhere outside of
/// verbatim text (arguments, environment, labels, data).
pub(crate) fn same(path: &Path<'_>, desired: &Value, live: &Value) -> bool {
    if desired == live {
        return true;
    }
    match (desired, live) {
        (Value::Number(desired), Value::Number(live)) => {
            // Integers were compared exactly above; this is 1.0 against 1.
            (desired.is_f64() || live.is_f64()) && desired.as_f64() == live.as_f64()
        }
        (Value::String(desired), Value::String(live)) => same_text(path, desired, live),
        (Value::String(text), Value::Number(number)) | (Value::Number(number), Value::String(text)) => {
            is_quantity(path) && equal(quantity, text, &number.to_string())
        }
        _ => false,
    }
}

fn same_text(path: &Path<'_>, desired: &str, live: &str) -> bool {
    if is_quantity(path) {
        return equal(quantity, desired, live);
    }
    if path.upwards().any(|segment| VERBATIM.contains(&segment)) {
        return false;
    }
    equal(duration, desired, live) || equal(address, desired, live)
}

fn equal<T: PartialEq>(parse: impl Fn(&str) -> Option<T>, left: &str, right: &str) -> bool {
    parse(left).is_some_and(|left| parse(right) == Some(left))
}

fn is_quantity(path: &Path<'_>) -> bool {
    QUANTITY_MAPS.contains(&path.parent_name()) || QUANTITY_FIELDS.contains(&path.leaf())
}

/// Value of a resource quantity in billionths. `None` when it is none, or finer or larger than Kubernetes computes.
///
/// Grammar: `k8s.io/apimachinery/pkg/api/resource`, Quantity.
fn quantity(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (power10, power2) = match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        exponent => (exponent.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?, 0),
    };
    scaled(number, power10.checked_add(9)?)?.checked_mul(1 << power2)
}

/// `number * 10^power` as an integer; `None` when it is none.
fn scaled(number: &str, power: i32) -> Option<i128> {
    let (negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    if (whole.is_empty() && fraction.is_empty() && !digits.contains('0'))
        || ![whole, fraction].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return None;
    }
    let mantissa = format!("0{whole}{fraction}").parse::<i128>().ok()?;
    let shift = power.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let factor = 10_i128.checked_pow(shift.unsigned_abs())?;
    let value = if shift >= 0 {
        mantissa.checked_mul(factor)?
    } else if mantissa % factor == 0 {
        mantissa / factor
    } else {
        return None;
    };
    Some(if negative { -value } else { value })
}

/// Nanoseconds of a Go duration, `1h0m30.5s`. `None` when it is none.
fn duration(text: &str) -> Option<i128> {
    let mut rest = text;
    let mut total = 0_i128;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '.'))?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| matches!(c, '0'..='9' | '.')).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (factor, power) = match unit {
            "ns" => (1, 0),
            "us" | "µs" => (1, 3),
            "ms" => (1, 6),
            "s" => (1, 9),
            "m" => (60, 9),
            "h" => (3600, 9),
            _ => return None,
        };
        total = total.checked_add(scaled(number, power)?.checked_mul(factor)?)?;
        rest = after;
    }
    Some(total)
}

/// An IP address, or one with a prefix length.
fn address(text: &str) -> Option<(IpAddr, Option<u8>)> {
    match text.split_once('/') {
        Some((address, prefix)) => Some((address.parse().ok()?, Some(prefix.parse().ok()?))),
        None => Some((text.parse().ok()?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn same_at(segments: &[&str], desired: &str, live: &str) -> bool {
        fn down(path: Option<&Path<'_>>, segments: &[&str], desired: &Value, live: &Value) -> bool {
            match segments.split_first() {
                Some((first, rest)) => {
                    let path = path.map_or_else(|| Path::root(first), |parent| parent.child(first));
                    down(Some(&path), rest, desired, live)
                }
                None => same(path.unwrap(), desired, live),
            }
        }
        down(None, segments, &json!(desired), &json!(live))
    }

    #[test]
    fn compares_quantities_by_value() {
        let memory = ["spec", "template", "spec", "containers", "resources", "limits", "memory"];
        for (desired, live) in [
            ("1Gi", "1073741824"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("1E", "1000P"),
            ("1E3", "1000"),
            ("100n", "0.1u"),
            (".5", "500m"),
            ("1.", "1"),
            ("-1", "-1000m"),
            ("+1", "1"),
            ("0", "0.000"),
        ] {
            assert!(same_at(&memory, desired, live), "{desired} {live}");
        }
        for (desired, live) in [("1Gi", "1G"), ("1", "1m"), ("x", "y"), (".", "0"), ("", "0"), ("1e", "1")] {
            assert!(!same_at(&memory, desired, live), "{desired} {live}");
        }
        assert!(same_at(&["spec", "volumes", "emptyDir", "sizeLimit"], "1Gi", "1024Mi"));
    }

    #[test]
    fn does_not_take_a_version_for_a_quantity() {
        assert!(!same_at(&["spec", "version"], "1.30", "1.3"));
    }

    #[test]
    fn compares_durations_and_addresses_by_value() {
        assert!(same_at(&["spec", "interval"], "60s", "1m0s"));
        assert!(same_at(&["spec", "interval"], "1.5h", "1h30m"));
        assert!(!same_at(&["spec", "interval"], "60s", "60ms"));
        assert!(same_at(&["spec", "clusterIP"], "fd00:0:0::1", "fd00::1"));
        assert!(same_at(&["spec", "cidr"], "FD00::/8", "fd00::/8"));
        assert!(!same_at(&["spec", "cidr"], "10.0.0.0/8", "10.0.0.0/9"));
    }

    #[test]
    fn leaves_verbatim_text_alone() {
        for path in [
            &["data", "timeout"][..],
            &["metadata", "annotations", "timeout"],
            &["spec", "containers", "args"],
            &["spec", "containers", "env", "value"],
            &["spec", "template", "metadata", "labels", "limits"],
        ] {
            assert!(!same_at(path, "60s", "1m"), "{path:?}");
            assert!(!same_at(path, "::1", "0::1"), "{path:?}");
        }
    }
}
