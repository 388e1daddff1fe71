//! Times as clients write them: ISO 8601, milliseconds, or date math such as `now-5m`. Pure.

use serde_json::Value;

use crate::api::ApiError;

const MINUTE: i64 = 60_000;
/// The last moment that a date of JavaScript can be, either way; nothing is computed with more.
const LAST: i64 = 8_640_000_000_000_000;

/// Reads a time, ms since 1970; one that is further away than dates reach is the last there is.
pub(crate) fn parse(value: &Value, now_ms: i64) -> Result<i64, ApiError> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|f| f as i64)),
        Value::String(text) => parse_text(text.trim(), now_ms),
        _ => None,
    }
    .map(|ms| ms.clamp(-LAST, LAST))
    .ok_or_else(|| ApiError::bad_request("a time is ISO 8601, milliseconds since 1970, or like now-5m"))
}

/// Reads a time that may be missing.
pub(crate) fn parse_or(value: Option<&Value>, now_ms: i64, missing: i64) -> Result<i64, ApiError> {
    value
        .filter(|v| !v.is_null())
        .map_or(Ok(missing), |value| parse(value, now_ms))
}

fn parse_text(text: &str, now_ms: i64) -> Option<i64> {
    if let Some(rest) = text.strip_prefix("now") {
        return Some(now_ms.saturating_add(offset(rest)?));
    }
    if let Ok(ms) = text.parse::<i64>() {
        return Some(ms);
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_millisecond());
    }
    // A date, or a date and time without a zone, is meant in UTC.
    let at = text.parse::<jiff::civil::DateTime>().ok()?;
    Some(
        at.to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_millisecond(),
    )
}

/// `-5m`, `+1d`, or nothing.
fn offset(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("-", rest) => (-1, rest),
        ("+", rest) => (1, rest),
        _ => return None,
    };
    let unit = rest.chars().last()?;
    let count: i64 = rest[..rest.len() - unit.len_utf8()].parse().ok()?;
    let ms = match unit {
        's' => 1000,
        'm' => MINUTE,
        'h' | 'H' => 60 * MINUTE,
        'd' => 24 * 60 * MINUTE,
        'w' => 7 * 24 * 60 * MINUTE,
        'M' => 30 * 24 * 60 * MINUTE,
        'y' => 365 * 24 * 60 * MINUTE,
        _ => return None,
    };
    count.checked_mul(sign * ms)
}

/// Minutes as PM2's client writes them (`before`): a number, or text.
pub(crate) fn minutes(value: Option<&Value>, missing: i64) -> Result<i64, ApiError> {
    let count = match value {
        None | Some(Value::Null) => Some(missing),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) => None,
    };
    count
        .filter(|n| (0..=10 * 365 * 24 * 60).contains(n))
        .map(|n| n * MINUTE)
        .ok_or_else(|| ApiError::bad_request("`before` is a number of minutes"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn times() {
        for (written, expected) in [
            (json!("now"), NOW),
            (json!("now-5m"), NOW - 5 * MINUTE),
            (json!("now+1d"), NOW + 24 * 60 * MINUTE),
            (json!(NOW), NOW),
            (json!("1700000000000"), NOW),
            (json!("2023-11-14T22:13:20.000Z"), NOW),
            (json!("2023-11-14T22:13:20"), NOW),
            (json!("2023-11-14"), NOW - NOW % (24 * 60 * MINUTE)),
            (json!(i64::MIN), -LAST),
            (json!(1e300), LAST),
            (json!("9223372036854775807"), LAST),
            (json!("now+9223372036854775s"), LAST),
        ] {
            assert_eq!(parse(&written, NOW).ok(), Some(expected), "{written}");
        }
        for bad in [
            json!("now-"),
            json!("now5m"),
            json!("now-5x"),
            json!("now-é"),
            json!("yesterday"),
            json!({}),
            json!(""),
        ] {
            assert!(parse(&bad, NOW).is_err(), "{bad}");
        }
    }

    #[test]
    fn minutes_as_text_or_number() {
        assert_eq!(minutes(None, 60).ok(), Some(60 * MINUTE));
        assert_eq!(minutes(Some(&json!("5")), 60).ok(), Some(5 * MINUTE));
        assert!(minutes(Some(&json!("-5")), 60).is_err());
        assert!(minutes(Some(&json!([])), 60).is_err());
    }
}
