//! The few rules of JavaScript that PM2's outside depends on: what is true, how a value becomes text.

use serde_json::Value;

/// Whether JavaScript takes the value for true in a condition.
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64().is_some_and(|n| n != 0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// `String(value)`.
pub fn to_text(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => number(n),
        Value::String(s) => s.clone(),
        Value::Array(items) => items
            .iter()
            .map(|v| if v.is_null() { String::new() } else { to_text(v) })
            .collect::<Vec<_>>()
            .join(","),
        Value::Object(_) => "[object Object]".into(),
    }
}

/// Whether `value == '[object Object]'` holds in JavaScript: PM2's mark for what an environment can't carry.
pub fn is_object_text(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::String(s) => s == "[object Object]",
        Value::Array(items) => items.len() == 1 && is_object_text(&items[0]),
        _ => false,
    }
}

/// A number as JavaScript prints it: `12` for `12.0`, `1e+21`, `1e-7`.
pub fn number(n: &serde_json::Number) -> String {
    if n.is_f64() {
        float(n.as_f64().unwrap_or(f64::NAN))
    } else {
        n.to_string()
    }
}

/// A double as JavaScript prints it.
pub fn float(n: f64) -> String {
    if n == 0.0 {
        return "0".into();
    }
    if n.is_infinite() {
        return if n > 0.0 {
            "Infinity".into()
        } else {
            "-Infinity".into()
        };
    }
    let plain = (1e-6..1e21).contains(&n.abs());
    if plain || n.is_nan() {
        // Display of f64 is the shortest text that reads back, without an exponent: the same digits as JavaScript's.
        return n.to_string();
    }
    let text = format!("{n:e}");
    match text.split_once('e') {
        Some((digits, exp)) if !exp.starts_with('-') => format!("{digits}e+{exp}"),
        _ => text,
    }
}

/// What `Number(text)` gives for text that a person writes as a number: decimal, with sign, fraction or exponent.
/// `None` stands for `NaN`; empty text, which JavaScript reads as 0, is `None` too.
pub fn parse_number(text: &str) -> Option<f64> {
    let text = text.trim();
    if text.is_empty()
        || !text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'))
    {
        return None;
    }
    text.parse().ok()
}

/// `parseInt(text)`: the leading whole number, whatever comes after it.
pub fn parse_int(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
    let n: i64 = digits[..end].parse().ok()?;
    Some(if text.starts_with('-') { -n } else { n })
}

/// A double as a JSON number, as an integer where JavaScript would print one.
pub fn json_number(n: f64) -> Value {
    const SAFE: f64 = 9_007_199_254_740_992.0;
    if n.fract() == 0.0 && n.abs() <= SAFE {
        Value::from(n as i64)
    } else {
        serde_json::Number::from_f64(n).map_or(Value::Null, Value::Number)
    }
}

/// The whole number of a JSON value, be it a number or text such as `"12"`. Fractions are cut.
pub fn as_int(value: &Value) -> Option<i64> {
    match value {
        Value::Number(n) => n
            .as_i64()
            .or_else(|| n.as_f64().filter(|n| n.is_finite()).map(|n| n as i64)),
        Value::String(s) => parse_number(s).map(|n| n as i64),
        _ => None,
    }
}

/// The truth of a JSON value as PM2's options spell it: `true`, `"true"`, `false`, `"false"`.
pub fn as_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        Value::String(s) => bool_text(s),
        _ => None,
    }
}

/// The same of text.
pub fn bool_text(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_print_as_in_node() {
        // Left: the double; right: what node 20 prints.
        for (n, text) in [
            (12.0, "12"),
            (0.1, "0.1"),
            (-0.0, "0"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (1e-7, "1e-7"),
            (1.25e-9, "1.25e-9"),
            (0.000001, "0.000001"),
            (123456789012345680000.0, "123456789012345680000"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(float(n), text);
        }
    }

    #[test]
    fn text_of_values() {
        assert_eq!(to_text(&json!([1, null, [2, {}]])), "1,,2,[object Object]");
        assert_eq!(to_text(&json!(null)), "null");
        assert!(is_object_text(&json!({"a": 1})) && is_object_text(&json!("[object Object]")));
        assert!(!is_object_text(&json!(["a", {}])));
    }

    #[test]
    fn integers_lead() {
        assert_eq!(parse_int("12abc"), Some(12));
        assert_eq!(parse_int("-3"), Some(-3));
        assert_eq!(parse_int("max"), None);
        assert_eq!(parse_int("99999999999999999999"), None);
        assert_eq!(as_int(&json!("1600")), Some(1600));
        assert_eq!(as_int(&json!(1.9)), Some(1));
    }
}
