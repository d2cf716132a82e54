//! Checks names and passwords (RFC 7617) against bcrypt hashes, which are slow on purpose.
//!
//! A password that was right once is recognised by a keyed digest, so a scrape costs no bcrypt. The
//! rest is bounded: one hash at a time on a thread of its own, [`WAITING_MAX`] more waiting, and after
//! a wrong password a pause of [`PAUSE`] times what the hash took. So guesses cost at most a fifth of
//! one core.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bcrypt::HashParts;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Checks that may wait for the one that runs.
const WAITING_MAX: usize = 8;

/// How many times as long as a wrong password's hash the next check waits.
const PAUSE: u32 = 4;

/// The highest cost of a hash: about three seconds for each check, twice as long with each step.
const COST_MAX: u32 = 15;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A user with the right password.
    Known,
    /// Somebody else.
    Unknown,
    /// Not checked: too many wait.
    Busy,
}

/// The users that are answered.
pub(super) struct Users {
    hashes: BTreeMap<String, String>,
    /// Stands in for the hash of unknown users, so that they take as long as known ones.
    decoy: String,
    key: hmac::Key,
    /// For each user the digest of the password that was right.
    right: Mutex<HashMap<String, hmac::Tag>>,
    turn: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Users {
    /// `hashes` has at least one user.
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Result<Self, String> {
        let mut decoy = String::new();
        for (user, hash) in &hashes {
            check_hash(hash).map_err(|wrong| format!("basic_auth_users: {user}: {wrong}"))?;
            decoy.clone_from(hash);
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| String::from("the system has no random numbers"))?;
        let (turn, waiting) = (Semaphore::new(1), Semaphore::new(1 + WAITING_MAX));
        let (turn, waiting) = (Arc::new(turn), Arc::new(waiting));
        Ok(Self { hashes, decoy, key, right: Mutex::default(), turn, waiting })
    }

    /// Checks the value of an `Authorization` header.
    pub(super) async fn check(&self, authorization: Option<&HeaderValue>) -> Verdict {
        let Some((user, password)) = authorization.and_then(credentials) else {
            return Verdict::Unknown;
        };
        let signed = [user.as_bytes(), b"\0", password.as_bytes()].concat();
        if self.was_right(&user, &signed) {
            return Verdict::Known;
        }
        let Ok(_waiting) = self.waiting.try_acquire() else { return Verdict::Busy };
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return Verdict::Busy };
        // Another request with the same password may have come first.
        if self.was_right(&user, &signed) {
            return Verdict::Known;
        }
        let known = self.hashes.get(&user);
        let hash = known.unwrap_or(&self.decoy).clone();
        if verify(password, hash, known.is_some(), turn).await {
            let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
            right.insert(user, hmac::sign(&self.key, &signed));
            return Verdict::Known;
        }
        Verdict::Unknown
    }

    fn was_right(&self, user: &str, signed: &[u8]) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(user).is_some_and(|tag| hmac::verify(&self.key, signed, tag.as_ref()).is_ok())
    }
}

/// Hashes on another thread. `turn` is given back when that is done, even if the client has left, and
/// after a wrong password or name only when the pause is over.
async fn verify(password: String, hash: String, is_user: bool, turn: OwnedSemaphorePermit) -> bool {
    let hashed = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let is_right = bcrypt::verify(password, &hash).unwrap_or(false) && is_user;
        (is_right, begun.elapsed(), turn)
    });
    let Ok((is_right, took, turn)) = hashed.await else { return false };
    if !is_right {
        tokio::spawn(async move {
            tokio::time::sleep(took * PAUSE).await;
            drop(turn);
        });
    }
    is_right
}

/// The name and the password in a header; the name ends at the first colon.
fn credentials(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn check_hash(hash: &str) -> Result<(), String> {
    let parts: HashParts = hash.parse().map_err(|_| {
        String::from("this is no bcrypt hash; `htpasswd -nBC 10 \"\"` makes one from a password")
    })?;
    if parts.get_cost() > COST_MAX {
        return Err(format!(
            "the cost of its hash is {}, which takes too long to check; the highest is {COST_MAX}",
            parts.get_cost()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lowest cost, so that the tests are quick.
    fn users() -> Users {
        let hash = bcrypt::hash("right", 4).expect("a hash");
        Users::new([("alice".to_owned(), hash)].into()).expect("a hash")
    }

    fn basic(text: &str) -> HeaderValue {
        format!("Basic {}", STANDARD.encode(text)).parse().expect("a header value")
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_user_is_known() {
        let users = users();
        assert_eq!(users.check(Some(&basic("alice:right"))).await, Verdict::Known);
        for text in ["alice:wrong", "alice:", "bob:right", ":right", "alice", "right:alice", ""] {
            assert_eq!(users.check(Some(&basic(text))).await, Verdict::Unknown, "{text}");
        }
        for header in ["Basic", "Basic !", "Bearer abc", "", "Basic //79"] {
            let header = HeaderValue::from_static(header);
            assert_eq!(users.check(Some(&header)).await, Verdict::Unknown, "{header:?}");
        }
        assert_eq!(users.check(None).await, Verdict::Unknown);
    }

    #[tokio::test]
    async fn a_password_that_was_right_waits_for_no_other() {
        let users = users();
        assert_eq!(users.check(Some(&basic("alice:right"))).await, Verdict::Known);
        let turn = Arc::clone(&users.turn).acquire_owned().await.expect("open");
        let waiting = users.waiting.try_acquire_many(1 + WAITING_MAX as u32).expect("nobody waits");
        assert_eq!(users.check(Some(&basic("alice:right"))).await, Verdict::Known);
        assert_eq!(users.check(Some(&basic("alice:guess"))).await, Verdict::Busy);
        drop((turn, waiting));
        assert_eq!(users.check(Some(&basic("alice:guess"))).await, Verdict::Unknown);
    }

    #[test]
    fn what_is_no_hash_or_takes_too_long_is_refused() {
        let costly = bcrypt::hash("x", 4).expect("a hash").replacen("$04$", "$20$", 1);
        for (hash, word) in [("plain", "bcrypt"), ("", "bcrypt"), (&costly, "cost")] {
            let error = check_hash(hash).expect_err(hash);
            assert!(error.contains(word), "{error}");
            assert!(hash.is_empty() || !error.contains(hash), "{error}");
        }
    }
}
