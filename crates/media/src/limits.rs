//! Named bounds of the media engine, each with its reason.

/// Most calls held at once: a refusal is better than memory without end.
pub const SESSIONS_MAX: usize = 20_000;

/// Most legs (tags) of one call: both parties plus the branches of a forked call.
pub const LEGS_MAX: usize = 16;

/// Most `m=` lines of one SDP, and most port pairs of one leg.
pub const MEDIA_LINES_MAX: usize = 8;

/// Largest SDP body, bytes.
pub const SDP_BYTES_MAX: usize = 16 * 1024;

/// Most lines of one SDP body.
pub const SDP_LINES_MAX: usize = 500;

/// Longest call-id, tag or branch, bytes: they are kept for the whole call.
pub const NAME_BYTES_MAX: usize = 512;

/// Largest NG datagram, the most that UDP carries.
pub const NG_BYTES_MAX: usize = 65_535;

/// Most connections of NG clients (TCP, WebSocket): a thread each.
pub const NG_CONNECTIONS_MAX: usize = 64;

/// Deepest nesting of an NG dictionary: real ones have three levels.
pub const NG_DEPTH_MAX: usize = 12;

/// Longest NG cookie, bytes: it is kept in the cache of answers.
pub const COOKIE_BYTES_MAX: usize = 128;

/// Most NG answers kept for retransmitted requests.
pub const COOKIES_MAX: usize = 4_096;

/// How long an NG answer is kept: longer than any client retransmits.
pub const COOKIE_KEPT_MS: u64 = 30_000;

/// Most calls named by one `list` answer: it must fit one datagram.
pub const LIST_MAX: usize = 1_000;

/// How long ports rest before another call gets them: late packets of the old one are gone then.
pub const PORT_REST_MS: u64 = 500;

/// Largest relayed datagram, bytes: above the jumbo frame's 9,000 minus nothing sent today.
pub const DATAGRAM_BYTES_MAX: usize = 9_216;

/// Packets a worker handles before it lets an NG command in.
pub const BATCH_MAX: usize = 64;

/// Buffers of a worker's ring that the kernel receives into, a power of two: what comes in while
/// all are full waits in its socket.
pub const RING_BUFFERS: u16 = 256;

/// Packets of our own that a worker's ring holds until it hands them in.
pub const RING_OUTBOX: usize = 64;

/// Things that a worker asks of its ring at once; more are handed in at once.
pub const RING_ENTRIES: u32 = 512;

/// Answers that wait in a worker's ring; the kernel keeps further ones until there is room.
pub const RING_COMPLETIONS: u32 = 4_096;

/// Addresses of ours whose ports can do without sockets; the tables of `bpf/steer.bpf.c` have as
/// many places.
pub const STEERED_ADDRESSES_MAX: usize = 4;

/// Datagrams that a worker takes from the socket of all its ports in one call.
pub const STEERED_BATCH: usize = 64;

/// Room in the socket of all ports of a worker, bytes: a tenth of a second of 2,000 calls.
pub const STEERED_RECEIVE_BYTES: i32 = 16 * 1024 * 1024;

/// Room for packets of all ports that wait to leave, bytes.
pub const STEERED_SEND_BYTES: i32 = 8 * 1024 * 1024;

/// Most flows that wait to be watched by the ring of one worker.
pub const ORDERS_MAX: usize = 16_384;

/// How long the packets that wait at a worker may keep a flow from going to another one.
pub const PART_WAIT_MS: u64 = 100;

/// A worker that failed so often in a row does not begin anew any more.
pub const WORKER_FAILURES_MAX: u32 = 3;

/// Failures further apart than this are none in a row.
pub const WORKER_STANDS_MS: u64 = 60_000;

/// Most worker threads.
pub const WORKERS_MAX: usize = 64;

/// How often silent and abandoned calls are looked for.
pub const SWEEP_EVERY_MS: u64 = 1_000;

/// Samples that rates are made from: one with each sweep, so those of a minute.
pub const RATE_SAMPLES_MAX: usize = 61;

/// A call without packet and command for this long is removed: its owner must have died.
pub const ABANDONED_AFTER_S: u64 = 3_600;

/// Most events handed over at once; more in one sweep follow in the next batch.
pub const EVENTS_MAX: usize = 1_024;

/// Flows of one worker before the next one gets any: measured, one thread relays 200 calls
/// for less than two do, because it wakes up less often.
pub const FLOWS_BEFORE_NEXT_WORKER: usize = 200;

/// Directions of flows that the kernel relays at once; the tables of `bpf/relay.bpf.c` have as
/// many places.
pub const FAST_FLOWS_MAX: u32 = 65_536;

/// Packets of a stream before the kernel may relay it: by then its source is known.
pub const ESTABLISHED_PACKETS: u64 = 10;

/// Most routes that are remembered between changes of routing; then all are asked for anew.
pub const ROUTES_MAX: usize = 8_192;

/// Most flows we speak on at once (clips, tones, digits): each wants a frame encoded every 20 ms.
pub const SPEAKING_MAX: usize = 2_000;

/// Most digits that wait to be sent to one party: longer than any number.
pub const DIGITS_MAX: usize = 64;

/// Largest file that is played, bytes: half an hour at 8 kHz.
pub const CLIP_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Most samples of a file that is unpacked, so that a small file cannot fill the memory: 17
/// minutes at 16 kHz.
pub const CLIP_SAMPLES_MAX: usize = 16 * 1024 * 1024;

/// Most files whose samples are known to be shared; further ones are played, but read each time.
pub const CLIPS_MAX: usize = 1_000;

/// Most files of one sequence.
pub const SEQUENCE_MAX: usize = 64;

/// Most names of codecs for one action of one offer.
pub const CODEC_NAMES_MAX: usize = 64;

/// Most codecs of shared libraries.
pub const PLUGGED_CODECS_MAX: usize = 32;

/// Most recordings at once: three files each.
pub const RECORDINGS_MAX: usize = 500;

/// Most packets that wait to be recorded: more than half a second of 500 calls.
pub const RECORD_QUEUE_MAX: usize = 32_768;

/// How often recordings are written and the heads of their files put right.
pub const RECORD_WRITE_EVERY_MS: u64 = 1_000;

/// Most parties that are listened to for speech recognition: each is decoded.
pub const TAPS_MAX: usize = 500;

/// Most packets that wait to be listened to: more than half a second of 500 taps.
pub const TAP_QUEUE_MAX: usize = 32_768;

/// How often those who recognise speech get a batch: soon enough for a conversation.
pub const TAP_EVERY_MS: u64 = 40;

/// Taps that are further behind than this leave sound out instead of hurrying.
pub const TAP_BEHIND_MS_MAX: u64 = 400;

/// Batches on their way to a consumer; a slower one loses some. Two thirds of a second.
pub const TAP_BATCHES_MAX: usize = 16;

/// Batches of forwarded sound that wait for the thread that writes it.
pub const FORWARD_BATCHES_MAX: usize = 16;

/// Sound that waits for the consumer of one stream, ms: longer than a connection takes.
pub const FORWARD_WAITS_MS: u64 = 1_000;

/// What one connection may leave to the kernel, bytes: four seconds at 8 kHz.
pub const FORWARD_SEND_BYTES: usize = 64 * 1024;

/// A pause or loss longer than this is no silence in a forwarded stream, as in rtpengine.
pub const FORWARD_SILENCE_S_MAX: u64 = 30;

/// How long a broken connection to the consumer rests before the next try.
pub const FORWARD_RETRY_MS: u64 = 500;

/// How long a stream that has ended may take to be written.
pub const FORWARD_LINGER_MS: u64 = 2_000;

/// Most bytes of the metadata of a forwarded stream: it is kept for the call.
pub const METADATA_BYTES_MAX: usize = 8 * 1024;

/// Sources (SSRC) of one direction of a leg whose SRTP counters are kept: a phone has one, and a
/// new one after a transfer.
pub const SRTP_SOURCES_MAX: usize = 8;

/// Most rooms at once.
pub const ROOMS_MAX: usize = 1_000;

/// Most parties of one room: one thread serves them all within a frame.
pub const ROOM_PARTIES_MAX: usize = 1_000;

/// Most bytes of a room's name: it stands in every event.
pub const ROOM_NAME_BYTES_MAX: usize = 128;

/// Parties of a room that are heard at once, unless the room says otherwise: more is noise.
pub const ROOM_SPEAKERS: usize = 8;

/// The same when the room says so: each needs packets of its own.
pub const ROOM_SPEAKERS_MAX: usize = 64;

/// By how much somebody has to be louder to be heard in place of one who is heard, dB.
pub const ROOM_STAYS_DB: f32 = 3.0;

/// How long somebody has to be the loudest before he is the one who speaks.
pub const ROOM_SPEAKER_CHANGE_MS: u32 = 300;

/// A room that is further behind than this leaves frames out instead of hurrying.
pub const ROOM_BEHIND_MS_MAX: u64 = 200;
/// Sources of one port that checks of ICE have proved: a browser has a few networks.
pub const PROVED_MAX: usize = 8;

/// Candidates of one component that are read, and ways that are checked; RTCP on a port of its own
/// is a second component.
pub const CANDIDATES_MAX: usize = 16;

/// Certificates that one description may name: one in each hash function, twice.
pub const FINGERPRINTS_MAX: usize = 10;

/// First wait for the answer to a check of ours (RFC 8445 section 14.3); doubled three times.
pub const CHECK_EVERY_MS: u64 = 500;

/// Checks of one way before it is given up (RFC 8489 section 6.2.1).
pub const CHECK_TRIES: u32 = 7;

/// How often a party that we check is asked whether it still wants packets (RFC 7675 section 5.1).
pub const CONSENT_EVERY_MS: u64 = 5_000;

/// How long one answer to that holds.
pub const CONSENT_LASTS_MS: u64 = 30_000;

/// DTLS handshakes at once: each costs about a millisecond of a worker.
pub const HANDSHAKES_MAX: usize = 1_000;

/// Of these, with one address: an office whose browsers all come back at once.
pub const HANDSHAKES_PER_SOURCE_MAX: u32 = 100;

/// Handshakes that one port of a party may begin for one agreement; there are two where RTCP does
/// not share the port of RTP.
pub const HANDSHAKE_TRIES_MAX: u32 = 3;

/// A handshake that takes longer has failed.
pub const DTLS_HANDSHAKE_MS: u64 = 30_000;

/// First wait for an answer in a handshake; doubled each time. The way is known to work by then.
pub const DTLS_FIRST_WAIT_MS: u64 = 400;

/// Times that one flight of a handshake is sent again.
pub const DTLS_REPEATS: usize = 5;

/// Timers of a connection that is up and further away than this are no handshake's.
pub const DTLS_LINGER_MS: u64 = 60_000;

/// Largest datagram of a handshake of ours, bytes: fits every way.
pub const DTLS_MTU: usize = 1_150;

/// Room for what a handshake says at once (a certificate of the peer's), bytes.
pub const DTLS_BYTES_MAX: usize = 4_096;

/// Roll-overs of a source that are tried after a takeover: the counter as it was known, and those
/// that may have followed while its state was not written down anew.
pub const ROLLOVERS_TRIED: u64 = 3;

/// Own packets a second at most, of a stream whose numbers go on at another engine.
pub const OWN_PACKETS_PER_S: u64 = 100;

/// Numbers left out behind those another engine may have used, for what its clock was wrong by.
pub const NUMBERS_LEFT_OUT: u64 = 200;

/// Most numbers left out: a receiver takes a longer way for one backwards (RFC 3711 appendix A).
pub const NUMBERS_LEFT_OUT_MAX: u64 = 30_000;

/// Most floating addresses of a group: each is a thread where it is.
pub const FLOATING_MAX: usize = 16;
