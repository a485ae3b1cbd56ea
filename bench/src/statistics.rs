//! Medians and the like.

use std::time::Duration;

/// The middle value, or the mean of the two middle ones; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(*upper);
    }
    let lower = sorted.get(sorted.len() / 2 - 1)?;
    Some(f64::midpoint(*lower, *upper))
}

/// The smallest value that a `part` of all, from 0 to 1, does not exceed; `None` of nothing.
pub fn percentile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = number(sorted.len());
    let below = (1..=sorted.len()).take_while(|rank| number(*rank) < part * count).count();
    sorted.get(below).copied()
}

/// Mean, and the standard error of the mean; `None` of fewer than two values.
pub fn mean(values: &[f64]) -> Option<(f64, f64)> {
    let count = number(values.len());
    if values.len() < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    Some((mean, (variance / count).sqrt()))
}

/// Bytes as MiB.
#[expect(clippy::cast_precision_loss, reason = "a size far below 2^52 bytes, for people")]
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "counts of tenants and objects")]
pub fn number(count: usize) -> f64 {
    count as f64
}

/// Thousandths of one processor: CPU time spent in `wall`.
pub fn millicpu(spent: Duration, wall: Duration) -> f64 {
    spent.as_secs_f64() / wall.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_hundredth_of_the_values_lies_above_the_percentile() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 0.99), Some(198.0));
        assert_eq!(percentile(&values, 0.5), Some(100.0));
        assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn equal_values_have_no_error_and_scattered_ones_have() {
        assert_eq!(mean(&[2.0, 2.0, 2.0]), Some((2.0, 0.0)));
        let (middle, error) = mean(&[1.0, 3.0]).unwrap();
        assert!((middle - 2.0).abs() < 1e-9 && (error - 1.0).abs() < 1e-9);
        assert_eq!(mean(&[1.0]), None);
    }

    #[test]
    fn one_second_of_cpu_in_a_minute_is_about_seventeen_millicpu() {
        assert!((millicpu(Duration::from_secs(1), Duration::from_mins(1)) - 16.67).abs() < 0.01);
    }
}
