//! Dates in day.js patterns (`log_date_format`), and ISO 8601 as JavaScript writes it.
//!
//! A pattern is compiled once. The clock and the time zone are the caller's; `TimeZone::system()` gives the host's.

use std::fmt::Write;

pub use jiff::tz::TimeZone;

/// A compiled day.js pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    finest: Unit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Token(Token),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Year4,
    Year2,
    Month,
    Month2,
    MonthShort,
    MonthLong,
    Day,
    Day2,
    Weekday,
    WeekdayMin,
    WeekdayShort,
    WeekdayLong,
    Hour,
    Hour2,
    Hour12,
    Hour12Two,
    Meridiem,
    MeridiemUpper,
    Minute,
    Minute2,
    Second,
    Second2,
    Millis,
    Zone,
    ZoneBare,
}

/// How long a formatted text stays right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Minute,
    Second,
    Millisecond,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

impl Pattern {
    /// Compiles a pattern. Every text is one: what is no token stands for itself.
    pub fn new(pattern: &str) -> Pattern {
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            let (part, len) = next_part(rest, first);
            match (parts.last_mut(), part) {
                (Some(Part::Text(text)), Part::Text(more)) => text.push_str(&more),
                (_, part) => parts.push(part),
            }
            rest = &rest[len..];
        }
        let finest = parts
            .iter()
            .map(|part| match part {
                Part::Token(Token::Millis) => Unit::Millisecond,
                Part::Token(Token::Second | Token::Second2) => Unit::Second,
                _ => Unit::Minute,
            })
            .max()
            .unwrap_or(Unit::Minute);
        Pattern { parts, finest }
    }

    /// Appends the text of an epoch time in ms. A time outside years -9999 to 9999 reads `Invalid Date`.
    pub fn write(&self, at_ms: i64, zone: &TimeZone, out: &mut String) {
        let Ok(timestamp) = jiff::Timestamp::from_millisecond(at_ms) else {
            out.push_str("Invalid Date");
            return;
        };
        let offset = zone.to_offset(timestamp);
        let time = offset.to_datetime(timestamp);
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Token(token) => write_token(*token, time, offset.seconds(), out),
            }
        }
    }

    /// The text of an epoch time in ms.
    pub fn format(&self, at_ms: i64, zone: &TimeZone) -> String {
        let mut out = String::new();
        self.write(at_ms, zone, &mut out);
        out
    }
}

/// A pattern and a zone with the last text kept, for the many lines that share a second.
#[derive(Clone, Debug)]
pub struct Formatter {
    pattern: Pattern,
    zone: TimeZone,
    text: String,
    tick: Option<i64>,
}

impl Formatter {
    /// A formatter for one pattern in one zone.
    pub fn new(pattern: &str, zone: TimeZone) -> Formatter {
        Formatter {
            pattern: Pattern::new(pattern),
            zone,
            text: String::new(),
            tick: None,
        }
    }

    /// The text of an epoch time in ms; computed anew only when the pattern can show the difference.
    pub fn format(&mut self, at_ms: i64) -> &str {
        let tick = match self.pattern.finest {
            Unit::Millisecond => at_ms,
            Unit::Second => at_ms.div_euclid(1000),
            // Zone offsets change on whole minutes, so within one nothing else moves.
            Unit::Minute => at_ms.div_euclid(60_000),
        };
        if self.tick != Some(tick) {
            self.text.clear();
            self.pattern.write(at_ms, &self.zone, &mut self.text);
            self.tick = Some(tick);
        }
        &self.text
    }
}

/// `Date.prototype.toISOString`: `2026-11-22T23:00:00.000Z`; `Invalid Date` where JavaScript would throw.
pub fn iso(at_ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(at_ms) {
        Ok(at) => format!("{at:.3}"),
        Err(_) => "Invalid Date".into(),
    }
}

/// What comes next: `[escaped]` text, a token (the longest that fits), or one character of text.
fn next_part(rest: &str, first: char) -> (Part, usize) {
    if first == '['
        && let Some(end) = rest.find(']').filter(|end| *end > 1)
    {
        return (Part::Text(rest[1..end].to_owned()), end + 1);
    }
    let run = |max: usize| rest.bytes().take(max).take_while(|b| *b == first as u8).count();
    let token = match first {
        'Y' => match run(4) {
            4 => Some((Token::Year4, 4)),
            3 => Some((Token::ZoneBare, 3)), // day.js takes every token it has no meaning for as ZZ
            2 => Some((Token::Year2, 2)),
            _ => None,
        },
        'M' => Some(one_of(
            run(4),
            [Token::Month, Token::Month2, Token::MonthShort, Token::MonthLong],
        )),
        'D' => Some(one_of(run(2), [Token::Day, Token::Day2])),
        'd' => Some(one_of(
            run(4),
            [
                Token::Weekday,
                Token::WeekdayMin,
                Token::WeekdayShort,
                Token::WeekdayLong,
            ],
        )),
        'H' => Some(one_of(run(2), [Token::Hour, Token::Hour2])),
        'h' => Some(one_of(run(2), [Token::Hour12, Token::Hour12Two])),
        'a' => Some((Token::Meridiem, 1)),
        'A' => Some((Token::MeridiemUpper, 1)),
        'm' => Some(one_of(run(2), [Token::Minute, Token::Minute2])),
        's' => Some(one_of(run(2), [Token::Second, Token::Second2])),
        'S' if run(3) == 3 => Some((Token::Millis, 3)),
        'Z' => Some(one_of(run(2), [Token::Zone, Token::ZoneBare])),
        _ => None,
    };
    match token {
        Some((token, len)) => (Part::Token(token), len),
        None => (Part::Text(first.to_string()), first.len_utf8()),
    }
}

fn one_of<const N: usize>(len: usize, tokens: [Token; N]) -> (Token, usize) {
    (tokens[len - 1], len)
}

fn write_token(token: Token, time: jiff::civil::DateTime, offset_s: i32, out: &mut String) {
    let month = MONTHS[time.month() as usize - 1];
    let weekday = time.weekday().to_sunday_zero_offset();
    let day_name = WEEKDAYS[weekday as usize];
    let hour12 = if time.hour() % 12 == 0 {
        12
    } else {
        time.hour() % 12
    };
    let two = |out: &mut String, n: i8| {
        out.push((b'0' + (n / 10) as u8) as char);
        out.push((b'0' + (n % 10) as u8) as char);
        Ok(())
    };
    // Writing into a String never fails.
    let _ = match token {
        Token::Year4 => write!(out, "{:04}", time.year()),
        Token::Year2 => write!(out, "{:02}", time.year().rem_euclid(100)),
        Token::Month => write!(out, "{}", time.month()),
        Token::MonthShort => write!(out, "{}", &month[..3]),
        Token::MonthLong => write!(out, "{month}"),
        Token::Day => write!(out, "{}", time.day()),
        Token::Weekday => write!(out, "{weekday}"),
        Token::WeekdayMin => write!(out, "{}", &day_name[..2]),
        Token::WeekdayShort => write!(out, "{}", &day_name[..3]),
        Token::WeekdayLong => write!(out, "{day_name}"),
        Token::Hour => write!(out, "{}", time.hour()),
        Token::Hour12 => write!(out, "{hour12}"),
        Token::Meridiem => write!(out, "{}", if time.hour() < 12 { "am" } else { "pm" }),
        Token::MeridiemUpper => write!(out, "{}", if time.hour() < 12 { "AM" } else { "PM" }),
        Token::Minute => write!(out, "{}", time.minute()),
        Token::Second => write!(out, "{}", time.second()),
        Token::Millis => write!(out, "{:03}", time.subsec_nanosecond() / 1_000_000),
        Token::Zone => write_zone(offset_s, ":", out),
        Token::ZoneBare => write_zone(offset_s, "", out),
        Token::Month2 => two(out, time.month()),
        Token::Day2 => two(out, time.day()),
        Token::Hour2 => two(out, time.hour()),
        Token::Hour12Two => two(out, hour12),
        Token::Minute2 => two(out, time.minute()),
        Token::Second2 => two(out, time.second()),
    };
}

fn write_zone(offset_s: i32, colon: &str, out: &mut String) -> std::fmt::Result {
    let minutes = offset_s.abs() / 60;
    let sign = if offset_s < 0 { '-' } else { '+' };
    write!(out, "{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    const EVERYTHING: &str =
        "YYYY|YY|YYY|Y|M|MM|MMM|MMMM|D|DD|d|dd|ddd|dddd|H|HH|h|hh|a|A|m|mm|s|ss|S|SS|SSS|Z|ZZ";

    #[test]
    fn every_token_as_day_js_writes_it() {
        // Recorded from day.js 1.11 under node 20 with TZ set.
        for (at, tz, text) in TABLE {
            assert_eq!(
                Pattern::new(EVERYTHING).format(*at, &zone(tz)),
                *text,
                "{at} {tz}"
            );
        }
    }

    #[test]
    fn text_between_tokens_as_day_js_reads_it() {
        for (pattern, text) in PATTERNS {
            assert_eq!(
                Pattern::new(pattern).format(1_700_000_000_123, &zone("Europe/Berlin")),
                *text,
                "{pattern}"
            );
        }
    }

    #[test]
    fn the_kept_text_is_never_stale() {
        let mut formatter = Formatter::new("HH:mm:ss", TimeZone::UTC);
        assert_eq!(formatter.format(999), "00:00:00");
        assert_eq!(formatter.format(1000), "00:00:01");
        assert_eq!(formatter.format(-1), "23:59:59");
        let mut formatter = Formatter::new("HH:mm SSS", TimeZone::UTC);
        assert_eq!(formatter.format(1), "00:00 001");
        assert_eq!(formatter.format(2), "00:00 002");
    }

    #[test]
    fn iso_dates() {
        assert_eq!(iso(1_700_000_000_120), "2023-11-14T22:13:20.120Z");
        assert_eq!(iso(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso(i64::MAX), "Invalid Date");
    }

    proptest! {
        #[test]
        fn no_pattern_and_no_time_makes_it_panic(pattern in ".{0,40}", at in any::<i64>()) {
            Pattern::new(&pattern).format(at, &TimeZone::UTC);
        }

        #[test]
        fn the_formatter_gives_what_the_pattern_gives(times in proptest::collection::vec(0i64..200_000, 1..40)) {
            for pattern in ["YYYY-MM-DD HH:mm:ss.SSS", "ss", "HH:mm", "[x]"] {
                let mut formatter = Formatter::new(pattern, zone("Asia/Kolkata"));
                for at in &times {
                    let plain = Pattern::new(pattern).format(*at, &zone("Asia/Kolkata"));
                    prop_assert_eq!(formatter.format(*at), plain);
                }
            }
        }
    }

    const TABLE: &[(i64, &str, &str)] = &[
        (
            1700000000123,
            "UTC",
            "2023|23|+0000|Y|11|11|Nov|November|14|14|2|Tu|Tue|Tuesday|22|22|10|10|pm|PM|13|13|20|20|S|SS|123|+00:00|+0000",
        ),
        (
            1700000000123,
            "America/New_York",
            "2023|23|-0500|Y|11|11|Nov|November|14|14|2|Tu|Tue|Tuesday|17|17|5|05|pm|PM|13|13|20|20|S|SS|123|-05:00|-0500",
        ),
        (
            1709210096007,
            "Asia/Kolkata",
            "2024|24|+0530|Y|2|02|Feb|February|29|29|4|Th|Thu|Thursday|18|18|6|06|pm|PM|4|04|56|56|S|SS|007|+05:30|+0530",
        ),
        (
            951782400000,
            "Asia/Tokyo",
            "2000|00|+0900|Y|2|02|Feb|February|29|29|2|Tu|Tue|Tuesday|9|09|9|09|am|AM|0|00|0|00|S|SS|000|+09:00|+0900",
        ),
        (
            1711846800000,
            "Europe/Berlin",
            "2024|24|+0200|Y|3|03|Mar|March|31|31|0|Su|Sun|Sunday|3|03|3|03|am|AM|0|00|0|00|S|SS|000|+02:00|+0200",
        ),
        (
            1711846799999,
            "Europe/Berlin",
            "2024|24|+0100|Y|3|03|Mar|March|31|31|0|Su|Sun|Sunday|1|01|1|01|am|AM|59|59|59|59|S|SS|999|+01:00|+0100",
        ),
        (
            1783036800000,
            "America/St_Johns",
            "2026|26|-0230|Y|7|07|Jul|July|2|02|4|Th|Thu|Thursday|21|21|9|09|pm|PM|30|30|0|00|S|SS|000|-02:30|-0230",
        ),
        (
            0,
            "UTC",
            "1970|70|+0000|Y|1|01|Jan|January|1|01|4|Th|Thu|Thursday|0|00|12|12|am|AM|0|00|0|00|S|SS|000|+00:00|+0000",
        ),
        (
            -1,
            "UTC",
            "1969|69|+0000|Y|12|12|Dec|December|31|31|3|We|Wed|Wednesday|23|23|11|11|pm|PM|59|59|59|59|S|SS|999|+00:00|+0000",
        ),
        (
            1735689599999,
            "Pacific/Auckland",
            "2025|25|+1300|Y|1|01|Jan|January|1|01|3|We|Wed|Wednesday|12|12|12|12|pm|PM|59|59|59|59|S|SS|999|+13:00|+1300",
        ),
    ];

    const PATTERNS: &[(&str, &str)] = &[
        ("YYYY-MM-DDTHH:mm:ss", "2023-11-14T23:13:20"),
        ("YYYY-MM-DD HH:mm Z", "2023-11-14 23:13 +01:00"),
        ("[at] HH[h]", "at 23h"),
        ("[]YYYY[", "[]2023["),
        ("[a[b]c] D]", "a[bc] 14]"),
        ("YYYYY", "2023Y"),
        ("DDD", "1414"),
        ("SSSS", "123S"),
        ("hhh:mmm", "1111:1313"),
        ("YYYY asdsd asd", "2023 pm202202 pm202"),
        ("dddd D. MMMM YYYY, h:mm a", "Tuesday 14. November 2023, 11:13 pm"),
        ("été DD", "été 14"),
        ("x", "x"),
        ("[[YYYY]]", "[YYYY]"),
        ("MMMMM ddddd ZZZ", "November11 Tuesday2 +0100+01:00"),
        ("HH:mm:ss.SSS", "23:13:20.123"),
    ];
}
