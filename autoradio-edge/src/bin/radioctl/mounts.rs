//! The mount commands.

use anyhow::Context;
use autoradio_edge::cluster::{
    ClusterError, MountPath, MountRecord, Snapshot, Store, Stored, hash_password, random_password,
};

use crate::input::{MountCommand, Password, Settings};
use crate::output::Output;

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
        MountCommand::Create(path, settings) => create(store, output, path, settings).await,
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
    settings: Settings,
) -> anyhow::Result<()> {
    // Read first: once the password is made, nothing may fail before it is shown.
    let snapshot = snapshot(store, output).await?;
    let password = match chosen(&settings.password)? {
        Some(password) => password,
        None => random_password(PASSWORD_CHARACTERS)?,
    };
    let mut record = MountRecord::new(path, "source", hash_password(&password)?);
    change(&mut record, &settings);
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
    let mut tries_left = EDIT_TRIES;
    let record = loop {
        let mut stored: Stored<MountRecord> = store.mount(path).await?;
        change(&mut stored.record, settings);
        if let Some(hash) = &hash {
            stored.record.source_password_hash.clone_from(hash);
        }
        match store.update_mount(&stored).await {
            // An edit says what each field shall be, so it holds for the newer record as well.
            Err(ClusterError::MountChanged { .. }) if tries_left > 0 => tries_left -= 1,
            ended => break ended.map(|()| stored.record)?,
        }
    };
    let shown = password.and_then(|password| shown(&settings.password, password));
    output.mount(&record, shown, &snapshot)
}

/// A generated password is shown this once; one the operator typed needs no repeating, least of all in a log.
fn shown(chosen: &Password, password: String) -> Option<String> {
    (!matches!(chosen, Password::Given(_))).then_some(password)
}

/// Sets what was given. Empty texts and a limit of 0 remove.
fn change(record: &mut MountRecord, settings: &Settings) {
    if let Some(username) = &settings.source_username {
        record.source_username.clone_from(username);
    }
    if let Some(name) = &settings.name {
        record.name = Some(name.clone()).filter(|name| !name.is_empty());
    }
    if let Some(description) = &settings.description {
        record.description = Some(description.clone()).filter(|text| !text.is_empty());
    }
    if let Some(max) = settings.max_listeners {
        record.max_listeners = Some(max).filter(|max| *max > 0);
    }
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
