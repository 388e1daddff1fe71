//! Amounts of memory in the lists.

/// Bytes as PM2 shows them: one decimal, but for single bytes: `26.9mb`, `3.0mb`, `500b`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kb", "mb", "gb", "tb"];
    if bytes < 1024 {
        return format!("{bytes}b");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = next;
    }
    format!("{amount:.1}{unit}")
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0b"),
            (500, "500b"),
            (1024, "1.0kb"),
            (151_552, "148.0kb"),
            (3 << 20, "3.0mb"),
            (28_206_694, "26.9mb"),
            (3 << 29, "1.5gb"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX), "16777216.0tb");
    }
}
