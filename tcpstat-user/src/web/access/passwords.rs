//! Checks passwords against bcrypt hashes, on a thread for blocking work, each result kept.
//!
//! Of a password only a keyed hash is kept, whose key is random and in memory only. A name that no user has takes as
//! long as one that a user has.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use ring::{hmac, rand::SystemRandom};
use tokio::task::spawn_blocking;

use super::{authorization::Credentials, recent::Recent};
use crate::web::config::Users;

/// Results that are kept, of right and of wrong passwords each: many wrong ones do not displace a right one.
const RESULTS: usize = 100;

/// A hash of 22 and 31 characters for salt and digest, which is nobody's.
const NOBODY: &str = ".....................................................";

pub(super) struct Passwords {
    key: Option<hmac::Key>,
    results: Arc<Mutex<Results>>,
}

/// Of credentials together with the hash that they were checked against.
type Digest = [u8; 32];

struct Results {
    right: Recent<Digest>,
    wrong: Recent<Digest>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        // Without random numbers nothing is kept.
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok();
        let results = Results { right: Recent::new(RESULTS), wrong: Recent::new(RESULTS) };
        let results = Arc::new(Mutex::new(results));
        Self { key, results }
    }

    /// Whether they are the name and the password of one of `users`. If no result is kept, a check begins after `turn`, and
    /// holds its output until it ends.
    pub(super) async fn are_right<T: Send + 'static>(
        &self,
        users: &Users,
        credentials: Credentials,
        turn: impl Future<Output = T>,
    ) -> bool {
        let Credentials { user, password } = credentials;
        let known = std::str::from_utf8(&user).ok().and_then(|user| users.hash(user));
        let is_user = known.is_some();
        let hash = known.map_or_else(|| self.nobody(users, &user), str::to_owned);
        let digest = self.digest([&user, hash.as_bytes(), &password]);
        if let Some(right) = digest.and_then(|digest| self.known(&digest)) {
            return right;
        }
        let turn = turn.await;
        // Another request with the same credentials may have been checked meanwhile.
        if let Some(right) = digest.and_then(|digest| self.known(&digest)) {
            return right;
        }
        let results = self.results.clone();
        let check = spawn_blocking(move || {
            // Until the check ends, even if the client has gone.
            let _turn = turn;
            let right = bcrypt::verify(&password, &hash).unwrap_or(false) && is_user;
            if let Some(digest) = digest {
                let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                if right { results.right.add(digest) } else { results.wrong.add(digest) }
            }
            right
        });
        check.await.unwrap_or(false)
    }

    /// The kept result.
    fn known(&self, digest: &Digest) -> Option<bool> {
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        if results.right.contains(digest) {
            return Some(true);
        }
        results.wrong.contains(digest).then_some(false)
    }

    /// A hash with the cost of one of the users: always of the same one for the same name.
    fn nobody(&self, users: &Users, user: &[u8]) -> String {
        let hashes = users.hashes();
        let index = self.digest([user]).map_or(0, |digest| usize::from(digest[0]));
        let index = index.checked_rem(hashes.len()).unwrap_or_default();
        // $2b$10$, then salt and digest.
        let prefix = hashes.skip(index).find_map(|hash| hash.get(..7)).unwrap_or("$2b$10$");
        format!("{prefix}{NOBODY}")
    }

    /// Of the parts with their lengths, so that no two lists of parts have the same text.
    fn digest<const N: usize>(&self, parts: [&[u8]; N]) -> Option<Digest> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        for part in parts {
            context.update(&part.len().to_ne_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok()
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::web::config::WebConfig;

    /// alice has the password `right`, bob `other`; both hashes have the lowest cost.
    fn users() -> Users {
        let [alice, bob] = ["right", "other"].map(|password| bcrypt::hash(password, 4).unwrap());
        let text = format!("basic_auth_users:\n  alice: {alice}\n  bob: {bob}\n");
        WebConfig::parse(&text, Path::new("/")).unwrap().users
    }

    /// With no other check under way.
    async fn are_right(passwords: &Passwords, users: &Users, credentials: Credentials) -> bool {
        passwords.are_right(users, credentials, std::future::ready(())).await
    }

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials { user: user.into(), password: password.into() }
    }

    #[tokio::test]
    async fn each_user_has_one_password() {
        let (passwords, users) = (Passwords::new(), users());
        // Twice: computed, and kept.
        for _ in 0..2 {
            for (user, password, right) in [
                ("alice", "right", true),
                ("alice", "other", false),
                ("alice", "", false),
                ("bob", "other", true),
                ("bob", "right", false),
                ("carol", "right", false),
                ("", "", false),
            ] {
                let are_right = are_right(&passwords, &users, credentials(user, password)).await;
                assert_eq!(are_right, right, "{user} {password}");
            }
        }
    }

    #[tokio::test]
    async fn a_kept_result_does_not_outlive_the_hash() {
        let (passwords, first) = (Passwords::new(), users());
        assert!(are_right(&passwords, &first, credentials("alice", "right")).await);
        let text = format!("basic_auth_users:\n  alice: {}\n", bcrypt::hash("new", 4).unwrap());
        let second = WebConfig::parse(&text, Path::new("/")).unwrap().users;
        assert!(!are_right(&passwords, &second, credentials("alice", "right")).await);
        assert!(are_right(&passwords, &second, credentials("alice", "new")).await);
    }

    #[tokio::test]
    async fn wrong_passwords_do_not_displace_right_ones() {
        let (passwords, users) = (Passwords::new(), users());
        assert!(are_right(&passwords, &users, credentials("alice", "right")).await);
        for number in 0..=RESULTS {
            let wrong = credentials("alice", &format!("wrong {number}"));
            assert!(!are_right(&passwords, &users, wrong).await);
        }
        let hash = users.hash("alice").unwrap().as_bytes();
        let digest = |password: &str| passwords.digest([b"alice", hash, password.as_bytes()]);
        assert_eq!(passwords.known(&digest("right").unwrap()), Some(true));
        assert_eq!(passwords.known(&digest("wrong 0").unwrap()), None);
        assert_eq!(passwords.known(&digest("wrong 1").unwrap()), Some(false));
    }

    #[test]
    fn the_hash_for_an_unknown_user_has_the_cost_of_a_user_and_is_valid() {
        let (passwords, users) = (Passwords::new(), users());
        for user in ["carol", "dave", "", "\u{1f600}"] {
            let hash = passwords.nobody(&users, user.as_bytes());
            assert!(hash.starts_with("$2b$04$"), "{hash}");
            assert!(!bcrypt::verify("right", &hash).unwrap());
            assert_eq!(hash, passwords.nobody(&users, user.as_bytes()));
        }
    }

    #[test]
    fn parts_with_other_borders_have_another_digest() {
        let passwords = Passwords::new();
        assert_ne!(passwords.digest([b"ab", b"c"]), passwords.digest([b"a", b"bc"]));
        assert_ne!(passwords.digest([b"a"]), Passwords::new().digest([b"a"]));
    }
}
