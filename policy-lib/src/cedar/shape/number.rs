//! Exact numbers: JSON number text to Cedar's 64-bit integers and four-place
//! decimals. What does not fit exactly is no number here; nothing is rounded.

/// Places after the point of a Cedar decimal.
const DECIMAL_PLACES: i32 = 4;
/// Largest power of ten that a 128-bit integer holds.
const MAX_POWER_OF_TEN: u32 = 38;

/// The integer that `text` names exactly, if it is within 64 bits.
pub(super) fn long(text: &str) -> Option<i64> {
    scaled(text, 0)
}

/// The decimal that `text` names exactly, in ten-thousandths.
pub(super) fn ten_thousandths(text: &str) -> Option<i64> {
    scaled(text, DECIMAL_PLACES)
}

/// A measured ratio in ten-thousandths, rounded; not a number counts as the most.
pub(super) fn ratio_ten_thousandths(ratio: f64) -> i64 {
    if !ratio.is_finite() {
        return i64::MAX;
    }
    // A cast from float saturates, which is wanted.
    (ratio * 10_000.0).round() as i64
}

/// The text that Cedar's `decimal` constructor takes.
pub(super) fn decimal_text(ten_thousandths: i64) -> String {
    let sign = if ten_thousandths < 0 { "-" } else { "" };
    let size = ten_thousandths.unsigned_abs();
    format!("{sign}{}.{:04}", size / 10_000, size % 10_000)
}

/// `text * 10^places`, if that is an integer within 64 bits.
fn scaled(text: &str, places: i32) -> Option<i64> {
    let (digits, exponent) = digits_and_exponent(text)?;
    if digits == 0 {
        return Some(0);
    }
    let exponent = exponent.checked_add(places)?;
    let size = exponent.unsigned_abs();
    if size > MAX_POWER_OF_TEN {
        return None;
    }
    let power = 10_i128.pow(size);
    let value = if exponent >= 0 {
        digits.checked_mul(power)?
    } else if digits % power == 0 {
        digits / power
    } else {
        return None;
    };
    i64::try_from(value).ok()
}

/// The number as `digits * 10^exponent`.
fn digits_and_exponent(text: &str) -> Option<(i128, i32)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}").parse::<i128>().ok()?;
    let places = i32::try_from(fraction.len()).ok()?;
    Some((digits, exponent.checked_sub(places)?))
}

#[cfg(test)]
mod tests {
    use super::{decimal_text, long, ratio_ten_thousandths, ten_thousandths};

    #[test]
    fn integers_are_exact_or_nothing() {
        assert_eq!(long("0"), Some(0));
        assert_eq!(long("-0"), Some(0));
        assert_eq!(long("5.0"), Some(5));
        assert_eq!(long("1e3"), Some(1000));
        assert_eq!(long("1200E-2"), Some(12));
        assert_eq!(long("127.5"), None);
        assert_eq!(long("9223372036854775807"), Some(i64::MAX));
        assert_eq!(long("9223372036854775808"), None);
        assert_eq!(long("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(long("1e400"), None);
        assert_eq!(long("0e99999999"), Some(0));
        assert_eq!(long("1e99999999999"), None);
    }

    #[test]
    fn decimals_have_four_places_at_most() {
        assert_eq!(ten_thousandths("127.5"), Some(1_275_000));
        assert_eq!(ten_thousandths("0.0001"), Some(1));
        assert_eq!(ten_thousandths("0.00001"), None);
        assert_eq!(ten_thousandths("1e-4"), Some(1));
        assert_eq!(ten_thousandths("922337203685477.5807"), Some(i64::MAX));
        assert_eq!(ten_thousandths("922337203685477.5808"), None);
        assert_eq!(ten_thousandths("7"), Some(70_000));
        assert_eq!(ten_thousandths("1.50000000000000000000000000000000000000000"), Some(15_000));
    }

    #[test]
    fn decimal_text_is_what_cedar_reads() {
        assert_eq!(decimal_text(1_275_000), "127.5000");
        assert_eq!(decimal_text(-1), "-0.0001");
        assert_eq!(decimal_text(i64::MIN), "-922337203685477.5808");
    }

    #[test]
    fn a_ratio_that_is_no_number_counts_as_the_most() {
        assert_eq!(ratio_ten_thousandths(f64::NAN), i64::MAX);
        assert_eq!(ratio_ten_thousandths(f64::INFINITY), i64::MAX);
        assert_eq!(ratio_ten_thousandths(1.23456), 12_346);
    }
}
