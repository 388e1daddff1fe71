//! What accounts and buckets look like from outside: PM2's shapes, with ours beside them.

use serde_json::{Map, Value, json};

use super::input::Origin;
use crate::auth::Role;
use crate::clock::iso;
use crate::ids::BucketId;
use crate::plans::Plan;
use crate::store::catalog::{Bucket, Invitation, MemberRecord, Token, User};

/// An account, as its owner sees it.
pub(crate) fn user(user: &User, buckets: &[BucketId], info: &str) -> Value {
    json!({
        "_id": user.id,
        "username": user.username,
        "email": user.email,
        "authorized_bucket": buckets,
        "info": object(info),
    })
}

/// A bucket, as a member with this role sees it.
///
/// PM2's command line needs `payment.offer_type` and `credits.offer_type` both; clients of other ages read `node` or
/// `node_cache`. Keys to link with are for those who may do more than look.
pub(crate) fn bucket(bucket: &Bucket, role: Role, invitations: &[Invitation], origin: &Origin) -> Value {
    let secret = if role >= Role::Developer {
        bucket.secret_id.as_str()
    } else {
        ""
    };
    let endpoints = json!({ "web": origin.0, "realtime": origin.0 });
    let invited = if role >= Role::Admin {
        self::invitations(invitations, origin)
    } else {
        json!([])
    };
    json!({
        "_id": bucket.id,
        "id": bucket.id,
        "name": bucket.name,
        "comment": bucket.comment,
        "app_url": bucket.app_url,
        "configuration": object(&bucket.configuration),
        "public_id": bucket.public_id,
        "secret_id": secret,
        "type": "plus",
        "active": bucket.active,
        "node": { "_id": "000000000000000000000001", "name": "hub", "endpoints": endpoints },
        "node_cache": { "endpoints": endpoints },
        "credits": { "offer_type": bucket.plan, "payer": { "_id": bucket.owner } },
        "payment": { "offer_type": bucket.plan },
        "triggers": {},
        "integrations": {
            "slack": { "active": false, "url": "" },
            "webhooks": { "active": false, "url": "" },
        },
        "invitations": invited,
        "role": role.as_str(),
        "plan": bucket.plan,
        "limit": Plan::of(bucket).limit(),
        "max_processes": bucket.max_processes.unwrap_or(0),
        "offline_after": bucket.offline_after_s,
        "delete_offline": bucket.delete_offline,
        // 0, as it is set: clients compare numbers more safely than nulls.
        "max_servers": bucket.max_servers.unwrap_or(0),
        "created_at": iso(bucket.created_ms),
    })
}

/// Pending invitations, with the link to pass on.
pub(crate) fn invitations(list: &[Invitation], origin: &Origin) -> Value {
    list.iter()
        .map(|invitation| {
            json!({
                "email": invitation.email,
                "link": format!("{}/#/invite/{}", origin.0, invitation.code),
                "invited_at": iso(invitation.invited_ms),
            })
        })
        .collect()
}

/// The members of a bucket.
pub(crate) fn members(list: &[MemberRecord]) -> Value {
    list.iter()
        .map(|member| {
            json!({
                "_id": member.user.id,
                "email": member.user.email,
                "username": member.user.username,
                "role": member.role.as_str(),
                "notifications": if member.notify { "email" } else { "none" },
            })
        })
        .collect()
}

/// A personal token. The token itself is told once, when it is made.
pub(crate) fn token(token: &Token, secret: Option<&str>) -> Value {
    let mut seen = Map::new();
    seen.insert("_id".into(), json!(token.id));
    if let Some(secret) = secret {
        seen.insert("token".into(), json!(secret));
        seen.insert("refresh_token".into(), json!(secret));
    }
    seen.insert("scope".into(), json!(token.scope.split(' ').collect::<Vec<_>>()));
    seen.insert("label".into(), json!(token.label));
    seen.insert("created_at".into(), json!(iso(token.created_ms)));
    seen.insert("expire_at".into(), json!(token.expires_ms.map(iso)));
    seen.insert("last_used_at".into(), json!(token.used_ms.map(iso)));
    Value::Object(seen)
}

/// Stored JSON that is an object, whatever became of it.
fn object(text: &str) -> Value {
    serde_json::from_str::<Map<String, Value>>(text)
        .unwrap_or_default()
        .into()
}
