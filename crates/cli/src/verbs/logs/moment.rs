//! A time as people say it, for `--since` and `--until`.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp, Zoned};

/// Ms since the epoch. How long ago (`10m`, `2h30m`, `3 days`), a time of today (`14:05`), a date, with or without a time, without a
/// zone in that of this host; `now`, `today`, `yesterday`; seconds since the epoch (`@1795398453`).
pub(super) fn parse(text: &str, now_ms: i64) -> Option<i64> {
    let now = Timestamp::from_millisecond(now_ms)
        .ok()?
        .to_zoned(TimeZone::system());
    let at = match text.trim() {
        "now" => now,
        "today" => now.start_of_day().ok()?,
        "yesterday" => now.yesterday().ok()?.start_of_day().ok()?,
        text => written(text, &now)?,
    };
    Some(at.timestamp().as_millisecond())
}

fn written(text: &str, now: &Zoned) -> Option<Zoned> {
    let zone = now.time_zone();
    if let Some(seconds) = text.strip_prefix('@') {
        return Some(
            Timestamp::from_second(seconds.parse().ok()?)
                .ok()?
                .to_zoned(zone.clone()),
        );
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.to_zoned(zone.clone()));
    }
    if text.contains('-') {
        let local: DateTime = match text.parse::<DateTime>() {
            Ok(local) => local,
            Err(_) => text.parse::<Date>().ok()?.into(),
        };
        return local.to_zoned(zone.clone()).ok();
    }
    if text.contains(':') {
        let time: Time = text.parse().ok()?;
        return now.date().to_datetime(time).to_zoned(zone.clone()).ok();
    }
    // A bare number would be anybody's guess.
    let ago: Span = text.strip_suffix("ago").unwrap_or(text).trim().parse().ok()?;
    let positive = ago
        .compare((Span::new(), SpanRelativeTo::days_are_24_hours()))
        .ok()?;
    (positive.is_gt()).then(|| now.checked_sub(ago).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_398_453_123;

    #[test]
    fn how_long_ago() {
        for (text, seconds) in [
            ("10m", 600),
            ("90s", 90),
            ("2h30m", 9000),
            ("1 hour", 3600),
            ("10 minutes ago", 600),
            ("now", 0),
        ] {
            assert_eq!(parse(text, NOW), Some(NOW - seconds * 1000), "{text}");
        }
        let day = parse("1d", NOW).unwrap();
        assert!(
            (NOW - day - 86_400_000).abs() <= 3_600_000,
            "a day may have an hour more or less"
        );
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(parse("2026-11-23T01:47:33Z", NOW), Some(1_795_398_453_000));
        assert_eq!(parse("2026-11-23T03:47:33.5+02:00", NOW), Some(1_795_398_453_500));
        assert_eq!(parse("@1795398453", NOW), Some(1_795_398_453_000));
        let local = |text: &str| {
            let at: DateTime = text.parse().unwrap();
            at.to_zoned(TimeZone::system())
                .unwrap()
                .timestamp()
                .as_millisecond()
        };
        assert_eq!(parse("2026-11-23 14:05", NOW), Some(local("2026-11-23T14:05:00")));
        assert_eq!(parse("2026-11-23", NOW), Some(local("2026-11-23T00:00:00")));
        let today = Timestamp::from_millisecond(NOW)
            .unwrap()
            .to_zoned(TimeZone::system())
            .date();
        assert_eq!(parse("14:05", NOW), Some(local(&format!("{today}T14:05:00"))));
        assert_eq!(parse("today", NOW), Some(local(&format!("{today}T00:00:00"))));
        let yesterday = today.yesterday().unwrap();
        assert_eq!(
            parse("yesterday", NOW),
            Some(local(&format!("{yesterday}T00:00:00")))
        );
    }

    #[test]
    fn what_means_nothing() {
        for text in [
            "",
            "soon",
            "10",
            "-5m",
            "25:99",
            "2026-13-01",
            "@x",
            "0s",
            "10 parsecs",
            "P9999999Y",
        ] {
            assert_eq!(parse(text, NOW), None, "{text}");
        }
    }
}
