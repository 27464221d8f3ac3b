//! Credentials of sources: HTTP Basic against a mount's argon2 hash.
//!
//! A source login is up to four connections and a title one or two more, so a password found right is remembered under
//! a hash keyed by a secret of this process. Wrong ones are not: they cost their sender a check each time. Checks that
//! cannot be made soon are refused, so that a flood of wrong passwords delays nobody for long.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use autoradio_common::limits::{
    HTTP_PASSWORD_CHECKS_MAX, HTTP_PASSWORD_WAIT_MS_MAX, HTTP_PASSWORD_WAITERS_MAX,
    HTTP_PASSWORDS_REMEMBERED_MAX,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::bucket::Bucket;
use super::{FrontError, RequestHead};
use crate::clock;
use crate::cluster::{MountPath, MountRecord};

/// What a client gave as its name and password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
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

    /// Credentials that were not given in a head.
    pub(super) fn new(user: &str, password: &str) -> Self {
        Self { user: user.to_owned(), password: password.to_owned() }
    }

    /// The value of an `Authorization` field that gives these credentials.
    pub(super) fn basic(user: &str, password: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
    }
}

/// Whose password it is: a mount's source's, or that of one of its listeners.
type Whose = (MountPath, Option<String>);

/// Checks passwords, few at a time, and remembers the right ones.
pub(super) struct Verifier {
    key: [u8; 32],
    /// Per mount and listener, `None` for the mount's source, the tag of what was right last.
    right: Mutex<HashMap<Whose, [u8; 32]>>,
    running: Semaphore,
    waiting: Semaphore,
    wait_max: Duration,
    /// What the checks come out of, where they have to be few.
    budget: Option<Mutex<Bucket>>,
}

impl Verifier {
    /// A verifier that remembers nothing yet.
    pub(super) fn new() -> Self {
        Self {
            key: rand::random(),
            right: Mutex::default(),
            running: Semaphore::new(HTTP_PASSWORD_CHECKS_MAX),
            waiting: Semaphore::new(HTTP_PASSWORD_WAITERS_MAX),
            wait_max: Duration::from_millis(HTTP_PASSWORD_WAIT_MS_MAX),
            budget: None,
        }
    }

    /// One that makes few checks a second, and refuses all others at once.
    pub(super) fn scarce() -> Self {
        Self { budget: Some(Mutex::new(Bucket::full(clock::now()))), ..Self::new() }
    }

    /// Whether `head` carries the source credentials of `record`; an error when too many others wait to know the same.
    ///
    /// What was right before is answered at once. Everything else costs a whole check, of a right password under a
    /// wrong name too, so that the time a refusal takes does not tell which of the two was wrong.
    pub(super) async fn allows(
        &self,
        head: &RequestHead,
        record: &MountRecord,
    ) -> Result<bool, FrontError> {
        let bare = head.bare_password();
        let bare = bare.map(|password| Credentials::new(&record.source_username, password));
        match bare.or_else(|| Credentials::of(head)) {
            Some(given) => self.knows(given, record).await,
            None => Ok(false),
        }
    }

    /// Like [`Self::allows`], of credentials that came another way than in a head.
    pub(super) async fn knows(
        &self,
        given: Credentials,
        record: &MountRecord,
    ) -> Result<bool, FrontError> {
        let user_right = bool::from(given.user.as_bytes().ct_eq(record.source_username.as_bytes()));
        let hash = record.source_password_hash.clone();
        self.fits((record.path.clone(), None), given, user_right, hash).await
    }

    /// Whether these are the credentials of one of the listeners of `mount`.
    pub(super) async fn knows_listener(
        &self,
        given: Credentials,
        mount: &MountPath,
        users: &BTreeMap<String, String>,
    ) -> Result<bool, FrontError> {
        let own = users.get(&given.user);
        // A stranger's password is checked against somebody's, so that the time it takes does not tell who is known.
        let Some(hash) = own.or_else(|| users.values().next()).cloned() else { return Ok(false) };
        let whose = (mount.clone(), Some(given.user.clone()));
        self.fits(whose, given, own.is_some(), hash).await
    }

    async fn fits(
        &self,
        whose: Whose,
        given: Credentials,
        user_right: bool,
        hash: String,
    ) -> Result<bool, FrontError> {
        let tag = self.tag(&given, &hash);
        if user_right && self.remembers(&whose, &tag) {
            return Ok(true);
        }
        let right = self.check(given.password, hash).await? && user_right;
        if right {
            self.remember(whose, tag);
        }
        Ok(right)
    }

    /// Checks a password when its turn comes.
    async fn check(&self, password: String, hash: String) -> Result<bool, FrontError> {
        let afford = |budget: &Mutex<Bucket>| {
            budget.lock().unwrap_or_else(PoisonError::into_inner).take(clock::now())
        };
        if !self.budget.as_ref().is_none_or(afford) {
            return Err(FrontError::PasswordsBusy);
        }
        let waiting = self.waiting.try_acquire().map_err(|_| FrontError::PasswordsBusy)?;
        let turn = tokio::time::timeout(self.wait_max, self.running.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(FrontError::PasswordsBusy);
        };
        drop(waiting);
        let check = tokio::task::spawn_blocking(move || verify(&password, &hash));
        Ok(check.await.unwrap_or(false))
    }

    fn tag(&self, given: &Credentials, hash: &str) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.key);
        for part in [hash, &given.user] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        digest.update(given.password.as_bytes());
        digest.finalize().into()
    }

    fn remembers(&self, whose: &Whose, tag: &[u8; 32]) -> bool {
        self.right().get(whose).is_some_and(|known| known.ct_eq(tag).into())
    }

    /// Everybody has one right password, so a newer one takes the older one's place. When mounts that were deleted since
    /// fill the room, any one is forgotten: it costs its source one check.
    fn remember(&self, whose: Whose, tag: [u8; 32]) {
        let mut right = self.right();
        if right.len() >= HTTP_PASSWORDS_REMEMBERED_MAX
            && !right.contains_key(&whose)
            && let Some(other) = right.keys().next().cloned()
        {
            right.remove(&other);
        }
        right.insert(whose, tag);
    }

    fn right(&self) -> MutexGuard<'_, HashMap<Whose, [u8; 32]>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `password` is what `hash` (a PHC string) was made from. A hash that does not parse fits no password.
fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use autoradio_common::limits::MOUNTS_MAX;

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
            let got = verifier.allows(&head_with(&authorization), &record).await.expect(why);
            assert_eq!(got, want, "{why}");
        }
        let nothing = verifier.allows(&head_of("SOURCE /m HTTP/1.0\r\n\r\n"), &record).await;
        assert!(matches!(nothing, Ok(false)));
    }

    #[tokio::test]
    async fn a_new_name_or_password_makes_the_old_one_wrong_at_once() {
        let verifier = Verifier::new();
        let head = head_with(&Credentials::basic("source", "old"));
        let old = mount_record("/m", "source", "old");
        let renamed = MountRecord { source_username: "dj".to_owned(), ..old.clone() };
        let new = mount_record("/m", "source", "new");
        for (why, record, want) in
            [("old", old, true), ("name", renamed, false), ("new", new, false)]
        {
            assert_eq!(verifier.allows(&head, &record).await.expect("a turn"), want, "{why}");
        }
    }

    #[test]
    fn every_mount_of_a_full_cluster_is_remembered_and_no_more() {
        let verifier = Verifier::new();
        let mount = |number: usize| (format!("/{number}").parse().expect("a mount path"), None);
        for number in 0..MOUNTS_MAX {
            verifier.remember(mount(number), [1; 32]);
        }
        assert!((0..MOUNTS_MAX).all(|number| verifier.remembers(&mount(number), &[1; 32])));
        verifier.remember(mount(0), [2; 32]);
        assert!(
            verifier.remembers(&mount(0), &[2; 32]) && !verifier.remembers(&mount(0), &[1; 32])
        );
        verifier.remember(mount(MOUNTS_MAX), [1; 32]);
        assert!(verifier.remembers(&mount(MOUNTS_MAX), &[1; 32]));
        assert_eq!(verifier.right().len(), HTTP_PASSWORDS_REMEMBERED_MAX);
    }

    #[tokio::test]
    async fn a_flood_of_wrong_passwords_keeps_out_no_source_that_was_right_before() {
        let verifier = Verifier { wait_max: Duration::from_millis(10), ..Verifier::new() };
        let record = mount_record("/m", "source", "hackme");
        let right = head_with(&Credentials::basic("source", "hackme"));
        let wrong = head_with(&Credentials::basic("source", "wrong"));
        assert!(verifier.allows(&right, &record).await.expect("a turn"));

        let turns = verifier.running.acquire_many(HTTP_PASSWORD_CHECKS_MAX as u32).await;
        let late = verifier.allows(&wrong, &record).await;
        assert!(matches!(late, Err(FrontError::PasswordsBusy)), "no turn in time");
        let waiters = verifier.waiting.acquire_many(HTTP_PASSWORD_WAITERS_MAX as u32).await;
        drop(turns);
        let full = verifier.allows(&wrong, &record).await;
        assert!(matches!(full, Err(FrontError::PasswordsBusy)), "no room to wait");
        assert!(verifier.allows(&right, &record).await.expect("no turn needed"));
        drop(waiters);
        assert!(!verifier.allows(&wrong, &record).await.expect("a turn"));
    }

    #[tokio::test]
    async fn each_listener_has_a_password_of_their_own() {
        let hash = |password| mount_record("/m", "x", password).source_password_hash;
        let users =
            BTreeMap::from([("anna".to_owned(), hash("one")), ("ben".to_owned(), hash("two"))]);
        let (verifier, mount) = (Verifier::new(), "/m".parse().expect("a mount path"));
        for (why, user, password, want) in [
            ("right", "anna", "one", true),
            ("right, too", "ben", "two", true),
            ("remembered", "anna", "one", true),
            ("another's", "ben", "one", false),
            ("a stranger with somebody's", "carl", "one", false),
        ] {
            let given = Credentials::new(user, password);
            let got = verifier.knows_listener(given, &mount, &users).await.expect("a turn");
            assert_eq!(got, want, "{why}");
        }
        let given = Credentials::new("anna", "one");
        let nobody = verifier.knows_listener(given, &mount, &BTreeMap::new()).await;
        assert!(matches!(nobody, Ok(false)), "an empty list lets nobody in");
    }

    #[test]
    fn a_hash_that_does_not_parse_fits_no_password() {
        assert!(!verify("", ""));
        assert!(!verify("x", "$argon2id$v=19$m=65536"));
    }
}
