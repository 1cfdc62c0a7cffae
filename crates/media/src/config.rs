//! How an engine is set up.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::MediaError;
use crate::forward::ForwardTo;
use crate::limits::FLOATING_MAX;
use crate::packet_io::PacketIo;
use crate::record::RecordingFormat;

/// A local address media is relayed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Address the sockets are bound to.
    pub local: IpAddr,
    /// Address written into SDP instead of `local` (behind a static NAT).
    pub advertised: Option<IpAddr>,
}

/// Addresses that move to another engine when the one that has them dies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floating {
    /// Network interface that carries them; none: somebody else brings them here.
    pub interface: Option<String>,
    /// Those of this engine: new calls are there while it has them.
    pub addresses: Vec<IpAddr>,
    /// All that may come here, its own too.
    pub group: Vec<IpAddr>,
}

/// How a [`crate::MediaEngine`] is set up.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// Addresses to relay on; the first of a family is its default.
    pub interfaces: Vec<Interface>,
    /// Addresses that move between engines; none: calls end with this one.
    pub floating: Option<Floating>,
    /// Ports of RTP (even) and RTCP (odd).
    pub ports: RangeInclusive<u16>,
    /// Worker threads; 0 means one per processor.
    pub workers: usize,
    /// UDP address of the NG protocol; none: only [`crate::MediaEngine::ng`].
    pub ng_listen: Option<SocketAddr>,
    /// TCP address of the NG protocol, WebSocket too; none: only UDP.
    pub ng_tcp_listen: Option<SocketAddr>,
    /// A call without any packet for this long is reported; 0 switches the report off.
    pub media_timeout_s: u64,
    /// Folder of recordings; none: nothing is recorded.
    pub recordings: Option<PathBuf>,
    /// Folder below which `play media` finds files; none: no file is played.
    pub prompts: Option<PathBuf>,
    /// Let the kernel relay established flows, when it can.
    pub fast_path: bool,
    /// How all other packets are received and sent.
    pub packet_io: PacketIo,
    /// How recordings are written.
    pub recording_format: RecordingFormat,
    /// Shared libraries of further codecs; see `include/raftpbx_codec.h`.
    pub codecs: Vec<PathBuf>,
    /// Where `start forwarding` sends sound; none: nowhere.
    pub forward: Option<ForwardTo>,
}

/// Refuses what cannot work.
pub(crate) fn check(config: &MediaConfig) -> Result<(), MediaError> {
    let bad = |text: &str| Err(MediaError::Config(text.into()));
    if config.interfaces.is_empty() {
        return bad("no interface address is given");
    }
    for (n, interface) in config.interfaces.iter().enumerate() {
        if interface.local.is_unspecified() || interface.local.is_multicast() {
            return bad("an interface address must be a single one of this server");
        }
        if config.interfaces[..n]
            .iter()
            .any(|other| other.local == interface.local)
        {
            return bad("an interface address is given twice");
        }
        // Better now than at the first call.
        UdpSocket::bind((interface.local, 0)).map_err(|source| MediaError::System {
            action: format!("use the interface address {}", interface.local),
            source,
        })?;
    }
    check_floating(config)?;
    let rate_hz = config.forward.as_ref().map_or(8_000, |to| to.rate_hz);
    if !matches!(rate_hz, 8_000 | 16_000 | 48_000) {
        return bad("forwarded sound has 8000, 16000 or 48000 samples a second");
    }
    if let Some(folder) = &config.recordings {
        std::fs::create_dir_all(folder).map_err(|source: io::Error| MediaError::System {
            action: format!("make the folder of recordings {}", folder.display()),
            source,
        })?;
    }
    let pairs = config
        .ports
        .clone()
        .filter(|port| port % 2 == 0 && port < config.ports.end());
    if *config.ports.start() < 1_024 || pairs.count() < 2 {
        return bad("the port range must begin at 1024 or above and hold two pairs");
    }
    Ok(())
}

fn check_floating(config: &MediaConfig) -> Result<(), MediaError> {
    let bad = |text: &str| Err(MediaError::Config(text.into()));
    let Some(floating) = &config.floating else {
        return Ok(());
    };
    let group = &floating.group;
    if group.len() > FLOATING_MAX {
        return bad("a group has too many floating addresses");
    }
    if !floating.addresses.iter().all(|one| group.contains(one)) {
        return bad("a floating address of this server is not in its group");
    }
    let own = |address: &IpAddr| config.interfaces.iter().any(|one| one.local == *address);
    if group.iter().any(own) {
        return bad("a floating address must be no interface address of this server");
    }
    Ok(())
}
