//! Amounts as people write them: bytes with a suffix, times with a suffix, signals by name.

/// `10M` → bytes. `K`, `M`, `G` are powers of 1024; lower case is not known to PM2. A bare number is bytes.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    whole(digits)?.checked_mul(factor)
}

/// `1h`, `5m`, `10s` → milliseconds. A bare number is milliseconds.
pub fn parse_millis(text: &str) -> Option<u64> {
    let (digits, factor) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1000),
        b'm' => (&text[..text.len() - 1], 60_000),
        b'h' => (&text[..text.len() - 1], 3_600_000),
        _ => (text, 1),
    };
    whole(digits)?.checked_mul(factor)
}

/// The command line's `--watch-delay`: `4` is seconds, `4000ms` is milliseconds. Gives milliseconds.
pub fn parse_watch_delay(text: &str) -> Option<u64> {
    match text.strip_suffix("ms") {
        Some(digits) => whole(digits),
        None => whole(text)?.checked_mul(1000),
    }
}

/// Bytes as the lists show them: `26.9mb`, `0b`.
pub fn bytes_text(bytes: u64) -> String {
    let mut amount = bytes as f64;
    for unit in ["b", "kb", "mb", "gb", "tb"] {
        if amount < 1024.0 || unit == "tb" {
            let rounded = (amount * 10.0).round() / 10.0;
            return format!("{}{unit}", crate::js::float(rounded));
        }
        amount /= 1024.0;
    }
    unreachable!("the last unit takes everything")
}

/// An age as the lists show it: `119s`, `2m`, `3h`, `2D`, `1M`, `1Y`. A unit is used only above one of it.
pub fn uptime_text(millis: u64) -> String {
    let seconds = millis / 1000;
    for (unit, size) in [
        ("Y", 31_536_000),
        ("M", 2_592_000),
        ("D", 86_400),
        ("h", 3600),
        ("m", 60),
    ] {
        if seconds / size > 1 {
            return format!("{}{unit}", seconds / size);
        }
    }
    format!("{seconds}s")
}

/// Splits text on blanks; quotes keep blanks inside a word and stay out of it, also in the middle: `--flag="a b"`.
pub fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The number of a signal: `SIGTERM`, `TERM` or `15`. Linux numbers of the common architectures.
pub fn signal_number(name: &str) -> Option<i32> {
    if let Ok(n) = name.parse::<i32>() {
        return (1..=64).contains(&n).then_some(n);
    }
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    SIGNALS
        .iter()
        .find(|(signal, _)| *signal == bare)
        .map(|(_, n)| *n)
}

/// The name of a signal, `SIGTERM`.
pub fn signal_name(number: i32) -> Option<String> {
    SIGNALS
        .iter()
        .find(|(_, n)| *n == number)
        .map(|(name, _)| format!("SIG{name}"))
}

const SIGNALS: [(&str, i32); 32] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("IOT", 6),
];

fn whole(digits: &str) -> Option<u64> {
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        assert_eq!(parse_bytes("10M"), Some(10_485_760));
        assert_eq!(parse_bytes("1G"), Some(1 << 30));
        assert_eq!(parse_bytes("500"), Some(500));
        for bad in [
            "",
            "M",
            "10m",
            "1.5G",
            "-1",
            "99999999999999999999",
            "99999999999999999G",
            "1é",
        ] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
        assert_eq!(parse_millis("1h"), Some(3_600_000));
        assert_eq!(parse_millis("5m"), Some(300_000));
        assert_eq!(parse_millis("100"), Some(100));
        assert_eq!(parse_millis("1d"), None);
        assert_eq!(parse_watch_delay("4"), Some(4000));
        assert_eq!(parse_watch_delay("4000ms"), Some(4000));
    }

    #[test]
    fn texts_of_the_lists() {
        assert_eq!(bytes_text(0), "0b");
        assert_eq!(bytes_text(28_206_694), "26.9mb");
        assert_eq!(bytes_text(1 << 30), "1gb");
        assert_eq!(bytes_text(u64::MAX), "16777216tb");
        assert_eq!(uptime_text(119_999), "119s");
        assert_eq!(uptime_text(120_000), "2m");
        assert_eq!(uptime_text(7_200_000), "2h");
        assert_eq!(uptime_text(86_400_000), "24h");
        assert_eq!(uptime_text(3 * 86_400_000), "3D");
    }

    #[test]
    fn words_respect_quotes() {
        assert_eq!(
            split_words(r#"--flag="a b"  c 'd e' """#),
            ["--flag=a b", "c", "d e", ""]
        );
        assert_eq!(split_words("   "), Vec::<String>::new());
        assert_eq!(split_words("it's"), ["its"]);
    }

    #[test]
    fn signals() {
        assert_eq!(signal_number("SIGTERM"), Some(15));
        assert_eq!(signal_number("USR2"), Some(12));
        assert_eq!(signal_number("9"), Some(9));
        assert_eq!(signal_number("0"), None);
        assert_eq!(signal_number("SIGNOPE"), None);
        assert_eq!(signal_name(2).as_deref(), Some("SIGINT"));
    }
}
