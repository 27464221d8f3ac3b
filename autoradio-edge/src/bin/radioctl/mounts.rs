//! The mount commands.

use anyhow::Context;
use autoradio_edge::cluster::{
    ClusterError, MountPath, MountRecord, Snapshot, Store, Stored, check_mount, hash_password,
    random_password,
};

use crate::input::MountCommand;
use crate::output::Output;
use crate::settings::{Password, Settings};

/// Length of a generated source password: 24 characters of six bits.
const PASSWORD_CHARACTERS: usize = 24;
/// How often an edit starts over because somebody else changed the mount meanwhile.
const EDIT_TRIES: usize = 5;

/// Does what was asked.
pub(crate) async fn run(
    command: MountCommand,
    store: &Store,
    output: &Output,
) -> anyhow::Result<()> {
    match command {
        MountCommand::Create(path, settings) => create(store, output, path, &settings).await,
        MountCommand::List => {
            let snapshot = snapshot(store, output).await?;
            output.mounts(&snapshot)
        }
        MountCommand::Show(path) => {
            let stored = store.mount(&path).await?;
            let snapshot = snapshot(store, output).await?;
            output.mount(&stored.record, None, &snapshot)
        }
        MountCommand::Edit(path, settings) => edit(store, output, &path, &settings).await,
        MountCommand::AddListener(path, user, password) => {
            add_listener(store, output, &path, &user, password).await
        }
        MountCommand::RemoveListener(path, user) => {
            remove_listener(store, output, &path, &user).await
        }
        MountCommand::Delete(path) => {
            store.delete_mount(&path).await?;
            output.done(&format!("Mount {path} is deleted."))
        }
    }
}

async fn create(
    store: &Store,
    output: &Output,
    path: MountPath,
    settings: &Settings,
) -> anyhow::Result<()> {
    // Read first: once the password is made, nothing may fail before it is shown.
    let snapshot = snapshot(store, output).await?;
    let password = match chosen(&settings.password)? {
        Some(password) => password,
        None => random_password(PASSWORD_CHARACTERS)?,
    };
    let mut record = MountRecord::new(path, "source", hash_password(&password)?);
    settings.change(&mut record);
    check_mount(&record, &snapshot.mounts)?;
    store.create_mount(&record).await?;
    output.mount(&record, shown(&settings.password, password), &snapshot)
}

async fn edit(
    store: &Store,
    output: &Output,
    path: &MountPath,
    settings: &Settings,
) -> anyhow::Result<()> {
    let snapshot = snapshot(store, output).await?;
    let password = chosen(&settings.password)?;
    let hash = password.as_deref().map(hash_password).transpose()?;
    let record = rewrite(store, path, |record| {
        settings.change(record);
        if let Some(hash) = &hash {
            record.source_password_hash.clone_from(hash);
        }
        Ok(check_mount(record, &snapshot.mounts)?)
    })
    .await?;
    let shown = password.and_then(|password| shown(&settings.password, password));
    output.mount(&record, shown, &snapshot)
}

async fn add_listener(
    store: &Store,
    output: &Output,
    path: &MountPath,
    user: &str,
    chosen_password: Password,
) -> anyhow::Result<()> {
    let snapshot = snapshot(store, output).await?;
    let password = match chosen(&chosen_password)? {
        Some(password) => password,
        None => random_password(PASSWORD_CHARACTERS)?,
    };
    let hash = hash_password(&password)?;
    rewrite(store, path, |record| {
        let users = record.listener_users.get_or_insert_default();
        users.insert(user.to_owned(), hash.clone());
        Ok(check_mount(record, &snapshot.mounts)?)
    })
    .await?;
    output.listener(path, user, shown(&chosen_password, password).as_deref(), &snapshot)
}

async fn remove_listener(
    store: &Store,
    output: &Output,
    path: &MountPath,
    user: &str,
) -> anyhow::Result<()> {
    let record = rewrite(store, path, |record| {
        let removed = record.listener_users.as_mut().and_then(|users| users.remove(user));
        removed.map(drop).with_context(|| format!("{user:?} is no listener of {path}"))
    })
    .await?;
    if record.listener_users.is_some_and(|users| users.is_empty()) {
        output.warning(&format!(
            "nobody may listen to {path} any more; radioctl edit-mount {path} --open-to-all opens it"
        ));
    }
    output.done(&format!("{user} may no longer listen to {path}."))
}

/// Changes a mount's record, again if somebody else has changed it meanwhile.
async fn rewrite(
    store: &Store,
    path: &MountPath,
    mut change: impl FnMut(&mut MountRecord) -> anyhow::Result<()>,
) -> anyhow::Result<MountRecord> {
    let mut tries_left = EDIT_TRIES;
    loop {
        let mut stored: Stored<MountRecord> = store.mount(path).await?;
        change(&mut stored.record)?;
        match store.update_mount(&stored).await {
            // An edit says what each field shall be, so it holds for the newer record as well.
            Err(ClusterError::MountChanged { .. }) if tries_left > 0 => tries_left -= 1,
            ended => return Ok(ended.map(|()| stored.record)?),
        }
    }
}

/// A generated password is shown this once; one the operator typed needs no repeating, least of all in a log.
fn shown(chosen: &Password, password: String) -> Option<String> {
    (!matches!(chosen, Password::Given(_))).then_some(password)
}

fn chosen(password: &Password) -> Result<Option<String>, ClusterError> {
    match password {
        Password::Kept => Ok(None),
        Password::Given(password) => Ok(Some(password.clone())),
        Password::Generated => random_password(PASSWORD_CHARACTERS).map(Some),
    }
}

/// The whole cluster as of now; says what is damaged in it.
pub(crate) async fn snapshot(store: &Store, output: &Output) -> anyhow::Result<Snapshot> {
    let (snapshot, damaged) = store.snapshot().await.context("reading the cluster")?;
    for damaged in damaged {
        output.warning(&format!("{} is damaged and left out: {}", damaged.key, damaged.reason));
    }
    Ok(snapshot)
}
