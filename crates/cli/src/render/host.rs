//! The line of host metrics under the list.

use crate::style::Brush;
use serde_json::Value;

/// `host metrics | cpu: … | ram usage: …`; `None` if the daemon has no metrics.
pub(crate) fn host_line(metrics: &Value, brush: Brush) -> Option<String> {
    let metrics = metrics.as_object().filter(|map| !map.is_empty())?;
    let value = |name: &str| metrics.get(name).and_then(|m| m.get("value")).and_then(number);
    let mut parts = vec![brush.bold(brush.cyan("host metrics"))];
    if let Some(cpu) = value("CPU Usage") {
        parts.push(format!(
            "{}: {}",
            brush.bold("cpu"),
            level(cpu, "%", 30.0, 60.0, brush)
        ));
    }
    if let Some(heat) = value("CPU Temperature").filter(|heat| *heat > 0.0) {
        parts.push(format!(
            "{}: {}",
            brush.bold("temp"),
            level(heat, "º", 60.0, 80.0, brush)
        ));
    }
    if let Some(ram) = value("RAM Usage") {
        parts.push(format!(
            "{}: {}",
            brush.bold("ram usage"),
            level(ram, "%", 70.0, 90.0, brush)
        ));
    }
    for name in metrics.keys().filter_map(|key| key.strip_prefix("net:rx_5:")) {
        let rate = |direction: &str| value(&format!("net:{direction}_5:{name}")).unwrap_or(0.0);
        let (rx, tx) = (rate("rx"), rate("tx"));
        if rx > 0.0 || tx > 0.0 {
            parts.push(format!(
                "{}: ⇓ {} ⇑ {}",
                brush.bold(name),
                speed(rx, brush),
                speed(tx, brush)
            ));
        }
    }
    if let (Some(reads), Some(writes)) = (value("Disk Reads"), value("Disk Writes")) {
        parts.push(format!(
            "{}: ⇓ {} ⇑ {}",
            brush.bold("disk"),
            speed(reads, brush),
            speed(writes, brush)
        ));
    }
    for name in metrics.keys().filter_map(|key| key.strip_prefix("fs:use:")) {
        if let Some(used) = value(&format!("fs:use:{name}")).filter(|used| *used > 60.0) {
            parts.push(format!(
                "{} {}",
                brush.bold(name),
                level(used, "%", 80.0, 90.0, brush)
            ));
        }
    }
    Some(parts.join(" | "))
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => pm2::js::parse_number(text),
        other => other.as_f64(),
    }
}

fn speed(mb: f64, brush: Brush) -> String {
    level(mb, "mb/s", 10.0, 50.0, brush)
}

fn level(value: f64, unit: &str, warm: f64, hot: f64, brush: Brush) -> String {
    let text = format!("{}{unit}", pm2::js::float(value));
    match value {
        0.0 => text,
        v if v >= hot => brush.red(brush.bold(text)),
        v if v >= warm => brush.yellow(brush.bold(text)),
        _ => brush.green(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_line() {
        let m = |value: Value| json!({ "value": value, "type": "metric" });
        let metrics = json!({
            "CPU Usage": m(json!(5.5)), "CPU Temperature": m(json!(-1)), "RAM Usage": m(json!("9")), "net:rx_5:eth0": m(json!(0.1)),
            "net:tx_5:eth0": m(json!(2)), "net:rx_5:lo": m(json!(0)), "net:tx_5:lo": m(json!(0)), "Disk Reads": m(json!(0)),
            "Disk Writes": m(json!(1.5)), "fs:use:/": m(json!(61)), "fs:use:/boot": m(json!(12)),
        });
        insta::assert_snapshot!(
            host_line(&metrics, Brush { on: false }).unwrap(),
            @"host metrics | cpu: 5.5% | ram usage: 9% | eth0: ⇓ 0.1mb/s ⇑ 2mb/s | disk: ⇓ 0mb/s ⇑ 1.5mb/s | / 61%"
        );
        assert_eq!(host_line(&json!({}), Brush { on: false }), None);
        assert_eq!(host_line(&Value::Null, Brush { on: false }), None);
    }
}
