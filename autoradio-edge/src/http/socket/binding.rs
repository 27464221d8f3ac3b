//! Bindings: which master, epoch and credentials a source was taken under.

use std::sync::Arc;

use tokio::sync::watch;

use crate::cluster::{IcecastSecrets, Master, MountPath, MountRecord};
use crate::http::FrontError;
use crate::http::auth::Credentials;
use crate::http::gate::Purpose;
use crate::placement::Placement;

/// What a tunnel stands on. When any of it changes, the client has to connect again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    /// The mount.
    pub(super) mount: MountPath,
    /// Who has to accept the source, and in which epoch.
    pub(super) master: Master,
    source_username: String,
    source_password_hash: String,
}

impl Binding {
    pub(super) fn of(
        placement: &Placement,
        mount: &MountPath,
        record: &MountRecord,
    ) -> Result<Self, FrontError> {
        let placed = placement.mounts.get(mount);
        let master = placed.and_then(|placed| placed.master.clone());
        Ok(Self {
            mount: mount.clone(),
            master: master.ok_or_else(|| FrontError::NoMaster { mount: mount.clone() })?,
            source_username: record.source_username.clone(),
            source_password_hash: record.source_password_hash.clone(),
        })
    }

    /// The value of the `Authorization` field with which the master's Icecast is asked: it names the epoch, so that
    /// a master which holds the mount in another one refuses.
    pub(super) fn credentials(&self, purpose: Purpose, secrets: &IcecastSecrets) -> String {
        Credentials::basic(&purpose.user(self.master.epoch), &secrets.source_password)
    }

    /// Whether all of it is as `placement` has it.
    pub(super) fn holds(&self, placement: &Placement) -> bool {
        placement.mounts.get(&self.mount).is_some_and(|placed| {
            placed.master.as_ref() == Some(&self.master)
                && placed.record.source_username == self.source_username
                && placed.record.source_password_hash == self.source_password_hash
        })
    }

    /// Returns once a placement breaks the binding; never, if none will come any more.
    pub(super) async fn broken(&self, mut placements: watch::Receiver<Arc<Placement>>) {
        while self.holds(&placements.borrow_and_update().clone()) {
            if placements.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::placement_of;

    #[test]
    fn a_tunnel_stands_while_master_epoch_and_credentials_stay() {
        let mut placement = placement_of(&["/m"]);
        let mount: MountPath = "/m".parse().expect("a mount path");
        let record = placement.mounts[&mount].record.clone();
        let none = Binding::of(&placement, &mount, &record);
        assert!(matches!(none, Err(FrontError::NoMaster { .. })));

        let master = |epoch| Master { node: "node1".parse().expect("a node name"), epoch };
        let placed = placement.mounts.get_mut(&mount).expect("the mount");
        placed.master = Some(master(1));
        let binding = Binding::of(&placement, &mount, &record).expect("a master");
        assert!(binding.holds(&placement));

        let mut newer_epoch = placement.clone();
        newer_epoch.mounts.get_mut(&mount).expect("the mount").master = Some(master(2));
        let mut newer_password = placement.clone();
        let changed =
            MountRecord { source_password_hash: "other".to_owned(), ..MountRecord::clone(&record) };
        newer_password.mounts.get_mut(&mount).expect("the mount").record = Arc::new(changed);
        for (why, placement) in
            [("epoch", newer_epoch), ("password", newer_password), ("deleted", placement_of(&[]))]
        {
            assert!(!binding.holds(&placement), "{why}");
        }
    }
}
