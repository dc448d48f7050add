//! Adding, editing and removing people.

use serde_json::json;

use super::session::{check_new_name, check_new_password};
use super::{Access, AccessError, GuessKey, Principal, Via};
use crate::access::{Actor, Grant, Role, Scope, User};
use crate::ports::{NewUser, PortError, UserWrite};
use crate::secret::{Secret, TokenDigest};

/// A person to add.
#[derive(Debug, Clone)]
pub struct PersonNew {
    /// The name to sign in with.
    pub name: String,
    /// Their first password.
    pub password: Secret,
    /// What they may do, and where.
    pub grant: Grant,
}

/// An edit of a person: `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct PersonEdit {
    /// What they may do.
    pub role: Option<Role>,
    /// Where.
    pub scope: Option<Scope>,
    /// A new password, which ends their sessions.
    pub password: Option<Secret>,
}

impl Access {
    /// Everybody, in order of their names.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn people(&self) -> Result<Vec<User>, PortError> {
        self.parts.users.list().await
    }

    /// The person with this name, whatever its case.
    ///
    /// # Errors
    /// When there is none.
    pub async fn person(&self, name: &str) -> Result<User, AccessError> {
        let user = self.parts.users.by_name(name).await?;
        user.ok_or_else(|| AccessError::Unknown(format!("person '{name}'")))
    }

    /// Adds a person.
    ///
    /// # Errors
    /// When the name is taken, or name or password break a rule.
    pub async fn add_person(&self, actor: &Actor, new: PersonNew) -> Result<User, AccessError> {
        check_new_name(&new.name)?;
        check_new_password(&new.name, &new.password)?;
        let user = NewUser {
            name: new.name.clone(),
            grant: new.grant,
            password_hash: self.parts.hasher.hash(new.password).await?,
            created_at: self.parts.clock.now(),
        };
        let user = self.written(self.parts.users.insert(user, false).await?, &new.name)?;
        self.note(actor, "user.add", &user).await?;
        Ok(user)
    }

    /// Edits a person; with `version`, only if they are still at it.
    ///
    /// # Errors
    /// When there is no such person, they changed meanwhile, a rule is broken,
    /// or nobody could administer the site any more.
    pub async fn edit_person(
        &self,
        actor: &Actor,
        name: &str,
        version: Option<u32>,
        edit: PersonEdit,
    ) -> Result<User, AccessError> {
        let mut next = self.person(name).await?;
        if version.is_some_and(|version| version != next.version) {
            return Err(AccessError::Stale);
        }
        let new_password = edit.password.is_some();
        if let Some(password) = edit.password {
            check_new_password(&next.name, &password)?;
            next.password_hash = self.parts.hasher.hash(password).await?;
        }
        next.grant.role = edit.role.unwrap_or(next.grant.role);
        next.grant.scope = edit.scope.unwrap_or(next.grant.scope);
        next.version = next.version.saturating_add(1);
        let user = self.written(self.parts.users.swap(next).await?, name)?;
        self.forget_callers();
        if new_password {
            self.revoke_sessions(user.id, None).await?;
        }
        self.note(actor, "user.edit", &user).await?;
        Ok(user)
    }

    /// Removes a person and ends their sessions.
    ///
    /// # Errors
    /// When there is no such person, or nobody could administer the site any
    /// more.
    pub async fn remove_person(&self, actor: &Actor, name: &str) -> Result<(), AccessError> {
        let user = self.person(name).await?;
        self.written(self.parts.users.remove(user.id).await?, name)?;
        self.forget_callers();
        self.note(actor, "user.remove", &user).await
    }

    /// Changes one's own password: ends one's other sessions and replaces
    /// this one's secret, which is returned.
    ///
    /// # Errors
    /// When the current password is wrong or the new one breaks a rule.
    pub async fn change_password(
        &self,
        principal: &Principal,
        actor: &Actor,
        cookie: &str,
        current: Secret,
        next: Secret,
    ) -> Result<Option<Secret>, AccessError> {
        let Via::Session { user, session, .. } = &principal.via else {
            return Err(AccessError::Unknown("session".to_owned()));
        };
        let unknown = || AccessError::Unknown("person".to_owned());
        let mut person = self.parts.users.by_id(*user).await?.ok_or_else(unknown)?;
        let keys = [
            GuessKey::address(actor.address),
            GuessKey::name(&person.name),
        ];
        self.take_guess(&keys)?;
        let hash = Some(person.password_hash.clone());
        if !self.parts.hasher.verify(hash, current).await? {
            return Err(AccessError::BadCredentials);
        }
        crate::memory::lock(&self.throttle).refund(&keys);
        check_new_password(&person.name, &next)?;
        person.password_hash = self.parts.hasher.hash(next).await?;
        person.version = person.version.saturating_add(1);
        let name = person.name.clone();
        let person = self.written(self.parts.users.swap(person).await?, &name)?;
        self.revoke_sessions(*user, Some(*session)).await?;
        let secret = self.rotate(*session, TokenDigest::of(cookie)).await?;
        self.note(actor, "user.change-password", &person).await?;
        Ok(secret)
    }

    fn written(&self, write: UserWrite, name: &str) -> Result<User, AccessError> {
        match write {
            UserWrite::Done(user) => Ok(user),
            UserWrite::Taken => Err(AccessError::Taken(name.to_owned())),
            UserWrite::Stale => Err(AccessError::Stale),
            UserWrite::LastAdmin => Err(AccessError::LastAdmin),
        }
    }

    async fn note(
        &self,
        actor: &Actor,
        action: &'static str,
        user: &User,
    ) -> Result<(), AccessError> {
        let target = format!("user:{}", user.name);
        let data = json!({
            "role": user.grant.role,
            "scope": user.grant.scope.as_str(),
        });
        Ok(self.parts.audit.write(actor, action, target, data).await?)
    }
}
