//! The media engine: relays the RTP and RTCP of calls, commanded over the NG protocol.
//!
//! Owner of its state: call and stream tables belong to the NG side under one lock; each
//! socket belongs to exactly one worker thread. Invariant: a packet leaves only towards an
//! address that the SDP named or that was learned from a packet the SDP allowed.
//!
//! ```text
//!   NG datagram -> ng -> control (calls, ports) --name peers--> flows
//!   RTP, RTCP   -> worker (own thread) --judge--> flow --> the other party
//! ```
//!
//! # Layout
//! - `ng`: the protocol: bencode, requests, cached answers, the UDP thread.
//! - `control`, `call`: offers, answers, deletions; what signalling knows about a call.
//! - `sdp`: reading and rewriting session descriptions. `security`: keys in offers and answers.
//! - `srtp`: encryption of packets.
//! - `webrtc`: ICE and DTLS with parties in browsers.
//! - `audio`: what is done with sound beyond relaying it: playing, digits, blocking.
//! - `record`: calls in files. `tap`: what parties say, for speech recognition. `forward`: the
//!   same for a consumer behind a socket.
//! - `mix`: rooms, where everybody hears all others.
//! - `ogg`: files of Opus. `codec`, `dsp`: samples: codecs, rates, tones and digits.
//! - `worker`, `epoll`, `address`: threads, system calls, raw addresses.
//! - `packet_io`: how workers receive and send: epoll, io_uring or without sockets of ports.
//! - `flow`, `stream`, `packet`: pure judgement of packets, learning, loss and jitter.
//! - `reports`: what RTCP says about a stream.
//! - `fastpath`: established flows, relayed by the kernel.
//! - `takeover`: sessions that go on at another engine, floating addresses.
//! - `config`: how an engine is set up. `ports`: port pairs. `sweep`: silent calls.
//!   `query`, `metrics`: figures. `event`: news.
//! - `fuzzing`: entrances for fuzzers.
//! - [`limits`](mod@limits): named bounds.

mod address;
mod audio;
mod call;
pub mod codec;
mod config;
mod control;
pub mod dsp;
mod epoll;
mod event;
mod fastpath;
mod flow;
mod forward;
pub mod fuzzing;
pub mod limits;
mod metrics;
mod mix;
mod ng;
mod ogg;
mod packet;
mod packet_io;
mod ports;
mod query;
mod record;
mod reports;
mod sdp;
mod security;
pub mod srtp;
mod stream;
mod sweep;
mod takeover;
mod tap;
pub mod webrtc;
mod worker;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use parking_lot::Mutex;

pub use crate::config::{Floating, Interface, MediaConfig};
pub use crate::event::{EventSink, MediaEvent};
pub use crate::forward::{Consumer, ForwardTo};
pub use crate::mix::event::{RoomEvent, RoomStats};
pub use crate::packet_io::PacketIo;
pub use crate::record::RecordingFormat;
pub use crate::takeover::Held;
pub use crate::tap::{TapError, TapSink};

use crate::audio::clip::Clips;
use crate::call::Call;
use crate::control::Control;
use crate::fastpath::FastPath;
use crate::forward::Forwarder;
use crate::limits::WORKERS_MAX;
use crate::metrics::Counts;
use crate::ng::cookies::Cookies;
use crate::ng::rates::Rates;
use crate::ng::statistics::CommandCounts;
use crate::ng::stream::Streams;
use crate::packet_io::Way;
use crate::record::Recorder;
use crate::takeover::Addresses;
use crate::tap::Taps;
use crate::webrtc::Identity;
#[doc(hidden)]
pub use crate::worker::Fault;
use crate::worker::{Report, Worker};

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
    /// Workers that receive and send with epoll.
    pub workers_epoll: u64,
    /// Workers that receive and send with io_uring.
    pub workers_io_uring: u64,
    /// Workers whose ports have no sockets.
    pub workers_sk_lookup: u64,
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
    /// Frames of music that several parties heard and that were encoded once.
    pub music_saved: u64,
    /// Parties that are listened to for speech recognition.
    pub taps: u64,
    /// Packets that were not listened to because too many waited.
    pub tap_lost: u64,
    /// Batches that the consumer of taps was too slow for.
    pub tap_refused: u64,
    /// Parties whose sound is forwarded.
    pub forwarded: u64,
    /// Connections to the consumer of it that are up.
    pub forward_connected: u64,
    /// Connections to it that could not be made, or broke.
    pub forward_failed: u64,
    /// Packets that were not forwarded because too many waited.
    pub forward_lost: u64,
    /// Chunks of sound left out because the consumer was away or slow.
    pub forward_dropped: u64,
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
    /// Times a worker panicked and began anew.
    pub panics: u64,
    /// Times a worker could not wait for packets or send them any more.
    pub worker_failures: u64,
    /// Calls that ended with either.
    pub lost: u64,
}

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The configuration cannot work.
    #[error("invalid media configuration: {0}")]
    Config(String),
    /// Addresses cannot float here.
    #[error("cannot use floating addresses: {0}")]
    Floating(#[from] raftpbx_vip::VipError),
    /// A command was not carried out.
    #[error("{0}")]
    Refused(String),
    /// A library of codecs cannot be used.
    #[error(
        "PBX_MEDIA_CODEC: cannot load the codec library {0}; correct media.codecs or the library"
    )]
    Codec(#[from] codec::PluginError),
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

/// What the threads of an engine share.
pub(crate) struct Core {
    control: Mutex<Control>,
    cookies: Mutex<Cookies>,
    clips: Mutex<Clips>,
    taps: Taps,
    workers: Arc<[Worker]>,
    report: Report,
    fast_path: Option<Arc<FastPath>>,
    addresses: Addresses,
    counts: Counts,
    commands: CommandCounts,
    rates: Mutex<Rates>,
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
            lost: counts.lost.get(),
            taps: self.taps.count() as u64,
            tap_lost: self.taps.counts().lost.get(),
            tap_refused: self.taps.counts().refused.get(),
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
            stats.music_saved = control.choirs.saved.get();
            control.forwarder.tell(&mut stats);
            stats.recordings = recorded.running.load(Ordering::Relaxed) as u64;
            stats.recording_lost = recorded.lost.get();
            stats.recording_failed = recorded.failed.get();
        }
        for worker in self.workers.iter() {
            let mut table = worker.table();
            table.refresh();
            let totals = table.totals;
            match worker.way() {
                _ if table.has_ended => {}
                Way::Epoll => stats.workers_epoll += 1,
                Way::IoUring => stats.workers_io_uring += 1,
                Way::Steered(_) => stats.workers_sk_lookup += 1,
            }
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
            stats.panics += totals.panics;
            stats.worker_failures += totals.failures;
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
        config::check(&config)?;
        codec::load(&config.codecs)?;
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
        let way = packet_io::choose(&config);
        let workers = worker::start_all(count.min(WORKERS_MAX), &way, &report)
            .map_err(failed("start a media worker".into()))?;
        let recorder = Recorder::start(config.recordings.clone(), config.recording_format)
            .map_err(failed("start the recording thread".into()))?;
        let forwarder = Forwarder::start(config.forward.clone())
            .map_err(failed("start the threads of forwarding".into()))?;
        let identity = Identity::new().map_err(MediaError::Certificate)?;
        let shared = Arc::clone(&workers);
        let takers = (recorder, forwarder);
        let core = Arc::new(Core {
            control: Mutex::new(Control::new(&config, shared, takers, identity)),
            cookies: Mutex::default(),
            clips: Mutex::new(Clips::below(config.prompts.clone())),
            taps: Taps::default(),
            workers,
            report,
            fast_path: fastpath::start(&config),
            addresses: Addresses::new(config.floating.clone())?,
            counts: Counts::default(),
            commands: CommandCounts::default(),
            rates: Mutex::default(),
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

    /// Lets something go wrong in a worker. For tests alone.
    #[doc(hidden)]
    pub fn make_worker_fail(&self, number: usize, fault: Fault) {
        self.core.workers[number].make_fail(fault);
    }

    /// Stops all threads and closes all sockets. A second call does nothing.
    pub fn shutdown(&self) {
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        // Whoever watches this end takes the addresses when the connections close.
        self.core.addresses.drop_all();
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
        control.forwarder.stop();
        self.core.taps.stop();
    }
}

impl Drop for MediaEngine {
    fn drop(&mut self) {
        self.shutdown();
    }
}
