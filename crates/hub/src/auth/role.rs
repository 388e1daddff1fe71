//! What a member of a bucket may do.

use std::fmt;
use std::str::FromStr;

/// A member's role; each may do everything that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads everything.
    User,
    /// Also runs actions, deletes issues, changes alerts.
    Developer,
    /// Also invites members and deletes servers.
    Admin,
    /// Also renames and deletes the bucket, removes members, changes roles and the plan. Exactly one each.
    Owner,
}

/// The text names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of user, developer, admin, owner")]
pub struct RoleError;

impl Role {
    /// Its name, as PM2's API has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Developer => "developer",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        [Self::User, Self::Developer, Self::Admin, Self::Owner]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(RoleError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_in_order_and_read_back() {
        let all = [Role::User, Role::Developer, Role::Admin, Role::Owner];
        assert!(all.is_sorted());
        for role in all {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(RoleError));
    }
}
