//! Who may do what.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::event::Origin;
use crate::location;
use crate::secret::TokenDigest;

/// What a person or a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// A part of the location tree: control, schedules, devices.
    Manager,
    /// Reads a part of the location tree.
    Viewer,
    /// One room: sees and switches it.
    Resident,
}

/// What a request needs its caller to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See devices, their state and history.
    Read,
    /// Switch sockets.
    Control,
    /// Add, edit and remove devices; see and replace their credentials.
    Manage,
    /// People, tokens, the audit log, the site's settings.
    Administer,
}

impl Role {
    /// Whether the role includes `permission`, within its holder's scope.
    #[must_use]
    pub const fn allows(self, permission: Permission) -> bool {
        match (self, permission) {
            (Self::Admin, _)
            | (_, Permission::Read)
            | (Self::Manager, Permission::Control | Permission::Manage)
            | (Self::Resident, Permission::Control) => true,
            (Self::Manager, Permission::Administer)
            | (Self::Viewer, Permission::Control | Permission::Manage | Permission::Administer)
            | (Self::Resident, Permission::Manage | Permission::Administer) => false,
        }
    }

    /// The role's name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Manager => "manager",
            Self::Viewer => "viewer",
            Self::Resident => "resident",
        }
    }

    /// Reads a name back.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "admin" => Self::Admin,
            "manager" => Self::Manager,
            "viewer" => Self::Viewer,
            "resident" => Self::Resident,
            _ => return None,
        })
    }
}

/// The part of the location tree that somebody's role covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(String);

impl Scope {
    /// Everything.
    #[must_use]
    pub fn site() -> Self {
        Self::default()
    }

    /// The place `location` and all inside it; empty for the whole site.
    ///
    /// # Errors
    /// When `location` is none.
    pub fn parse(location: &str) -> Result<Self, location::InvalidLocation> {
        location::check(location)?;
        Ok(Self(location.to_owned()))
    }

    /// The place; empty for the whole site.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the whole site.
    #[must_use]
    pub fn is_site(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `location` lies inside.
    #[must_use]
    pub fn covers(&self, location: &str) -> bool {
        location::is_inside(location, &self.0)
    }
}

/// A role and where it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// What its holder may do.
    pub role: Role,
    /// Where.
    pub scope: Scope,
}

impl Grant {
    /// Whether `permission` is granted at `location`.
    #[must_use]
    pub fn allows_at(&self, permission: Permission, location: &str) -> bool {
        self.role.allows(permission) && self.scope.covers(location)
    }

    /// Whether it is an administrator's of the whole site; one always stays.
    #[must_use]
    pub fn is_site_admin(&self) -> bool {
        self.role == Role::Admin && self.scope.is_site()
    }
}

/// Who makes a change, and from where, as the audit log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The person, token or the platform itself.
    pub origin: Origin,
    /// The address they called from, where there is one.
    pub address: Option<IpAddr>,
}

impl Actor {
    /// The platform itself, such as its command line.
    #[must_use]
    pub const fn server() -> Self {
        Self {
            origin: Origin::Server,
            address: None,
        }
    }
}

/// A person's key inside the platform; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub i64);

/// A person who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The key inside the platform.
    pub id: UserId,
    /// The name they sign in with; unique whatever its case.
    pub name: String,
    /// What they may do, and where.
    pub grant: Grant,
    /// The Argon2id hash of the password, in PHC form.
    pub password_hash: String,
    /// Rises with each edit; the ETag.
    pub version: u32,
    /// When they were added.
    pub created_at: Timestamp,
    /// When they signed in last.
    pub last_sign_in_at: Option<Timestamp>,
}

/// A session's key inside the platform; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i64);

/// A signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The key inside the platform.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// The digest of the cookie's secret.
    pub digest: TokenDigest,
    /// The secret that unsafe requests repeat in a header.
    pub csrf_token: String,
    /// When they signed in.
    pub created_at: Timestamp,
    /// When the cookie's secret was replaced last.
    pub rotated_at: Timestamp,
    /// When it was used last, to the minute.
    pub last_used_at: Timestamp,
    /// The address they signed in from.
    pub address: Option<IpAddr>,
    /// What the browser calls itself.
    pub agent: String,
}

/// An API token's key inside the platform; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub i64);

/// An API token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// The key inside the platform.
    pub id: TokenId,
    /// What it is called in origins and the audit log.
    pub name: String,
    /// The digest of its secret.
    pub digest: TokenDigest,
    /// What it may do, and where.
    pub grant: Grant,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// A text that cannot be a person's or token's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 64 characters without control characters, and without spaces at its ends")]
pub struct InvalidName;

/// Checks a person's or token's name.
///
/// # Errors
/// When it breaks the rule.
pub fn check_name(name: &str) -> Result<(), InvalidName> {
    let ok = (1..=64).contains(&name.chars().count())
        && name.trim() == name
        && !name.contains(char::is_control);
    if ok { Ok(()) } else { Err(InvalidName) }
}

/// Why a password will not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Under eight characters.
    #[error("a password has at least 8 characters")]
    Short,
    /// Over 256 bytes.
    #[error("a password has at most 256 bytes")]
    Long,
    /// The same as the name.
    #[error("a password differs from the name")]
    Name,
}

/// Checks a person's new password.
///
/// # Errors
/// When it breaks a rule.
pub fn check_password(name: &str, password: &str) -> Result<(), WeakPassword> {
    if password.chars().count() < 8 {
        Err(WeakPassword::Short)
    } else if password.len() > 256 {
        Err(WeakPassword::Long)
    } else if password.eq_ignore_ascii_case(name) {
        Err(WeakPassword::Name)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_include_what_they_say_and_no_more() {
        use Permission::{Administer, Control, Manage, Read};
        let table = [
            (Role::Admin, [true, true, true, true]),
            (Role::Manager, [true, true, true, false]),
            (Role::Resident, [true, true, false, false]),
            (Role::Viewer, [true, false, false, false]),
        ];
        for (role, expected) in table {
            let found = [Read, Control, Manage, Administer].map(|it| role.allows(it));
            assert_eq!(found, expected, "{role:?}");
            assert_eq!(Role::from_name(role.as_str()), Some(role));
        }
    }

    #[test]
    fn a_grant_ends_at_its_scope() {
        let grant = Grant {
            role: Role::Manager,
            scope: Scope::parse("A/3").unwrap(),
        };
        assert!(grant.allows_at(Permission::Control, "A/3/302"));
        assert!(!grant.allows_at(Permission::Control, "A/4/402"));
        assert!(!grant.allows_at(Permission::Read, ""));
        assert!(!grant.allows_at(Permission::Administer, "A/3"));
    }

    #[test]
    fn passwords_are_long_enough_and_not_the_name() {
        assert_eq!(check_password("ann", "correct horse"), Ok(()));
        assert_eq!(check_password("ann", "seven 7"), Err(WeakPassword::Short));
        assert_eq!(
            check_password("Annabella", "annabellA"),
            Err(WeakPassword::Name)
        );
        assert_eq!(
            check_password("ann", &"x".repeat(257)),
            Err(WeakPassword::Long)
        );
    }

    #[test]
    fn names_are_plain() {
        for good in ["ann", "Ann Lee", "安"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", " ann", "a\nb", &"x".repeat(65)] {
            assert_eq!(check_name(bad), Err(InvalidName), "{bad:?}");
        }
    }
}
