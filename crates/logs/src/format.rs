//! From what an app printed to what stands in its log: pure, bytes in, bytes out.

use std::sync::Arc;

use memchr::memchr;

use crate::stream::Side;

/// Appends the date of an instant, given in ms since the epoch, to a string.
pub type Stamp = Arc<dyn Fn(i64, &mut String) + Send + Sync>;

/// How a stream's text is written.
#[derive(Clone)]
pub enum Format {
    /// As it is.
    Raw,
    /// Each line begins with its date, a colon and a blank.
    Dated(Stamp),
    /// One JSON object for each piece: `message`, `timestamp`, `type`, `process_id`, `app_name`.
    Json {
        /// Formats `timestamp`.
        stamp: Stamp,
        /// The process's number in the list.
        process_id: u32,
        /// The process's name.
        app_name: String,
    },
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Raw => "Raw",
            Self::Dated(_) => "Dated",
            Self::Json { .. } => "Json",
        })
    }
}

impl Format {
    /// Is the text written as it came?
    pub(crate) fn is_raw(&self) -> bool {
        matches!(self, Self::Raw)
    }

    /// Writes `piece`, printed at `at_ms`, into `out`. `mid_line` says, and is told, whether the line before is unfinished: its rest
    /// gets no second date.
    pub(crate) fn apply(&self, side: Side, at_ms: i64, piece: &[u8], mid_line: &mut bool, out: &mut Vec<u8>) {
        match self {
            Self::Raw => out.extend_from_slice(piece),
            Self::Dated(stamp) => {
                let mut date = String::new();
                stamp(at_ms, &mut date);
                date.push_str(": ");
                dated(date.as_bytes(), piece, mid_line, out);
            }
            Self::Json {
                stamp,
                process_id,
                app_name,
            } => {
                let mut date = String::new();
                stamp(at_ms, &mut date);
                let object = serde_json::json!({
                    "message": String::from_utf8_lossy(piece),
                    "timestamp": date,
                    "type": side.short(),
                    "process_id": process_id,
                    "app_name": app_name,
                });
                out.extend_from_slice(object.to_string().as_bytes());
                out.push(b'\n');
            }
        }
    }
}

fn dated(date: &[u8], mut rest: &[u8], mid_line: &mut bool, out: &mut Vec<u8>) {
    while !rest.is_empty() {
        if !*mid_line {
            out.extend_from_slice(date);
        }
        match memchr(b'\n', rest) {
            Some(end) => {
                out.extend_from_slice(&rest[..=end]);
                rest = &rest[end + 1..];
                *mid_line = false;
            }
            None => {
                out.extend_from_slice(rest);
                rest = &[];
                *mid_line = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp() -> Stamp {
        Arc::new(|ms, out| out.push_str(&format!("T{ms}")))
    }

    fn written(format: &Format, pieces: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let mut mid_line = false;
        for (i, piece) in pieces.iter().enumerate() {
            format.apply(Side::Out, i as i64, piece, &mut mid_line, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_line_has_one_date() {
        let format = Format::Dated(stamp());
        assert_eq!(written(&format, &[b"a\nb\n"]), "T0: a\nT0: b\n");
        assert_eq!(
            written(&format, &[b"a\nhal", b"f\nc\n"]),
            "T0: a\nT0: half\nT1: c\n"
        );
        assert_eq!(written(&format, &[b"\n\n"]), "T0: \nT0: \n");
        assert_eq!(written(&format, &[b"end"]), "T0: end");
    }

    #[test]
    fn json_is_one_object_a_piece() {
        let format = Format::Json {
            stamp: stamp(),
            process_id: 7,
            app_name: "a \"b\"".into(),
        };
        assert_eq!(
            written(&format, &[b"one\ntwo\n\xff"]),
            "{\"message\":\"one\\ntwo\\n\u{fffd}\",\"timestamp\":\"T0\",\"type\":\"out\",\"process_id\":7,\"app_name\":\"a \\\"b\\\"\"}\n"
        );
    }

    proptest! {
        /// However the text is cut into pieces, taking the dates off again gives the text.
        #[test]
        fn dates_add_and_change_nothing(text in "[ab\n]{0,40}", cuts in prop::collection::vec(0usize..40, 0..6)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            pieces.push(&text.as_bytes()[from..]);
            let constant: Stamp = Arc::new(|_, out| out.push('#'));
            let out = written(&Format::Dated(constant), &pieces);
            let without: String = out.split_inclusive('\n').map(|line| line.strip_prefix("#: ").unwrap()).collect();
            prop_assert_eq!(without, text);
        }
    }
}
