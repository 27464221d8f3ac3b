//! Credentials of sources: HTTP Basic against a mount's argon2 hash.
//!
//! A source login is up to four connections and a title one or two more, so a password found right is remembered under
//! a hash keyed by a secret of this process. Wrong ones are not: they cost their sender a check each time.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use autoradio_common::limits::{HTTP_PASSWORD_CHECKS_MAX, HTTP_PASSWORDS_REMEMBERED_MAX};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::RequestHead;
use crate::cluster::MountRecord;

/// What a client gave as its name and password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// Reads the `Authorization` field. `None`: there is none, or it is not Basic.
    pub(super) fn of(head: &RequestHead) -> Option<Self> {
        let (scheme, encoded) = head.field_text("Authorization")?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("Basic") {
            return None;
        }
        let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Self { user: user.to_owned(), password: password.to_owned() })
    }

    /// The value of an `Authorization` field that gives these credentials.
    pub(super) fn basic(user: &str, password: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
    }
}

/// Checks passwords, few at a time, and remembers the right ones.
pub(super) struct Verifier {
    key: [u8; 32],
    right: Mutex<VecDeque<[u8; 32]>>,
    running: Semaphore,
}

impl Verifier {
    /// A verifier that remembers nothing yet.
    pub(super) fn new() -> Self {
        Self {
            key: rand::random(),
            right: Mutex::default(),
            running: Semaphore::new(HTTP_PASSWORD_CHECKS_MAX),
        }
    }

    /// Whether `head` carries the source credentials of `record`.
    ///
    /// The password is checked even when the user name is wrong, so that the time taken does not tell which it was.
    pub(super) async fn allows(&self, head: &RequestHead, record: &MountRecord) -> bool {
        let Some(given) = Credentials::of(head) else {
            return false;
        };
        let user_right = given.user.as_bytes().ct_eq(record.source_username.as_bytes());
        let password_right =
            self.password_right(given.password, record.source_password_hash.clone()).await;
        bool::from(user_right) & password_right
    }

    async fn password_right(&self, password: String, hash: String) -> bool {
        let tag = self.tag(&password, &hash);
        if self.remembers(&tag) {
            return true;
        }
        let Ok(_permit) = self.running.acquire().await else {
            return false;
        };
        let check = tokio::task::spawn_blocking(move || verify(&password, &hash));
        let right = check.await.unwrap_or(false);
        if right {
            self.remember(tag);
        }
        right
    }

    fn tag(&self, password: &str, hash: &str) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.key);
        digest.update((hash.len() as u64).to_be_bytes());
        digest.update(hash.as_bytes());
        digest.update(password.as_bytes());
        digest.finalize().into()
    }

    fn remembers(&self, tag: &[u8; 32]) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.iter().any(|known| known.ct_eq(tag).into())
    }

    fn remember(&self, tag: [u8; 32]) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.contains(&tag) {
            return;
        }
        if right.len() == HTTP_PASSWORDS_REMEMBERED_MAX {
            right.pop_front();
        }
        right.push_back(tag);
    }
}

/// Whether `password` is what `hash` (a PHC string) was made from. A hash that does not parse fits no password.
fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{head_of, mount_record};
    use super::*;

    fn head_with(authorization: &str) -> RequestHead {
        head_of(&format!("SOURCE /m HTTP/1.0\r\nAuthorization: {authorization}\r\n\r\n"))
    }

    #[tokio::test]
    async fn only_the_mounts_own_name_and_password_are_right() {
        let record = mount_record("/m", "source", "hack:me");
        let verifier = Verifier::new();
        for (why, authorization, want) in [
            ("right", Credentials::basic("source", "hack:me"), true),
            ("right again, remembered", Credentials::basic("source", "hack:me"), true),
            (
                "scheme in lower case",
                Credentials::basic("source", "hack:me").replace("Basic", "basic"),
                true,
            ),
            ("wrong password", Credentials::basic("source", "hack"), false),
            (
                "wrong name with a remembered password",
                Credentials::basic("admin", "hack:me"),
                false,
            ),
            ("no password", "Basic c291cmNl".to_owned(), false),
            ("not base64", "Basic %%%".to_owned(), false),
            ("another scheme", "Bearer abc".to_owned(), false),
        ] {
            let got = verifier.allows(&head_with(&authorization), &record).await;
            assert_eq!(got, want, "{why}");
        }
        assert!(!verifier.allows(&head_of("SOURCE /m HTTP/1.0\r\n\r\n"), &record).await);
    }

    #[tokio::test]
    async fn a_new_password_makes_the_old_one_wrong_at_once() {
        let verifier = Verifier::new();
        let head = head_with(&Credentials::basic("source", "old"));
        assert!(verifier.allows(&head, &mount_record("/m", "source", "old")).await);
        assert!(!verifier.allows(&head, &mount_record("/m", "source", "new")).await);
    }

    #[test]
    fn only_so_many_passwords_are_remembered() {
        let verifier = Verifier::new();
        for number in 0..=HTTP_PASSWORDS_REMEMBERED_MAX {
            verifier.remember(verifier.tag(&number.to_string(), "hash"));
        }
        let known = |password: &str| verifier.remembers(&verifier.tag(password, "hash"));
        assert!(!known("0") && known("1") && known(&HTTP_PASSWORDS_REMEMBERED_MAX.to_string()));
    }

    #[test]
    fn a_hash_that_does_not_parse_fits_no_password() {
        assert!(!verify("", ""));
        assert!(!verify("x", "$argon2id$v=19$m=65536"));
    }
}
