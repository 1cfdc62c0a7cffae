//! What changes while a node runs: certificates and who may use the Redis door.

use super::Store;
use crate::account::Account;
use crate::error::StoreError;

impl Store {
    /// Reads the certificate files again now, those of the Redis door as well; whether any had
    /// changed. This happens by itself within seconds.
    pub async fn reload_certificates(&self) -> Result<bool, StoreError> {
        let links = self.node.consensus.reload_certificates().await?;
        let door = match &self.node.door {
            Some(door) => door.reload_certificate()?,
            None => false,
        };
        Ok(links || door)
    }

    /// Replaces the accounts of the Redis door. Connections of accounts that are gone or have
    /// another role now are closed; the others stay. Answers how many were closed.
    pub fn set_accounts(&self, accounts: &[Account]) -> usize {
        let door = self.node.door.as_ref();
        door.map_or(0, |door| door.set_accounts(accounts))
    }
}
