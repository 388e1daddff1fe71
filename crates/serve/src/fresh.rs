//! Whether a client has the file already. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// `ETag`.
    pub(crate) tag: String,
    /// `Last-Modified`, in whole seconds.
    pub(crate) modified: SystemTime,
}

impl Mark {
    /// Of a file of this size that was changed at this time.
    pub(crate) fn new(modified: SystemTime, size: u64) -> Mark {
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Mark {
            tag: format!("\"{:x}-{size:x}\"", since.as_nanos()),
            modified: UNIX_EPOCH + Duration::from_secs(since.as_secs()),
        }
    }

    /// `If-None-Match` and `If-Modified-Since` say that the client has exactly this. The first one decides if both are there.
    pub(crate) fn is_known(&self, if_none_match: Option<&str>, if_modified_since: Option<&str>) -> bool {
        match (if_none_match, if_modified_since) {
            (Some(tags), _) => tags.split(',').map(str::trim).any(|tag| {
                // A weak comparison is enough for a whole file.
                tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.tag
            }),
            (None, Some(date)) => httpdate::parse_http_date(date).is_ok_and(|date| self.modified <= date),
            (None, None) => false,
        }
    }

    /// `If-Range` allows to send a part: the client has the rest of exactly this.
    pub(crate) fn allows_part(&self, if_range: Option<&str>) -> bool {
        match if_range.map(str::trim) {
            None => true,
            Some(tag) if tag.starts_with('"') => tag == self.tag,
            Some(date) => httpdate::parse_http_date(date).is_ok_and(|date| date == self.modified),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks() {
        let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        let mark = Mark::new(at, 17);
        assert_eq!(mark.tag, "\"17979cfe53f76500-11\"");
        let date = httpdate::fmt_http_date(mark.modified);
        assert_eq!(date, "Tue, 14 Nov 2023 22:13:20 GMT");
        assert!(mark.is_known(Some(&mark.tag), None));
        assert!(mark.is_known(Some(&format!("\"x\", W/{}", mark.tag)), None));
        assert!(mark.is_known(Some("*"), None) && mark.is_known(None, Some(&date)));
        assert!(!mark.is_known(Some("\"x\""), Some(&date)), "the tag decides");
        assert!(!mark.is_known(None, Some("Tue, 14 Nov 2023 22:13:19 GMT")));
        assert!(!mark.is_known(None, Some("yesterday")) && !mark.is_known(None, None));
        assert!(mark.allows_part(None) && mark.allows_part(Some(&mark.tag)) && mark.allows_part(Some(&date)));
        assert!(!mark.allows_part(Some("\"x\"")) && !mark.allows_part(Some("W/\"x\"")));
        assert_ne!(mark.tag, Mark::new(at, 18).tag);
    }
}
