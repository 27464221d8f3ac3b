//! Every limit of the system that is not a flag, in one place.
//!
//! Reaching a limit is a clear error or a counted refusal, never a panic and never a silent loss.

/// Nodes in one cluster.
pub const NODES_MAX: usize = 1_000;
/// Mounts in one cluster.
pub const MOUNTS_MAX: usize = 10_000;
/// Members of the managed etcd that vote. More would only make every change slower; further nodes are clients.
pub const ETCD_VOTERS_MAX: usize = 5;

/// Longest mount path, in bytes after percent-decoding, its leading slash included.
pub const MOUNT_PATH_BYTES_MAX: usize = 255;
/// Longest value of one record in etcd, in bytes of JSON.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// Mounts, and sources, that one report of a node's load names; of more, those with the most listeners and the oldest sources.
pub const LOAD_MOUNTS_MAX: usize = 512;
/// Bytes of JSON that the mounts, their different listeners, their peaks, and the sources of such a report may take each, so that
/// all four fit one record.
pub const LOAD_SECTION_BYTES_MAX: usize = RECORD_BYTES_MAX / 4 - 1_024;
/// Bytes of JSON that the streams of a node's Icecast may take in the record that tells of them; of more the youngest are left out.
pub const STREAMS_BYTES_MAX: usize = RECORD_BYTES_MAX - 1_024;
/// Fields of one stream that are told, the first ones by name.
pub const STREAM_FIELDS_MAX: usize = 24;
/// Longest value of such a field, in bytes; the rest is cut.
pub const STREAM_FIELD_BYTES_MAX: usize = 512;
/// Longest media type of a source that is reported, in bytes; the rest is cut.
pub const LOAD_CONTENT_TYPE_BYTES_MAX: usize = 64;

/// Largest answer of an Icecast about its listeners, in bytes: 10 000 mounts take about 10 MB.
pub const ICECAST_STATS_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest time for all that an Icecast is asked about its listeners in one go, in milliseconds.
pub const ICECAST_STATS_MS_MAX: u64 = 3_000;

/// Longest wire name the kernel answers, in bytes, its root label included. Longer names go to userspace.
pub const NAME_BYTES_MAX: usize = 63;
/// Slots of one dynamic name: the draw is one byte.
pub const SLOTS: usize = 256;
/// Variants of one dynamic name, at most what a slot can name. Of more nodes the heaviest are answered.
pub const VARIANTS_PER_NAME_MAX: usize = 256;
/// Answer bytes of one variant: everything between the question and the OPT record.
pub const VARIANT_BYTES_MAX: usize = 512;
/// Names of one zone generation in the kernel: all nodes, all mounts, and some to spare. Of more, userspace answers the rest.
pub const KERNEL_NAMES_MAX: u32 = 16_384;
/// Places of the kernel's table where names are looked for first. It is never more than half full, so that ways are short.
pub const KERNEL_NAME_HOMES: u32 = 2 * KERNEL_NAMES_MAX;
/// Places that the kernel looks for a name in. Userspace answers for a name that has no place there, as for those over the limit.
pub const KERNEL_NAME_PROBES_MAX: u32 = 16;
/// Variants of one zone generation in the kernel: those of the listeners' answers in both families, and of each node in both
/// families its own and those of the mounts it holds.
pub const KERNEL_VARIANTS_MAX: u32 = 5_120;
/// Slot tables of one zone generation in the kernel: one for each set of several variants that differs from the others.
pub const KERNEL_SLOT_TABLES_MAX: u32 = 64;
/// Client prefixes whose rate the kernel knows at one time; those that owe least are forgotten for new ones.
pub const KERNEL_PREFIXES_MAX: u32 = 65_536;
/// Bytes of the ring buffer of traced queries: about 2 000 of them. A full one loses what comes next.
pub const KERNEL_TRACE_BYTES: u32 = 256 * 1024;
/// Buckets of the kernel's latency histogram, each twice as wide as the one before.
pub const KERNEL_LATENCY_BUCKETS: usize = 32;
/// Addresses of one family that the kernel answers on.
pub const LOCAL_ADDRESSES_MAX: usize = 8;
/// Longest DNS query the kernel looks at, in bytes of DNS message.
pub const KERNEL_QUERY_BYTES_MAX: usize = 512;
/// EDNS options of one query that the kernel reads over before it leaves the query to userspace.
pub const KERNEL_OPTIONS_MAX: usize = 8;

/// Largest DNS message over UDP, in bytes (DNS Flag Day 2020).
pub const DNS_UDP_BYTES_MAX: u16 = 1_232;
/// Largest DNS message over UDP without EDNS, in bytes (RFC 1035 §4.2.1).
pub const DNS_UDP_BYTES_PLAIN: u16 = 512;
/// Longest DNS query that userspace reads, in bytes of DNS message. A longer one is cut and so malformed on UDP; on TCP it
/// ends the connection.
pub const DNS_QUERY_BYTES_MAX: usize = 4_096;
/// Queries that one thread takes from, and replies it gives to the system at one time.
pub const DNS_UDP_BATCH: usize = 64;
/// Threads that answer one listening address over UDP, at most one for each core.
pub const DNS_UDP_THREADS_MAX: usize = 32;
/// Queries, and replies, that wait in the system for each of them, in bytes.
pub const DNS_UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Client prefixes whose rates userspace knows at one time; those that owe least are forgotten for new ones.
pub const DNS_LIMITER_CELLS: usize = 65_536;
/// DNS clients connected by TCP at one time. One more makes the longest silent give way.
pub const DNS_TCP_CLIENTS_MAX: usize = 1_024;
/// Of these, clients of one prefix.
pub const DNS_TCP_CLIENTS_PER_PREFIX_MAX: usize = 32;
/// Replies to one client that are gathered before they are written, in bytes; one reply more at most.
pub const DNS_TCP_REPLIES_BYTES: usize = 16 * 1024;
/// Time after its last whole message, or its coming, when a DNS client on TCP is closed, in milliseconds (RFC 7766 §6.2.3).
pub const DNS_TCP_IDLE_MS: u64 = 10_000;

/// Longest head of an HTTP request, in bytes.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest head that Icecast 2.4 reads, in bytes: its buffer holds 4096, the last of which ends the text.
pub const HTTP_ICECAST_HEAD_BYTES_MAX: usize = 4_095;
/// Header fields of one HTTP request.
pub const HTTP_HEADERS_MAX: usize = 100;
/// Longest time a client may take to send its request head, in milliseconds.
pub const HTTP_HEAD_MS_MAX: u64 = 15_000;
/// Time that the connection of a client who was sent elsewhere is kept for another request, in milliseconds: short, for most
/// have gone where they were sent, and each takes a place.
pub const HTTP_KEPT_MS_MAX: u64 = 1_000;
/// Connections the front holds at one time, however many descriptors there are.
pub const HTTP_CONNECTIONS_MAX: usize = 131_072;
/// Clients over that limit that are told so at one time; more are closed without a word.
pub const HTTP_REFUSALS_MAX: usize = 32;
/// Connections over that limit that nodes of the cluster may have at one time, to ask for this node's state.
pub const HTTP_PEERS_MAX: usize = 64;
/// Longest time a connection to an Icecast may take to open, in milliseconds.
pub const HTTP_DIAL_MS_MAX: u64 = 3_000;
/// Longest time an Icecast may take to answer a request, in milliseconds.
pub const HTTP_REPLY_MS_MAX: u64 = 5_000;
/// Largest whole answer of an Icecast that is read before it is passed on, in bytes.
pub const HTTP_REPLY_BYTES_MAX: usize = 64 * 1024;
/// Longest time one write to a client or an Icecast, or one read of audio, may make no progress, in milliseconds.
///
/// Icecast drops a source after 10 s of silence, so a longer silence is a peer that is gone.
pub const HTTP_STALL_MS_MAX: u64 = 30_000;
/// Silence after which TCP asks whether a peer is still there, in milliseconds.
pub const HTTP_KEEPALIVE_IDLE_MS: u64 = 30_000;
/// Pause between such questions, in milliseconds.
pub const HTTP_KEEPALIVE_PAUSE_MS: u64 = 10_000;
/// Questions without an answer after which the peer is gone.
pub const HTTP_KEEPALIVE_QUESTIONS_MAX: u32 = 3;
/// Longest time a refused client is read from after its answer, so that it can see the answer, in milliseconds.
pub const HTTP_LINGER_MS_MAX: u64 = 1_000;
/// Longest time the serving of one page may take, in milliseconds.
pub const HTTP_PAGE_MS_MAX: u64 = 30_000;
/// Mounts that the status page shows; it says how many more there are.
pub const HTTP_STATUS_MOUNTS_MAX: usize = 500;
/// Longest wait for short answers to finish when the front or the socket for radioctl stops, in milliseconds.
pub const HTTP_STOP_MS_MAX: u64 = 2_000;
/// Longest wait of a source for news of its mount, if that is not known, in milliseconds.
pub const HTTP_NEW_MOUNT_MS_MAX: u64 = 1_000;
/// Longest wait of a source for a master that takes it, in milliseconds: while nobody holds the mount, its holder's
/// Icecast does not answer, or still holds another source. Source clients wait four seconds at least (libshout).
pub const HTTP_MASTER_MS_MAX: u64 = 3_700;
/// Longest time that an old title, or the end of a source that may not stay, is tried on an Icecast, in milliseconds.
pub const HTTP_INSIST_MS_MAX: u64 = 1_500;
/// Longest time that an Icecast which does not do it is told to close a source that may not stay, in milliseconds.
pub const HTTP_EVICT_MS_MAX: u64 = 300_000;
/// Sources that an Icecast is told to close at one time.
pub const HTTP_EVICTIONS_MAX: usize = 16;
/// Titles that wait to be written to etcd, at most one of each mount; of more mounts the newest are dropped.
pub const TITLES_WAITING_MAX: usize = 1_024;
/// Password checks (argon2) that run at one time: each takes tens of milliseconds and tens of megabytes.
pub const HTTP_PASSWORD_CHECKS_MAX: usize = 4;
/// Password checks that wait for their turn; more are refused, to come again.
pub const HTTP_PASSWORD_WAITERS_MAX: usize = 64;
/// Longest wait for a password check's turn, in milliseconds.
pub const HTTP_PASSWORD_WAIT_MS_MAX: u64 = 5_000;
/// Password checks a second for sources that come straight to Icecast, which waits for each: a stranger's wrong passwords
/// may not hold up the others.
pub const HTTP_DIRECT_CHECKS_PER_S: u32 = 5;
/// Such checks that may come all at once.
pub const HTTP_DIRECT_CHECKS_BURST: u32 = 10;
/// Passwords remembered as right, one for each mount, so that a client that connects again costs no new check.
pub const HTTP_PASSWORDS_REMEMBERED_MAX: usize = MOUNTS_MAX;
/// Lines of the access log that wait to be written; more are lost.
pub const HTTP_ACCESS_LINES_MAX: usize = 4_096;
/// Longest line with which a `SHOUTcast` source logs in, in bytes: a mount's path, encoded, and a password.
pub const HTTP_LOGIN_BYTES_MAX: usize = 1_100;
/// Programs that are asked at one time who may listen, and as many that are told who has left.
pub const HTTP_AUTH_ASKING_MAX: usize = 64;
/// Longest time until such a program has answered, the wait for a turn included, in milliseconds.
pub const HTTP_AUTH_MS_MAX: u64 = 5_000;
/// Listeners that have left of whom a program is still to be told; of more it is not.
pub const HTTP_AUTH_WAITING_MAX: usize = 4_096;
/// Longest time after the front was told to stop that programs are told of who has left, in milliseconds.
pub const HTTP_AUTH_TOLD_LATE_MS_MAX: u64 = 1_000;
/// Longest chunk-size line or trailer section of a chunked body, in bytes.
pub const HTTP_CHUNK_LINE_BYTES_MAX: usize = 4 * 1024;
/// Buffer of one source tunnel in each direction, in bytes.
pub const TUNNEL_BUFFER_BYTES: usize = 16 * 1024;

/// Bytes of a stream in which the first frames must be found; without any it is passed on as it comes. Bytes in a stream of frames
/// after which what was lost is looked for as if it were a new stream.
pub const STREAM_LOCK_BYTES_MAX: usize = 64 * 1024;
/// Largest tag (ID3, APE) between frames that is read over by what it says of its size, in bytes. Of a larger one the frames
/// after it are looked for.
pub const STREAM_TAG_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of frames whose fingerprints are kept, so that they are known when a new upstream sends them again.
pub const STREAM_REMEMBERED_BYTES_MAX: usize = 512 * 1024;
/// Bytes of frames held back while they could go on in several places of those that are remembered.
pub const STREAM_DOUBT_BYTES_MAX: usize = 64 * 1024;
/// Longest block of a stream's ring, in bytes: shorter pieces are joined up to it, so that a listener's write has few slices.
pub const STREAM_BLOCK_BYTES: usize = 16 * 1024;
/// What a stream's ring holds at least for listeners that lag, in bytes.
pub const STREAM_RING_BYTES_MIN: u64 = 512 * 1024;
/// What it holds at most, in bytes.
pub const STREAM_RING_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Time that it holds between these two, in milliseconds: a high bit rate is no reason to lose who lags for a moment.
pub const STREAM_RING_MS: u64 = 16_000;
/// Slices of one write to a listener.
pub const STREAM_SLICES: usize = 8;
/// Writes to one listener in one tick, while it takes all.
pub const STREAM_WRITES_MAX: usize = 16;
/// What the kernel holds of a listener's stream, in bytes, before its own overhead: a burst, and some seconds.
pub const STREAM_SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Shortest time between two writes to a listener, in milliseconds.
pub const STREAM_TICK_MS_MIN: u64 = 250;
/// Longest time between two writes, in milliseconds: with many listeners. Players have a burst of some seconds.
pub const STREAM_TICK_MS_MAX: u64 = 1_000;
/// Listeners of one thread up to which the time is the shortest; beyond, it grows with their number.
pub const STREAM_TICK_LISTENERS: u64 = 500;
/// Time after which a listener to whom nothing is written is looked at whether it is still there, in milliseconds.
pub const STREAM_LOOK_MS: u64 = 5_000;
/// Times that a slow listener may skip to the live edge before it is closed, unless it has kept up meanwhile.
pub const STREAM_SKIPS_MAX: u8 = 4;
/// Time without a skip after which a listener has kept up, in milliseconds.
pub const STREAM_SKIPS_MS: u64 = 300_000;
/// Streams that are asked of Icecasts at one time. Icecast turns away all beyond a hundred that wait.
pub const STREAM_DIALS_MAX: usize = 40;
/// Silence after which an upstream connection counts as lost, in milliseconds. A new one joins where it was left, so that a short
/// limit costs a source that only pauses nothing.
pub const STREAM_SILENCE_MS_MAX: u64 = 4_000;
/// Shortest pause before a lost stream is asked for again, in milliseconds.
pub const STREAM_REDIAL_MS_MIN: u64 = 50;
/// Longest pause before a lost stream is asked for again, in milliseconds.
pub const STREAM_REDIAL_MS_MAX: u64 = 1_000;
/// Time that a mount must be known to have no source before those who heard it get its fallback, in milliseconds. Source clients
/// come back within it.
pub const STREAM_ABSENT_MS: u64 = 5_000;
/// Pause between two looks whether a mount plays again, or at its new master, while its listeners hear something, in milliseconds.
pub const STREAM_PROBE_MS: u64 = 1_000;
/// Fallbacks of fallbacks that are tried.
pub const STREAM_FALLBACKS_MAX: usize = 4;
/// Time that an upstream connection stays after its last listener, in milliseconds.
pub const STREAM_LINGER_MS: u64 = 10_000;
/// Longest wait of a listener for the first answer about a mount, in milliseconds.
pub const STREAM_TUNE_MS_MAX: u64 = 10_000;
/// Time that who wants to listen to a mount which does not play waits for it, in milliseconds.
pub const STREAM_OFF_MS: u64 = 1_000;
/// Longest wait of a stream's first listener, once Icecast has answered, for the first audio, in milliseconds.
pub const STREAM_ANNOUNCE_MS: u64 = 300;
/// Longest part of a listener's request line, agent and referer that is kept while it listens, in bytes each.
pub const STREAM_GUEST_BYTES_MAX: usize = 256;
/// Time that listeners who are to hear another mount wait for it to play, in milliseconds.
pub const STREAM_MOVE_MS_MAX: u64 = 10_000;

/// Bytes of all header pages of an Ogg link, which every listener who joins gets first; a cover may be among them. A stream with
/// more is passed on as it comes.
pub const STREAM_OGG_HEADERS_BYTES_MAX: usize = 1024 * 1024;
/// Logical streams in one Ogg link; pages of more are left out.
pub const STREAM_OGG_STREAMS_MAX: usize = 32;
/// Serial numbers of earlier logical streams that no later one of the same mount may have.
pub const STREAM_OGG_SERIALS_REMEMBERED: usize = 1_024;
/// Bytes of damaged Ogg pages that are looked through for other pages within them, more than bytes that have come; beyond
/// that they are left out whole.
pub const STREAM_OGG_DAMAGED_BYTES_MAX: usize = 256 * 1024;

/// Mounts that one Icecast relays at one time. Icecast 2.4 compares all of them with all at each reload and answers
/// nobody meanwhile: a third of a second at 500, more than a second at 1 000, half a minute at 10 000.
pub const ICECAST_RELAYS_MAX: usize = 500;

/// Longest log line taken from a child process, in bytes; the rest of the line is cut.
pub const CHILD_LOG_LINE_BYTES_MAX: usize = 4 * 1024;
