//! The clock of the command line, and times as people write them. The libraries
//! below take time as a parameter; here is where it comes from.

use jiff::Timestamp;

/// The present time in Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Unix milliseconds as RFC 3339, empty if no calendar has such a time.
pub(crate) fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|time| time.to_string()).unwrap_or_default()
}

/// A time to come, as written on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// A moment, in Unix milliseconds.
    At(i64),
    /// So many milliseconds from now.
    After(i64),
}

impl When {
    /// Reads RFC 3339 or a whole number with `s`, `m`, `h` or `d`.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Self::At(time.as_millisecond()));
        }
        let expected =
            || format!("`{text}` is no time: give `2026-12-31T00:00:00Z`, or `90d`, `12h`, `30m`");
        let unit_ms = match text.chars().last() {
            Some('s') => 1_000,
            Some('m') => 60_000,
            Some('h') => 3_600_000,
            Some('d') => 86_400_000,
            _ => return Err(expected()),
        };
        let digits = text.trim_end_matches(['s', 'm', 'h', 'd']);
        let count: i64 = digits.parse::<u32>().map_err(|_| expected())?.into();
        if text.len() != digits.len() + 1 || count == 0 {
            return Err(expected());
        }
        Ok(Self::After(count.saturating_mul(unit_ms)))
    }

    /// The moment in Unix milliseconds; a duration counts back from now.
    pub(crate) fn back_ms(self, now_ms: i64) -> i64 {
        match self {
            Self::At(ms) => ms,
            Self::After(ms) => now_ms.saturating_sub(ms),
        }
    }

    /// The moment in Unix milliseconds.
    pub(crate) fn at_ms(self, now_ms: i64) -> i64 {
        match self {
            Self::At(ms) => ms,
            Self::After(ms) => now_ms.saturating_add(ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_or_durations() {
        assert_eq!(When::parse("90d"), Ok(When::After(90 * 86_400_000)));
        assert_eq!(When::parse("1970-01-01T00:00:01Z"), Ok(When::At(1000)));
        assert_eq!(When::parse("2s").map(|when| when.at_ms(5)), Ok(2005));
        for wrong in ["", "d", "0d", "-1d", "1", "1w", "tomorrow", "1dd", "1.5h"] {
            assert!(When::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn milliseconds_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(1000), "1970-01-01T00:00:01Z");
        assert_eq!(rfc3339(i64::MAX), "");
    }
}
