//! Addresses and their ports: where new calls go, and where calls of another engine go on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Control;
use crate::MediaConfig;
use crate::packet_io::Steering;
use crate::ports::{PortError, PortPair, PortPool, bind_pair};

/// One local address with its ports.
struct Site {
    advertised: IpAddr,
    pool: PortPool,
    /// New calls may go there: its address is here.
    open: bool,
}

/// The addresses of an engine.
pub struct Sites {
    /// Floating ones first: who is there moves with them.
    all: Vec<Site>,
    /// Every address that may float here.
    floating: Vec<IpAddr>,
}

impl Sites {
    /// All of the configuration; floating ones are not here yet.
    pub fn new(config: &MediaConfig, steering: Option<Arc<Steering>>) -> Sites {
        let site = |local: IpAddr, advertised: Option<IpAddr>, open: bool| Site {
            advertised: advertised.unwrap_or(local),
            pool: PortPool::new(local, &config.ports, steering.clone()),
            open,
        };
        let own = config.floating.iter().flat_map(|one| &one.addresses);
        let floating = own.map(|address| site(*address, None, false));
        let interfaces = config.interfaces.iter();
        let fixed = interfaces.map(|one| site(one.local, one.advertised, true));
        let group = config.floating.iter().flat_map(|one| &one.group);
        Sites {
            all: floating.chain(fixed).collect(),
            floating: group.copied().collect(),
        }
    }

    /// Most pairs of an address that any program may get from the kernel.
    pub fn contested(&self) -> usize {
        let contested = self.all.iter().map(|site| site.pool.contested());
        contested.max().unwrap_or(0)
    }

    /// The address of a description that says nothing about one.
    pub fn usual(&self) -> IpAddr {
        let open = self.all.iter().find(|site| site.open);
        open.unwrap_or(&self.all[0]).pool.address()
    }

    /// What is written into descriptions for a local address.
    pub fn advertised(&self, local: IpAddr) -> IpAddr {
        self.at(local).map_or(local, |site| site.advertised)
    }

    /// Each address with its port pairs: used and free.
    pub fn pairs(&self) -> impl Iterator<Item = (IpAddr, u64, u64)> {
        self.all.iter().map(|Site { pool, .. }| {
            let (used, free) = (pool.used() as u64, pool.free() as u64);
            (pool.address(), used, free)
        })
    }

    fn at(&self, local: IpAddr) -> Option<&Site> {
        self.all.iter().find(|site| site.pool.address() == local)
    }

    fn at_mut(&mut self, local: IpAddr) -> Option<&mut Site> {
        let mut sites = self.all.iter_mut();
        sites.find(|site| site.pool.address() == local)
    }
}

impl Control {
    /// Port pairs in use and free, where new calls go.
    pub fn ports(&self) -> (usize, usize) {
        let sites = &self.sites.all;
        let used = sites.iter().map(|site| site.pool.used()).sum();
        let open = sites.iter().filter(|site| site.open);
        (used, open.map(|site| site.pool.free()).sum())
    }

    /// From the first site of the family; as rtpengine, from any other when there is none.
    pub(super) fn take_ports(&mut self, ipv6: bool) -> Result<PortPair, PortError> {
        let sites = &mut self.sites.all;
        let fits = |site: &Site| site.open && site.pool.address().is_ipv6() == ipv6;
        let found = sites.iter().position(fits);
        let found = found.or_else(|| sites.iter().position(|site| site.open));
        sites[found.unwrap_or(0)].pool.take()
    }

    /// This port and the next one, at an address that may not be here.
    pub fn take_exactly(&mut self, local: SocketAddr) -> Result<PortPair, PortError> {
        match self.sites.at_mut(local.ip()) {
            Some(site) => site.pool.take_exactly(local.port()),
            None => Ok(bind_pair(local.ip(), local.port())?),
        }
    }

    /// Pairs of addresses that are not ours are only closed.
    pub fn give_back(&mut self, pair: PortPair) {
        if let Some(site) = self.sites.at_mut(pair.local.ip()) {
            site.pool.give_back(pair);
        }
    }

    /// Whether an address moves between engines.
    pub fn floats(&self, address: IpAddr) -> bool {
        self.sites.floating.contains(&address)
    }

    /// An address is here now, or no longer; new calls go there if it is our own.
    pub fn open(&mut self, address: IpAddr, open: bool) {
        if self.floats(address)
            && let Some(site) = self.sites.at_mut(address)
        {
            site.open = open;
        }
    }
}
