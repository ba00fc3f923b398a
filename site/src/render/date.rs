//! Dates and times as text.
//!
//! Owns reading what databases hand out and printing it in a time zone of the bundled database.
//! Refuses the clock and the machine's own zone.

use std::sync::LazyLock;

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Formats of feeds.
pub(super) const RFC_2822: &str = "%a, %d %b %Y %H:%M:%S %z";
const RFC_3339_UTC: &str = "%Y-%m-%dT%H:%M:%SZ";
const RFC_3339: &str = "%Y-%m-%dT%H:%M:%S%:z";

/// A moment as it came from the database.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moment<'v> {
    /// Seconds since 1970-01-01 in UTC.
    Seconds(i64),
    /// RFC 3339, ISO 8601 or SQL text.
    Text(&'v str),
}

/// Prints a moment in `zone` by a `strftime` format.
pub(super) fn date(moment: Moment<'_>, format: &str, zone: &str) -> Result<String, String> {
    let moment = zoned(moment, zone)?;
    strtime::format(format, &moment).map_err(|error| format!("the date format `{format}` is wrong: {error}"))
}

/// Prints a moment as RFC 3339 has it: with `Z` in UTC.
pub(super) fn rfc3339(moment: Moment<'_>, zone: &str) -> Result<String, String> {
    date(moment, if zone == "UTC" { RFC_3339_UTC } else { RFC_3339 }, zone)
}

fn zoned(moment: Moment<'_>, zone: &str) -> Result<Zoned, String> {
    let zone = match zone {
        "UTC" => TimeZone::UTC,
        name => ZONES.get(name).map_err(|_| {
            format!("there is no time zone `{name}`: names are like `Europe/Berlin`, see the IANA database")
        })?,
    };
    let text = match moment {
        Moment::Seconds(seconds) => {
            return Timestamp::from_second(seconds)
                .map(|timestamp| timestamp.to_zoned(zone))
                .map_err(|_| format!("`{seconds}` is not a time in seconds since 1970: it is out of range"));
        }
        Moment::Text(text) => text.trim(),
    };
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp.to_zoned(zone));
    }
    let not_a_date = |_| {
        format!("`{text}` is not a date: `2026-01-31`, `2026-01-31 12:30:00` and `2026-01-31T12:30:00Z` are")
    };
    // A day without a time is that day in every zone.
    if text.len() <= "2026-01-31".len()
        && let Ok(day) = text.parse::<Date>()
    {
        return day.to_zoned(zone).map_err(not_a_date);
    }
    let time: DateTime = text.parse().map_err(not_a_date)?;
    time.to_zoned(TimeZone::UTC).map(|utc| utc.with_time_zone(zone)).map_err(not_a_date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_of_a_moment_prints_in_the_zone() {
        let format = "%Y-%m-%d %H:%M %Z";
        for (moment, zone, text) in [
            (Moment::Text("2026-07-01T12:30:00Z"), "UTC", "2026-07-01 12:30 UTC"),
            (Moment::Text("2026-07-01T12:30:00Z"), "Europe/Berlin", "2026-07-01 14:30 CEST"),
            (Moment::Text("2026-01-01T12:30:00.25+02:00"), "UTC", "2026-01-01 10:30 UTC"),
            (Moment::Text("2026-07-01 12:30:00"), "UTC", "2026-07-01 12:30 UTC"),
            (Moment::Text("2026-07-01 12:30:00"), "America/New_York", "2026-07-01 08:30 EDT"),
            (Moment::Text("2026-07-01T12:30"), "UTC", "2026-07-01 12:30 UTC"),
            (Moment::Text("2026-07-01 12:30:00.123456+00"), "UTC", "2026-07-01 12:30 UTC"),
            (Moment::Text("2026-07-01"), "America/New_York", "2026-07-01 00:00 EDT"),
            (Moment::Seconds(0), "UTC", "1970-01-01 00:00 UTC"),
            (Moment::Seconds(-1), "Asia/Tokyo", "1970-01-01 08:59 JST"),
        ] {
            assert_eq!(date(moment, format, zone).as_deref(), Ok(text), "{moment:?} {zone}");
        }
        let moment = Moment::Text("2026-07-01T12:30:00Z");
        assert_eq!(rfc3339(moment, "UTC").as_deref(), Ok("2026-07-01T12:30:00Z"));
        assert_eq!(rfc3339(moment, "Asia/Kolkata").as_deref(), Ok("2026-07-01T18:00:00+05:30"));
        assert_eq!(date(moment, RFC_2822, "UTC").as_deref(), Ok("Wed, 01 Jul 2026 12:30:00 +0000"));
    }

    #[test]
    fn what_cannot_be_a_date_says_which_part_is_wrong() {
        let good = Moment::Text("2026-07-01");
        for (moment, format, zone, part) in [
            (Moment::Text("yesterday"), "%Y", "UTC", "`yesterday` is not a date"),
            (Moment::Text("2026-02-30"), "%Y", "UTC", "`2026-02-30` is not a date"),
            (Moment::Text(""), "%Y", "UTC", "`` is not a date"),
            (Moment::Text("now"), "%Y", "UTC", "`now` is not a date"),
            (Moment::Seconds(i64::MAX), "%Y", "UTC", "out of range"),
            (good, "%!", "UTC", "the date format `%!` is wrong"),
            (good, "%Y", "Europe/Berlni", "no time zone `Europe/Berlni`"),
            (good, "%Y", "", "no time zone ``"),
        ] {
            let error = date(moment, format, zone).expect_err("it must be refused");
            assert!(error.contains(part), "{error}");
        }
    }
}
