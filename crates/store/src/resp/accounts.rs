//! Who may enter: the accounts of the configuration and the failed logins of every source.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};

use super::throttle::Throttle;
use crate::account::{Account, PasswordHash, Role};
use crate::error::StoreError;
use crate::reply::Reply;

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

struct Table {
    by_name: BTreeMap<String, Arc<Account>>,
    /// Without configured accounts everybody is this one.
    open: Option<Arc<Account>>,
}

impl Table {
    fn of(accounts: &[Account]) -> Table {
        let open = accounts.is_empty().then(|| Account {
            name: "default".into(),
            role: Role::Node,
            hashes: Vec::new(),
        });
        let named = accounts
            .iter()
            .map(|account| (account.name.clone(), Arc::new(account.clone())));
        Table {
            by_name: named.collect(),
            open: open.map(Arc::new),
        }
    }
}

/// All accounts of a node.
pub struct Accounts {
    table: RwLock<Table>,
    /// Compared when the name is unknown, so that the time does not tell which names exist.
    decoy: PasswordHash,
    throttle: Mutex<Throttle>,
    /// Logins with a wrong name or password.
    pub failed: AtomicU64,
    /// Logins refused because their source had failed too often.
    pub throttled: AtomicU64,
}

impl Accounts {
    /// Fails when the system gives no random bytes.
    pub fn new(accounts: &[Account]) -> Result<Accounts, StoreError> {
        Ok(Accounts {
            table: RwLock::new(Table::of(accounts)),
            decoy: PasswordHash::of(b"")?,
            throttle: Mutex::default(),
            failed: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
        })
    }

    /// Whom a new connection speaks for before it has said anything.
    pub fn initial(&self) -> Option<Arc<Account>> {
        self.table.read().open.clone()
    }

    /// From now on these are the accounts.
    pub fn replace(&self, accounts: &[Account]) {
        *self.table.write() = Table::of(accounts);
    }

    /// All accounts by name.
    pub fn all(&self) -> Vec<Arc<Account>> {
        let table = self.table.read();
        table.by_name.values().chain(&table.open).cloned().collect()
    }

    /// An account by name.
    pub fn get(&self, name: &str) -> Option<Arc<Account>> {
        self.all().into_iter().find(|account| account.name == name)
    }

    /// Checks a login; the error is what the client is told.
    pub fn login(
        &self,
        source: IpAddr,
        name: &str,
        password: &[u8],
    ) -> Result<Arc<Account>, Reply> {
        let now = Instant::now();
        if !self.throttle.lock().admits(source, now) {
            self.throttled.fetch_add(1, Ordering::Relaxed);
            return Err(Reply::error(
                "ERR too many failed logins from your address; wait a few seconds",
            ));
        }
        let account = self.table.read().by_name.get(name).cloned();
        let right = match &account {
            Some(account) => account.admits(password),
            None => {
                self.decoy.matches(password);
                false
            }
        };
        if let (Some(account), true) = (account, right) {
            return Ok(account);
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.throttle.lock().failed(source, now);
        Err(Reply::error(WRONG_PASSWORD))
    }
}
