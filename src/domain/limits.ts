/** Every limit of the TypeScript side, with its reason. Full means a counted refusal. */
export const limits = {
  /** Calls at once: four megabytes of state per thousand, on every Call Manager. */
  callsMax: 20_000,
  /** Devices rung for one call; the registrar allows ten bindings a user. */
  legsMax: 10,
  /** Branches of a call whose INVITE names no Max-Breadth (RFC 5393 section 5.3.3). */
  breadthMax: 60,
  /** Events one call may have waiting; a phone that sends more is refused, the call stays. */
  callEventsMax: 256,
  /** Session descriptions above this are no phone's. */
  sdpBytesMax: 16_384,
  /** Ring time before a call counts as not answered. */
  answerTimeoutMs: 60_000,
  /** Names of calls in one question for a trace: the Call-IDs of a call that forks widely. */
  tracedIdsMax: 32,
  /** How long another Call Manager may take for its part of a trace. */
  traceAnswerMs: 3_000,
  /** Bytes of such a part: 512 messages for each of 16 legs are cut off before that. */
  traceBytesMax: 64 * 1024 * 1024,
  /** How often deadlines of calls are looked at; a call may ring this much longer. */
  deadlineTickMs: 500,
  /** Orphans are looked for this often; two sightings make one, so nothing young is hit. */
  sweepMs: 2_000,
  /** After a takeover the ends of calls are looked up before an INVITE starts a new one. */
  redeliveryWindowMs: 64_000,
  /** After a takeover the engine sends INVITEs again at a pace; a leg waits for its own. */
  attachAttempts: 40,
  attachRetryMs: 250,
  /** A CANCEL waits this long for its INVITE to have left before it is given up. */
  cancelWaitMs: 2_000,
  /** A call whose media server died and that could not be moved tries again after this. */
  moveRetryMs: 5_000,
  /** 65,536 packets of 20 ms, less a tenth: keys of encrypted media are kept no longer. */
  keysKeptMs: 1_180_000,
  /** Calls moved to another media server in one tick: 400 a second. */
  movesPerTick: 200,
  /** Attempts to commit the end of a call; afterwards the next leader's sweep ends it. */
  endAttempts: 5,
  /** A record waits this long to share an entry with the engine's commit behind it. */
  recordPatienceMs: 5,
  /** First pause between those attempts, doubled each time. */
  endRetryMs: 200,
  /** Retry-After of a refused call, s. */
  retryAfterS: 10,
  /** Media servers answer within a millisecond on a LAN. */
  ngTimeoutMs: 500,
  /** NG is idempotent, so a lost datagram costs a repetition, not the call. */
  ngRetries: 2,
  /** How often a party on hold hears the file again: days of it. */
  musicRepeats: 10_000,
  /** Media sessions of calls that are gone are looked for this often; two sightings make one. */
  leftoversMs: 30_000,
  /** Only sessions that were silent for so long are asked for, s: they are few. */
  leftoverSilentS: 60,
  /** Sessions one media server tells in a round; the rest follows in the next. */
  leftoversListed: 1_000,
  /** Expiry of a server's lease. */
  leaseMs: 1_000,
  /** A quarter of the expiry: three renewals may be lost. */
  leaseRenewMs: 250,
  /** A new leader waits so long: servers have to notice that their connection is dead, too. */
  leaseGraceMs: 4_000,
  /** Alarms a server tells the others: a lease is written four times a second. */
  alarmsMax: 16,
  /** Servers listed. */
  serversMax: 1_000,
  storeConnectTimeoutMs: 1_000,
  /** The store holds commands through an election for two seconds. */
  storeCommandTimeoutMs: 2_500,
  /** A connection on which nothing came back for so long is dead: its leader may be. */
  storeSilenceMs: 1_500,
  storeCommandRetries: 3,
  storeReconnectMsMax: 500,
  /** Rows of a list in the API and the CLI. */
  listedMax: 1_000,
  /** Rows of one SQL command when users are added; keeps an entry below a megabyte. */
  usersPerBatch: 500,
  /** Users one request may add. */
  usersPerRequest: 50_000,
  /** Bans at once, as the engine limits them. */
  bansMax: 5_000,
  /** Calls that wait for devices to wake at once. */
  pushWaitsMax: 5_000,
  /** How often a call that waits looks whether its devices are back. */
  pushPollMs: 50,
  /** A push service answers within this, or counts as down. */
  pushRequestMs: 3_000,
  /** Trunks; the engine compares the source of each new call with all of them. */
  trunksMax: 200,
  /** Networks one trunk may send from; the engine keeps 16, one is where it answered from. */
  trunkSourcesMax: 14,
  /** Routes out, and routes in. */
  routesMax: 5_000,
  /** Trunks that one route tries, one after the other. */
  trunksPerRoute: 8,
  /** Calls at once of a trunk that does not say how many it has. */
  trunkChannels: 30,
  /** A provider that is there says 100 within 200 ms (RFC 3261 section 17.2.1). */
  trunkSilenceMs: 2_000,
  /** A trunk that said nothing is tried after the others for so long. */
  trunkAvoidMs: 30_000,
  /** REGISTERs to providers under way at once: a new leader finds all of them due at worst. */
  trunkRegistersMax: 10,
  /** Asked of a provider, s; it may say less. */
  trunkExpiresS: 3_600,
  /** Pause after a first failure, doubled each time, up to the last. */
  trunkRetryMs: 5_000,
  trunkRetryMsMax: 300_000,
  /** After a refused password, which a provider may count against us. */
  trunkRefusedMs: 60_000,
  /** How often a provider that does not answer is told that we do not register any more. */
  trunkLeavingMax: 5,
  /** OPTIONS to providers under way at once. */
  trunkOptionsMax: 10,
  /** A provider that has not answered OPTIONS by then has missed it. */
  trunkOptionsAnswerMs: 5_000,
  /** OPTIONS that a provider misses in a row before it counts as down. */
  trunkMissesMax: 2,
  /** The engine gives a REGISTER up after 32 s. */
  trunkAnswerMs: 40_000,
  /** A leader goes on so far above the committed CSeq: the last may have sent some more. */
  trunkCseqJump: 1_000,
  /** Pause between attempts to reach the SIP engine, doubled each time, up to the last. */
  engineReconnectMsMin: 100,
  engineReconnectMsMax: 500,
  /** An engine elsewhere is asked this often whether it is there. */
  enginePingMs: 5_000,
  /** Nothing came from it for so long, three answers: the connection is dead. */
  engineSilenceMs: 16_000,
  /** REGISTERs under way at once; more get 503 with Retry-After. */
  registersMax: 2_000,
  /** Contacts of one REGISTER; a phone sends one, two at most. */
  contactsMax: 16,
  /** Of a header that comes in only so much is read: patterns take their time with more. */
  headerCharactersMax: 8_192,
  /** What tells one request from another, kept with each nonce. */
  requestNameMax: 512,
  /** Nonces are taken this long, s: as the engine of our own does. */
  nonceLifetimeS: 300,
  /** Uses of nonces remembered in each of two generations. */
  noncesMax: 200_000,
  /** Wrong passwords of one source before it is banned, and how long one counts. */
  wrongsMax: 10,
  wrongWindowMs: 300_000,
  /** The first ban, doubled each time, up to the last. */
  banMsMin: 60_000,
  banMsMax: 3_600_000,
  /** Sources and users whose wrong passwords are remembered. */
  scoresMax: 20_000,
  /** Wrong passwords for one user before strangers wait, and the longest such wait. */
  userWrongsFree: 5,
  userWaitMsMax: 30_000,
  /** How often both parties of a call are asked whether they are there. */
  probeEveryMs: 60_000,
  /** Dialogs asked in one tick, twice a second: those of 12,000 calls within a minute. */
  probesPerTick: 200,
  /** A dialog that did not answer so often in a row has nobody left. */
  probeMissesMax: 2,
  /** How often a media server compares its floating addresses with the store. */
  floatingLookMs: 1_000,
  /** An address that was given to us and is not brought here within so many looks goes back. */
  floatingLooksUnused: 5,
  /** How long what is told of a session waits for a leader that does something about it. */
  lostSessionMs: 30_000,
  /** How often Call Managers look for media servers they have no connection to. */
  mediaLinkMs: 500,
  /** A server that lives takes a connection within that, on the same network. */
  mediaLinkConnectMs: 250,
  /** A process that is being ended is asked so often, one time after the other, if it listens. */
  mediaLinkAsks: 200,
  mediaLinkAskMs: 5,
  /** An answer over such a connection; the server reads no file for it. */
  mediaLinkAnswerMs: 1_000,
  /** Commands that wait for an answer on one connection: the calls of a server, at most. */
  mediaLinkWaiting: 20_000,
  /** A new call is written down anew after this: NAT and counters are known by then. */
  mediaKeptFirstMs: 5_000,
  /** And then this often: 32,768 packets of 10 ms, over which a counter can be told. */
  mediaKeptMs: 300_000,
  /** Calls written down anew in one tick. */
  mediaKeptPerTick: 100,
  /** Sessions a media server takes unless its ports are fewer: four ports a session. */
  mediaSessionsMax: 10_000,
} as const;
