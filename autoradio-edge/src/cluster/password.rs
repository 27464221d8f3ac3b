//! Passwords: made from the system's random numbers, kept as argon2id hashes.

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use rand::TryRng;
use rand::rngs::SysRng;

use super::ClusterError;

/// What passwords are made of: no byte that a URL, a shell or an XML file would treat as special.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A password of `length` characters out of 64, so six bits each, from the system's random numbers.
pub fn random_password(length: usize) -> Result<String, ClusterError> {
    let mut bytes = vec![0_u8; length];
    system_random_bytes(&mut bytes)?;
    // 64 divides 256, so no character is likelier than another.
    let character = |byte: &u8| char::from(ALPHABET[usize::from(byte % 64)]);
    Ok(bytes.iter().map(character).collect())
}

/// Fills `bytes` from the system's random numbers.
pub(super) fn system_random_bytes(bytes: &mut [u8]) -> Result<(), ClusterError> {
    let fill = SysRng.try_fill_bytes(bytes);
    fill.map_err(|error| ClusterError::NoRandomness { reason: error.to_string() })
}

/// The argon2id hash of a password as a PHC string, with a salt of its own.
pub fn hash_password(password: &str) -> Result<String, ClusterError> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| ClusterError::Password { reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::{PasswordVerifier, phc::PasswordHash};

    #[test]
    fn passwords_have_the_length_asked_for_and_do_not_repeat() {
        let one = random_password(32).unwrap();
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(one, random_password(32).unwrap());
    }

    #[test]
    fn a_hash_proves_its_password_and_no_other() {
        let hash = hash_password("hackme").unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert_ne!(hash, hash_password("hackme").unwrap(), "salted");
        let hash = PasswordHash::new(&hash).unwrap();
        assert!(Argon2::default().verify_password(b"hackme", &hash).is_ok());
        assert!(Argon2::default().verify_password(b"Hackme", &hash).is_err());
    }
}
