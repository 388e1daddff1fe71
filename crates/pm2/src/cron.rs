//! Times at which an app is restarted: the patterns of PM2's `cron_restart`.
//!
//! Five fields, or six with seconds first; a date such as `2030-01-01T04:00:00` stands for that one time. All times are those of a time
//! zone, so a restart at three o'clock stays at three o'clock when summer time begins; a time that the change leaves out comes right
//! after it, and one that comes twice counts once.

use croner::Cron;
use croner::parser::{CronParser, Year};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use thiserror::Error;

/// When something is due.
#[derive(Clone, Debug)]
pub struct Schedule(When);

#[derive(Clone, Debug)]
enum When {
    Pattern(Box<Cron>),
    Once(DateTime),
    /// With an offset: the same moment everywhere.
    At(Timestamp),
}

/// A pattern that can't be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("\"{pattern}\": {reason}")]
pub struct CronError {
    pattern: String,
    reason: String,
}

impl Schedule {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is neither a cron pattern nor a date.
    pub fn parse(pattern: &str) -> Result<Schedule, CronError> {
        let text = pattern.trim();
        let refused = |reason: String| CronError {
            pattern: pattern.chars().take(100).collect(),
            reason,
        };
        if let Some(date) = date(text) {
            return Ok(Schedule(date));
        }
        let fields = text.split_whitespace().count();
        if !text.starts_with('@') && !(5..=6).contains(&fields) {
            let reason =
                format!("{fields} fields, 5 or 6 are needed: [second] minute hour day month weekday");
            return Err(refused(reason));
        }
        let parser = CronParser::builder().year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| refused(error.to_string()))?;
        Ok(Schedule(When::Pattern(Box::new(cron))))
    }

    /// The first time after this one (ms since the epoch); `None` if there is none.
    pub fn next_after(&self, after_ms: i64, zone: &TimeZone) -> Option<i64> {
        let after = Timestamp::from_millisecond(after_ms).ok()?;
        let next = match &self.0 {
            When::Pattern(cron) => {
                let after = Zoned::new(after, zone.clone());
                cron.find_next_occurrence(&after, false).ok()?.timestamp()
            }
            When::Once(date) => zone.to_timestamp(*date).ok()?,
            When::At(moment) => *moment,
        };
        // What lies between two milliseconds must not make a time come twice.
        let next_ms = next.as_millisecond();
        (next_ms > after_ms).then_some(next_ms)
    }
}

fn date(text: &str) -> Option<When> {
    if !text.contains('T') || !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match text.parse::<Timestamp>() {
        Ok(moment) => Some(When::At(moment)),
        Err(_) => text.parse::<DateTime>().ok().map(When::Once),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times that follow `from`, all in this zone.
    fn times(pattern: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let zone = TimeZone::get(zone).unwrap();
        let schedule = Schedule::parse(pattern).unwrap();
        let mut at = zone.to_timestamp(from.parse().unwrap()).unwrap().as_millisecond();
        let mut out = Vec::new();
        while out.len() < count {
            let Some(next) = schedule.next_after(at, &zone) else {
                break;
            };
            assert!(next > at);
            at = next;
            let shown = Timestamp::from_millisecond(next).unwrap().to_zoned(zone.clone());
            out.push(shown.strftime("%Y-%m-%d %H:%M:%S").to_string());
        }
        out
    }

    #[test]
    fn five_fields_six_fields_names_and_steps() {
        for (pattern, first, second) in [
            ("*/5 * * * *", "2026-03-10 12:05:00", "2026-03-10 12:10:00"),
            ("*/20 * * * * *", "2026-03-10 12:02:20", "2026-03-10 12:02:40"),
            ("0 4 * * *", "2026-03-11 04:00:00", "2026-03-12 04:00:00"),
            ("0 0 * * MON-FRI", "2026-03-11 00:00:00", "2026-03-12 00:00:00"),
            ("0 0 * * 0", "2026-03-15 00:00:00", "2026-03-22 00:00:00"),
            ("0 0 * * 7", "2026-03-15 00:00:00", "2026-03-22 00:00:00"),
            ("0 0 L * *", "2026-03-31 00:00:00", "2026-04-30 00:00:00"),
            // The day of the month or the day of the week, as cron has it.
            ("0 0 11 * 5", "2026-03-11 00:00:00", "2026-03-13 00:00:00"),
            ("0 0 29 FEB *", "2028-02-29 00:00:00", "2032-02-29 00:00:00"),
            ("@daily", "2026-03-11 00:00:00", "2026-03-12 00:00:00"),
        ] {
            assert_eq!(
                times(pattern, "UTC", "2026-03-10T12:02:13", 2),
                [first, second],
                "{pattern}"
            );
        }
    }

    #[test]
    fn a_date_comes_once() {
        let from = "2026-03-10T12:00:00";
        assert_eq!(
            times("2026-03-11T04:05:06", "Europe/Berlin", from, 3),
            ["2026-03-11 04:05:06"]
        );
        assert_eq!(
            times("2026-03-11T04:05:06Z", "Europe/Berlin", from, 3),
            ["2026-03-11 05:05:06"]
        );
        assert_eq!(times("2026-03-10T12:00:00", "Europe/Berlin", from, 3), [""; 0]);
    }

    #[test]
    fn what_never_comes_is_found_out_soon() {
        assert_eq!(times("0 0 31 2 *", "UTC", "2026-03-10T12:00:00", 1), [""; 0]);
    }

    /// Berlin: on 29 March 2026 two o'clock becomes three, on 25 October 2026 three o'clock becomes two again.
    #[test]
    fn summer_time() {
        let berlin = |pattern, from, count| times(pattern, "Europe/Berlin", from, count);
        assert_eq!(
            berlin("30 2 * * *", "2026-03-28T00:00:00", 3),
            [
                "2026-03-28 02:30:00",
                "2026-03-29 03:00:00",
                "2026-03-30 02:30:00"
            ],
            "left out: right after"
        );
        assert_eq!(
            berlin("30 2 * * *", "2026-10-24T12:00:00", 2),
            ["2026-10-25 02:30:00", "2026-10-26 02:30:00"],
            "twice: once"
        );
        assert_eq!(
            berlin("0 4 * * *", "2026-03-28T12:00:00", 2),
            ["2026-03-29 04:00:00", "2026-03-30 04:00:00"]
        );
        // An interval goes on through both of the two hours.
        assert_eq!(
            berlin("*/30 * * * *", "2026-10-25T01:45:00", 5)[1..4],
            [
                "2026-10-25 02:30:00",
                "2026-10-25 02:00:00",
                "2026-10-25 02:30:00"
            ]
        );
    }

    proptest::proptest! {
        /// Patterns come from files and from clients.
        #[test]
        fn no_text_makes_it_panic_and_time_goes_forward(
            pattern in "([0-9*,/?#LW-]{1,12} ){4,6}|[-0-9A-Za-z@#*/,:+.]{0,24}|([0-9]{1,2}|\\*|\\*/[0-9]{1,3}|[0-9]{1,2}-[0-9]{1,2})( ([0-9]{1,2}|\\*|L|[A-Z]{3})){4,5}",
            after_ms in proptest::prelude::any::<i64>(),
            recent_ms in 0..4_000_000_000_000_i64,
        ) {
            if let Ok(schedule) = Schedule::parse(&pattern) {
                for at in [after_ms, recent_ms] {
                    if let Some(next) = schedule.next_after(at, &TimeZone::UTC) {
                        proptest::prop_assert!(next > at);
                    }
                }
            }
        }
    }

    #[test]
    fn mistakes_name_the_pattern() {
        for bad in [
            "",
            "* * * *",
            "* * * * * * *",
            "a b c d e",
            "61 * * * *",
            "0 24 * * *",
            "0 0 * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "soon",
            "2026-13-01T00:00:00",
            "@reboot",
        ] {
            let error = Schedule::parse(bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("\"{bad}\": ")), "{error}");
        }
        assert_eq!(
            Schedule::parse("* * *").unwrap_err().to_string(),
            "\"* * *\": 3 fields, 5 or 6 are needed: [second] minute hour day month weekday"
        );
    }
}
