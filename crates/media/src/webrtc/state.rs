//! What another media server needs to go on with a party that cannot be asked to begin anew: the
//! keys its handshake made and both names of ICE. Serialisable; secret, to be kept as keys are.

use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fingerprint::Fingerprint;
use super::handshake::Keys;
use super::ice::{Credentials, Remote};
use super::leg::Spec;
use crate::srtp::{MasterKey, Suite};

/// One party as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegState {
    /// ICE, if there is any.
    pub ice: Option<IceState>,
    /// DTLS, if there is any.
    pub dtls: Option<DtlsState>,
    /// Where packets to it go.
    pub remote: Option<SocketAddr>,
    /// RTCP, when it has a port of its own.
    #[serde(default)]
    pub rtcp: Option<RtcpState>,
}

/// The port of RTCP: what there is twice without multiplexing (RFC 5764 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtcpState {
    /// The fruit of its own handshake; none before its end, or without DTLS.
    pub keys: Option<KeyState>,
    /// Where packets to it go.
    pub remote: Option<SocketAddr>,
}

/// Both ends of ICE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceState {
    /// Ours.
    pub ours: Credentials,
    /// The party's.
    pub theirs: Credentials,
    /// The party only answers checks.
    pub lite: bool,
}

/// What a handshake has made, or is to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DtlsState {
    /// We begin it.
    pub active: bool,
    /// The party's certificates, as in `a=fingerprint`.
    pub fingerprints: Vec<String>,
    /// Its fruit; none before its end.
    pub keys: Option<KeyState>,
}

/// The keys of both directions.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyState {
    suite: String,
    theirs: Vec<u8>,
    ours: Vec<u8>,
}

impl std::fmt::Debug for KeyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the keys themselves: this ends up in logs.
        write!(f, "KeyState({})", self.suite)
    }
}

impl KeyState {
    fn of(keys: &Keys) -> KeyState {
        KeyState {
            suite: keys.ours.suite().to_string(),
            theirs: keys.theirs.bytes().to_vec(),
            ours: keys.ours.bytes().to_vec(),
        }
    }

    /// The keys; none when what was written is none.
    pub fn keys(&self) -> Option<Keys> {
        let suite = Suite::from_str(&self.suite).ok()?;
        Some(Keys {
            theirs: MasterKey::new(suite, &self.theirs)?,
            ours: MasterKey::new(suite, &self.ours)?,
        })
    }
}

impl LegState {
    /// Writes down what was agreed, what came of it and where the party is: on the port of RTP, and
    /// of RTCP.
    pub(super) fn of(
        spec: &Spec,
        keys: [Option<&Keys>; 2],
        remotes: [Option<SocketAddr>; 2],
    ) -> LegState {
        let ice = spec.ice.as_ref().map(|(ours, theirs)| IceState {
            ours: ours.clone(),
            theirs: theirs.credentials.clone(),
            lite: theirs.lite,
        });
        let dtls = spec.dtls.as_ref().map(|(active, fingerprints)| DtlsState {
            active: *active,
            fingerprints: fingerprints.iter().map(Fingerprint::to_string).collect(),
            keys: keys[0].map(KeyState::of),
        });
        let rtcp = spec.apart.then(|| RtcpState {
            keys: keys[1].map(KeyState::of),
            remote: remotes[1],
        });
        let remote = remotes[0];
        LegState {
            ice,
            dtls,
            remote,
            rtcp,
        }
    }

    /// The keys of both ports.
    pub(super) fn keys(&self) -> [Option<&KeyState>; 2] {
        let rtp = self.dtls.as_ref().and_then(|dtls| dtls.keys.as_ref());
        let rtcp = self.rtcp.as_ref().and_then(|rtcp| rtcp.keys.as_ref());
        [rtp, rtcp]
    }

    /// What was agreed.
    pub fn spec(&self) -> Spec {
        let remote = |state: &IceState| {
            // A lite party is where it was; what else it wrote was of use before only.
            let rtcp = self.rtcp.as_ref().and_then(|rtcp| rtcp.remote);
            Remote {
                credentials: state.theirs.clone(),
                lite: state.lite,
                candidates: [self.remote, rtcp].map(|at| at.into_iter().collect()),
            }
        };
        let parsed = |state: &DtlsState| {
            let all = state.fingerprints.iter();
            all.filter_map(|text| Fingerprint::parse(text)).collect()
        };
        Spec {
            ice: self.ice.as_ref().map(|ice| (ice.ours.clone(), remote(ice))),
            dtls: self.dtls.as_ref().map(|dtls| (dtls.active, parsed(dtls))),
            apart: self.rtcp.is_some(),
        }
    }
}
