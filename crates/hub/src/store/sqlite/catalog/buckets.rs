//! Buckets, members, invitations.

use rusqlite::{Connection, Row, params};

use super::users::{USER, read_user};
use super::{SqliteCatalog, changed, collect, first, parsed, unique};
use crate::auth::Role;
use crate::ids::{BucketId, UserId};
use crate::store::catalog::{Bucket, Buckets, Invitation, MemberRecord};
use crate::store::sqlite::database::Sql;
use crate::store::{Answer, StoreError};

const BUCKET: &str = "buckets.id, buckets.name, buckets.comment, buckets.app_url, buckets.public_id, \
    buckets.secret_id, buckets.plan, buckets.active, buckets.owner, buckets.offline_after_s, \
    buckets.delete_offline, buckets.max_servers, buckets.max_processes, buckets.configuration, buckets.created_ms";

fn read_bucket(row: &Row<'_>) -> Sql<Bucket> {
    Ok(Bucket {
        id: parsed(row, "id")?,
        name: row.get("name")?,
        comment: row.get("comment")?,
        app_url: row.get("app_url")?,
        public_id: row.get("public_id")?,
        secret_id: row.get("secret_id")?,
        plan: row.get("plan")?,
        active: row.get("active")?,
        owner: parsed(row, "owner")?,
        offline_after_s: row.get("offline_after_s")?,
        delete_offline: row.get("delete_offline")?,
        max_servers: row.get("max_servers")?,
        max_processes: row.get("max_processes")?,
        configuration: row.get("configuration")?,
        created_ms: row.get("created_ms")?,
    })
}

fn find(db: &Connection, condition: &str, value: &str) -> Sql<Option<Bucket>> {
    let mut statement = db.prepare_cached(&format!("SELECT {BUCKET} FROM buckets WHERE {condition}"))?;
    first(statement.query([value])?, read_bucket)
}

fn existing(db: &Connection, id: BucketId) -> Sql<Bucket> {
    find(db, "id = ?1", &id.to_string())?.ok_or(StoreError::NotFound("bucket"))
}

fn set_role(db: &Connection, bucket: BucketId, user: UserId, role: Role) -> Sql<()> {
    db.prepare_cached(
        "INSERT INTO members(bucket, user, role) VALUES (?1, ?2, ?3)
         ON CONFLICT(bucket, user) DO UPDATE SET role = excluded.role",
    )?
    .execute(params![bucket.to_string(), user.to_string(), role.as_str()])?;
    Ok(())
}

fn read_invitation(row: &Row<'_>) -> Sql<Invitation> {
    Ok(Invitation {
        email: row.get("email")?,
        code: row.get("code")?,
        invited_ms: row.get("invited_ms")?,
    })
}

fn find_invitation(db: &Connection, code: &str) -> Sql<Option<(BucketId, Invitation)>> {
    let mut statement =
        db.prepare_cached("SELECT bucket, email, code, invited_ms FROM invitations WHERE code = ?1")?;
    first(statement.query([code])?, |row| {
        Ok((parsed(row, "bucket")?, read_invitation(row)?))
    })
}

impl Buckets for SqliteCatalog {
    fn create_bucket(&self, bucket: Bucket) -> Answer<'_, Bucket> {
        self.db.write("store the bucket", move |db| {
            db.prepare_cached(
                "INSERT INTO buckets(id, name, comment, app_url, public_id, secret_id, plan, active, owner,
                   offline_after_s, delete_offline, configuration, created_ms, max_servers, max_processes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            )?
            .execute(params![
                bucket.id.to_string(),
                bucket.name,
                bucket.comment,
                bucket.app_url,
                bucket.public_id,
                bucket.secret_id,
                bucket.plan,
                bucket.active,
                bucket.owner.to_string(),
                bucket.offline_after_s,
                bucket.delete_offline,
                bucket.configuration,
                bucket.created_ms,
                bucket.max_servers,
                bucket.max_processes,
            ])
            .map_err(|error| unique(error, &[("public_id", "public key")]))?;
            set_role(db, bucket.id, bucket.owner, Role::Owner)?;
            Ok(bucket)
        })
    }

    fn bucket(&self, id: BucketId) -> Answer<'_, Option<Bucket>> {
        self.db
            .read("look a bucket up", move |db| find(db, "id = ?1", &id.to_string()))
    }

    fn bucket_by_public(&self, public_id: String) -> Answer<'_, Option<Bucket>> {
        self.db.read("look a bucket up", move |db| {
            find(db, "public_id = ?1", &public_id)
        })
    }

    fn buckets(&self) -> Answer<'_, Vec<Bucket>> {
        self.db.read("list buckets", |db| {
            let mut statement =
                db.prepare_cached(&format!("SELECT {BUCKET} FROM buckets ORDER BY created_ms, id"))?;
            collect(statement.query([])?, read_bucket)
        })
    }

    fn buckets_of(&self, user: UserId) -> Answer<'_, Vec<(Bucket, Role)>> {
        self.db.read("list buckets", move |db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {BUCKET}, members.role FROM members JOIN buckets ON buckets.id = members.bucket
                 WHERE members.user = ?1 ORDER BY buckets.created_ms, buckets.id"
            ))?;
            collect(statement.query([user.to_string()])?, |row| {
                Ok((read_bucket(row)?, parsed(row, "role")?))
            })
        })
    }

    fn update_bucket(&self, bucket: Bucket) -> Answer<'_, Bucket> {
        self.db.write("change the bucket", move |db| {
            let rows = db
                .prepare_cached(
                    "UPDATE buckets SET name = ?2, comment = ?3, app_url = ?4, plan = ?5, active = ?6,
                     offline_after_s = ?7, delete_offline = ?8, configuration = ?9, max_servers = ?10,
                     max_processes = ?11 WHERE id = ?1",
                )?
                .execute(params![
                    bucket.id.to_string(),
                    bucket.name,
                    bucket.comment,
                    bucket.app_url,
                    bucket.plan,
                    bucket.active,
                    bucket.offline_after_s,
                    bucket.delete_offline,
                    bucket.configuration,
                    bucket.max_servers,
                    bucket.max_processes,
                ])?;
            changed(rows, "bucket")?;
            existing(db, bucket.id)
        })
    }

    fn delete_bucket(&self, id: BucketId) -> Answer<'_, ()> {
        self.db.write("delete the bucket", move |db| {
            changed(
                db.execute("DELETE FROM buckets WHERE id = ?1", [id.to_string()])?,
                "bucket",
            )
        })
    }

    fn role(&self, bucket: BucketId, user: UserId) -> Answer<'_, Option<Role>> {
        self.db.read("look a member up", move |db| {
            let mut statement =
                db.prepare_cached("SELECT role FROM members WHERE bucket = ?1 AND user = ?2")?;
            first(statement.query([bucket.to_string(), user.to_string()])?, |row| {
                parsed(row, "role")
            })
        })
    }

    fn members(&self, bucket: BucketId) -> Answer<'_, Vec<MemberRecord>> {
        self.db.read("list members", move |db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {USER}, members.role, members.notify, members.options
                 FROM members JOIN users ON users.id = members.user
                 WHERE members.bucket = ?1 ORDER BY members.role <> 'owner', users.username_key"
            ))?;
            collect(statement.query([bucket.to_string()])?, |row| {
                Ok(MemberRecord {
                    user: read_user(row)?,
                    role: parsed(row, "role")?,
                    notify: row.get("notify")?,
                    options: row.get("options")?,
                })
            })
        })
    }

    fn set_member(&self, bucket: BucketId, user: UserId, role: Role) -> Answer<'_, ()> {
        self.db.write("change a member", move |db| {
            if role == Role::Owner || existing(db, bucket)?.owner == user {
                return Err(StoreError::Exists("the owner"));
            }
            set_role(db, bucket, user, role)
        })
    }

    fn remove_member(&self, bucket: BucketId, user: UserId) -> Answer<'_, ()> {
        self.db.write("remove a member", move |db| {
            let rows = db.execute(
                "DELETE FROM members WHERE bucket = ?1 AND user = ?2 AND role <> 'owner'",
                [bucket.to_string(), user.to_string()],
            )?;
            changed(rows, "member")
        })
    }

    fn set_member_options(
        &self,
        bucket: BucketId,
        user: UserId,
        notify: Option<bool>,
        options: Option<String>,
    ) -> Answer<'_, ()> {
        self.db.write("change a member", move |db| {
            let rows = db.execute(
                "UPDATE members SET notify = coalesce(?3, notify), options = coalesce(?4, options)
                 WHERE bucket = ?1 AND user = ?2",
                params![bucket.to_string(), user.to_string(), notify, options],
            )?;
            changed(rows, "member")
        })
    }

    fn set_bucket_secret(&self, id: BucketId, secret_id: String) -> Answer<'_, Bucket> {
        self.db.write("replace a secret key", move |db| {
            db.execute(
                "UPDATE buckets SET secret_id = ?2 WHERE id = ?1",
                [id.to_string(), secret_id],
            )?;
            existing(db, id)
        })
    }

    fn transfer_bucket(&self, bucket: BucketId, to: UserId) -> Answer<'_, Bucket> {
        self.db.write("hand the bucket over", move |db| {
            let before = existing(db, bucket)?;
            set_role(db, bucket, before.owner, Role::Admin)?;
            set_role(db, bucket, to, Role::Owner)?;
            db.execute(
                "UPDATE buckets SET owner = ?2 WHERE id = ?1",
                [bucket.to_string(), to.to_string()],
            )?;
            existing(db, bucket)
        })
    }

    fn invitations(&self, bucket: BucketId) -> Answer<'_, Vec<Invitation>> {
        self.db.read("list invitations", move |db| {
            let mut statement = db.prepare_cached(
                "SELECT email, code, invited_ms FROM invitations WHERE bucket = ?1 ORDER BY invited_ms, email_key",
            )?;
            collect(statement.query([bucket.to_string()])?, read_invitation)
        })
    }

    fn invite(&self, bucket: BucketId, invitation: Invitation) -> Answer<'_, ()> {
        self.db.write("store the invitation", move |db| {
            existing(db, bucket)?;
            db.execute(
                "INSERT INTO invitations(bucket, email_key, email, code, invited_ms) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT(bucket, email_key) DO NOTHING",
                params![
                    bucket.to_string(),
                    invitation.email.to_lowercase(),
                    invitation.email,
                    invitation.code,
                    invitation.invited_ms
                ],
            )?;
            Ok(())
        })
    }

    fn withdraw_invitation(&self, bucket: BucketId, email: String) -> Answer<'_, ()> {
        self.db.write("withdraw the invitation", move |db| {
            let rows = db.execute(
                "DELETE FROM invitations WHERE bucket = ?1 AND email_key = ?2",
                [bucket.to_string(), email.to_lowercase()],
            )?;
            changed(rows, "invitation")
        })
    }

    fn invitation(&self, code: String) -> Answer<'_, Option<(BucketId, Invitation)>> {
        self.db
            .read("look an invitation up", move |db| find_invitation(db, &code))
    }

    fn accept_invitation(&self, code: String, user: UserId) -> Answer<'_, BucketId> {
        self.db.write("accept the invitation", move |db| {
            let (bucket, _) = find_invitation(db, &code)?.ok_or(StoreError::NotFound("invitation"))?;
            db.execute(
                "INSERT INTO members(bucket, user, role) VALUES (?1, ?2, 'user') ON CONFLICT DO NOTHING",
                [bucket.to_string(), user.to_string()],
            )?;
            db.execute("DELETE FROM invitations WHERE code = ?1", [code])?;
            Ok(bucket)
        })
    }
}
