//! When a quota is full again.

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Span as Step, Timestamp, ToSpan as _, Zoned};
use serde::{Deserialize, Serialize};

/// Where a counter's window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// With the session.
    Session,
    /// After so many milliseconds.
    Sliding {
        /// Length of the window in milliseconds.
        ms: u64,
    },
    /// At a moment that the calendar says.
    Calendar {
        /// When it began, Unix milliseconds: part of the counter's name.
        start_ms: i64,
        /// When it ends, Unix milliseconds.
        end_ms: i64,
    },
}

/// What a bundle says of a window, before a call gives it its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Span(Kind);

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Session,
    Sliding { ms: u64 },
    Calendar { unit: Unit, zone: TimeZone },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Hour,
    Day,
    Week,
    Month,
}

const SECOND_MS: u64 = 1_000;
/// Longest sliding window: a year. Longer ones are the calendar's.
pub const SLIDING_MAX_MS: u64 = 366 * 86_400 * SECOND_MS;

impl Span {
    /// Reads `session`, `<n>s|m|h|d`, `second|minute|hour|day|week` and
    /// `calendar hour|day|week|month`; `zone` is an IANA name, for the calendar alone.
    #[must_use]
    pub fn parse(per: &str, zone: Option<&str>) -> Option<Self> {
        if let Some(unit) = per.strip_prefix("calendar ") {
            let zone = zone_of(zone.unwrap_or("UTC"))?;
            return Some(Self(Kind::Calendar { unit: Unit::parse(unit)?, zone }));
        }
        if zone.is_some() {
            return None;
        }
        if per == "session" {
            return Some(Self(Kind::Session));
        }
        let ms = sliding_ms(per)?;
        (1..=SLIDING_MAX_MS).contains(&ms).then_some(Self(Kind::Sliding { ms }))
    }

    /// The window that a call at `now_ms` (Unix milliseconds) falls in.
    #[must_use]
    pub fn at(&self, now_ms: i64) -> Window {
        match &self.0 {
            Kind::Session => Window::Session,
            Kind::Sliding { ms } => Window::Sliding { ms: *ms },
            Kind::Calendar { unit, zone } => {
                // A time outside the calendar falls in a window that never ends.
                let bounds = unit.bounds(now_ms, zone).unwrap_or((i64::MIN, i64::MAX));
                Window::Calendar { start_ms: bounds.0, end_ms: bounds.1 }
            }
        }
    }
}

/// The rules of every zone are built in: which day it is does not depend on the machine.
fn zone_of(name: &str) -> Option<TimeZone> {
    if name == "UTC" { Some(TimeZone::UTC) } else { TimeZoneDatabase::bundled().get(name).ok() }
}

fn sliding_ms(per: &str) -> Option<u64> {
    let seconds = match per {
        "second" => 1,
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        "week" => 7 * 86_400,
        _ => {
            let unit = per.chars().last()?;
            let count: u64 = per.strip_suffix(unit)?.parse().ok()?;
            let factor = match unit {
                's' => 1,
                'm' => 60,
                'h' => 3_600,
                'd' => 86_400,
                _ => return None,
            };
            count.checked_mul(factor)?
        }
    };
    seconds.checked_mul(SECOND_MS)
}

impl Unit {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            _ => return None,
        })
    }

    /// Start and end of the period around `now_ms`. A day has 23, 24 or 25 hours.
    fn bounds(self, now_ms: i64, zone: &TimeZone) -> Option<(i64, i64)> {
        let now = Timestamp::from_millisecond(now_ms).ok()?.to_zoned(zone.clone());
        if self == Self::Hour {
            let hour = 3_600_000;
            let offset_ms = i64::from(now.offset().seconds()) * 1_000;
            let start = now_ms - (now_ms + offset_ms).rem_euclid(hour);
            return Some((start, start.checked_add(hour)?));
        }
        let date = now.date();
        let (first, step): (Date, Step) = match self {
            Self::Hour | Self::Day => (date, 1.day()),
            Self::Week => {
                let since_monday = i64::from(date.weekday().to_monday_zero_offset());
                (date.checked_sub(since_monday.days()).ok()?, 1.week())
            }
            Self::Month => (date.first_of_month(), 1.month()),
        };
        let start = ms_of(&first.to_zoned(zone.clone()).ok()?);
        let end = ms_of(&first.checked_add(step).ok()?.to_zoned(zone.clone()).ok()?);
        Some((start, end))
    }
}

fn ms_of(moment: &Zoned) -> i64 {
    moment.timestamp().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn calendar(per: &str, zone: &str, now: &str) -> (String, String) {
        match Span::parse(per, Some(zone)).unwrap().at(at(now)) {
            Window::Calendar { start_ms, end_ms } => {
                let text = |ms| Timestamp::from_millisecond(ms).unwrap().to_string();
                (text(start_ms), text(end_ms))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn windows_are_read_or_refused() {
        let sliding = |per: &str| Span::parse(per, None).map(|span| span.at(0));
        assert_eq!(sliding("session"), Some(Window::Session));
        assert_eq!(sliding("90s"), Some(Window::Sliding { ms: 90_000 }));
        assert_eq!(sliding("day"), Some(Window::Sliding { ms: 86_400_000 }));
        assert!(sliding("366d").is_some() && sliding("367d").is_none());
        for bad in [
            "",
            "s",
            "0s",
            "-1s",
            "1y",
            "18446744073709551615d",
            "1 s",
            "calendar",
            "calendar year",
        ] {
            assert_eq!(sliding(bad), None, "{bad}");
        }
        assert_eq!(Span::parse("calendar day", Some("Mars/Olympus")), None);
        assert_eq!(Span::parse("1d", Some("UTC")), None, "a duration has no zone");
    }

    #[test]
    fn a_day_begins_where_its_zone_is() {
        let (start, end) = calendar("calendar day", "Europe/Berlin", "2026-07-01T23:30:00Z");
        assert_eq!((&*start, &*end), ("2026-07-01T22:00:00Z", "2026-07-02T22:00:00Z"));
        // Clocks go forward on this day: it has 23 hours.
        let (start, end) = calendar("calendar day", "Europe/Berlin", "2026-03-29T12:00:00Z");
        assert_eq!((&*start, &*end), ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"));
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        let (start, end) = calendar("calendar week", "UTC", "2026-11-22T23:59:59Z");
        assert_eq!((&*start, &*end), ("2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"));
        let (start, end) = calendar("calendar month", "UTC", "2028-02-29T00:00:00Z");
        assert_eq!((&*start, &*end), ("2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"));
        let (start, end) = calendar("calendar hour", "Asia/Kolkata", "2026-01-01T00:45:00Z");
        assert_eq!((&*start, &*end), ("2026-01-01T00:30:00Z", "2026-01-01T01:30:00Z"));
    }

    #[test]
    fn a_period_ends_where_the_next_begins() {
        let span = Span::parse("calendar day", Some("America/New_York")).unwrap();
        let mut now_ms = at("2026-01-01T05:00:00Z");
        for _ in 0..800 {
            let Window::Calendar { start_ms, end_ms } = span.at(now_ms) else { panic!() };
            assert_eq!(start_ms, now_ms);
            assert_eq!(span.at(end_ms - 1), span.at(now_ms));
            now_ms = end_ms;
        }
    }
}
