//! Every bound of the engine, with its reason. Reaching one is a counted refusal.
use std::time::Duration;

/// Largest SIP message in bytes: what one UDP datagram can carry.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Most header fields in a message; a call through twenty proxies has fewer than 100.
pub const HEADERS_MAX: usize = 256;
/// Longest header line in bytes, folding included.
pub const LINE_BYTES_MAX: usize = 8 * 1024;
/// Largest frame an application may send, in bytes.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Most digits in the length of a frame.
pub const FRAME_DIGITS_MAX: usize = 7;
/// Journal commits waiting at once; beyond it new work is refused with 503.
pub const COMMITS_PENDING_MAX: usize = 65_536;
/// How long the removal of a record that is not needed any more waits for another commit.
pub const REMOVAL_PATIENCE: Duration = Duration::from_millis(50);
/// How long the commit of what an application was told at once waits for those that follow from it.
/// A caller repeats its INVITE after half a second only.
pub const EARLY_PATIENCE: Duration = Duration::from_millis(20);
/// Commands of an application that wait for one such commit: a call needs two.
pub const EARLY_COMMANDS_MAX: usize = 16;
/// Live transactions; 10,000 calls with two legs need a fifth of it.
pub const TRANSACTIONS_MAX: usize = 200_000;
/// Live dialogs.
pub const DIALOGS_MAX: usize = 200_000;
/// Trunks whose calls need no password of a user; each new call is compared with all.
pub const PEERS_MAX: usize = 256;
/// Networks one of them may send from.
pub const PEER_NETWORKS_MAX: usize = 16;
/// Dialogs with one address unless the configuration says otherwise: a trunk with 10,000
/// calls, or an office behind a NAT whose phones watch each other.
pub const DIALOGS_PER_SOURCE: usize = 20_000;
/// Dialogs one user may have begun unless the configuration says otherwise: ten devices with
/// a hundred lamps each.
pub const DIALOGS_PER_USER: usize = 1_000;
/// SIP connections over TCP, TLS and WebSocket together.
pub const CONNECTIONS_MAX: usize = 50_000;
/// How long TLS and WebSocket handshakes may take together.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an accepted connection may take to bring its first message.
pub const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a message may take from its first byte to its last.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection may be silent: longer than any registration lasts.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(2 * 3_600 + 60);
/// How long a connection of ours may take to come up.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a peer may take to read what we write.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long finding the servers of a name may take, all questions together.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(8);
/// How long one name server may take for one question.
pub const NAME_TIMEOUT: Duration = Duration::from_secs(2);
/// Answers of name servers that are kept until they expire.
pub const NAMES_CACHED_MAX: usize = 4_096;
/// Servers tried for one request.
pub const TARGETS_MAX: usize = 16;
/// How long the server of an INVITE may say nothing before the next one is tried, in ms.
pub const SILENT_TARGET_MS: u64 = 4_000;
/// A request over UDP longer than this goes over TCP when it may, in bytes (RFC 3261
/// section 18.1.1: 1,300 as long as nobody knows what the path carries).
pub const DATAGRAM_REQUEST_BYTES_MAX: usize = 1_300;
/// How often a WebSocket is pinged; one that says nothing for twice as long is gone.
pub const WEB_SOCKET_PING: Duration = Duration::from_secs(25);
/// How often the files of the certificate are looked at.
pub const CERTIFICATE_LOOK: Duration = Duration::from_secs(1);
/// Application connections.
pub const APPLICATIONS_MAX: usize = 64;
/// Bytes waiting for one application before its connection is closed.
pub const APPLICATION_BACKLOG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes waiting for one SIP connection before it is closed.
pub const CONNECTION_BACKLOG_BYTES_MAX: usize = 1024 * 1024;
/// Requests of one dialog held back until the application is ready for them.
pub const HELD_REQUESTS_MAX: usize = 32;
/// How long in-dialog requests wait after an ACK or a 2xx went to the application, in ms:
/// drachtio-srf attaches its listeners one event-loop turn later.
pub const DIALOG_HOLD_MS: u64 = 10;
/// How long an application may leave a request without any response, in ms.
pub const SILENCE_MS: u64 = 64_000;
/// How long a remotely ended dialog waits for somebody to delete its record, in ms.
pub const ENDED_DIALOG_MS: u64 = 64_000;
/// How long a nonce is accepted, in seconds.
pub const NONCE_LIFETIME_S: u64 = 300;
/// Commands from the host waiting for the engine thread; a full queue makes the host wait.
pub const INBOX_MAX: usize = 65_536;
/// Threads that may read UDP; more than processors are of no use.
pub const UDP_WORKERS_MAX: usize = 64;
/// Batches of datagrams, 64 each at most, that wait for the engine thread; a full queue leaves
/// the rest to the buffers of the kernel, which drop what does not fit.
pub const UDP_BATCHES_MAX: usize = 256;
/// Jump of the local CSeq at a takeover: numbers sent but not committed stay below it.
pub const CSEQ_TAKEOVER_JUMP: u32 = 1_000;
/// Seconds in the Retry-After of a refusal.
pub const RETRY_AFTER_S: u32 = 2;
/// How long a connection may wait before it authenticates, in ms.
pub const AUTHENTICATE_MS: u64 = 10_000;
/// Tags one application may have.
pub const TAGS_MAX: usize = 20;
/// Letters of a tag.
pub const TAG_CHARS_MAX: usize = 32;
/// Verbs one application may route; there are 14 SIP methods and three call records.
pub const ROUTES_MAX: usize = 64;
/// How long the requests of an application that went away wait for one to take them, in ms.
pub const APPLICATION_RETURN_MS: u64 = 32_000;
/// How long a request other than INVITE waits at most: its sender gives up after 32 s.
pub const ANSWER_MS: u64 = 30_000;
/// How long after telling an application of an answer it may still not have attached its
/// listeners, in ms; an event loop that stands longer has other troubles.
pub const TURN_DOUBT_MS: u64 = 5_000;
/// Destinations one proxied request may have, redirects included.
pub const DESTINATIONS_MAX: usize = 32;
/// How often one call may have come through us with its topology hidden: each time puts a
/// token into a token.
pub const VEILS_MAX: usize = 4;
/// Branches of a request that was not told a limit (RFC 5393 section 5.3.3).
pub const BREADTH_DEFAULT: usize = 60;
/// How far the stored end of a forwarded call's ringing may lag behind, in ms: callees that
/// ring for long say so each minute (RFC 3261 section 13.3.1.1), so a commit a minute.
pub const TIMER_C_STORED_MS: u64 = 30_000;
/// Questions to request handlers, and connections to applications, that wait for an answer.
pub const OUTBOUND_MAX: usize = 4_096;
/// Request handlers asked at the same time; others wait for a place.
pub const HANDLERS_ASKED_MAX: usize = 64;
/// Longest answer of a request handler, in bytes.
pub const HANDLER_ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Reliable provisional responses of one INVITE that wait for a PRACK; an application that
/// makes more is told no.
pub const RELIABLE_WAITING_MAX: usize = 8;
/// Subscriptions in one dialog: a phone has a handful of event packages.
pub const SUBSCRIPTIONS_PER_DIALOG_MAX: usize = 16;
/// Time a peer gets after a takeover before its session timer ends the call, in ms.
pub const SESSION_GRACE_MS: u64 = 30_000;
/// Refreshes of our own are spread over this time after a takeover, in ms.
pub const SESSION_SPREAD_MS: u64 = 60_000;
/// Contacts in one REGISTER; a phone sends one, two at most.
pub const CONTACTS_MAX: usize = 16;
/// Proxies in the Path of a REGISTER.
pub const PATHS_MAX: usize = 8;
/// Connections remembered under the Contacts that applications have registered.
pub const KNOWN_FLOWS_MAX: usize = 100_000;
/// Of a registration that an application grants without saying how long, in seconds.
pub const DEFAULT_EXPIRES_S: u32 = 3_600;
/// Devices remembered for what they made of a challenge with two algorithms, in each of two
/// generations.
pub const OFFERS_MAX: usize = 50_000;
/// A device that asks again without an answer has given up when so much time has gone by, in
/// seconds.
pub const GIVE_UP_S: u64 = 5;
/// How long a generation lasts at most, in seconds: phones are updated.
pub const OFFER_MEMORY_S: u64 = 86_400;
/// Closed connections remembered, so that another flow of the device is taken.
pub const LOST_FLOWS_MAX: usize = 10_000;
/// Uses of nonces remembered in each of two generations: 5,000 phones a second for 40 s, in
/// 16 MB; more than that only shortens the life of nonces.
pub const NONCES_MAX: usize = 200_000;
/// Users whose digests are remembered, in each of two generations: 250 bytes each.
pub const USERS_REMEMBERED_MAX: usize = 50_000;
/// Wrong passwords of one source within the window before it is banned: a person mistypes
/// three times, a phone with an old password tries each minute.
pub const WRONGS_MAX: u32 = 10;
/// How long a wrong password is held against a source or a user, in ms.
pub const WRONG_WINDOW_MS: u64 = 300_000;
/// The first ban of a source, in ms; each further one is twice as long.
pub const BAN_MS_FIRST: u64 = 60_000;
/// The longest ban, in ms.
pub const BAN_MS_MAX: u64 = 3_600_000;
/// Bans at once; each is a key of the store.
pub const BANS_MAX: usize = 5_000;
/// How long new bans are collected before they are committed together, in ms.
pub const BANS_COLLECTED_MS: u64 = 500;
/// Sources and users remembered in each of two generations.
pub const SCORES_MAX: usize = 20_000;
/// Wrong passwords for one user, from anywhere, before strangers have to wait.
pub const USER_WRONGS_FREE: u32 = 5;
/// Longest such wait, in ms: an attack must not lock a user's new phone out for long.
pub const USER_WAIT_MS_MAX: u64 = 30_000;
/// Longest Request-URI in bytes; a longer one is answered 414.
pub const URI_BYTES_MAX: usize = 2_048;
/// Commits waiting above which new work is refused: half of what makes any commit fail, so
/// that calls in progress still find room.
pub const COMMITS_BUSY: usize = 32_768;
/// Lateness of timers above which new work is refused, in ms: by then phones have repeated
/// themselves, and new work would only add to that.
pub const LATE_MS_MAX: u64 = 1_000;
/// How long a late timer counts, in ms.
pub const LATE_MS_REMEMBERED: u64 = 1_000;
/// Live requests of one address; a trunk with 5,000 calls stays below.
pub const TRANSACTIONS_PER_SOURCE_MAX: usize = 20_000;
/// Seconds over which the Retry-After of an overloaded engine is spread.
pub const RETRY_AFTER_SPREAD_S: u32 = 10;
/// How often a few registered devices are asked, in ms.
pub const QUALIFY_STEP_MS: u64 = 200;
/// Bytes of one message that are kept in the trace and sent to a HEP collector; a request with
/// a large description and certificates has half of it.
pub const TRACE_MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Messages of one Call-ID in the trace: an hour of a call that is refreshed each minute.
pub const TRACE_CALL_MESSAGES_MAX: usize = 512;
/// Calls whose legs the trace can put together; the oldest is forgotten first.
pub const TRACED_CALLS_MAX: usize = 20_000;
/// Legs of one traced call: the caller, and ten devices that ring.
pub const TRACE_LEGS_MAX: usize = 16;
/// Messages waiting to be sent to a HEP collector; more are dropped and counted.
pub const HEP_QUEUE_MAX: usize = 2_048;
/// How often the address of a HEP collector with a host name is looked up.
pub const HEP_LOOK_UP: Duration = Duration::from_secs(60);
/// OPTIONS a device may miss before it counts as unreachable.
pub const QUALIFY_FAILURES: u32 = 2;
