//! Sizes as Kubernetes writes them.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

// Grammar: `k8s.io/apimachinery/pkg/api/resource`, Quantity. Suffixes below one are no sizes.
const SUFFIXES: [(&str, i128); 12] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
];

/// Whole bytes, rounded down. `None` when it is no size, or larger than can be counted. Exponents (`1e3`) are not read.
pub fn bytes(quantity: &Quantity) -> Option<i64> {
    let text = quantity.0.as_str();
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|number| (number, *factor)))
        .unwrap_or((text, 1));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || !fraction.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    i64::try_from(digits.checked_mul(factor)?.checked_div(scale)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_and_nothing_else() {
        for (text, expected) in [
            ("2Gi", Some(2_147_483_648)),
            ("1.5Ki", Some(1536)),
            ("500M", Some(500_000_000)),
            ("1024", Some(1024)),
            ("-1", Some(-1)),
            ("", None),
            ("Gi", None),
            ("1.", Some(1)),
            ("much", None),
            ("1.2.3", None),
            ("9999999999Ei", None),
            ("1é", None),
        ] {
            assert_eq!(bytes(&Quantity(text.to_owned())), expected, "{text}");
        }
    }
}
