//! The `Range` header. Pure.

/// Which bytes of a file are to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of them.
    All,
    /// From, and how many; at least one.
    Part { from: u64, count: u64 },
    /// None that the file has.
    Impossible,
}

/// What a `Range` header asks of a file of `size` bytes. Several ranges at once, other units and nonsense ask for all of it, as the
/// standard allows.
pub(crate) fn wanted(header: &str, size: u64) -> Wanted {
    let Some((first, last)) = header
        .trim()
        .strip_prefix("bytes=")
        .filter(|spec| !spec.contains(','))
        .and_then(|spec| spec.split_once('-'))
    else {
        return Wanted::All;
    };
    let (first, last) = (first.trim(), last.trim());
    let number = |text: &str| match text {
        "" => Some(None),
        text if text.bytes().all(|b| b.is_ascii_digit()) => Some(Some(text.parse().unwrap_or(u64::MAX))),
        _ => None,
    };
    match (number(first), number(last)) {
        (Some(Some(from)), Some(last)) => {
            let last = last.unwrap_or(u64::MAX);
            if last < from {
                return Wanted::All;
            }
            if from >= size {
                return Wanted::Impossible;
            }
            Wanted::Part {
                from,
                count: last.min(size - 1) - from + 1,
            }
        }
        (Some(None), Some(Some(0))) => Wanted::Impossible,
        (Some(None), Some(Some(count))) if size > 0 => {
            let count = count.min(size);
            Wanted::Part {
                from: size - count,
                count,
            }
        }
        (Some(None), Some(Some(_))) => Wanted::Impossible,
        _ => Wanted::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |from, count| Wanted::Part { from, count };
        for (header, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-2", part(0, 3)),
            ("bytes=5-", part(5, 5)),
            ("bytes=5-99", part(5, 5)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-99", part(0, 10)),
            ("bytes=10-", Wanted::Impossible),
            ("bytes=-0", Wanted::Impossible),
            ("bytes=99999999999999999999999-", Wanted::Impossible),
            ("bytes=3-1", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("lines=0-1", Wanted::All),
            ("", Wanted::All),
        ] {
            assert_eq!(wanted(header, 10), expected, "{header}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Impossible);
        assert_eq!(wanted("bytes=-5", 0), Wanted::Impossible);
    }

    proptest::proptest! {
        #[test]
        fn a_part_is_within_the_file(header in "bytes=[0-9]{0,21}-[0-9]{0,21}", size in 0_u64..1000) {
            if let Wanted::Part { from, count } = wanted(&header, size) {
                proptest::prop_assert!(count > 0 && from + count <= size);
            }
        }
    }
}
