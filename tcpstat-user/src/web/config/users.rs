//! `basic_auth_users`: user names and bcrypt hashes.

use std::{collections::BTreeMap, fmt};

use bcrypt::HashParts;

use super::{
    error::{Fault, Problem},
    section::entries,
    yaml::Node,
};

/// A check takes some 70 ms with cost 10, and twice as long with each more: 18 s with this one.
const MAX_COST: u32 = 18;

/// The bcrypt hash of each user's password, which is checked to be one. Empty: no user, so no authentication.
#[derive(Clone, Default, PartialEq, Eq)]
pub(in crate::web) struct Users(BTreeMap<String, String>);

impl Users {
    pub(super) fn parse(node: Node) -> Result<Self, Fault> {
        let mut users = BTreeMap::new();
        for entry in entries("basic_auth_users", node)? {
            let (user, line) = (entry.key, entry.node.line);
            // A colon ends the user name of a request (RFC 7617, section 2).
            if user.is_empty() || user.contains(':') {
                return Err(Fault::new(entry.line, Problem::UserName { user }));
            }
            let hash = entry.node.text(&user)?;
            let Ok(parts) = hash.parse::<HashParts>() else {
                return Err(Fault::new(line, Problem::NotBcrypt { user }));
            };
            match parts.get_cost() {
                // The range of bcrypt.
                0..4 | 32.. => return Err(Fault::new(line, Problem::NotBcrypt { user })),
                cost if cost > MAX_COST => {
                    return Err(Fault::new(line, Problem::Cost { user, cost, most: MAX_COST }));
                }
                _ => {}
            }
            users.insert(user, hash);
        }
        Ok(Self(users))
    }

    pub(in crate::web) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hash of `user`.
    pub(in crate::web) fn hash(&self, user: &str) -> Option<&str> {
        self.0.get(user).map(String::as_str)
    }

    /// All hashes, in the order of the user names.
    pub(in crate::web) fn hashes(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}

/// Without the hashes, which allow attempts to find the passwords.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
