//! The command about the admin pages.

use autoradio_edge::cluster::{AdminRecord, Store, hash_password, random_password};

use crate::output::Output;
use crate::settings::Password;

/// Length of a generated password: 24 characters of six bits.
const PASSWORD_CHARACTERS: usize = 24;

/// Sets the password of the admin pages; shows it if it was made here.
pub(crate) async fn set_password(
    store: &Store,
    output: &Output,
    password: Password,
) -> anyhow::Result<()> {
    let (password, made) = match password {
        Password::Given(password) => (password, false),
        Password::Kept | Password::Generated => (random_password(PASSWORD_CHARACTERS)?, true),
    };
    store.set_admin(&AdminRecord::new(hash_password(&password)?)).await?;
    output.admin(made.then_some(password.as_str()))
}
