use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::access::{Actor, Grant, Role, Scope};
use crate::clock::{ManualClock, Timestamp};
use crate::memory::{MemoryAudit, MemoryTokens, MemoryUsers};
use crate::ports::AuditQuery;

/// Keeps passwords as they are, so that tests take no time.
struct PlainHasher;

#[async_trait]
impl PasswordHasher for PlainHasher {
    async fn hash(&self, password: Secret) -> Result<String, PortError> {
        Ok(password.expose().to_owned())
    }

    async fn verify(&self, hash: Option<String>, password: Secret) -> Result<bool, PortError> {
        Ok(hash.as_deref() == Some(password.expose()))
    }
}

const PASSWORD: &str = "correct horse";
const DAY: Duration = Duration::from_secs(24 * 3_600);

struct Site {
    access: Access,
    clock: Arc<ManualClock>,
    audit: Arc<AuditLog>,
}

fn site() -> Site {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let audit = Arc::new(AuditLog::new(
        Arc::new(MemoryAudit::default()),
        clock.clone(),
    ));
    let users = MemoryUsers::default();
    let access = Access::new(AccessParts {
        sessions: Arc::new(users.sessions()),
        users: Arc::new(users),
        tokens: Arc::new(MemoryTokens::default()),
        hasher: Arc::new(PlainHasher),
        audit: audit.clone(),
        clock: clock.clone(),
    });
    Site {
        access,
        clock,
        audit,
    }
}

impl Site {
    /// With an administrator "ann", signed in.
    async fn with_ann() -> (Self, SignedIn) {
        let site = site();
        let link = site.access.open_setup().await.unwrap().unwrap();
        let signed_in = site.access.setup(link.expose(), attempt("ann", PASSWORD));
        let signed_in = signed_in.await.unwrap();
        (site, signed_in)
    }

    async fn knows(&self, cookie: &Secret) -> bool {
        let found = self.access.by_cookie(cookie.expose()).await.unwrap();
        found.is_some()
    }

    async fn add(&self, name: &str, role: Role) {
        let new = PersonNew {
            name: name.to_owned(),
            password: Secret::new(PASSWORD),
            grant: grant(role),
        };
        self.access.add_person(&Actor::server(), new).await.unwrap();
    }
}

fn attempt(name: &str, password: &str) -> SignIn {
    SignIn {
        name: name.to_owned(),
        password: Secret::new(password),
        address: "192.0.2.7".parse().ok(),
        agent: "a browser".to_owned(),
    }
}

fn grant(role: Role) -> Grant {
    Grant {
        role,
        scope: Scope::site(),
    }
}

#[tokio::test]
async fn the_setup_link_works_once() {
    let site = site();
    assert!(site.access.needs_setup().await.unwrap());
    let link = site.access.open_setup().await.unwrap().unwrap();
    let wrong = site.access.setup("guess", attempt("eve", PASSWORD)).await;
    assert!(matches!(wrong, Err(AccessError::BadSetupLink)));
    let weak = site.access.setup(link.expose(), attempt("ann", "short"));
    assert!(matches!(weak.await, Err(AccessError::Invalid(_))));
    let ann = site.access.setup(link.expose(), attempt("ann", PASSWORD));
    let ann = ann.await.unwrap();
    assert_eq!(ann.principal.grant, grant(Role::Admin));
    let again = site.access.setup(link.expose(), attempt("eve", PASSWORD));
    assert!(matches!(again.await, Err(AccessError::SetupDone)));
    assert_eq!(site.access.open_setup().await.unwrap(), None);
}

#[tokio::test]
async fn guessing_the_link_is_slow() {
    let site = site();
    site.access.open_setup().await.unwrap();
    let mut refused = false;
    for _ in 0..20 {
        let guess = site.access.setup("guess", attempt("eve", PASSWORD)).await;
        refused |= matches!(guess, Err(AccessError::TooManyAttempts { .. }));
    }
    assert!(refused);
}

#[tokio::test]
async fn a_right_password_signs_in_and_a_wrong_one_does_not() {
    let (site, _) = Site::with_ann().await;
    let fine = site.access.sign_in(attempt("ANN", PASSWORD)).await.unwrap();
    assert!(site.knows(&fine.cookie).await);
    for (name, password) in [("ann", "wrong horse"), ("eve", PASSWORD), ("ann", "")] {
        let refused = site.access.sign_in(attempt(name, password)).await;
        assert!(
            matches!(refused, Err(AccessError::BadCredentials)),
            "{name}"
        );
    }
}

#[tokio::test]
async fn many_wrong_passwords_are_not_heard_for_a_while() {
    let (site, _) = Site::with_ann().await;
    for _ in 0..10 {
        let wrong = site.access.sign_in(attempt("ann", "wrong horse")).await;
        assert!(matches!(wrong, Err(AccessError::BadCredentials)));
    }
    let right = site.access.sign_in(attempt("ann", PASSWORD)).await;
    assert!(matches!(
        right,
        Err(AccessError::TooManyAttempts { retry_after_s: 6 })
    ));
    site.clock.advance(Duration::from_secs(6));
    site.access.sign_in(attempt("ann", PASSWORD)).await.unwrap();
}

#[tokio::test]
async fn signing_out_ends_the_cookie_at_once() {
    let (site, ann) = Site::with_ann().await;
    assert!(site.knows(&ann.cookie).await);
    let actor = Actor::server();
    site.access.sign_out(&ann.principal, &actor).await.unwrap();
    assert!(!site.knows(&ann.cookie).await);
}

#[tokio::test]
async fn a_session_ends_unused_after_a_week_and_used_after_a_month() {
    let (site, ann) = Site::with_ann().await;
    site.clock.advance(7 * DAY);
    assert!(!site.knows(&ann.cookie).await);
    assert_eq!(site.access.prune().await.unwrap(), 0, "a moment early");
    site.clock.advance(Duration::from_secs(1));
    assert_eq!(site.access.prune().await.unwrap(), 1);

    let mut cookie = site
        .access
        .sign_in(attempt("ann", PASSWORD))
        .await
        .unwrap()
        .cookie;
    for _ in 0..29 {
        site.clock.advance(DAY);
        let found = site.access.by_cookie(cookie.expose()).await.unwrap();
        let (_, next) = found.unwrap();
        cookie = next.expect("a day old: replaced");
    }
    site.clock.advance(DAY);
    assert!(!site.knows(&cookie).await);
}

#[tokio::test]
async fn a_replaced_cookie_counts_for_a_minute() {
    let (site, ann) = Site::with_ann().await;
    site.clock.advance(DAY);
    let found = site.access.by_cookie(ann.cookie.expose()).await.unwrap();
    let next = found.unwrap().1.unwrap();
    site.clock.advance(Duration::from_secs(59));
    assert!(site.knows(&ann.cookie).await);
    assert!(site.knows(&next).await);
    site.clock.advance(Duration::from_secs(2));
    assert!(!site.knows(&ann.cookie).await);
    assert!(site.knows(&next).await);
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let (site, ann) = Site::with_ann().await;
    let other = site.access.sign_in(attempt("ann", PASSWORD)).await.unwrap();
    let actor = Actor::server();
    let change = async |current: &str, next: &str| {
        let (current, next) = (Secret::new(current), Secret::new(next));
        let cookie = ann.cookie.expose();
        let access = &site.access;
        access
            .change_password(&ann.principal, &actor, cookie, current, next)
            .await
    };
    let wrong = change("wrong horse", "battery staple").await;
    assert!(matches!(wrong, Err(AccessError::BadCredentials)));
    assert!(site.knows(&other.cookie).await);
    let cookie = change(PASSWORD, "battery staple").await.unwrap().unwrap();
    assert!(!site.knows(&other.cookie).await);
    assert!(site.knows(&cookie).await);
    let old = site.access.sign_in(attempt("ann", PASSWORD)).await;
    assert!(matches!(old, Err(AccessError::BadCredentials)));
    site.access
        .sign_in(attempt("ann", "battery staple"))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let (site, _) = Site::with_ann().await;
    site.add("bob", Role::Viewer).await;
    let actor = Actor::server();
    let lesser = PersonEdit {
        role: Some(Role::Viewer),
        ..PersonEdit::default()
    };
    let demoted = site.access.edit_person(&actor, "ann", None, lesser.clone());
    assert!(matches!(demoted.await, Err(AccessError::LastAdmin)));
    let removed = site.access.remove_person(&actor, "ann").await;
    assert!(matches!(removed, Err(AccessError::LastAdmin)));
    let promoted = PersonEdit {
        role: Some(Role::Admin),
        ..PersonEdit::default()
    };
    let stale = site
        .access
        .edit_person(&actor, "bob", Some(7), promoted.clone());
    assert!(matches!(stale.await, Err(AccessError::Stale)));
    let access = &site.access;
    access
        .edit_person(&actor, "bob", Some(1), promoted)
        .await
        .unwrap();
    access
        .edit_person(&actor, "ann", None, lesser)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_change_of_role_counts_for_sessions_under_way() {
    let (site, _) = Site::with_ann().await;
    site.add("bob", Role::Viewer).await;
    let bob = site.access.sign_in(attempt("bob", PASSWORD)).await.unwrap();
    assert!(site.knows(&bob.cookie).await);
    let edit = PersonEdit {
        role: Some(Role::Manager),
        scope: Some(Scope::parse("A/3").unwrap()),
        password: None,
    };
    let actor = Actor::server();
    site.access
        .edit_person(&actor, "bob", None, edit)
        .await
        .unwrap();
    let (now, _) = site
        .access
        .by_cookie(bob.cookie.expose())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (now.grant.role, now.grant.scope.as_str()),
        (Role::Manager, "A/3")
    );
    site.access.remove_person(&actor, "bob").await.unwrap();
    assert!(!site.knows(&bob.cookie).await);
}

#[tokio::test]
async fn a_token_counts_until_it_ends_or_is_taken_back() {
    let (site, _) = Site::with_ann().await;
    let new = |expires_at| TokenNew {
        name: "script".to_owned(),
        grant: grant(Role::Viewer),
        expires_at,
    };
    let actor = Actor::server();
    let soon = site.clock.now() + Duration::from_secs(60);
    let (_, brief) = site
        .access
        .make_token(&actor, new(Some(soon)))
        .await
        .unwrap();
    let (token, secret) = site.access.make_token(&actor, new(None)).await.unwrap();
    let knows = async |secret: &Secret| {
        let found = site.access.by_token(secret.expose()).await.unwrap();
        found.is_some()
    };
    assert!(knows(&brief).await && knows(&secret).await);
    assert!(!knows(&Secret::random("dmt_")).await);
    assert!(!knows(&Secret::new("")).await);
    site.clock.advance(Duration::from_secs(60));
    assert!(!knows(&brief).await);
    site.access.revoke_token(&actor, token.id).await.unwrap();
    assert!(!knows(&secret).await);
    let again = site.access.revoke_token(&actor, token.id).await;
    assert!(matches!(again, Err(AccessError::Unknown(_))));
    let past = site.access.make_token(&actor, new(Some(soon))).await;
    assert!(matches!(past, Err(AccessError::Invalid(_))));
}

#[tokio::test]
async fn a_connection_that_stays_open_ends_with_its_session_token_or_rights() {
    let (site, ann) = Site::with_ann().await;
    site.add("bob", Role::Viewer).await;
    let bob = site.access.sign_in(attempt("bob", PASSWORD)).await.unwrap();
    let holds = async |it: &Principal| site.access.still_holds(it).await.unwrap();
    assert!(holds(&ann.principal).await && holds(&bob.principal).await);
    let promoted = Principal {
        grant: grant(Role::Admin),
        ..(*bob.principal).clone()
    };
    assert!(
        !holds(&promoted).await,
        "not with the rights of another time"
    );
    let actor = Actor::server();
    site.access.end_sessions(&actor, "bob").await.unwrap();
    assert!(!holds(&bob.principal).await);
    let new = TokenNew {
        name: "script".to_owned(),
        grant: grant(Role::Viewer),
        expires_at: None,
    };
    let (token, secret) = site.access.make_token(&actor, new).await.unwrap();
    let script = site
        .access
        .by_token(secret.expose())
        .await
        .unwrap()
        .unwrap();
    assert!(holds(&script).await);
    site.access.revoke_token(&actor, token.id).await.unwrap();
    assert!(!holds(&script).await);
    site.clock.advance(SESSION_MAX);
    assert!(!holds(&ann.principal).await);
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_without_secrets() {
    let (site, ann) = Site::with_ann().await;
    site.add("bob", Role::Viewer).await;
    let actor = Actor {
        origin: ann.principal.origin.clone(),
        address: "192.0.2.7".parse().ok(),
    };
    site.access.remove_person(&actor, "bob").await.unwrap();
    let query = AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    };
    let entries = site.audit.query(query).await.unwrap();
    let mut actions: Vec<_> = entries.iter().map(|it| it.action.as_ref()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["setup", "user.add", "user.remove"]);
    assert!(!format!("{entries:?}").contains(PASSWORD));
}
