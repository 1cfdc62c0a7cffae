//! Every bound of the store, each with its reason. Full means a counted refusal, never growth.

use std::time::Duration;

/// Voters in a cluster: more than seven only slows commits down.
pub const PEERS_MAX: usize = 7;

/// How long a request is held while there is no leader. Phones retransmit after 0.5 s and give
/// up after 32 s; two seconds cover four elections.
pub const HOLD_MS: u64 = 2_000;

/// Requests of this process that were submitted and not yet answered.
pub const PENDING_MAX: usize = 16_384;

/// Bytes of those requests.
pub const PENDING_BYTES_MAX: usize = 64 << 20;

/// Requests in one log entry.
pub const BATCH_REQUESTS_MAX: usize = 1_024;

/// Bytes of requests in one log entry, unless a single request is larger.
pub const BATCH_BYTES_MAX: usize = 512 << 10;

/// Bytes of one request (several commands of at most [`BULK_MAX`] each).
pub const REQUEST_BYTES_MAX: usize = 4 << 20;

/// Batches proposed and not yet answered, before the next is closed. Each batch costs all three
/// nodes a flush and a dozen thread switches, as much as thirty requests; while one is on its way
/// the next one grows. More in flight made batches smaller and nothing faster.
pub const BATCHES_IN_FLIGHT_MAX: usize = 1;

/// Bytes of one argument (a phone's SIP message is at most 64 KiB).
pub const BULK_MAX: usize = 1 << 20;

/// Arguments of one command.
pub const ARGUMENTS_MAX: usize = 1_024;

/// Commands in one `MULTI`.
pub const TRANSACTION_COMMANDS_MAX: usize = 1_024;

/// Origins (process lives) whose duplicates are recognised; each server uses one per start.
pub const ORIGINS_MAX: usize = 64;

/// A reply longer than this is not kept for a repeated request; the repeat answers an error.
pub const KEPT_REPLY_BYTES_MAX: usize = 16 << 10;

/// Bytes of one frame between nodes, snapshots excepted (they travel in pieces).
pub const FRAME_BYTES_MAX: usize = 32 << 20;

/// Bytes of the first frame of a link, whose sender is not known yet.
pub const GREETING_BYTES_MAX: usize = 4 << 10;

/// Bytes of one piece of a snapshot on the wire.
pub const SNAPSHOT_PIECE_BYTES: usize = 1 << 20;

/// Append requests sent to a follower and not yet answered.
pub const APPENDS_IN_FLIGHT_MAX: usize = 16;

/// How long a follower may lack a commit, unless entries for it are late: with more of them told at
/// once it is woken less often. Half of a heartbeat's usual interval.
pub const COMMIT_PATIENCE: Duration = Duration::from_millis(20);

/// Frames waiting to be written to one node.
pub const LINK_QUEUE_MAX: usize = 4_096;

/// Entries of one append request.
pub const APPEND_ENTRIES_MAX: u64 = 512;

/// Bytes of entries read for one append request, unless a single entry is larger.
pub const APPEND_BYTES_MAX: usize = 4 << 20;

/// Links accepted from other nodes: four of each peer, and as many again during reconnection.
pub const LINKS_ACCEPTED_MAX: usize = MEMBERS_MAX * 8;

/// Forwarded requests of one link that are being worked on.
pub const FORWARDS_PER_LINK_MAX: usize = 256;

/// Time to open a link, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Pause before a link is opened again.
pub const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

/// Longest pause before a link is opened again.
pub const RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(500);

/// A link is opened again after this long, so that a connection does not outlive the certificate
/// it was made with for ever.
pub const LINK_AGE_MAX: Duration = Duration::from_secs(3_600);

/// How long a renewed link waits for the answers of its old connection before it goes on.
pub const LINK_REST_MAX: Duration = Duration::from_millis(50);

/// How long the old connection of a renewed link is kept for its last answers: longer than a
/// forwarded request may take.
pub const LINK_DRAIN_MAX: Duration = Duration::from_secs(5);

/// How often certificate files are looked at.
pub const CERTIFICATES_LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How long a first start waits for the configured nodes before it says that it waits.
pub const FORMING_PATIENCE: Duration = Duration::from_secs(10);

/// Time a new member has to catch up with the log before its promotion is given up.
pub const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(120);

/// Time a change of the members may take on the leader, catching up included.
pub const MEMBER_CHANGE_TIMEOUT: Duration = Duration::from_secs(150);

/// Time to reach a node that shall become a member.
pub const MEET_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for one step of a change of the members to be committed.
pub const MEMBER_COMMIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Members of a cluster, learners included: every voter and two that catch up.
pub const MEMBERS_MAX: usize = PEERS_MAX + 2;

/// How often a leader looks for a change of the members that its predecessor left half done.
pub const JOINT_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of a member's name.
pub const MEMBER_NAME_MAX: usize = 64;

/// Time a forwarded request may take on the leader before its outcome counts as unknown.
pub const FORWARD_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Time for a whole snapshot to reach another node and to be installed there: ten gigabytes of
/// SQLite take three minutes to copy and as long to send. A link that is stuck is noticed by piece.
pub const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Size of a log segment; it is written with zeros first so that a flush changes no metadata.
pub const SEGMENT_BYTES: u64 = 16 << 20;

/// Bytes of one record in the log.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// Bytes written to the log by one flush.
pub const FLUSH_BYTES_MAX: usize = 4 << 20;

/// Bytes that must be free for a node to lead: two log segments, twice, because the second half
/// of it is what a node keeps taking entries of others from.
pub const DISK_RESERVE_BYTES: u64 = 4 * SEGMENT_BYTES;

/// Percentage of the reserve that must be free before a full disk counts as having room again.
pub const SPACE_HYSTERESIS_PERCENT: u64 = 125;

/// How often the disk is looked at.
pub const DISK_LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A flush that takes so long is slow; a healthy disk needs a fiftieth of it.
pub const SLOW_FLUSH: Duration = Duration::from_millis(250);

/// Looks at a slow flush, with no more fast ones between, before a disk counts as slow.
pub const SLOW_LOOKS: u32 = 4;

/// How long a disk that was slow is not trusted with leadership.
pub const SLOW_DISK_MEMORY: Duration = Duration::from_secs(30);

/// Damaged files kept for whoever wants to look at them; the oldest make room for new ones.
pub const DAMAGED_FILES_MAX: usize = 8;

/// A snapshot is taken when this many bytes of log were written since the last one: replaying
/// them takes about a second.
pub const SNAPSHOT_LOG_BYTES: u64 = 128 << 20;

/// A snapshot is taken when this many entries were applied since the last one.
pub const SNAPSHOT_LOG_ENTRIES: u64 = 200_000;

/// Bytes a second that are written or read for snapshots, copies of the SQLite file and backups.
/// A million keys take two seconds; a disk that can do little more is left to the log.
pub const SNAPSHOT_BYTES_PER_SECOND: u64 = 64 << 20;

/// Bytes of a snapshot that wait for the disk at any time.
pub const SNAPSHOT_WRITTEN_BYTES: u64 = 4 << 20;

/// Bytes of one piece of a backup, unless one key is larger.
pub const BACKUP_PIECE_BYTES: usize = 256 << 10;

/// Pieces of a backup that wait for its reader.
pub const BACKUP_PIECES_MAX: usize = 8;

/// Bytes of one part of a backup: a single key with everything in it.
pub const BACKUP_FRAME_BYTES_MAX: usize = FRAME_BYTES_MAX * 16;

/// Entries kept behind a snapshot, so that a follower that was away shortly needs no snapshot.
pub const ENTRIES_KEPT: u64 = 5_000;

/// Bytes of those entries: an entry of a pipeline has half a megabyte, and all are in memory.
pub const LOG_BYTES_KEPT: u64 = 32 << 20;

/// Bytes of log entries in memory with which a node takes no more: snapshots have not kept up for
/// some seconds. Writes are held meanwhile, and refused after [`HOLD_MS`].
pub const LOG_BYTES_MAX: u64 = 4 * SNAPSHOT_LOG_BYTES;

/// Entries applied under one lock and one SQL transaction: a reader waits that long at most.
pub const APPLY_CHUNK_ENTRIES: usize = 32;

/// Event batches waiting for watchers; a full queue holds back `apply`, not memory.
pub const EVENTS_QUEUE_MAX: usize = 4_096;

/// Changes handed to a watcher at once when it starts or after a snapshot.
pub const CHANGES_AT_ONCE: usize = 1_024;

/// Watches of one node.
pub const WATCHES_MAX: usize = 64;

/// Interval at which the leader looks for keys whose time is over.
pub const TICK_INTERVAL: Duration = Duration::from_millis(50);

/// Random elements with repeats in one reply: as many as a reply of keys.
pub const REPEATS_MAX: i64 = 1_000_000;

/// Keys returned by `KEYS` and `SCAN COUNT`.
pub const KEYS_MAX: usize = 1_000_000;

/// SQL text and bound arguments of one statement.
pub const SQL_TEXT_MAX: usize = 256 << 10;

/// Rows of one SQL read.
pub const SQL_ROWS_MAX: usize = 100_000;

/// Bytes of the rows of one SQL read: several times what a page of a portal shows.
pub const SQL_ROWS_BYTES_MAX: usize = 16 << 20;

/// Bytes of one SQL value or row; SQLite's own bound is a thousand million.
pub const SQL_VALUE_BYTES_MAX: usize = 16 << 20;

/// Steps of SQLite's machine for one statement of the log: a few tenths of a second, in which
/// nothing else is applied. Steps are counted, not time: every server refuses the same statements.
pub const SQL_STEPS_MAX: u32 = 5_000_000;

/// Time for one SQL read of this node's file; the thread that asked waits as long.
pub const SQL_READ_MAX: Duration = Duration::from_secs(2);

/// Stored SQL outcomes removed by one commit: they are never removed all at once.
pub const SQL_FORGOTTEN_AT_ONCE: u32 = 256;

/// Pages (4 KiB) in SQLite's own log at which a commit moves them to the file itself, when the
/// task beside it did not keep up.
pub const SQL_WAL_PAGES_MAX: u32 = 16_384;

/// Bytes in SQLite's own log at which the task beside the applier moves them to the file.
pub const SQL_WAL_BYTES: u64 = 4 << 20;

/// A SQLite file up to this size is read through at the start (about a second); damage in a larger
/// one shows when a statement meets it.
pub const SQL_CHECK_BYTES_MAX: u64 = 512 << 20;

/// Statements of the log that SQLite keeps prepared; there are about forty.
pub const SQL_STATEMENTS_MAX: usize = 64;

/// Tables whose changes are counted for somebody who keeps a copy.
pub const SQL_TABLES_FOLLOWED_MAX: usize = 8;

/// Idle read-only SQLite connections.
pub const SQL_READERS_MAX: usize = 8;

/// Redis connections of one node.
pub const CLIENTS_MAX: usize = 4_096;

/// Unread input of one Redis connection.
pub const CLIENT_INPUT_MAX: usize = 8 << 20;

/// Unsent output of one Redis connection; a subscriber that is slower is disconnected.
pub const CLIENT_OUTPUT_MAX: usize = 16 << 20;

/// Messages waiting for one subscriber.
pub const CLIENT_MESSAGES_MAX: usize = 16_384;

/// Channels and patterns of one Redis connection.
pub const SUBSCRIPTIONS_MAX: usize = 1_024;

/// Commands of one Redis connection that wait for the log.
pub const CLIENT_PIPELINE_MAX: usize = 1_024;

/// Accounts of the Redis door: a handful of programs and people.
pub const ACCOUNTS_MAX: usize = 64;

/// Bytes of an account's name.
pub const ACCOUNT_NAME_MAX: usize = 64;

/// Passwords of one account: an old and a new one, twice over.
pub const ACCOUNT_HASHES_MAX: usize = 4;

/// Sources (IP addresses) whose failed logins are remembered; the one that failed longest ago is
/// forgotten first.
pub const LOGIN_SOURCES_MAX: usize = 4_096;

/// Failed logins of one source at once; after these, one per [`LOGIN_FAILURE_PAUSE`].
pub const LOGIN_FAILURES_MAX: u32 = 10;

/// How long it takes until one failed login of a source is forgiven.
pub const LOGIN_FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// A client that has not logged in (TLS included) by then is disconnected.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval at which the certificate files of the Redis door are looked at for a change.
pub const CERTIFICATE_LOOK: Duration = Duration::from_secs(2);

/// Bytes of one encoded reply; a client that asks for more is told so.
pub const REPLY_BYTES_MAX: usize = 64 << 20;

/// Bytes of messages waiting for one client with subscriptions: more closes it at once.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 32 << 20;

/// Bytes of messages waiting for one client that are tolerated for [`CLIENT_MESSAGE_SOFT_TIME`].
pub const CLIENT_MESSAGE_BYTES_SOFT: usize = 8 << 20;

/// How long a client may stay above [`CLIENT_MESSAGE_BYTES_SOFT`].
pub const CLIENT_MESSAGE_SOFT_TIME: Duration = Duration::from_secs(10);

/// Slow commands remembered.
pub const SLOW_COMMANDS_MAX: usize = 128;

/// A command that took longer (commit included) is remembered.
pub const SLOW_COMMAND: Duration = Duration::from_millis(10);

/// Arguments of a slow command that are remembered, and bytes of each.
pub const SLOW_ARGUMENTS_MAX: usize = 32;

/// Bytes of one remembered argument.
pub const SLOW_ARGUMENT_BYTES_MAX: usize = 128;

/// Clients of one node that wait in blocking commands.
pub const WAITERS_MAX: usize = 1_024;

/// Keys of one blocking command.
pub const WAITER_KEYS_MAX: usize = 128;

/// Keys watched by one transaction.
pub const WATCHED_KEYS_MAX: usize = 128;

/// Pause of a blocking command before it asks again after a failure that a later try may heal.
pub const WAITER_RETRY_PAUSE: Duration = Duration::from_millis(50);
