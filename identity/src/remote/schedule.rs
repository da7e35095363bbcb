//! When the next fetch is due. Pure: what is random is a parameter.

use std::time::Duration;

/// Longest step of the delays after failures, seconds.
pub(crate) const BACKOFF_MAX_S: u64 = 60;
/// No issuer's `Cache-Control` makes us ask more often than this, seconds.
pub const REFRESH_MIN_S: u64 = 30;
/// The tenth part of a delay by which copies of us drift apart.
const SPREAD: u64 = 10;

/// How long to wait after `failures` failures in a row: 1 to 2 seconds after the first, twice as
/// much after each more, never over [`BACKOFF_MAX_S`]. `random` spreads it over its upper half.
pub(crate) fn backoff(failures: u32, random: u16) -> Duration {
    let step_s = 1u64.checked_shl(failures.max(1)).unwrap_or(BACKOFF_MAX_S).min(BACKOFF_MAX_S);
    let half_ms = step_s * 500;
    Duration::from_millis(half_ms + half_ms * u64::from(random) / u64::from(u16::MAX))
}

/// How long fetched keys are left alone: `refresh_s`, or what the issuer allows caches
/// (`max_age_s`) if that is shorter, at most half of the time that they are believed, never under
/// [`REFRESH_MIN_S`]. `random` makes it up to a tenth shorter.
pub(crate) fn refresh(
    refresh_s: u32,
    keys_max_age_s: u32,
    max_age_s: Option<u64>,
    random: u16,
) -> Duration {
    let wanted_s = u64::from(refresh_s.min(keys_max_age_s / 2));
    let wanted_ms = wanted_s.min(max_age_s.unwrap_or(u64::MAX)) * 1000;
    let less_ms = wanted_ms / SPREAD * u64::from(random) / u64::from(u16::MAX);
    Duration::from_millis((wanted_ms - less_ms).max(REFRESH_MIN_S * 1000))
}

/// `max-age` of a `Cache-Control` header (RFC 9111), seconds.
pub(crate) fn max_age_s(cache_control: &str) -> Option<u64> {
    cache_control.split(',').find_map(|directive| {
        let (name, value) = directive.trim().split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("max-age").then(|| value.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_one_second_to_a_minute() {
        let span =
            |failures| (backoff(failures, 0).as_millis(), backoff(failures, u16::MAX).as_millis());
        assert_eq!(span(1), (1_000, 2_000));
        assert_eq!(span(2), (2_000, 4_000));
        assert_eq!(span(5), (16_000, 32_000));
        for failures in [6, 7, 63, 64, u32::MAX] {
            assert_eq!(span(failures), (30_000, 60_000), "{failures}");
        }
    }

    #[test]
    fn the_issuer_may_ask_for_shorter_but_not_for_constant_fetching() {
        let seconds = |max_age_s| refresh(300, 3600, max_age_s, 0).as_secs();
        assert_eq!(seconds(None), 300);
        assert_eq!(seconds(Some(60)), 60);
        assert_eq!(seconds(Some(900)), 300);
        assert_eq!(seconds(Some(REFRESH_MIN_S)), 30);
        assert_eq!(seconds(Some(0)), 30);
        assert_eq!(refresh(300, 60, None, 0).as_secs(), 30, "before they end");
        assert_eq!(refresh(300, 3600, None, u16::MAX).as_secs(), 270);
        assert_eq!(refresh(300, 3600, Some(30), u16::MAX).as_secs(), 30);
    }

    #[test]
    fn the_age_of_a_cache_control_is_found() {
        for (text, age) in [
            ("max-age=60", Some(60)),
            ("public, Max-Age=3600, must-revalidate", Some(3600)),
            ("private,max-age=\"5\"", Some(5)),
            ("s-maxage=10", None),
            ("no-store", None),
            ("max-age=soon", None),
            ("max-age", None),
            ("", None),
        ] {
            assert_eq!(max_age_s(text), age, "{text}");
        }
    }
}
