//! The contracts of the stores of people, sessions and API tokens.
#![expect(
    clippy::unwrap_used,
    reason = "a contract's failure is a test's failure"
)]
#![expect(clippy::panic, reason = "a contract's failure is a test's failure")]

use std::time::Duration;

use crate::access::{Grant, Role, Scope, TokenId, User, UserId};
use crate::clock::Timestamp;
use crate::ports::{
    NewSession, NewToken, NewUser, Revoked, SessionStore, TokenStore, UserStore, UserWrite,
};
use crate::secret::TokenDigest;

const NOON: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The contract of [`UserStore`], on an empty store.
///
/// # Panics
/// Where `store` breaks the contract.
pub async fn user_store(store: &dyn UserStore) {
    let ann = done(store.insert(new("Ann", Role::Admin), true).await.unwrap());
    assert_eq!(ann.version, 1);
    let second_first = store.insert(new("Eve", Role::Admin), true).await;
    assert_eq!(second_first.unwrap(), UserWrite::Stale);
    let twin = store.insert(new("aNN", Role::Viewer), false).await;
    assert_eq!(twin.unwrap(), UserWrite::Taken);
    let bob = done(store.insert(new("bob", Role::Viewer), false).await.unwrap());
    assert_eq!(store.by_name("ANN").await.unwrap(), Some(ann.clone()));
    assert_eq!(store.by_id(bob.id).await.unwrap(), Some(bob.clone()));
    assert_eq!(store.by_name("eve").await.unwrap(), None);
    assert_eq!(store.list().await.unwrap(), [ann.clone(), bob.clone()]);

    last_admin_stays(store, &ann).await;

    let promoted = User {
        grant: grant(Role::Admin),
        password_hash: "other".to_owned(),
        version: 2,
        ..bob.clone()
    };
    let promoted = done(store.swap(promoted).await.unwrap());
    assert_eq!(store.by_id(bob.id).await.unwrap(), Some(promoted.clone()));
    let stale = store.swap(promoted).await.unwrap();
    assert_eq!(stale, UserWrite::Stale, "the version must be one below");

    store.signed_in(bob.id, NOON).await.unwrap();
    let bob_now = store.by_id(bob.id).await.unwrap().unwrap();
    assert_eq!((bob_now.last_sign_in_at, bob_now.version), (Some(NOON), 2));

    done(store.remove(ann.id).await.unwrap());
    assert_eq!(store.remove(ann.id).await.unwrap(), UserWrite::Stale);
    let again = done(store.insert(new("Ann", Role::Viewer), false).await.unwrap());
    assert!(again.id > bob.id, "keys are never reused");
}

async fn last_admin_stays(store: &dyn UserStore, ann: &User) {
    for role in [
        grant(Role::Viewer),
        Grant {
            role: Role::Admin,
            scope: Scope::parse("A").unwrap(),
        },
    ] {
        let lesser = User {
            grant: role,
            version: 2,
            ..ann.clone()
        };
        assert_eq!(store.swap(lesser).await.unwrap(), UserWrite::LastAdmin);
    }
    assert_eq!(store.remove(ann.id).await.unwrap(), UserWrite::LastAdmin);
    assert_eq!(store.by_id(ann.id).await.unwrap().as_ref(), Some(ann));
}

/// The contract of [`SessionStore`], with the store of its people.
///
/// # Panics
/// Where `store` breaks the contract.
pub async fn session_store(users: &dyn UserStore, store: &dyn SessionStore) {
    let kim = done(users.insert(new("kim", Role::Viewer), false).await.unwrap());
    let lee = done(users.insert(new("lee", Role::Viewer), false).await.unwrap());
    let one = store.insert(session(kim.id, "one", 0)).await.unwrap();
    let two = store.insert(session(kim.id, "two", 1)).await.unwrap();
    let lees = store.insert(session(lee.id, "lee", 2)).await.unwrap();
    let find = async |token: &str| {
        let found = store.find(TokenDigest::of(token), NOON).await.unwrap();
        found.map(|(session, user)| (session.id, user.id))
    };
    assert_eq!(find("one").await, Some((one.id, kim.id)));
    assert_eq!(find("none").await, None);
    let listed = store.list(kim.id).await.unwrap();
    assert_eq!(listed, [two.clone(), one.clone()]);

    let later = NOON + Duration::from_secs(60);
    let (was, next) = (one.digest, TokenDigest::of("one-b"));
    assert!(store.rotate(one.id, was, next, later).await.unwrap());
    assert!(!store.rotate(one.id, was, next, later).await.unwrap());
    assert_eq!(find("one-b").await, Some((one.id, kim.id)));
    assert_eq!(find("one").await, Some((one.id, kim.id)), "for a moment");
    let after = store.find(TokenDigest::of("one"), later).await.unwrap();
    assert_eq!(after, None, "and not for long");

    store.touch(two.id, later).await.unwrap();
    let idle = Revoked::Idle {
        used_before: later,
        created_before: NOON + Duration::from_secs(1),
    };
    assert_eq!(store.revoke(idle).await.unwrap(), 2, "one and lee's");
    assert_eq!(find("two").await, Some((two.id, kim.id)));
    assert_eq!(find("lee").await, None);
    assert_eq!(store.revoke(Revoked::One(lees.id)).await.unwrap(), 0);

    let three = store.insert(session(kim.id, "three", 3)).await.unwrap();
    let others = Revoked::AllOf(kim.id, Some(three.id));
    assert_eq!(store.revoke(others).await.unwrap(), 1);
    assert_eq!(find("three").await, Some((three.id, kim.id)));
    done(users.remove(kim.id).await.unwrap());
    assert_eq!(find("three").await, None, "sessions go with their person");
}

/// The contract of [`TokenStore`], on an empty store.
///
/// # Panics
/// Where `store` breaks the contract.
pub async fn token_store(store: &dyn TokenStore) {
    let one = store.insert(token("one")).await.unwrap();
    let two = store.insert(token("two")).await.unwrap();
    let found = store.find(TokenDigest::of("one")).await.unwrap();
    assert_eq!(found, Some(one.clone()));
    assert_eq!(store.find(TokenDigest::of("none")).await.unwrap(), None);
    assert_eq!(store.list().await.unwrap(), [two, one.clone()]);
    store.touch(one.id, NOON).await.unwrap();
    let touched = store.find(TokenDigest::of("one")).await.unwrap().unwrap();
    assert_eq!(touched.last_used_at, Some(NOON));
    assert_eq!(store.remove(one.id).await.unwrap(), Some(touched));
    assert_eq!(store.remove(one.id).await.unwrap(), None);
    assert_eq!(store.remove(TokenId(99)).await.unwrap(), None);
    assert_eq!(store.find(TokenDigest::of("one")).await.unwrap(), None);
}

fn done(write: UserWrite) -> User {
    match write {
        UserWrite::Done(user) => user,
        other @ (UserWrite::Taken | UserWrite::Stale | UserWrite::LastAdmin) => {
            panic!("{other:?}")
        }
    }
}

fn grant(role: Role) -> Grant {
    Grant {
        role,
        scope: Scope::site(),
    }
}

fn new(name: &str, role: Role) -> NewUser {
    NewUser {
        name: name.to_owned(),
        grant: grant(role),
        password_hash: "hash".to_owned(),
        created_at: NOON,
    }
}

fn session(user: UserId, token: &str, after_s: u64) -> NewSession {
    NewSession {
        user,
        digest: TokenDigest::of(token),
        csrf_token: format!("csrf-{token}"),
        created_at: NOON + Duration::from_secs(after_s),
        address: "192.0.2.7".parse().ok(),
        agent: "a browser".to_owned(),
    }
}

fn token(secret: &str) -> NewToken {
    NewToken {
        name: "script".to_owned(),
        digest: TokenDigest::of(secret),
        grant: Grant {
            role: Role::Manager,
            scope: Scope::parse("A/3").unwrap(),
        },
        created_by: "ann".to_owned(),
        created_at: NOON,
        expires_at: Some(NOON + Duration::from_secs(3_600)),
    }
}
