//! Makes servers do things: who may ask, what is asked of whom, and how it ended.
//!
//! Every action is checked here (role, target, plan, channel), goes through the one link of its server, and is written to
//! the audit trail with its end. Nothing is queued for a server that is not reachable: it is refused at once.

mod ask;
mod routes;

pub use routes::router;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api::ApiError;
use crate::auth::{Member, Role};
use crate::clock::iso;
use crate::ids::ServerId;
use crate::live::bucket::Bucket;
use crate::live::link::{ActionError, Output, Request};
use crate::state::AppState;
use crate::store::catalog::AuditEntry;

/// How an action ended.
#[derive(Debug)]
pub struct Ended {
    /// Names it in the audit trail.
    pub id: String,
    /// What came of it.
    pub outcome: Result<Value, ActionError>,
    /// How long it took.
    pub took: Duration,
}

/// An action that may be carried out: its asker may, and its target is there.
#[derive(Debug)]
pub struct Permitted {
    member: Member,
    server: ServerId,
    server_name: String,
    request: Request,
}

/// Looks whether `member` may ask this of that server now.
pub async fn permit(
    state: &AppState,
    member: Member,
    server: ServerId,
    request: Request,
) -> Result<Permitted, ApiError> {
    member.require(Role::Developer)?;
    let asked = request.clone();
    let server_name = state
        .live
        .bucket(member.bucket.id)
        .ask(move |bucket| check(bucket, server, &asked))
        .await
        .map_err(|_| ApiError::not_found("bucket"))??;
    Ok(Permitted {
        member,
        server,
        server_name,
        request,
    })
}

/// Whether the target of `request` is there and covered by the plan; the name of its server.
fn check(bucket: &Bucket, server: ServerId, request: &Request) -> Result<String, ApiError> {
    let server = bucket
        .server(server)
        .filter(|s| !s.is_hidden())
        .ok_or_else(|| ApiError::not_found("server"))?;
    let held_back = || ApiError::forbidden("this process is not monitored: plan limit");
    match (request.pm_id(), request.app()) {
        (Some(pm_id), _) => match server.entry(pm_id) {
            None => return Err(ApiError::not_found("process")),
            Some((_, true)) => return Err(held_back()),
            Some((_, false)) => {}
        },
        // What a host hides is not known here: it says itself whether there is such an app.
        (None, Some(_)) if request.is_for_the_hidden() => {}
        (None, Some(app)) => {
            if !server.processes().any(|p| p.facts.name == app) {
                let known = server.held_back().any(|p| p.facts.name == app);
                return Err(if known {
                    held_back()
                } else {
                    ApiError::not_found("app")
                });
            }
        }
        (None, None) => {}
    }
    Ok(server.name().to_owned())
}

/// Carries it out and waits for its end, for as long as such a request may take; what it says meanwhile goes to `output`.
pub async fn run(state: &AppState, action: Permitted, output: Option<Output>) -> Ended {
    let Permitted {
        member,
        server,
        server_name,
        request,
    } = action;
    let id = hex::encode(crate::ids::random::<8>());
    let begun = Instant::now();
    let what = request.name().to_owned();
    let target = match (request.app(), request.pm_id()) {
        (Some(app), Some(pm_id)) => format!("{server_name}/{app}/{pm_id}"),
        (Some(app), None) => format!("{server_name}/{app}"),
        (None, _) => match &request {
            Request::Module { name, .. } => format!("{server_name}/{name}"),
            _ => server_name,
        },
    };
    let bucket = state.live.bucket(member.bucket.id);
    let outcome = bucket
        .command(server, request, member.user.email.clone(), output)
        .await;
    let took = begun.elapsed();
    let entry = AuditEntry {
        bucket: member.bucket.id,
        at_ms: state.now_ms(),
        who: member.user.email,
        what,
        target,
        outcome: outcome.as_ref().err().map_or_else(|| "ok".to_owned(), ToString::to_string),
        detail: json!({ "id": id, "server": server, "took_ms": took.as_millis() as u64, "at": iso(state.now_ms()) })
            .to_string(),
    };
    crate::audit::record(state, entry).await;
    Ended { id, outcome, took }
}
