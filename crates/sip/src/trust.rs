//! Peers whose word on identities counts (RFC 3325): a list of networks.
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::error::EngineError;
use crate::message::{Message, Name};

/// An address with the number of its leading bits that matter: `192.0.2.0/24`; without
/// the number, one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Whether an address lies in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, ip.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits(), theirs.to_bits(), 128),
            _ => return false,
        };
        let differs = ours ^ theirs;
        differs.checked_shr(width - self.bits).unwrap_or(0) == 0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for Network {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || EngineError::Network {
            text: text.to_owned(),
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width)
            .then_some(Network { address, bits })
            .ok_or_else(wrong)
    }
}

/// Whether the sender wants its asserted identity kept from those we do not trust
/// (RFC 3323 section 4.2, RFC 3325 section 9.3).
pub fn hides_identity(message: &Message<'_>) -> bool {
    let mut all = message
        .all(Name::Privacy)
        .flat_map(|value| value.split(';'));
    all.any(|one| one.trim().eq_ignore_ascii_case("id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_that_begin_alike() {
        for (network, ip, inside) in [
            ("192.0.2.0/24", "192.0.2.200", true),
            ("192.0.2.0/24", "192.0.3.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::5", true),
            ("2001:db8::/32", "2001:db9::5", false),
            ("::/0", "2001:db9::5", true),
            ("192.0.2.0/24", "::ffff:192.0.2.1", true),
        ] {
            let network: Network = network.parse().expect("a network");
            assert_eq!(network.contains(ip.parse().expect("an address")), inside);
        }
        for wrong in ["", "192.0.2.0/33", "x/8", "192.0.2.0/"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
