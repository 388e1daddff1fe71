//! The port for what people set up: accounts, buckets, members, tokens, servers, audit, settings.

use super::Answer;
use crate::auth::Role;
use crate::ids::{BucketId, ServerId, TokenId, UserId};

/// Everything the catalog keeps. Writes are durable when their future resolves.
pub trait Catalog: Accounts + Buckets + Tokens + Servers + Audit + Send + Sync + std::fmt::Debug {}

/// An account. Its password hash never leaves [`Accounts::password_hash`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Names it for ever.
    pub id: UserId,
    /// What the owner calls it; unique without regard to case.
    pub username: String,
    /// Unique without regard to case.
    pub email: String,
    /// When it was made, ms since 1970.
    pub created_ms: i64,
}

/// Accounts.
pub trait Accounts {
    /// Stores a new account. [`super::StoreError::Exists`] names `username` or `email` when taken.
    fn create_user(&self, user: User, password_hash: String) -> Answer<'_, User>;
    /// The account with this id.
    fn user(&self, id: UserId) -> Answer<'_, Option<User>>;
    /// The account with this user name or e-mail address, in any case.
    fn find_user(&self, login: String) -> Answer<'_, Option<User>>;
    /// The stored password hash (PHC string) of an account.
    fn password_hash(&self, id: UserId) -> Answer<'_, Option<String>>;
    /// Replaces name, address and, when given, the password hash.
    fn update_user(&self, user: User, password_hash: Option<String>) -> Answer<'_, User>;
    /// Removes an account, its memberships and its tokens. Not while it owns a bucket:
    /// [`super::StoreError::Exists`].
    fn delete_user(&self, id: UserId) -> Answer<'_, ()>;
    /// The free-form JSON object that clients keep with an account.
    fn user_info(&self, id: UserId) -> Answer<'_, String>;
    /// Replaces it; at most 64 KiB.
    fn set_user_info(&self, id: UserId, info: String) -> Answer<'_, ()>;
    /// How many accounts there are.
    fn count_users(&self) -> Answer<'_, u64>;
}

/// A group of servers with its keys and settings. `Debug` leaves the secret out.
#[derive(Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Names it for ever.
    pub id: BucketId,
    /// What people call it.
    pub name: String,
    /// Free text.
    pub comment: String,
    /// Where the customer's application lives; free text.
    pub app_url: String,
    /// Public key: `a-z0-9`, 15 characters.
    pub public_id: String,
    /// Secret key: `a-z0-9`, 15 characters.
    pub secret_id: String,
    /// What it is called; `pro_N` allows N processes, every other id sets no limit.
    pub plan: String,
    /// Processes that are monitored at once, whatever the plan says.
    pub max_processes: Option<u32>,
    /// Agents may link.
    pub active: bool,
    /// The one member with [`Role::Owner`].
    pub owner: UserId,
    /// A server that was silent for so long counts as offline, seconds.
    pub offline_after_s: u32,
    /// Forget servers when they go offline.
    pub delete_offline: bool,
    /// Servers that may be linked at once; `None` sets no limit.
    pub max_servers: Option<u32>,
    /// Free-form JSON object of the clients, at most 64 KiB.
    pub configuration: String,
    /// When it was made, ms since 1970.
    pub created_ms: i64,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("public_id", &self.public_id)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// Somebody with access to a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// Who.
    pub user: User,
    /// As what.
    pub role: Role,
    /// Wants mail about this bucket.
    pub notify: bool,
    /// Free-form JSON object: their preferences in this bucket, at most 64 KiB.
    pub options: String,
}

/// Somebody asked in who has no account yet. `Debug` leaves the code out.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Their address.
    pub email: String,
    /// What proves that they were asked; part of the link that the inviter passes on.
    pub code: String,
    /// When, ms since 1970.
    pub invited_ms: i64,
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation")
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

/// Buckets and their members.
pub trait Buckets {
    /// Stores a new bucket and makes `bucket.owner` its owner.
    fn create_bucket(&self, bucket: Bucket) -> Answer<'_, Bucket>;
    /// The bucket with this id.
    fn bucket(&self, id: BucketId) -> Answer<'_, Option<Bucket>>;
    /// The bucket with this public key. Compare its secret in constant time.
    fn bucket_by_public(&self, public_id: String) -> Answer<'_, Option<Bucket>>;
    /// All buckets, oldest first.
    fn buckets(&self) -> Answer<'_, Vec<Bucket>>;
    /// The buckets that `user` belongs to with their role in it, oldest first.
    fn buckets_of(&self, user: UserId) -> Answer<'_, Vec<(Bucket, Role)>>;
    /// Replaces everything about a bucket except id, keys, owner and creation time.
    fn update_bucket(&self, bucket: Bucket) -> Answer<'_, Bucket>;
    /// Replaces the secret key of a bucket.
    fn set_bucket_secret(&self, id: BucketId, secret_id: String) -> Answer<'_, Bucket>;
    /// Removes the bucket with its members, invitations, servers and audit trail.
    fn delete_bucket(&self, id: BucketId) -> Answer<'_, ()>;
    /// The role of `user` in a bucket, when they are a member.
    fn role(&self, bucket: BucketId, user: UserId) -> Answer<'_, Option<Role>>;
    /// The members of a bucket, owner first, then by name.
    fn members(&self, bucket: BucketId) -> Answer<'_, Vec<MemberRecord>>;
    /// Adds a member, or changes the role of one. Never touches the owner: [`super::StoreError::Exists`].
    fn set_member(&self, bucket: BucketId, user: UserId, role: Role) -> Answer<'_, ()>;
    /// Removes a member that is not the owner.
    fn remove_member(&self, bucket: BucketId, user: UserId) -> Answer<'_, ()>;
    /// Sets a member's wish for mail and preferences; `None` leaves one as it is.
    fn set_member_options(
        &self,
        bucket: BucketId,
        user: UserId,
        notify: Option<bool>,
        options: Option<String>,
    ) -> Answer<'_, ()>;
    /// Makes member or stranger `to` the owner; the former owner becomes an admin.
    fn transfer_bucket(&self, bucket: BucketId, to: UserId) -> Answer<'_, Bucket>;
    /// Pending invitations, oldest first.
    fn invitations(&self, bucket: BucketId) -> Answer<'_, Vec<Invitation>>;
    /// Notes an invitation; twice is once.
    fn invite(&self, bucket: BucketId, invitation: Invitation) -> Answer<'_, ()>;
    /// Withdraws an invitation.
    fn withdraw_invitation(&self, bucket: BucketId, email: String) -> Answer<'_, ()>;
    /// The bucket and invitation of a code.
    fn invitation(&self, code: String) -> Answer<'_, Option<(BucketId, Invitation)>>;
    /// Makes `user` a member with [`Role::User`] and removes the invitation.
    fn accept_invitation(&self, code: String, user: UserId) -> Answer<'_, BucketId>;
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Lives until revoked; buys access tokens. Shown to people as a personal token.
    Refresh,
    /// Opens the API until it expires.
    Access,
}

/// A token as stored: its hash, never the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Names it.
    pub id: TokenId,
    /// Who it speaks for.
    pub user: UserId,
    /// What it is good for.
    pub kind: TokenKind,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// The refresh token it was bought with; revoking that one revokes this one.
    pub parent: Option<TokenId>,
    /// Space separated scopes; `all` is everything.
    pub scope: String,
    /// What it was made for: a client id, or the user's words.
    pub label: String,
    /// When it was made, ms since 1970.
    pub created_ms: i64,
    /// When it stops working, ms since 1970; `None` never.
    pub expires_ms: Option<i64>,
    /// When it was last used, ms since 1970, to the minute.
    pub used_ms: Option<i64>,
}

/// Tokens.
pub trait Tokens {
    /// Stores a token.
    fn create_token(&self, token: Token) -> Answer<'_, ()>;
    /// The token with this hash, and the account it speaks for. Expired ones are given too: the caller looks.
    fn find_token(&self, hash: [u8; 32]) -> Answer<'_, Option<(Token, User)>>;
    /// The refresh tokens of an account, oldest first.
    fn refresh_tokens(&self, user: UserId) -> Answer<'_, Vec<Token>>;
    /// Removes a token of this account and everything bought with it.
    fn revoke_token(&self, user: UserId, id: TokenId) -> Answer<'_, ()>;
    /// Removes every token of an account but `keep`.
    fn revoke_all(&self, user: UserId, keep: Option<TokenId>) -> Answer<'_, ()>;
    /// Notes that a token was used.
    fn token_used(&self, id: TokenId, at_ms: i64) -> Answer<'_, ()>;
    /// Removes expired tokens and the overlong tails of audit trails; tells how many rows.
    fn remove_expired(&self, now_ms: i64) -> Answer<'_, u64>;
}

/// A server that was ever linked to a bucket and not deleted since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRecord {
    /// Names it for ever; the label [`ServerRecord::name`] may change and need not be unique.
    pub id: ServerId,
    /// The bucket it is linked to.
    pub bucket: BucketId,
    /// What people call it.
    pub name: String,
    /// Machine identity, or what stands for it with foreign agents.
    pub machine: Option<String>,
    /// The PM2 home on that machine, when known: two homes are two servers.
    pub home: Option<String>,
    /// The host's own name.
    pub hostname: String,
    /// `pilothouse` or `pm2`.
    pub agent: String,
    /// Deleted while its agent ran: stays out of sight until linked anew.
    pub hidden: bool,
    /// When it was first seen, ms since 1970.
    pub first_seen_ms: i64,
    /// When it was last heard of, ms since 1970.
    pub last_seen_ms: i64,
    /// The last known state, in the live module's own encoding; at most 1 MiB.
    pub snapshot: Option<Vec<u8>>,
}

/// Servers.
pub trait Servers {
    /// All servers of a bucket, hidden ones too, oldest first.
    fn servers(&self, bucket: BucketId) -> Answer<'_, Vec<ServerRecord>>;
    /// One of them.
    fn server(&self, bucket: BucketId, id: ServerId) -> Answer<'_, Option<ServerRecord>>;
    /// The server with exactly this machine identity and home.
    fn find_server(
        &self,
        bucket: BucketId,
        machine: String,
        home: Option<String>,
    ) -> Answer<'_, Option<ServerRecord>>;
    /// Stores a server, or replaces the one with its id.
    fn upsert_server(&self, server: ServerRecord) -> Answer<'_, ()>;
    /// Hides or shows one.
    fn set_server_hidden(&self, bucket: BucketId, id: ServerId, hidden: bool) -> Answer<'_, ()>;
    /// Forgets one. Its history is [`super::Telemetry::purge_server`]'s.
    fn delete_server(&self, bucket: BucketId, id: ServerId) -> Answer<'_, ()>;
}

/// Who did what to what, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Where.
    pub bucket: BucketId,
    /// When, ms since 1970.
    pub at_ms: i64,
    /// Who: the account's e-mail address, or `agent`.
    pub who: String,
    /// A verb: `restart`, `invite`, `delete_server`.
    pub what: String,
    /// On what.
    pub target: String,
    /// `ok`, or the reason it was not.
    pub outcome: String,
    /// More, as a JSON object. Never a secret.
    pub detail: String,
}

/// A place in the trail. Entries of one millisecond are told apart by the order in which they were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditMark {
    /// When the entry was made, ms since 1970.
    pub at_ms: i64,
    /// Which one of that time.
    pub id: i64,
}

/// What of a trail is wanted.
#[derive(Debug, Clone)]
pub struct AuditQuery {
    /// Whose trail.
    pub bucket: BucketId,
    /// Only what is older than this; the newest when `None`.
    pub before: Option<AuditMark>,
    /// Only entries with this text in who, what, target or outcome, in whatever case; all when empty.
    pub containing: String,
    /// Entries at the most.
    pub limit: u32,
}

/// The audit trail, and settings of the hub as a whole.
pub trait Audit {
    /// Adds to the trail.
    fn audit(&self, entry: AuditEntry) -> Answer<'_, ()>;
    /// Part of a bucket's trail, newest first, each entry with the mark to go on from.
    fn audit_trail(&self, query: AuditQuery) -> Answer<'_, Vec<(AuditMark, AuditEntry)>>;
    /// A setting of the whole hub.
    fn setting(&self, name: &'static str) -> Answer<'_, Option<String>>;
    /// Stores a setting of the whole hub.
    fn set_setting(&self, name: &'static str, value: String) -> Answer<'_, ()>;
}
