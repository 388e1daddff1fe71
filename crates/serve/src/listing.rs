//! The page that lists a folder. Pure.

use crate::target::encode;
use std::fmt::Write as _;
use std::time::SystemTime;

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: String,
    /// It is a folder.
    pub(crate) folder: bool,
    /// Bytes.
    pub(crate) size: u64,
    /// When it was changed.
    pub(crate) modified: Option<SystemTime>,
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}\
table{border-collapse:collapse;width:100%}td,th{padding:.25rem .75rem;text-align:left}td+td{white-space:nowrap}\
.size{text-align:right;font-variant-numeric:tabular-nums}tbody tr:hover{background:#8881}\
@media(prefers-color-scheme:dark){body{background:#16181d;color:#d8dbe2}a{color:#7ab0ff}}";

/// The page. `path` is the folder below the root; `cut` says that it has more entries than are shown.
pub(crate) fn page(path: &str, mut entries: Vec<Entry>, cut: bool) -> String {
    entries.sort_by(|a, b| (!a.folder, &a.name).cmp(&(!b.folder, &b.name)));
    let title = escape(&match path {
        "" => "/".to_owned(),
        path => format!("/{path}/"),
    });
    let mut rows = String::new();
    if !path.is_empty() {
        rows.push_str("<tr><td><a href=\"../\">../</a></td><td class=\"size\"></td><td></td></tr>\n");
    }
    for entry in &entries {
        let slash = if entry.folder { "/" } else { "" };
        let size = if entry.folder {
            String::new()
        } else {
            size(entry.size)
        };
        let date = entry.modified.map(httpdate::fmt_http_date).unwrap_or_default();
        // Writing into text cannot fail.
        let _ = writeln!(
            rows,
            "<tr><td><a href=\"{}{slash}\">{}{slash}</a></td><td class=\"size\">{size}</td><td>{date}</td></tr>",
            encode(&entry.name),
            escape(&entry.name),
        );
    }
    let more = if cut {
        "<p>There is more in this folder than this page shows.</p>\n"
    } else {
        ""
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
<title>Index of {title}</title><style>{STYLE}</style></head>\n<body><h1>Index of {title}</h1>\n<table>\
<thead><tr><th>Name</th><th class=\"size\">Size</th><th>Last modified</th></tr></thead>\n<tbody>\n{rows}</tbody></table>\n{more}</body></html>\n"
    )
}

fn size(bytes: u64) -> String {
    let mut amount = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            return if unit == "B" {
                format!("{bytes} B")
            } else {
                format!("{amount:.1} {unit}")
            };
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} TiB")
}

/// For the text of a page.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_do_no_harm_and_links_work() {
        let entry = |name: &str, folder, size| Entry {
            name: name.into(),
            folder,
            size,
            modified: None,
        };
        let text = page(
            "a<b",
            vec![
                entry("z", false, 5),
                entry("<script>%41 \"x\"", false, 3 << 20),
                entry("y", true, 0),
            ],
            true,
        );
        assert!(text.contains("Index of /a&lt;b/"));
        assert!(!text.contains("<script>"));
        assert!(text.contains("href=\"%3Cscript%3E%2541%20%22x%22\">&lt;script&gt;%41 &quot;x&quot;</a>"));
        assert!(text.contains("3.0 MiB") && text.contains("5 B") && text.contains("more in this folder"));
        let at = |part: &str| text.find(part).unwrap();
        assert!(
            at("../") < at("y/") && at("y/") < at("&lt;script"),
            "folders first"
        );
        assert!(!page("", Vec::new(), false).contains("../"));
    }
}
