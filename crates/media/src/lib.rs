//! The media engine: relays the RTP and RTCP of calls, commanded over the NG protocol.
//!
//! Owner of its state: call and stream tables belong to the NG side under one lock; each
//! socket belongs to exactly one worker thread. Invariant: a packet leaves only towards an
//! address that the SDP named or that was learned from a packet the SDP allowed.
//!
//! ```text
//!   NG datagram -> ng -> control (calls, ports) --name peers--> flows
//!   RTP, RTCP   -> worker (epoll, own thread) --judge--> flow --> the other party
//! ```
//!
//! # Layout
//! - `ng`: the protocol: bencode, requests, cached answers, the UDP thread.
//! - `control`, `call`: offers, answers, deletions; what signalling knows about a call.
//! - `sdp`: reading and rewriting session descriptions. `security`: keys in offers and answers.
//! - `srtp`: encryption of packets.
//! - `webrtc`: ICE and DTLS with parties in browsers.
//! - `audio`: what is done with sound beyond relaying it: playing, digits, blocking.
//! - `record`: calls in files. `mix`: rooms, where everybody hears all others.
//! - `ogg`: files of Opus. `codec`, `dsp`: samples: codecs, rates, tones and digits.
//! - `worker`, `epoll`, `address`: threads, system calls, raw addresses.
//! - `flow`, `stream`, `packet`: pure judgement of packets, learning, loss and jitter.
//! - `reports`: what RTCP says about a stream.
//! - `fastpath`: established flows, relayed by the kernel.
//! - `ports`: port pairs. `sweep`: silent calls. `query`, `metrics`: figures.
//! - `fuzzing`: entrances for fuzzers.
//! - [`limits`](mod@limits): named bounds.

mod address;
mod audio;
mod call;
pub mod codec;
mod control;
pub mod dsp;
mod epoll;
mod fastpath;
mod flow;
pub mod fuzzing;
pub mod limits;
mod metrics;
mod mix;
mod ng;
mod ogg;
mod packet;
mod ports;
mod query;
mod record;
mod reports;
mod sdp;
mod security;
pub mod srtp;
mod stream;
mod sweep;
pub mod webrtc;
mod worker;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;

pub use crate::mix::event::{RoomEvent, RoomStats};
pub use crate::record::RecordingFormat;

use crate::audio::clip::Clips;
use crate::call::Call;
use crate::control::Control;
use crate::fastpath::FastPath;
use crate::limits::WORKERS_MAX;
use crate::metrics::Counts;
use crate::ng::cookies::Cookies;
use crate::ng::stream::Streams;
use crate::record::Recorder;
use crate::webrtc::Identity;
use crate::worker::{Report, Worker};

/// A local address media is relayed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Address the sockets are bound to.
    pub local: IpAddr,
    /// Address written into SDP instead of `local` (behind a static NAT).
    pub advertised: Option<IpAddr>,
}

/// How a [`MediaEngine`] is set up.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// Addresses to relay on; the first of a family is its default.
    pub interfaces: Vec<Interface>,
    /// Ports of RTP (even) and RTCP (odd).
    pub ports: RangeInclusive<u16>,
    /// Worker threads; 0 means one per processor.
    pub workers: usize,
    /// UDP address of the NG protocol; none: only [`MediaEngine::ng`].
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
    /// How recordings are written.
    pub recording_format: RecordingFormat,
}

/// Something that happened to media without a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MediaEvent {
    /// No valid packet arrived on any stream of the call. Reported once until packets
    /// flow again; the call is kept.
    Timeout {
        /// NG `call-id`.
        call_id: String,
        /// Seconds since the last packet (or since the call was set up).
        silent_s: u64,
    },
    /// A stream learned where its peer really sends from.
    Latched {
        /// NG `call-id`.
        call_id: String,
        /// Tag of the party whose packets came.
        tag: String,
        /// The learned source.
        source: SocketAddr,
    },
    /// A party pressed a key and let it go.
    Dtmf {
        /// NG `call-id`.
        call_id: String,
        /// Tag of the party.
        tag: String,
        /// 0 to 9, `*`, `#`, A to D.
        digit: char,
        /// How long, ms.
        duration_ms: u32,
        /// Level below 0 dBm0; 0 when it was found in the sound.
        volume: u8,
        /// Found in the sound, not sent as an event (RFC 4733).
        in_band: bool,
    },
    /// What was played has come to its end by itself.
    PlayEnd {
        /// NG `call-id`.
        call_id: String,
        /// Tag of the party that heard it.
        tag: String,
        /// How much of it was heard, ms.
        played_ms: u64,
    },
    /// Something happened in a room.
    Room {
        /// Name of the room.
        room: String,
        /// What it was.
        event: RoomEvent,
    },
}

/// Figures of the engine since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct MediaStats {
    /// Calls held now.
    pub sessions: u64,
    /// Legs (tags) held now.
    pub legs: u64,
    /// Sides of media lines that are encrypted now.
    pub encrypted: u64,
    /// Port pairs in use now.
    pub ports_used: u64,
    /// Port pairs free now.
    pub ports_free: u64,
    /// Calls ever set up.
    pub sessions_total: u64,
    /// Packets relayed, by the kernel too.
    pub packets: u64,
    /// Packets relayed by the kernel alone.
    pub kernel_packets: u64,
    /// Directions of flows that the kernel relays now.
    pub kernel_flows: u64,
    /// 1 when the kernel can relay, 0 when it cannot or may not.
    pub fast_path: u64,
    /// Bytes relayed (UDP payload).
    pub bytes: u64,
    /// Packets dropped because their source was not the peer's.
    pub wrong_source: u64,
    /// Packets dropped because they were neither RTP nor RTCP.
    pub not_rtp: u64,
    /// Packets dropped because their authentication was wrong.
    pub forged: u64,
    /// Encrypted packets dropped because they were seen before.
    pub replayed: u64,
    /// DTLS handshakes that ended with keys.
    pub handshakes: u64,
    /// DTLS handshakes that did not.
    pub handshakes_failed: u64,
    /// Certificates that were not the one signalling named.
    pub fingerprints_wrong: u64,
    /// DTLS handshakes that were not begun because of a limit.
    pub handshakes_refused: u64,
    /// Checks of ICE answered.
    pub checks: u64,
    /// STUN messages dropped: malformed, or without knowledge of the password.
    pub checks_strange: u64,
    /// Packets dropped because the other side has no address yet, or sending failed.
    pub unsent: u64,
    /// Packets that were not passed on because a command wants it so.
    pub withheld: u64,
    /// Packets of our own: clips, tones, digits.
    pub spoken: u64,
    /// Directions in which sound is transcoded, or payload types renumbered, now.
    pub bridged: u64,
    /// Flows on which we speak now.
    pub speaking: u64,
    /// Digits heard.
    pub digits: u64,
    /// Rooms and what they did.
    pub rooms: RoomStats,
    /// Recordings under way.
    pub recordings: u64,
    /// Packets that were not recorded because the disk was too slow.
    pub recording_lost: u64,
    /// Recordings that ended because a file could not be written on.
    pub recording_failed: u64,
    /// NG requests answered.
    pub ng_requests: u64,
    /// NG requests refused with an error.
    pub ng_errors: u64,
    /// NG requests answered from the cache of retransmissions.
    pub ng_repeats: u64,
    /// Datagrams on the NG socket without a cookie.
    pub ng_nonsense: u64,
    /// Refusals because a limit was reached (ports, sessions, legs, sizes).
    pub refused: u64,
    /// Calls reported silent.
    pub timeouts: u64,
    /// Calls removed because neither packet nor command came for an hour.
    pub abandoned: u64,
}

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The configuration cannot work.
    #[error("invalid media configuration: {0}")]
    Config(String),
    /// No certificate could be made.
    #[error("cannot make a certificate for DTLS: {0}; is there a source of random numbers?")]
    Certificate(String),
    /// A socket could not be made or bound.
    #[error("cannot {action}: {source}")]
    System {
        /// What was attempted.
        action: String,
        /// The kernel's error.
        source: io::Error,
    },
}

/// Takes what happened, in batches, on an engine thread; must not block.
pub type EventSink = Box<dyn Fn(Vec<MediaEvent>) + Send + Sync>;

/// What the threads of an engine share.
pub(crate) struct Core {
    control: Mutex<Control>,
    cookies: Mutex<Cookies>,
    clips: Mutex<Clips>,
    workers: Arc<[Worker]>,
    report: Report,
    fast_path: Option<Arc<FastPath>>,
    counts: Counts,
    media_timeout_s: u64,
    started: Instant,
    stopping: AtomicBool,
}

impl Core {
    fn stats(&self) -> MediaStats {
        let counts = &self.counts;
        let mut stats = MediaStats {
            ng_requests: counts.ng_requests.get(),
            ng_errors: counts.ng_errors.get(),
            ng_repeats: counts.ng_repeats.get(),
            ng_nonsense: counts.ng_nonsense.get(),
            refused: counts.refused.get(),
            timeouts: counts.timeouts.get(),
            abandoned: counts.abandoned.get(),
            fast_path: u64::from(self.fast_path.is_some()),
            ..MediaStats::default()
        };
        {
            let control = self.control.lock();
            let (used, free) = control.ports();
            stats.ports_used = used as u64;
            stats.ports_free = free as u64;
            stats.sessions = control.calls.len() as u64;
            stats.legs = control.calls.values().map(Call::legs).sum::<usize>() as u64;
            stats.sessions_total = control.created;
            control.identity.counts.tell(&mut stats);
            let recorded = control.recorder.counts();
            stats.recordings = recorded.running.load(Ordering::Relaxed) as u64;
            stats.recording_lost = recorded.lost.get();
            stats.recording_failed = recorded.failed.get();
        }
        for worker in self.workers.iter() {
            let mut table = worker.table();
            table.refresh();
            let totals = table.totals;
            stats.kernel_flows += table.offloaded();
            stats.encrypted += table.encrypted();
            stats.speaking += table.speaking() as u64;
            stats.bridged += table.bridged();
            table.rooms.count(&mut stats.rooms);
            drop(table);
            stats.packets += totals.packets;
            stats.kernel_packets += totals.kernel_packets;
            stats.bytes += totals.bytes;
            stats.wrong_source += totals.wrong_source;
            stats.not_rtp += totals.not_rtp;
            stats.forged += totals.forged;
            stats.replayed += totals.replayed;
            stats.unsent += totals.unsent;
            stats.withheld += totals.withheld;
            stats.spoken += totals.spoken;
            stats.digits += totals.digits;
            stats.rooms.packets += totals.mixed;
        }
        stats
    }
}

/// The running engine: worker threads, NG socket and the tables between them.
pub struct MediaEngine {
    core: Arc<Core>,
    ng_address: Option<SocketAddr>,
    streams: Mutex<Option<Streams>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl MediaEngine {
    /// Starts the workers and, when asked for, the NG socket.
    ///
    /// # Errors
    /// A configuration that cannot work, or an address that cannot be bound.
    pub fn start(config: MediaConfig, events: EventSink) -> Result<MediaEngine, MediaError> {
        check(&config)?;
        epoll::raise_descriptor_limit();
        let failed = |action: String| move |source| MediaError::System { action, source };
        let socket = match config.ng_listen {
            Some(address) => {
                Some(UdpSocket::bind(address).map_err(failed(format!("bind NG to {address}")))?)
            }
            None => None,
        };
        let ng_address = socket.as_ref().and_then(|socket| socket.local_addr().ok());
        let report: Report = Arc::from(events);
        let count = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let workers: Arc<[Worker]> = (0..count.min(WORKERS_MAX))
            .map(|number| Worker::start(number, Arc::clone(&report)))
            .collect::<io::Result<_>>()
            .map_err(failed("start a media worker".into()))?;
        let recorder = Recorder::start(config.recordings.clone(), config.recording_format)
            .map_err(failed("start the recording thread".into()))?;
        let identity = Identity::new().map_err(MediaError::Certificate)?;
        let shared = Arc::clone(&workers);
        let core = Arc::new(Core {
            control: Mutex::new(Control::new(&config, shared, recorder, identity)),
            cookies: Mutex::default(),
            clips: Mutex::new(Clips::below(config.prompts.clone())),
            workers,
            report,
            fast_path: fastpath::start(&config),
            counts: Counts::default(),
            media_timeout_s: config.media_timeout_s,
            started: Instant::now(),
            stopping: AtomicBool::new(false),
        });
        let streams = match config.ng_tcp_listen {
            Some(address) => Some(
                Streams::start(Arc::clone(&core), address)
                    .map_err(failed(format!("bind NG over TCP to {address}")))?,
            ),
            None => None,
        };
        let thread = ng::server::start(Arc::clone(&core), socket)
            .map_err(failed("start the NG thread".into()))?;
        Ok(MediaEngine {
            core,
            ng_address,
            streams: Mutex::new(streams),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Answers one NG datagram (`cookie SP bencode-or-JSON`), as it would be over UDP.
    /// Empty when the datagram deserves no answer (no cookie).
    pub fn ng(&self, datagram: &[u8], from: SocketAddr) -> Vec<u8> {
        ng::handle(&self.core, datagram, from)
    }

    /// Address the NG socket is bound to.
    pub fn ng_address(&self) -> Option<SocketAddr> {
        self.ng_address
    }

    /// Address the NG listener of TCP and WebSocket is bound to.
    pub fn ng_tcp_address(&self) -> Option<SocketAddr> {
        self.streams.lock().as_ref().map(Streams::address)
    }

    /// Figures since the start.
    pub fn stats(&self) -> MediaStats {
        self.core.stats()
    }

    /// Figures as Prometheus text.
    pub fn metrics(&self) -> String {
        metrics::render(&self.core.stats())
    }

    /// Stops all threads and closes all sockets. A second call does nothing.
    pub fn shutdown(&self) {
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        drop(self.streams.lock().take());
        self.core.stopping.store(true, Ordering::Release);
        thread.thread().unpark();
        // The thread looks at the flag after every datagram and at least each second.
        if let Some(address) = self.ng_address {
            ng::server::wake(address);
        }
        if thread.join().is_err() {
            tracing::error!("the NG thread had failed");
        }
        self.core.workers.iter().for_each(Worker::stop);
        let mut control = self.core.control.lock();
        control.calls.clear();
        control.rooms.clear();
        control.recorder.stop();
    }
}

impl Drop for MediaEngine {
    fn drop(&mut self) {
        self.shutdown();
    }
}

fn check(config: &MediaConfig) -> Result<(), MediaError> {
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
    if let Some(folder) = &config.recordings {
        std::fs::create_dir_all(folder).map_err(|source| MediaError::System {
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
