//! `/api/bucket/:id/audit`: who did what to what, when, and how it ended. For admins: it has everybody's addresses.

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ApiError;
use crate::auth::{Member, Role};
use crate::clock::iso;
use crate::state::AppState;
use crate::store::StoreError;
use crate::store::catalog::{AuditEntry, AuditMark, AuditQuery};

/// Entries of one page at the most.
const MAX_PAGE: u32 = 500;
/// What is looked for, bytes.
const MAX_SEARCH: usize = 200;
/// The columns of an export, in their order.
const COLUMNS: [&str; 6] = ["at", "who", "what", "target", "outcome", "detail"];

/// The routes of this file.
pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/api/bucket/{id}/audit", get(page))
        .route("/api/bucket/{id}/audit/export", get(export))
}

#[derive(Deserialize)]
struct Asked {
    /// The `next` of the page before.
    before: Option<String>,
    /// Only entries with this text in them.
    #[serde(default)]
    search: String,
    limit: Option<u32>,
}

/// A mark as it travels: `1700000000000-12`.
fn written(mark: AuditMark) -> String {
    format!("{}-{}", mark.at_ms, mark.id)
}

fn read(mark: &str) -> Result<AuditMark, ApiError> {
    mark.split_once('-')
        .and_then(|(at_ms, id)| {
            Some(AuditMark {
                at_ms: at_ms.parse().ok()?,
                id: id.parse().ok()?,
            })
        })
        .ok_or_else(|| ApiError::bad_request("before is the `next` of another page, or nothing"))
}

impl Asked {
    fn query(self, member: &Member) -> Result<AuditQuery, ApiError> {
        member.require(Role::Admin)?;
        if self.search.len() > MAX_SEARCH {
            return Err(ApiError::bad_request(format!(
                "search has at most {MAX_SEARCH} bytes"
            )));
        }
        Ok(AuditQuery {
            bucket: member.bucket.id,
            before: self.before.as_deref().map(read).transpose()?,
            containing: self.search.trim().to_owned(),
            limit: self.limit.unwrap_or(100).clamp(1, MAX_PAGE),
        })
    }
}

/// `{"entries": […], "next": …}`, newest first; `next` is null on the last page.
async fn page(
    State(state): State<AppState>,
    member: Member,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, ApiError> {
    let query = asked.query(&member)?;
    let wanted = query.limit as usize;
    let found = state.catalog.audit_trail(query).await?;
    let next = (found.len() == wanted)
        .then(|| found.last().map(|(mark, _)| written(*mark)))
        .flatten();
    let entries: Vec<Value> = found
        .iter()
        .map(|(_, entry)| {
            let detail: Map<String, Value> = serde_json::from_str(&entry.detail).unwrap_or_default();
            json!({
                "at": iso(entry.at_ms),
                "who": entry.who,
                "what": entry.what,
                "target": entry.target,
                "outcome": entry.outcome,
                "detail": detail,
            })
        })
        .collect();
    Ok(Json(json!({ "entries": entries, "next": next })))
}

/// The whole trail, or what of it has the text that is looked for, as CSV (RFC 4180), newest first; read and sent
/// page by page.
async fn export(
    State(state): State<AppState>,
    member: Member,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    let mut query = asked.query(&member)?;
    query.limit = MAX_PAGE;
    let name = format!("audit-{}.csv", member.bucket.id);
    let rows = stream::try_unfold(Some(query), move |left| {
        let state = state.clone();
        async move {
            let Some(mut query) = left else { return Ok(None) };
            let found = state.catalog.audit_trail(query.clone()).await?;
            let is_first = query.before.is_none();
            let is_last = found.len() < query.limit as usize;
            query.before = found.last().map(|(mark, _)| *mark);
            let text = csv(is_first, found.iter().map(|(_, entry)| entry));
            Ok::<_, StoreError>(Some((text, (!is_last).then_some(query))))
        }
    });
    Ok((
        [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
            (
                header::CONTENT_DISPOSITION,
                format!("attachment; filename=\"{name}\""),
            ),
            (header::CACHE_CONTROL, "no-store".to_owned()),
        ],
        Body::from_stream(rows),
    )
        .into_response())
}

fn csv<'a>(with_head: bool, entries: impl Iterator<Item = &'a AuditEntry>) -> Bytes {
    let mut out = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    let head = with_head.then(|| COLUMNS.map(str::to_owned));
    let rows = entries.map(|entry| {
        [
            iso(entry.at_ms),
            inert(&entry.who),
            inert(&entry.what),
            inert(&entry.target),
            inert(&entry.outcome),
            inert(&entry.detail),
        ]
    });
    for row in head.into_iter().chain(rows) {
        // Into memory, and each row as long as the first: there is nothing that could fail.
        let _ = out.write_record(row);
    }
    out.into_inner().unwrap_or_default().into()
}

/// Spreadsheets take a cell that begins like a formula for one, whoever wrote it: names come from hosts.
fn inert(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}
