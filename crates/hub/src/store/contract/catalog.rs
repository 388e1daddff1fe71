//! The contract of [`Catalog`].

use std::sync::Arc;

use crate::auth::Role;
use crate::ids::{BucketId, ServerId, TokenId, UserId};
use crate::store::catalog::*;
use crate::store::{Catalog, StoreError};

/// Runs every rule on an empty catalog.
pub(crate) async fn check(catalog: Arc<dyn Catalog>) {
    accounts(&*catalog).await;
    buckets(&*catalog).await;
    members(&*catalog).await;
    invitations(&*catalog).await;
    tokens(&*catalog).await;
    servers(&*catalog).await;
    audit(&*catalog).await;
    concurrent_writes(catalog).await;
}

fn user(n: u8, name: &str) -> User {
    User {
        id: UserId::from_bytes([n; 12]),
        username: name.into(),
        email: format!("{name}@Example.org"),
        created_ms: i64::from(n),
    }
}

async fn new_user(catalog: &dyn Catalog, n: u8, name: &str) -> User {
    catalog.create_user(user(n, name), "hash".into()).await.unwrap()
}

fn bucket(n: u8, owner: &User) -> Bucket {
    Bucket {
        id: BucketId::from_bytes([n; 12]),
        name: format!("bucket {n}"),
        comment: String::new(),
        app_url: String::new(),
        public_id: format!("public{n}"),
        secret_id: format!("secret{n}"),
        plan: "unlimited".into(),
        active: true,
        owner: owner.id,
        offline_after_s: 120,
        max_servers: None,
        max_processes: None,
        delete_offline: false,
        configuration: "{}".into(),
        created_ms: i64::from(n),
    }
}

async fn accounts(catalog: &dyn Catalog) {
    assert_eq!(catalog.count_users().await.unwrap(), 0);
    let ann = new_user(catalog, 1, "Ann").await;
    assert_eq!(catalog.user(ann.id).await.unwrap(), Some(ann.clone()));
    assert_eq!(catalog.user(UserId::from_bytes([99; 12])).await.unwrap(), None);
    for login in ["ann", "ANN", "ann@example.ORG"] {
        assert_eq!(
            catalog.find_user(login.into()).await.unwrap(),
            Some(ann.clone()),
            "{login}"
        );
    }
    assert_eq!(catalog.find_user("an".into()).await.unwrap(), None);
    assert_eq!(
        catalog.password_hash(ann.id).await.unwrap().as_deref(),
        Some("hash")
    );

    let same_name = User {
        email: "other@example.org".into(),
        ..user(2, "aNN")
    };
    assert!(matches!(
        catalog.create_user(same_name, "x".into()).await,
        Err(StoreError::Exists("username"))
    ));
    let same_mail = User {
        username: "other".into(),
        ..user(2, "ann")
    };
    assert!(matches!(
        catalog.create_user(same_mail, "x".into()).await,
        Err(StoreError::Exists("email"))
    ));
    assert_eq!(catalog.count_users().await.unwrap(), 1);

    let renamed = User {
        username: "anna".into(),
        ..ann.clone()
    };
    catalog.update_user(renamed.clone(), None).await.unwrap();
    assert_eq!(
        catalog.password_hash(ann.id).await.unwrap().as_deref(),
        Some("hash")
    );
    catalog
        .update_user(renamed.clone(), Some("new".into()))
        .await
        .unwrap();
    assert_eq!(
        catalog.password_hash(ann.id).await.unwrap().as_deref(),
        Some("new")
    );
    assert_eq!(catalog.user(ann.id).await.unwrap(), Some(renamed));

    assert_eq!(catalog.user_info(ann.id).await.unwrap(), "{}");
    catalog.set_user_info(ann.id, r#"{"a":1}"#.into()).await.unwrap();
    assert_eq!(catalog.user_info(ann.id).await.unwrap(), r#"{"a":1}"#);

    catalog.delete_user(ann.id).await.unwrap();
    assert!(matches!(
        catalog.delete_user(ann.id).await,
        Err(StoreError::NotFound("account"))
    ));
    assert!(matches!(
        catalog.update_user(ann, None).await,
        Err(StoreError::NotFound("account"))
    ));
}

async fn buckets(catalog: &dyn Catalog) {
    let owner = new_user(catalog, 10, "owner").await;
    let first = catalog.create_bucket(bucket(10, &owner)).await.unwrap();
    let second = catalog.create_bucket(bucket(11, &owner)).await.unwrap();
    assert!(matches!(
        catalog
            .create_bucket(Bucket {
                id: BucketId::from_bytes([12; 12]),
                ..first.clone()
            })
            .await,
        Err(StoreError::Exists("public key"))
    ));
    assert_eq!(catalog.bucket(first.id).await.unwrap(), Some(first.clone()));
    assert_eq!(
        catalog.bucket_by_public("public11".into()).await.unwrap(),
        Some(second.clone())
    );
    assert_eq!(catalog.bucket_by_public("secret11".into()).await.unwrap(), None);
    assert_eq!(
        catalog.buckets_of(owner.id).await.unwrap(),
        [(first.clone(), Role::Owner), (second.clone(), Role::Owner)]
    );
    assert_eq!(catalog.role(first.id, owner.id).await.unwrap(), Some(Role::Owner));
    assert!(
        matches!(catalog.delete_user(owner.id).await, Err(StoreError::Exists(_))),
        "an owner stays"
    );

    let changed = Bucket {
        name: "new".into(),
        offline_after_s: 30,
        max_servers: Some(3),
        max_processes: Some(1024),
        secret_id: "must not change".into(),
        plan: "pro_4".into(),
        ..first.clone()
    };
    let stored = catalog.update_bucket(changed.clone()).await.unwrap();
    assert_eq!(
        stored,
        Bucket {
            secret_id: first.secret_id,
            ..changed
        }
    );

    catalog.delete_bucket(second.id).await.unwrap();
    assert_eq!(catalog.buckets().await.unwrap(), [stored]);
    assert!(matches!(
        catalog.delete_bucket(second.id).await,
        Err(StoreError::NotFound("bucket"))
    ));
    catalog.delete_bucket(first.id).await.unwrap();
    catalog.delete_user(owner.id).await.unwrap();
}

async fn members(catalog: &dyn Catalog) {
    let owner = new_user(catalog, 20, "zoe").await;
    let dev = new_user(catalog, 21, "dev").await;
    let id = catalog.create_bucket(bucket(20, &owner)).await.unwrap().id;
    assert_eq!(catalog.role(id, dev.id).await.unwrap(), None);
    catalog.set_member(id, dev.id, Role::User).await.unwrap();
    catalog.set_member(id, dev.id, Role::Developer).await.unwrap();
    catalog
        .set_member_options(id, dev.id, Some(false), None)
        .await
        .unwrap();
    catalog
        .set_member_options(id, dev.id, None, Some(r#"{"x":1}"#.into()))
        .await
        .unwrap();
    let list = catalog.members(id).await.unwrap();
    assert_eq!(
        list.iter()
            .map(|m| (m.user.username.as_str(), m.role))
            .collect::<Vec<_>>(),
        [("zoe", Role::Owner), ("dev", Role::Developer)]
    );
    assert_eq!((list[1].notify, list[1].options.as_str()), (false, r#"{"x":1}"#));

    assert!(matches!(
        catalog.set_member(id, owner.id, Role::User).await,
        Err(StoreError::Exists(_))
    ));
    assert!(matches!(
        catalog.set_member(id, dev.id, Role::Owner).await,
        Err(StoreError::Exists(_))
    ));
    assert!(matches!(
        catalog.remove_member(id, owner.id).await,
        Err(StoreError::NotFound(_))
    ));

    let before = catalog.bucket(id).await.unwrap().unwrap();
    let renewed = catalog
        .set_bucket_secret(id, "anothersecret00".into())
        .await
        .unwrap();
    assert_eq!(renewed.secret_id, "anothersecret00");
    // Whoever changes something else with an older look at the bucket does not bring the old key back.
    catalog.update_bucket(before.clone()).await.unwrap();
    let after = catalog.bucket_by_public(before.public_id).await.unwrap().unwrap();
    assert_eq!(after.secret_id, "anothersecret00");
    assert!(matches!(
        catalog
            .set_bucket_secret(BucketId::from_bytes([9; 12]), "x".into())
            .await,
        Err(StoreError::NotFound(_))
    ));

    let handed = catalog.transfer_bucket(id, dev.id).await.unwrap();
    assert_eq!(handed.owner, dev.id);
    assert_eq!(catalog.role(id, owner.id).await.unwrap(), Some(Role::Admin));
    assert_eq!(catalog.role(id, dev.id).await.unwrap(), Some(Role::Owner));
    catalog.remove_member(id, owner.id).await.unwrap();
    assert_eq!(catalog.buckets_of(owner.id).await.unwrap(), []);
}

async fn invitations(catalog: &dyn Catalog) {
    let owner = new_user(catalog, 30, "inviter").await;
    let id = catalog.create_bucket(bucket(30, &owner)).await.unwrap().id;
    let ask = |email: &str, code: &str, invited_ms| Invitation {
        email: email.into(),
        code: code.into(),
        invited_ms,
    };
    let new = ask("New@example.org", "c1", 1);
    catalog.invite(id, new.clone()).await.unwrap();
    catalog.invite(id, ask("new@example.org", "c2", 2)).await.unwrap();
    catalog
        .invite(id, ask("gone@example.org", "c3", 3))
        .await
        .unwrap();
    assert_eq!(
        catalog.invitations(id).await.unwrap(),
        [new.clone(), ask("gone@example.org", "c3", 3)]
    );
    catalog
        .withdraw_invitation(id, "GONE@example.org".into())
        .await
        .unwrap();
    assert!(matches!(
        catalog.withdraw_invitation(id, "gone@example.org".into()).await,
        Err(StoreError::NotFound("invitation"))
    ));
    assert_eq!(catalog.invitation("c1".into()).await.unwrap(), Some((id, new)));
    assert_eq!(
        catalog.invitation("c2".into()).await.unwrap(),
        None,
        "the first invitation stays"
    );

    let user = new_user(catalog, 31, "new").await;
    assert_eq!(catalog.accept_invitation("c1".into(), user.id).await.unwrap(), id);
    assert_eq!(catalog.role(id, user.id).await.unwrap(), Some(Role::User));
    assert_eq!(catalog.invitations(id).await.unwrap(), []);
    assert!(matches!(
        catalog.accept_invitation("c1".into(), user.id).await,
        Err(StoreError::NotFound("invitation"))
    ));
    assert!(matches!(
        catalog
            .invite(BucketId::from_bytes([99; 12]), ask("a@b", "c4", 1))
            .await,
        Err(StoreError::NotFound("bucket"))
    ));
}

async fn tokens(catalog: &dyn Catalog) {
    let user = new_user(catalog, 40, "holder").await;
    let token = |n: u8, kind, parent: Option<&Token>, expires_ms| Token {
        id: TokenId::from_bytes([n; 12]),
        user: user.id,
        kind,
        hash: [n; 32],
        parent: parent.map(|p| p.id),
        scope: "all".into(),
        label: "test".into(),
        created_ms: i64::from(n),
        expires_ms,
        used_ms: None,
    };
    let refresh = token(1, TokenKind::Refresh, None, None);
    let access = token(2, TokenKind::Access, Some(&refresh), Some(1000));
    let other = token(3, TokenKind::Refresh, None, None);
    for token in [&refresh, &access, &other] {
        catalog.create_token(token.clone()).await.unwrap();
    }
    assert_eq!(
        catalog.find_token([2; 32]).await.unwrap(),
        Some((access.clone(), user.clone()))
    );
    assert_eq!(catalog.find_token([9; 32]).await.unwrap(), None);
    catalog.token_used(refresh.id, 61_234).await.unwrap();
    let list = catalog.refresh_tokens(user.id).await.unwrap();
    assert_eq!(
        list,
        [
            Token {
                used_ms: Some(60_000),
                ..refresh.clone()
            },
            other.clone()
        ]
    );

    assert_eq!(catalog.remove_expired(999).await.unwrap(), 0);
    assert_eq!(catalog.remove_expired(1000).await.unwrap(), 1);
    assert_eq!(catalog.find_token([2; 32]).await.unwrap(), None);

    catalog.create_token(access).await.unwrap();
    let stranger = UserId::from_bytes([99; 12]);
    assert!(matches!(
        catalog.revoke_token(stranger, refresh.id).await,
        Err(StoreError::NotFound("token"))
    ));
    catalog.revoke_token(user.id, refresh.id).await.unwrap();
    assert_eq!(
        catalog.find_token([2; 32]).await.unwrap(),
        None,
        "what was bought with it goes along"
    );

    let child = token(5, TokenKind::Access, Some(&other), None);
    catalog
        .create_token(token(4, TokenKind::Refresh, None, None))
        .await
        .unwrap();
    catalog.create_token(child).await.unwrap();
    catalog.revoke_all(user.id, Some(other.id)).await.unwrap();
    assert!(catalog.find_token([3; 32]).await.unwrap().is_some());
    assert!(
        catalog.find_token([5; 32]).await.unwrap().is_some(),
        "the kept session stays whole"
    );
    assert!(catalog.find_token([4; 32]).await.unwrap().is_none());
    catalog.revoke_all(user.id, None).await.unwrap();
    assert_eq!(catalog.refresh_tokens(user.id).await.unwrap(), []);
}

async fn servers(catalog: &dyn Catalog) {
    let owner = new_user(catalog, 50, "keeper").await;
    let id = catalog.create_bucket(bucket(50, &owner)).await.unwrap().id;
    let server = |n: u8, home: Option<&str>| ServerRecord {
        id: ServerId::from_bytes([n; 12]),
        bucket: id,
        name: "web".into(),
        machine: Some("m1".into()),
        home: home.map(Into::into),
        hostname: "host".into(),
        agent: "pilothouse".into(),
        hidden: false,
        first_seen_ms: i64::from(n),
        last_seen_ms: i64::from(n),
        snapshot: Some(vec![0, 1, 255]),
    };
    let (plain, homed) = (server(1, None), server(2, Some("/root/.pm2")));
    catalog.upsert_server(plain.clone()).await.unwrap();
    catalog.upsert_server(homed.clone()).await.unwrap();
    assert_eq!(catalog.servers(id).await.unwrap(), [plain.clone(), homed.clone()]);
    assert_eq!(
        catalog.find_server(id, "m1".into(), None).await.unwrap(),
        Some(plain.clone())
    );
    assert_eq!(
        catalog
            .find_server(id, "m1".into(), Some("/root/.pm2".into()))
            .await
            .unwrap(),
        Some(homed.clone())
    );
    assert_eq!(catalog.find_server(id, "m2".into(), None).await.unwrap(), None);

    let seen = ServerRecord {
        last_seen_ms: 77,
        name: "renamed".into(),
        ..plain.clone()
    };
    catalog.upsert_server(seen.clone()).await.unwrap();
    assert_eq!(catalog.server(id, plain.id).await.unwrap(), Some(seen));
    catalog.set_server_hidden(id, plain.id, true).await.unwrap();
    assert!(catalog.server(id, plain.id).await.unwrap().unwrap().hidden);
    catalog.delete_server(id, plain.id).await.unwrap();
    assert_eq!(catalog.servers(id).await.unwrap(), [homed]);
    assert!(matches!(
        catalog.delete_server(id, plain.id).await,
        Err(StoreError::NotFound("server"))
    ));
    assert!(matches!(
        catalog.set_server_hidden(id, plain.id, true).await,
        Err(StoreError::NotFound("server"))
    ));
}

async fn audit(catalog: &dyn Catalog) {
    let owner = new_user(catalog, 60, "auditor").await;
    let id = catalog.create_bucket(bucket(60, &owner)).await.unwrap().id;
    let entry = |at_ms| AuditEntry {
        bucket: id,
        at_ms,
        who: "a@b".into(),
        what: "restart".into(),
        target: "api".into(),
        outcome: "ok".into(),
        detail: "{}".into(),
    };
    for at_ms in [1, 3, 2, 2] {
        catalog.audit(entry(at_ms)).await.unwrap();
    }
    let asked = |before, containing: &str, limit| AuditQuery {
        bucket: id,
        before,
        containing: containing.into(),
        limit,
    };
    let mut seen = Vec::new();
    let mut before = None;
    // A page that ends between two entries of one millisecond loses neither.
    loop {
        let page = catalog.audit_trail(asked(before, "", 2)).await.unwrap();
        let Some((mark, _)) = page.last() else { break };
        before = Some(*mark);
        seen.extend(page.into_iter().map(|(_, entry)| entry));
    }
    assert_eq!(seen, [entry(3), entry(2), entry(2), entry(1)]);
    let found = |text| catalog.audit_trail(asked(None, text, 9));
    assert_eq!(found("B RESTART api").await.unwrap().len(), 4);
    assert_eq!(found("%").await.unwrap().len(), 0);

    assert_eq!(catalog.setting("s").await.unwrap(), None);
    catalog.set_setting("s", "1".into()).await.unwrap();
    catalog.set_setting("s", "2".into()).await.unwrap();
    assert_eq!(catalog.setting("s").await.unwrap().as_deref(), Some("2"));
}

/// Many writers at once, some of whom fail: each gets its own answer.
async fn concurrent_writes(catalog: Arc<dyn Catalog>) {
    let tasks: Vec<_> = (0..50u8)
        .map(|n| {
            let catalog = Arc::clone(&catalog);
            // Every second one takes a name that the one before wants as well.
            tokio::spawn(async move {
                let mut user = user(100 + n, &format!("many{}", n / 2));
                user.email = format!("{n}@many");
                catalog.create_user(user, "x".into()).await
            })
        })
        .collect();
    let mut stored = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => stored += 1,
            Err(error) => assert!(matches!(error, StoreError::Exists("username")), "{error}"),
        }
    }
    assert_eq!(stored, 25);
}
