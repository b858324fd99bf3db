// Writes wire.json from the specification (src/wire/PROTOCOL.md) and none of the project's code, so
// that the vectors are a second implementation: node test/vectors/make-wire.mjs
import { writeFileSync } from "node:fs";

const bytesOf = (text) => Buffer.from(text, "utf8");

/** Hexadecimal; runs of one byte as `a5*8192`, that byte so many times. */
function hex(bytes) {
  const text = Buffer.from(bytes).toString("hex");
  if (bytes.length < 64 || !bytes.every((byte) => byte === bytes[0])) return text;
  return `${text.slice(0, 2)}*${bytes.length}`;
}

function u(width, value) {
  const bytes = Buffer.alloc(width);
  let rest = BigInt(value);
  for (let i = 0; i < width; i++, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
  return bytes;
}
const u8 = (value) => u(1, value);
const u16 = (value) => u(2, value);
const u32 = (value) => u(4, value);
const u64 = (value) => u(8, value);

/** PROTOCOL 1.2. `size` tells a lie when given. */
function record(kind, flags, a, b, parts, size) {
  const rest = Buffer.concat(parts);
  return Buffer.concat([u8(kind), u8(flags), u8(a), u8(b), u32(size ?? 8 + rest.length), rest]);
}

/** PROTOCOL 1.1. */
function batch(records, { magic = "WQ", version = 1, flags = 0, count = records.length } = {}) {
  return Buffer.concat([bytesOf(magic), u8(version), u8(flags), u32(count), ...records]);
}

const session = 0x1122334455667788n;
const plain = { slot: 0, generation: 0, flags: 0 };

// --- PROTOCOL 2 ---

function hello({ role, version = 1, session, concurrency = 0, services = [], queues = [], isOneThread = false, serviceCount, tail = "" }) {
  const names = [...services, ...queues].map((name) => Buffer.concat([u8(bytesOf(name).length), bytesOf(name)]));
  return record(1, isOneThread ? 2 : 0, role, version, [
    u64(session), u32(concurrency), u16(serviceCount ?? services.length), u16(queues.length), ...names, bytesOf(tail),
  ]);
}
const welcome = ({ version, broker, inFlightMax, recordMax }, reserved = 0n) =>
  record(2, 0, version, 0, [u64(broker), u32(inFlightMax), u32(recordMax), u64(reserved)]);
const error = ({ status, record: index, reason }) =>
  record(3, 0, status, 0, [u32(index), u16(bytesOf(reason).length), u16(0), bytesOf(reason)]);
const credit = ({ credit: value }) => record(4, 0, 0, 0, [u32(value), u32(0)]);
const drain = () => record(5, 0, 0, 0, [u64(0)]);
const bye = () => record(6, 0, 0, 0, []);
const ping = () => record(7, 0, 0, 0, []);

// --- PROTOCOL 3 ---

const id = ({ session, sequence, slot, generation }) => [u64(session), u64(sequence), u32(slot), u32(generation)];

function headerBytes(headers) {
  return Buffer.concat(
    headers.flatMap(([key, value]) => [
      u8(bytesOf(key).length), bytesOf(key), u16(bytesOf(value).length), bytesOf(value),
    ]),
  );
}

/** `body` are the parts; those of more than one, and of 8 KiB and more, are frames of their own. */
const isInline = (body) => body.length === 1 && body[0].length < 8192;

function request(r, kind = 16) {
  const headers = headerBytes(r.headers ?? []);
  const inline = r.inline ?? isInline(r.body);
  const service = r.serviceBytes ?? bytesOf(r.service);
  return record(kind, r.flags, r.priority, r.attempts, [
    ...id(r), u32(r.timeoutMs), u8(r.serviceSize ?? service.length), u8(r.frameCount ?? (inline ? 0 : r.body.length)),
    u16(r.headersSize ?? headers.length), service, headers, ...(inline ? r.body : []),
  ]);
}

function reply(r, kind = 17) {
  const headers = headerBytes(r.headers ?? []);
  const inline = r.inline ?? isInline(r.body);
  return record(kind, r.flags, r.status ?? 0, 0, [
    ...id(r), u32(r.serviceTimeUs), u8(0), u8(r.frameCount ?? (inline ? 0 : r.body.length)),
    u16(r.headersSize ?? headers.length), headers, ...(inline ? r.body : []),
  ]);
}

function failure(r, kind = 18) {
  const reason = r.reasonBytes ?? bytesOf(r.reason);
  return record(kind, r.flags, r.status, r.attempts ?? 0, [
    ...id(r), u32(r.retryAfterMs), u16(r.reasonSize ?? reason.length), u16(0), reason,
  ]);
}

const cancel = (r, kind = 19) => record(kind, 0, r.status ?? 0, 0, id(r));

const place = ({ isLast, index, run }) => [u8(0), u8(isLast ? 1 : 0), u16(0), u32(0), u64(index), u64(run)];

function part(r) {
  const inline = isInline(r.body);
  return record(r.isLast ? 26 : 24, r.flags, 0, 0, [
    ...id(r), u32(0), u8(0), u8(inline ? 0 : r.body.length), u16(r.headersSize ?? 24), ...place(r), ...(inline ? r.body : []),
  ]);
}

const streamCredit = (r) => record(25, 0, 0, 0, [...id(r), u64(r.partsMax), u64(r.bytesMax)]);

// --- PROTOCOL 6 ---

const event = (kind) => (r) => {
  const inline = r.inline ?? isInline(r.body);
  const topic = r.topicBytes ?? bytesOf(r.topic);
  return record(kind, r.flags, r.topicSize ?? topic.length, r.frameCount ?? (inline ? 0 : r.body.length), [
    u64(r.publisher), u64(r.sequence), u32(r.number), u32(r.dropped), topic, ...(inline ? r.body : []),
  ]);
};
const published = (r) =>
  record(32, 128, r.status, 0, [u32(r.taken), u32(r.confirm), u32(r.heard), u16(bytesOf(r.reason).length), u16(0), bytesOf(r.reason)]);
const subscribe = (r) => {
  const pattern = r.patternBytes ?? bytesOf(r.pattern);
  return record(33, r.wantsRetained ? 0 : 1, r.whenFull, r.patternSize ?? pattern.length, [u32(r.subscription), u32(r.queueMax), pattern]);
};
const subscribed = (kind) => (r) =>
  record(kind, 128, r.status, 0, [u32(r.subscription), u16(r.reasonSize ?? bytesOf(r.reason).length), u16(0), bytesOf(r.reason)]);
const unsubscribe = (r) => record(34, 0, 0, 0, [u32(r.subscription), u32(0)]);
const ask = (r) => record(32, 128, 0, 0, [u32(r.confirm), u32(0)]);
const taken = (r) => record(35, 128, 0, 0, [u32(r.taken), u32(0)]);

// --- PROTOCOL 7 ---

const push = (r) => request({ ...r, slot: r.delayMs, generation: 0, timeoutMs: r.attemptTimeoutMs, service: r.queue }, 40);
const pushed = (r) => failure(r, 41);
const task = (r) => request({ ...r, priority: r.attempt, attempts: 0, timeoutMs: r.attemptTimeoutMs, service: r.queue }, 42);
const taskDone = (r) => cancel(r, 43);
const taskFailed = (r) => failure(r, 44);
const letters = (flags, a, r, total, text, entries) =>
  record(45, flags, a, 0, [u64(r.session), u64(r.sequence), u32(r.count), u32(total), u16(r.textSize ?? text.length),
    u16(r.entryCount ?? entries.length), u32(r.retryAfterMs ?? 0), text, ...entries]);
const lettersAsked = (r) => letters(r.flags, r.action, r, r.skip, r.queueBytes ?? bytesOf(r.queue), []);
const letter = (e) => Buffer.concat([u64(e.session), u64(e.sequence), u32(e.bytes), u32(e.deadForMs), u8(e.attempts), u8(e.status),
  u8(e.priority), u8(0), u16(bytesOf(e.reason).length), u16(0), bytesOf(e.reason)]);
const deadLetters = (r) => letters(r.flags, r.status, r, r.total, bytesOf(r.reason), r.entries.map(letter));

// --- PROTOCOL 8 ---

const survey = (r) => request(r, 48);
const surveyReply = (r) => reply(r, 49);
const surveyEnd = (r) => failure({ ...r, slot: r.asked, generation: r.missing }, 50);

const makers = { PUSH: push, PUSHED: pushed, TASK: task, TASK_DONE: taskDone, TASK_FAILED: taskFailed,
  DEAD_LETTERS_ASKED: lettersAsked, DEAD_LETTERS: deadLetters, SURVEY: survey, SURVEY_REPLY: surveyReply, SURVEY_END: surveyEnd,
  PUBLISH: event(32), EVENT: event(35), PUBLISHED: published, SUBSCRIBE: subscribe,
  SUBSCRIBED: subscribed(33), UNSUBSCRIBED: subscribed(34), UNSUBSCRIBE: unsubscribe, TAKEN: taken, ASK: ask,
  HELLO: hello, WELCOME: welcome, ERROR: error, CREDIT: credit, DRAIN: drain, BYE: bye, PING: ping,
  REQUEST: request, REPLY: reply, FAILURE: failure, CANCEL: cancel,
  STREAM_PART: part, STREAM_END: part, STREAM_CREDIT: streamCredit };

/** A record as the file shows it: u64 as 16 hexadecimal digits, sequences in decimal, bodies in hex. */
function shown(kind, fields) {
  const u64Text = (value) => value.toString(16).padStart(16, "0");
  const out = kind === undefined ? {} : { kind };
  for (const [name, value] of Object.entries(fields)) {
    if (["inline", "tail"].includes(name)) continue;
    if (["session", "broker", "publisher", "run"].includes(name)) out[name] = u64Text(value);
    else if (["sequence", "index", "partsMax", "bytesMax"].includes(name)) out[name] = String(value);
    else if (name === "body") out[name] = value.map(hex);
    else if (name === "entries") out[name] = value.map((entry) => shown(undefined, entry));
    else out[name] = value;
  }
  return out;
}

/** `canonical` vectors are what a sender of version 1 writes; the others it must still read. */
function valid(name, direction, records, canonical = true) {
  const frames = [batch(records.map(([kind, fields]) => makers[kind](fields)))];
  for (const [, { body, inline }] of records) {
    if (body !== undefined && !(inline ?? isInline(body))) frames.push(...body);
  }
  return { name, direction, canonical, frames: frames.map(hex), records: records.map(([k, f]) => shown(k, f)) };
}

const basic = { ...plain, session, sequence: 1n, priority: 4, attempts: 0, timeoutMs: 500,
  service: "orders.price", headers: [], body: [bytesOf("hello")] };
const answer = { ...plain, session, sequence: 1n, serviceTimeUs: 0, headers: [], body: [bytesOf("42")] };
const large = Buffer.alloc(8192, 0xa5);
const piece = { ...plain, session, sequence: 1n, isLast: false, index: 0n, run: 0x0123456789abcdefn, body: [bytesOf("one")] };
const publication = { flags: 0, publisher: session, sequence: 1n, number: 0, dropped: 0, topic: "orders.eu", body: [bytesOf("hello")] };
const listening = { subscription: 1, pattern: "orders.>", whenFull: 0, queueMax: 1, wantsRetained: true };
const pushing = { flags: 0, session, sequence: 1n, delayMs: 0, priority: 4, attempts: 0, attemptTimeoutMs: 0, queue: "mail.out", headers: [], body: [bytesOf("hello")] };
const tasked = { ...plain, session, sequence: 1n, slot: 77, generation: 5, attempt: 1, attemptTimeoutMs: 30000, queue: "mail.out", headers: [], body: [bytesOf("hello")] };
const told = { ...plain, session, sequence: 1n, status: 0, retryAfterMs: 0, reason: "" };
const asking = { flags: 0, session, sequence: 3n, action: 1, count: 100, skip: 0, queue: "mail.out" };
const dead = { session, sequence: 1n, bytes: 1234, deadForMs: 5000, attempts: 3, status: 13, priority: 4, reason: "smtp: 550" };
const listed = { flags: 0, session, sequence: 3n, status: 0, count: 0, total: 0, retryAfterMs: 0, reason: "", entries: [] };
const surveyed = { ...plain, session, sequence: 1n, slot: 3, generation: 9, status: 0, serviceTimeUs: 0, headers: [], body: [bytesOf("42")] };
const ended = { flags: 0, session, sequence: 1n, status: 0, asked: 3, missing: 1, retryAfterMs: 0, reason: "" };
const unicode = [["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], ["кто", "Ποιος 誰 🦉"], ["empty", ""]];

const records = [
  valid("HELLO of a client", "client -> broker", [["HELLO", { role: 1, version: 1, session, concurrency: 0, services: [], isOneThread: false }]]),
  valid("HELLO of a worker", "worker -> broker", [
    ["HELLO", { role: 2, version: 1, session: 0xffffffffffffffffn, concurrency: 65535, services: ["orders.price", "größe.数", "x".repeat(255)], isOneThread: false }]]),
  valid("HELLO of a client of one thread", "client -> broker", [["HELLO", { role: 1, version: 1, session, concurrency: 0, services: [], isOneThread: true }]]),
  valid("HELLO of a pulse", "worker -> broker", [["HELLO", { role: 3, version: 1, session, concurrency: 0, services: [], isOneThread: false }]]),
  valid("HELLO of a later version", "client -> broker", [["HELLO", { role: 1, version: 9, session: 1n, concurrency: 0, services: [], isOneThread: false }]], false),
  valid("WELCOME", "broker -> peer", [["WELCOME", { version: 1, broker: 0xfedcba9876543210n, inFlightMax: 32768, recordMax: 16777216 }]]),
  valid("ERROR about a record", "broker -> peer", [["ERROR", { status: 3, record: 2, reason: "kind 99 is not known here" }]]),
  valid("ERROR about the connection", "broker -> peer", [["ERROR", { status: 16, record: 0xffffffff, reason: "" }]]),
  valid("CREDIT", "worker -> broker", [["CREDIT", { credit: 12 }]]),
  valid("CREDIT, the most", "broker -> client", [["CREDIT", { credit: 0xffffffff }]]),
  valid("DRAIN", "worker -> broker", [["DRAIN", {}]]),
  valid("BYE", "peer -> broker", [["BYE", {}]]),
  valid("PING", "broker -> peer", [["PING", {}]]),
  valid("REQUEST", "client -> broker", [["REQUEST", basic]]),
  valid("REQUEST with an empty body", "client -> broker", [["REQUEST", { ...basic, body: [Buffer.alloc(0)] }]]),
  valid("REQUEST with all its fields", "client -> broker", [
    ["REQUEST", { ...basic, flags: 1, sequence: 2n ** 53n - 1n, priority: 7, attempts: 255, timeoutMs: 0xffffffff, service: "größe.数", headers: unicode, body: [Buffer.from([0, 255, 128])] }]]),
  valid("REQUEST to a worker, second attempt", "broker -> worker", [
    ["REQUEST", { ...basic, flags: 2, slot: 77, generation: 0xfffffffe, attempts: 2, timeoutMs: 499 }]]),
  valid("REQUEST with its body as a frame", "client -> broker", [["REQUEST", { ...basic, headers: unicode, body: [large] }]]),
  valid("REQUEST with the largest body that travels in the record", "client -> broker", [["REQUEST", { ...basic, body: [large.subarray(1)] }]]),
  valid("REQUEST with a large body in the record, which is taken too", "client -> broker", [["REQUEST", { ...basic, body: [large], inline: true }]], false),
  valid("REQUEST with a small body as a frame, which is taken too", "client -> broker", [["REQUEST", { ...basic, body: [bytesOf("small")], inline: false }]], false),
  valid("REQUEST of a plain client, multipart", "broker -> worker", [
    ["REQUEST", { ...basic, flags: 1, slot: 3, generation: 4, attempts: 1, service: "default", body: [bytesOf("a"), Buffer.alloc(0), bytesOf("ccc")] }]]),
  valid("REPLY", "worker -> broker", [["REPLY", { ...answer, slot: 77, generation: 5, serviceTimeUs: 1234 }]]),
  valid("REPLY to a client", "broker -> client", [["REPLY", answer]]),
  valid("REPLY with headers and its body as a frame", "broker -> client", [["REPLY", { ...answer, headers: unicode, body: [large] }]], false),
  valid("REPLY of a plain worker, multipart", "broker -> client", [["REPLY", { ...answer, flags: 1, body: [Buffer.alloc(0), bytesOf("b")] }]]),
  valid("FAILURE", "broker -> client", [["FAILURE", { ...plain, flags: 4, session, sequence: 9n, status: 8, attempts: 0, retryAfterMs: 250, reason: "queue is full" }]]),
  valid("FAILURE after three attempts", "broker -> client", [["FAILURE", { ...plain, session, sequence: 9n, status: 14, attempts: 3, retryAfterMs: 0, reason: "worker lost" }]]),
  valid("FAILURE of a request that never began", "worker -> broker", [
    ["FAILURE", { ...plain, flags: 4, session, sequence: 9n, slot: 1, generation: 2, status: 14, attempts: 0, retryAfterMs: 0, reason: "ухожу" }]]),
  valid("CANCEL of a client", "client -> broker", [["CANCEL", { ...plain, session, sequence: 2n ** 32n, status: 1 }]]),
  valid("CANCEL to a worker", "broker -> worker", [["CANCEL", { ...plain, session, sequence: 1n, slot: 8, generation: 9, status: 4 }]]),
  valid("REQUEST for a stream that may begin anew, to a worker", "broker -> worker", [
    ["REQUEST", { ...basic, flags: 24, slot: 5, generation: 6, attempts: 1 }]]),
  valid("STREAM_CREDIT of a client", "client -> broker", [["STREAM_CREDIT", { ...plain, session, sequence: 1n, partsMax: 32n, bytesMax: 1048576n }]]),
  valid("STREAM_CREDIT to a worker, the most", "broker -> worker", [
    ["STREAM_CREDIT", { ...plain, session, sequence: 1n, slot: 5, generation: 6, partsMax: 2n ** 53n - 1n, bytesMax: 2n ** 53n - 1n }]]),
  valid("STREAM_PART, the first", "worker -> broker", [["STREAM_PART", { ...piece, slot: 5, generation: 6 }]]),
  valid("STREAM_PART with its body as a frame, RAW", "broker -> client", [["STREAM_PART", { ...piece, flags: 1, index: 2n ** 53n - 1n, body: [large] }]]),
  valid("STREAM_END", "broker -> client", [["STREAM_END", { ...piece, isLast: true, index: 3n, body: [Buffer.alloc(0)] }]]),
  valid("several records, two of them with frames", "client -> broker", [
    ["HELLO", { role: 1, version: 1, session, concurrency: 0, services: [], isOneThread: false }],
    ["REQUEST", { ...basic, sequence: 1n, body: [large] }],
    ["REQUEST", { ...basic, sequence: 2n }],
    ["CANCEL", { ...plain, session, sequence: 2n, status: 1 }],
    ["REQUEST", { ...basic, sequence: 3n, flags: 1, body: [bytesOf("x"), large] }],
    ["BYE", {}],
  ]),
  valid("PUBLISH", "client -> broker", [["PUBLISH", publication]]),
  valid("PUBLISH with all its fields, its body as a frame", "client -> broker", [
    ["PUBLISH", { ...publication, flags: 3, publisher: 0xffffffffffffffffn, sequence: 2n ** 53n - 1n, number: 0xffffffff, topic: "größe.数", body: [large] }]]),
  valid("PUBLISH that deletes a last value", "client -> broker", [["PUBLISH", { ...publication, flags: 3, sequence: 0n, body: [Buffer.alloc(0)] }]]),
  valid("EVENT, kept, behind three that were dropped", "broker -> client", [["EVENT", { ...publication, flags: 2, number: 7, dropped: 3 }]]),
  valid("EVENT of a plain PUB, multipart", "broker -> client", [
    ["EVENT", { ...publication, flags: 1, publisher: 0n, sequence: 0n, number: 1, body: [bytesOf("a"), Buffer.alloc(0), bytesOf("ccc")] }]]),
  valid("answers to publications", "broker -> client", [
    ["PUBLISHED", { status: 0, taken: 65600, confirm: 9, heard: 100, reason: "" }],
    ["PUBLISHED", { status: 8, taken: 44, confirm: 0, heard: 0, reason: "the broker keeps no more" }]]),
  valid("SUBSCRIBE and its end", "client -> broker", [
    ["SUBSCRIBE", { subscription: 1, pattern: "orders.*.>", whenFull: 0, queueMax: 1024, wantsRetained: true }],
    ["SUBSCRIBE", { subscription: 0xffffffff, pattern: "größe.数", whenFull: 2, queueMax: 1, wantsRetained: false }],
    ["TAKEN", { taken: 65536 }],
    ["UNSUBSCRIBE", { subscription: 1 }],
    ["ASK", { confirm: 5 }]]),
  valid("answers to subscriptions", "broker -> client", [
    ["SUBSCRIBED", { subscription: 1, status: 0, reason: "" }],
    ["SUBSCRIBED", { subscription: 2, status: 7, reason: "may not subscribe" }],
    ["UNSUBSCRIBED", { subscription: 1, status: 8, reason: "zu langsam ☂" }]]),
  valid("HELLO of a worker that takes tasks", "worker -> broker", [
    ["HELLO", { role: 2, version: 1, session, concurrency: 2, services: ["orders.price"], queues: ["mail.out", "größe.数"], isOneThread: false }]]),
  valid("HELLO of a worker that takes tasks alone", "worker -> broker", [
    ["HELLO", { role: 2, version: 1, session, concurrency: 2, services: [], queues: ["default"], isOneThread: false }]]),
  valid("PUSH", "client -> broker", [["PUSH", pushing]]),
  valid("PUSH with all its fields, its body as a frame", "client -> broker", [
    ["PUSH", { ...pushing, flags: 1, sequence: 2n ** 53n - 1n, delayMs: 0xffffffff, priority: 7, attempts: 255, attemptTimeoutMs: 0xfffffffe, queue: "größe.数", headers: unicode, body: [large] }]]),
  valid("several PUSHes, one of a body of three frames", "client -> broker", [
    ["PUSH", { ...pushing, sequence: 1n, body: [Buffer.alloc(0)] }],
    ["PUSH", { ...pushing, sequence: 2n, flags: 1, body: [bytesOf("a"), Buffer.alloc(0), bytesOf("ccc")] }],
    ["PUSH", { ...pushing, sequence: 3n, priority: 0 }]]),
  valid("answers to PUSHes", "broker -> client", [
    ["PUSHED", told],
    ["PUSHED", { ...told, sequence: 2n ** 53n - 1n, status: 8, retryAfterMs: 250, reason: "voll ☂" }]]),
  valid("TASK", "broker -> worker", [["TASK", tasked]]),
  valid("TASK, its 255th attempt, its body as a frame", "broker -> worker", [
    ["TASK", { ...tasked, flags: 1, slot: 0xfffffffe, generation: 0xffffffff, attempt: 255, attemptTimeoutMs: 0xffffffff, queue: "größe.数", headers: unicode, body: [large] }]]),
  valid("answers to TASKs", "worker -> broker", [
    ["TASK_DONE", { ...plain, session, sequence: 1n, slot: 77, generation: 5 }],
    ["TASK_FAILED", { ...told, slot: 78, generation: 6, status: 13, retryAfterMs: 60000, reason: "smtp: 450" }],
    ["TASK_FAILED", { ...told, flags: 4, slot: 79, generation: 7, status: 14, reason: "ухожу" }]]),
  valid("DEAD_LETTERS of a client", "client -> broker", [
    ["DEAD_LETTERS_ASKED", { ...asking, skip: 200 }],
    ["DEAD_LETTERS_ASKED", { ...asking, sequence: 4n, action: 2, count: 0, queue: "größe.数" }]]),
  valid("DEAD_LETTERS, none", "broker -> client", [["DEAD_LETTERS", listed]]),
  valid("DEAD_LETTERS, two of three", "broker -> client", [
    ["DEAD_LETTERS", { ...listed, count: 2, total: 3, entries: [
      dead,
      { ...dead, session: 0xffffffffffffffffn, sequence: 2n ** 53n - 1n, bytes: 0xffffffff, deadForMs: 0xffffffff, attempts: 255, status: 4, priority: 7, reason: "" }] }]]),
  valid("DEAD_LETTERS refused", "broker -> client", [
    ["DEAD_LETTERS", { ...listed, status: 8, total: 3, retryAfterMs: 10, reason: "told just now ☂" }]]),
  valid("SURVEY", "client -> broker", [["SURVEY", { ...basic, priority: 0 }]]),
  valid("SURVEY with all its fields, its body as a frame", "broker -> worker", [
    ["SURVEY", { ...basic, flags: 1, sequence: 2n ** 53n - 1n, slot: 0xfffffffe, generation: 0xffffffff, attempts: 1, timeoutMs: 0xffffffff, service: "größe.数", headers: unicode, body: [large] }]]),
  valid("SURVEY_REPLY", "worker -> broker", [["SURVEY_REPLY", { ...surveyed, serviceTimeUs: 1234 }]]),
  valid("SURVEY_REPLY of one that failed, in clear", "worker -> broker", [
    ["SURVEY_REPLY", { ...surveyed, status: 13, body: [bytesOf("диск полон")] }]]),
  valid("SURVEY_REPLY to a client, its body as a frame, and the end", "broker -> client", [
    ["SURVEY_REPLY", { ...surveyed, flags: 1, slot: 0x55667788, generation: 0x11223344, body: [large] }],
    ["SURVEY_END", ended]]),
  valid("SURVEY_END of one that was not asked of anybody", "broker -> client", [
    ["SURVEY_END", { ...ended, status: 5, asked: 0, missing: 0, retryAfterMs: 0, reason: "no worker serves it ☂" }]]),
  {
    ...valid("batch flags and record flags that this version does not know are passed over", "client -> broker", [["REQUEST", { ...basic, flags: 0xf1 }]], false),
    frames: [hex(batch([request({ ...basic, flags: 0xf1 })], { flags: 0xff }))],
  },
];

// --- what a broker makes of a record that it passes on (PROTOCOL 3.1, 3.2) ---

const forwards = [
  {
    name: "REQUEST, first attempt",
    to: { slot: 6, generation: 7, attempt: 1, timeoutMs: 480 },
    from: [hex(batch([request({ ...basic, flags: 0xe7, headers: unicode, attempts: 3 })]))],
    sent: [hex(batch([request({ ...basic, flags: 1, headers: unicode, attempts: 1, slot: 6, generation: 7, timeoutMs: 480 })]))],
  },
  {
    name: "REQUEST, third attempt, body as a frame",
    to: { slot: 0xfffffffe, generation: 0xffffffff, attempt: 3, timeoutMs: 1 },
    from: [batch([request({ ...basic, body: [large] })]), large].map(hex),
    sent: [batch([request({ ...basic, body: [large], flags: 2, attempts: 3, slot: 0xfffffffe, generation: 0xffffffff, timeoutMs: 1 })]), large].map(hex),
  },
  {
    name: "REQUEST for a stream",
    to: { slot: 6, generation: 7, attempt: 2, timeoutMs: 480 },
    from: [hex(batch([request({ ...basic, flags: 0xfd })]))],
    sent: [hex(batch([request({ ...basic, flags: 27, attempts: 2, slot: 6, generation: 7, timeoutMs: 480 })]))],
  },
  {
    name: "SURVEY",
    to: { slot: 6, generation: 7, attempt: 1, timeoutMs: 480 },
    from: [batch([survey({ ...basic, priority: 0, headers: unicode, body: [large] })]), large].map(hex),
    sent: [batch([survey({ ...basic, priority: 0, attempts: 1, headers: unicode, body: [large], slot: 6, generation: 7, timeoutMs: 480 })]), large].map(hex),
  },
  {
    name: "SURVEY_REPLY",
    to: { session: session.toString(16).padStart(16, "0"), sequence: "5", worker: "8877665544332211" },
    from: [hex(batch([surveyReply({ ...surveyed, flags: 7, session: 99n, sequence: 98n, status: 13, serviceTimeUs: 12 })]))],
    sent: [hex(batch([surveyReply({ ...surveyed, flags: 1, sequence: 5n, slot: 0x44332211, generation: 0x88776655, status: 13, serviceTimeUs: 12 })]))],
  },
  {
    name: "STREAM_PART",
    to: { session: session.toString(16).padStart(16, "0"), sequence: "5" },
    from: [hex(batch([part({ ...piece, flags: 7, session: 99n, sequence: 98n, slot: 6, generation: 7, index: 4n })]))],
    sent: [hex(batch([part({ ...piece, flags: 1, sequence: 5n, index: 4n })]))],
  },
  {
    name: "REPLY",
    to: { session: session.toString(16).padStart(16, "0"), sequence: "5" },
    from: [hex(batch([reply({ ...answer, flags: 7, session: 99n, sequence: 98n, slot: 6, generation: 7, serviceTimeUs: 12, headers: unicode })]))],
    sent: [hex(batch([reply({ ...answer, flags: 1, sequence: 5n, serviceTimeUs: 12, headers: unicode })]))],
  },
];

// --- PROTOCOL 5 ---

const stranger = "stranger", client = "client", worker = "worker";
const err = (status, record = 0xffffffff) => ({ kind: "ERROR", status, record });
const notTaken = (sequence, status = 3) => ({ kind: "PUSHED", sequence: String(sequence), status });
const surveyOver = (sequence, status = 3) => ({ kind: "SURVEY_END", sequence: String(sequence), status });
const fail = (sequence, status = 3) => ({ kind: "FAILURE", sequence: String(sequence), status });

/**
 * `frames` sent by one that is a stranger, or has said HELLO as a client or worker with `session`;
 * `answer` are the records that come back, reasons apart; `counted` what the broker counts.
 */
function bad(name, as, frames, answer, counted) {
  return { name, as, frames: frames.map(hex), answer, counted };
}
const good = request({ ...basic, sequence: 8n, service: "nobody.serves" });
const seq = (n, change = {}) => request({ ...basic, sequence: n, ...change });

const malformed = [
  bad("one byte", stranger, [bytesOf("x")], [], { alien: 1 }),
  bad("text", stranger, [bytesOf("GET / HTTP/1.1\r\n\r\n")], [], { alien: 1 }),
  bad("seven bytes of a batch", client, [batch([bye()]).subarray(0, 7)], [], { alien: 1 }),
  bad("another magic", client, [batch([bye()], { magic: "QW" })], [], { alien: 1 }),
  bad("version 0", stranger, [batch([bye()], { version: 0 })], [err(3)], { version: 1 }),
  bad("version 2", client, [batch([bye()], { version: 2 })], [err(3)], { version: 1 }),
  bad("no records", client, [batch([])], [err(3)], { malformed: 1 }),
  bad("no records, of a stranger", stranger, [batch([])], [err(3)], { malformed: 1 }),
  bad("fewer records than counted", client, [batch([seq(1n, { priority: 8 })], { count: 2 })], [fail(1), err(3)], { malformed: 2 }),
  bad("4 billion records counted", client, [batch([cancel({ ...basic, status: 1 })], { count: 0xffffffff })], [err(3)], { malformed: 1 }),
  bad("more records than counted", client, [batch([cancel({ ...basic, status: 1 }), bye()], { count: 1 })], [err(3)], { malformed: 1 }),
  bad("a byte behind the last record", client, [Buffer.concat([batch([cancel({ ...basic, status: 1 })]), u8(0)])], [err(3)], { malformed: 1 }),
  bad("record of size 0", client, [batch([record(4, 0, 0, 0, [u64(1)], 0)])], [err(3)], { malformed: 1 }),
  bad("record of size 7", client, [batch([record(6, 0, 0, 0, [], 7)])], [err(3)], { malformed: 1 }),
  bad("record longer than the batch", client, [batch([record(6, 0, 0, 0, [], 9)])], [err(3)], { malformed: 1 }),
  bad("record of 4 GiB", client, [batch([record(16, 0, 0, 0, [u64(1)], 0xffffffff)])], [err(3)], { malformed: 1 }),
  bad("a record header cut short", client, [batch([bytesOf("\x06\0\0\0\x08\0\0")], { count: 1 })], [err(3)], { malformed: 1 }),
  bad("frames that no record claims", client, [batch([cancel({ ...basic, status: 1 })]), bytesOf("who?")], [err(3)], { malformed: 1 }),
  bad("one frame of two", client, [batch([seq(1n, { body: [large, large] })]), large], [fail(1), err(3)], { malformed: 1 }),
  bad("one frame of two, of a worker's answer", worker, [batch([reply({ ...answer, body: [large, large] })]), large], [err(3, 0)], { malformed: 1, stale: 1 }),
  bad("frames of a reply claimed that are not there, behind a good record", worker, [batch([credit({ credit: 1 }), reply({ ...answer, frameCount: 1, body: [] })])], [err(3, 1)], { malformed: 1, stale: 1 }),
  bad("HELLO too short", stranger, [batch([record(1, 0, 1, 1, [u64(session)])])], [err(3, 0)], { malformed: 1 }),
  bad("HELLO of role 0", stranger, [batch([hello({ role: 0, session })])], [err(3, 0)], { malformed: 1 }),
  bad("HELLO of role 4", stranger, [batch([hello({ role: 4, session })])], [err(3, 0)], { malformed: 1 }),
  bad("HELLO of a pulse of nobody", "stranger worker", [batch([hello({ role: 3, session })])], [err(7, 0)], { role: 1 }),
  bad("HELLO of a pulse at the frontend", stranger, [batch([hello({ role: 3, session })])], [err(7, 0)], { role: 1 }),
  bad("HELLO of version 0", stranger, [batch([hello({ role: 1, version: 0, session })])], [err(3, 0)], { malformed: 1 }),
  bad("HELLO of session 0", stranger, [batch([hello({ role: 1, session: 0n })])], [err(3, 0)], { malformed: 1 }),
  bad("HELLO with fewer services than counted", stranger, [batch([hello({ role: 2, session, concurrency: 1, services: ["a"], serviceCount: 2 })])], [err(3, 0)], { malformed: 1 }),
  bad("HELLO with bytes behind its services", stranger, [batch([hello({ role: 1, session, tail: "x" })])], [err(3, 0)], { malformed: 1 }),
  bad("HELLO with a service of no bytes", "stranger worker", [batch([hello({ role: 2, session, concurrency: 1, services: [""] })])], [err(3, 0)], { malformed: 1 }),
  bad("HELLO with a control character in a service", "stranger worker", [batch([hello({ role: 2, session, concurrency: 1, services: ["a\u007f"] })])], [err(3, 0)], { malformed: 1 }),
  bad("HELLO of a worker without services", "stranger worker", [batch([hello({ role: 2, session, concurrency: 1 })])], [err(3, 0)], { malformed: 1 }),
  bad("HELLO of concurrency 0", "stranger worker", [batch([hello({ role: 2, session, services: ["a"] })])], [err(3, 0)], { malformed: 1 }),
  bad("HELLO of concurrency 65536", "stranger worker", [batch([hello({ role: 2, session, concurrency: 65536, services: ["a"] })])], [err(3, 0)], { malformed: 1 }),
  bad("HELLO of a worker at the frontend", stranger, [batch([hello({ role: 2, session, concurrency: 1, services: ["a"] })])], [err(7, 0)], { role: 1 }),
  bad("HELLO of a client at the backend", "stranger worker", [batch([hello({ role: 1, session })])], [err(7, 0)], { role: 1 }),
  bad("CREDIT too short", worker, [batch([record(4, 0, 0, 0, [u32(1)])])], [err(3, 0)], { malformed: 1 }),
  bad("CREDIT of 0", worker, [batch([credit({ credit: 0 })])], [err(3, 0)], { malformed: 1 }),
  bad("CREDIT of 65536", worker, [batch([credit({ credit: 65536 })])], [err(3, 0)], { malformed: 1 }),
  bad("REQUEST too short for an id", client, [batch([record(16, 0, 4, 0, [u64(session)])])], [err(3, 0)], { malformed: 1 }),
  bad("REQUEST too short for its fixed part", client, [batch([record(16, 0, 4, 0, id(basic))])], [err(3, 0)], { malformed: 1 }),
  bad("REQUEST of sequence 0", client, [batch([seq(0n)])], [err(3, 0)], { malformed: 1 }),
  bad("REQUEST of sequence 2^53", client, [batch([seq(2n ** 53n)])], [err(3, 0)], { malformed: 1 }),
  bad("REQUEST of sequence 2^64-1", client, [batch([seq(2n ** 64n - 1n)])], [err(3, 0)], { malformed: 1 }),
  bad("REQUEST without a service", client, [batch([seq(1n, { service: "" })])], [fail(1)], { malformed: 1 }),
  bad("REQUEST whose service is no UTF-8", client, [batch([seq(1n, { serviceBytes: Buffer.from([0xc3, 0x28]) })])], [fail(1)], { malformed: 1 }),
  bad("REQUEST whose service has a control character", client, [batch([seq(1n, { service: "a\nb" })])], [fail(1)], { malformed: 1 }),
  bad("REQUEST whose service is longer than the record", client, [batch([seq(1n, { serviceSize: 18 })])], [fail(1)], { malformed: 1 }),
  bad("REQUEST whose headers are longer than the record", client, [batch([seq(1n, { headersSize: 6 })])], [fail(1)], { malformed: 1 }),
  bad("REQUEST with 8193 bytes of headers", client, [batch([seq(1n, { headers: [["k", "v".repeat(8189)]] })])], [fail(1)], { malformed: 1 }),
  bad("REQUEST with a body in the record and in a frame", client, [batch([seq(1n, { frameCount: 1 })]), bytesOf("more")], [fail(1)], { malformed: 1 }),
  bad("REQUEST of priority 8", client, [batch([seq(1n, { priority: 8 })])], [fail(1)], { malformed: 1 }),
  bad("two bad requests and a cancel: each is told of", client, [batch([seq(1n, { service: "" }), cancel({ ...basic, status: 1 }), seq(2n, { priority: 255 })])], [fail(1), fail(2)], { malformed: 2 }),
  bad("several bad records: one ERROR, about the first", worker, [batch([credit({ credit: 0 }), record(99, 0, 0, 0, []), credit({ credit: 0 })])], [err(3, 0)], { malformed: 2, unknown: 1 }),
  bad("CANCEL too short", client, [batch([record(19, 0, 1, 0, [u64(session), u64(1)])])], [err(3, 0)], { malformed: 1 }),
  bad("CANCEL of sequence 0", client, [batch([cancel({ ...basic, sequence: 0n, status: 1 })])], [err(3, 0)], { malformed: 1 }),
  bad("REPLY too short", worker, [batch([record(17, 0, 0, 0, id(answer))])], [err(3, 0)], { malformed: 1 }),
  bad("REPLY whose headers are longer than the record", worker, [batch([reply({ ...answer, headersSize: 3 })])], [err(3, 0)], { malformed: 1, stale: 1 }),
  bad("REPLY with 8193 bytes of headers", worker, [batch([reply({ ...answer, headers: [["k", "v".repeat(8189)]] })])], [err(3, 0)], { malformed: 1, stale: 1 }),
  bad("FAILURE of status OK", worker, [batch([failure({ ...answer, status: 0, retryAfterMs: 0, reason: "" })])], [err(3, 0)], { malformed: 1, stale: 1 }),
  bad("FAILURE of a status that is none", worker, [batch([failure({ ...answer, status: 2, retryAfterMs: 0, reason: "" })])], [err(3, 0)], { malformed: 1, stale: 1 }),
  bad("FAILURE whose reason is longer than the record", worker, [batch([failure({ ...answer, status: 13, retryAfterMs: 0, reason: "abc", reasonSize: 4 })])], [err(3, 0)], { malformed: 1, stale: 1 }),
  bad("FAILURE whose reason is no UTF-8", worker, [batch([failure({ ...answer, status: 13, retryAfterMs: 0, reasonBytes: Buffer.from([0xff]) })])], [err(3, 0)], { malformed: 1, stale: 1 }),
  bad("STREAM_PART for an attempt that is none", worker, [batch([part(piece)])], [], { stale: 1 }),
  bad("STREAM_END for an attempt that is none", worker, [batch([part({ ...piece, isLast: true })])], [], { stale: 1 }),
  bad("STREAM_PART too short", worker, [batch([record(24, 0, 0, 0, id(answer))])], [err(3, 0)], { malformed: 1 }),
  bad("STREAM_PART with no place", worker, [batch([record(24, 0, 0, 0, [...id(piece), u32(0), u32(0)])])], [err(3, 0)], { malformed: 1, stale: 1 }),
  bad("STREAM_PART with the place of an end", worker, [batch([record(24, 0, 0, 0, [...id(piece), u32(0), u16(0), u16(24), ...place({ ...piece, isLast: true })])])], [err(3, 0)], { malformed: 1, stale: 1 }),
  bad("STREAM_PART of index 2^53", worker, [batch([part({ ...piece, index: 2n ** 53n })])], [err(3, 0)], { malformed: 1, stale: 1 }),
  bad("STREAM_CREDIT for what is not in flight", client, [batch([streamCredit({ ...basic, partsMax: 1n, bytesMax: 1n })])], [], {}),
  bad("STREAM_CREDIT too short", client, [batch([record(25, 0, 0, 0, id(basic))])], [err(3, 0)], { malformed: 1 }),
  bad("STREAM_CREDIT of 2^53 parts", client, [batch([streamCredit({ ...basic, partsMax: 2n ** 53n, bytesMax: 1n })])], [err(3, 0)], { malformed: 1 }),
  bad("STREAM_CREDIT of another session", client, [batch([streamCredit({ ...basic, session: 1n, partsMax: 1n, bytesMax: 1n })])], [err(7, 0)], { role: 1 }),
  bad("STREAM_CREDIT of a worker", worker, [batch([streamCredit({ ...basic, partsMax: 1n, bytesMax: 1n })])], [err(7, 0)], { role: 1 }),
  bad("STREAM_PART of a client", client, [batch([part(piece)])], [err(7, 0)], { role: 1 }),
  bad("kind 0", client, [batch([record(0, 0, 0, 0, [])])], [err(3, 0)], { unknown: 1 }),
  bad("a reserved kind behind a good record", client, [batch([cancel({ ...basic, status: 1 }), record(57, 0, 0, 0, [])])], [err(3, 1)], { unknown: 1 }),
  bad("PUBLISH too short", client, [batch([record(32, 0, 1, 0, [u64(1n), u64(1n), u32(0)])])], [err(3, 0)], { malformed: 1 }),
  bad("PUBLISH whose topic is longer than the record", client, [batch([event(32)({ ...publication, topicSize: 200 })])], [err(3, 0)], { malformed: 1 }),
  bad("PUBLISH whose topic is no UTF-8", client, [batch([event(32)({ ...publication, topicBytes: Buffer.from([0xff]) })])], [err(3, 0)], { malformed: 1 }),
  bad("PUBLISH whose sequence is 2^53", client, [batch([event(32)({ ...publication, sequence: 2n ** 53n })])], [err(3, 0)], { malformed: 1 }),
  bad("PUBLISH that claims a frame that is not there", client, [batch([event(32)({ ...publication, frameCount: 1, body: [], inline: true })])], [err(3, 0)], { malformed: 1 }),
  bad("PUBLISH with a body twice", client, [batch([event(32)({ ...publication, frameCount: 1, inline: true })]), large], [err(3, 0)], { malformed: 1 }),
  bad("PUBLISH from a worker", worker, [batch([event(32)(publication)])], [err(7, 0)], { role: 1 }),
  bad("SUBSCRIBE too short", client, [batch([record(33, 0, 0, 0, [u32(1)])])], [err(3, 0)], { malformed: 1 }),
  bad("SUBSCRIBE whose pattern is longer than the record", client, [batch([subscribe({ ...listening, patternSize: 255 })])], [err(3, 0)], { malformed: 1 }),
  bad("SUBSCRIBE whose pattern is no UTF-8", client, [batch([subscribe({ ...listening, patternBytes: Buffer.from([0xff]) })])], [err(3, 0)], { malformed: 1 }),
  bad("SUBSCRIBE with a policy that is none", client, [batch([subscribe({ ...listening, whenFull: 3 })])], [err(3, 0)], { malformed: 1 }),
  bad("SUBSCRIBE of number 0", client, [batch([subscribe({ ...listening, subscription: 0 })])], [err(3, 0)], { malformed: 1 }),
  bad("UNSUBSCRIBE too short", client, [batch([record(34, 0, 0, 0, [])])], [err(3, 0)], { malformed: 1 }),
  bad("EVENT from a client, too short to say what is taken", client, [batch([record(35, 128, 0, 0, [])])], [err(3, 0)], { malformed: 1 }),
  bad("PUSH too short for an id", client, [batch([record(40, 0, 4, 0, [u64(session)])])], [err(3, 0)], { malformed: 1 }),
  bad("PUSH of sequence 0", client, [batch([push({ ...pushing, sequence: 0n })])], [err(3, 0)], { malformed: 1 }),
  bad("PUSH without a queue", client, [batch([push({ ...pushing, queue: "" })])], [notTaken(1)], { malformed: 1 }),
  bad("PUSH whose queue is no UTF-8", client, [batch([push({ ...pushing, serviceBytes: Buffer.from([0xff]) })])], [notTaken(1)], { malformed: 1 }),
  bad("PUSH whose queue is longer than the record", client, [batch([push({ ...pushing, serviceSize: 200 })])], [notTaken(1)], { malformed: 1 }),
  bad("PUSH whose headers are longer than the record", client, [batch([push({ ...pushing, headersSize: 200 })])], [notTaken(1)], { malformed: 1 }),
  bad("PUSH of priority 8", client, [batch([push({ ...pushing, priority: 8 })])], [notTaken(1)], { malformed: 1 }),
  bad("PUSH that claims a frame that is not there", client, [batch([push({ ...pushing, frameCount: 1, body: [] })])], [notTaken(1), err(3)], { malformed: 1 }),
  bad("PUSH with a body twice", client, [batch([push({ ...pushing, frameCount: 1, inline: true })]), large], [notTaken(1)], { malformed: 1 }),
  bad("PUSH of another session", client, [batch([push({ ...pushing, session: 1n })])], [err(7, 0)], { role: 1 }),
  bad("PUSH from a worker, its frame passed over", worker, [batch([push({ ...pushing, body: [large] })]), large], [err(7, 0)], { role: 1 }),
  bad("PUSH from a stranger", stranger, [batch([push(pushing)])], [err(16, 0)], { stranger: 1 }),
  bad("PUSHED from a client", client, [batch([pushed(told)])], [err(7, 0)], { role: 1 }),
  bad("TASK from a worker", worker, [batch([task(tasked)])], [err(7, 0)], { role: 1 }),
  bad("TASK_DONE too short", worker, [batch([record(43, 0, 0, 0, [u64(session)])])], [err(3, 0)], { malformed: 1 }),
  bad("TASK_DONE of sequence 0", worker, [batch([taskDone({ ...tasked, sequence: 0n })])], [err(3, 0)], { malformed: 1 }),
  bad("TASK_DONE that answers no task", worker, [batch([taskDone(tasked)])], [err(7, 0)], { role: 1 }),
  bad("TASK_DONE from a client", client, [batch([taskDone(tasked)])], [err(7, 0)], { role: 1 }),
  bad("TASK_FAILED too short", worker, [batch([record(44, 0, 13, 0, id(tasked))])], [err(3, 0)], { malformed: 1 }),
  bad("TASK_FAILED that answers no task", worker, [batch([taskFailed({ ...told, status: 13, slot: 77 })])], [err(7, 0)], { role: 1 }),
  bad("TASK_FAILED from a client", client, [batch([taskFailed({ ...told, status: 13 })])], [err(7, 0)], { role: 1 }),
  bad("DEAD_LETTERS too short", client, [batch([record(45, 0, 1, 0, id({ ...plain, ...asking }))])], [err(3, 0)], { malformed: 1 }),
  bad("DEAD_LETTERS of action 0", client, [batch([lettersAsked({ ...asking, action: 0 })])], [err(3, 0)], { malformed: 1 }),
  bad("DEAD_LETTERS of action 3", client, [batch([lettersAsked({ ...asking, action: 3 })])], [err(3, 0)], { malformed: 1 }),
  bad("DEAD_LETTERS whose queue is longer than the record", client, [batch([lettersAsked({ ...asking, textSize: 300 })])], [err(3, 0)], { malformed: 1 }),
  bad("DEAD_LETTERS whose queue is no UTF-8", client, [batch([lettersAsked({ ...asking, queueBytes: Buffer.from([0xff]) })])], [err(3, 0)], { malformed: 1 }),
  bad("DEAD_LETTERS of another session", client, [batch([lettersAsked({ ...asking, session: 1n })])], [err(7, 0)], { role: 1 }),
  bad("DEAD_LETTERS from a worker", worker, [batch([lettersAsked(asking)])], [err(7, 0)], { role: 1 }),
  bad("SURVEY too short for an id", client, [batch([record(48, 0, 0, 0, [u64(session)])])], [err(3, 0)], { malformed: 1 }),
  bad("SURVEY without a service", client, [batch([survey({ ...basic, service: "" })])], [surveyOver(1)], { malformed: 1 }),
  bad("SURVEY with a body twice", client, [batch([survey({ ...basic, frameCount: 1, inline: true })]), large], [surveyOver(1)], { malformed: 1 }),
  bad("SURVEY that claims a frame that is not there", client, [batch([survey({ ...basic, frameCount: 1, body: [] })])], [surveyOver(1), err(3)], { malformed: 1 }),
  bad("SURVEY of another session", client, [batch([survey({ ...basic, session: 1n })])], [err(7, 0)], { role: 1 }),
  bad("SURVEY from a worker", worker, [batch([survey(basic)])], [err(7, 0)], { role: 1 }),
  bad("SURVEY of what nobody serves", client, [batch([survey({ ...basic, service: "nobody.serves" })])], [surveyOver(1, 5)], {}),
  bad("SURVEY_REPLY too short", worker, [batch([record(49, 0, 0, 0, id(surveyed))])], [err(3, 0)], { malformed: 1 }),
  bad("SURVEY_REPLY of a status that is none", worker, [batch([surveyReply({ ...surveyed, status: 2 })])], [err(3, 0)], { malformed: 1 }),
  bad("SURVEY_REPLY that claims a frame that is not there", worker, [batch([surveyReply({ ...surveyed, frameCount: 1, body: [] })])], [err(3, 0)], { malformed: 1 }),
  bad("SURVEY_REPLY to a survey that is none", worker, [batch([surveyReply(surveyed)])], [], {}),
  bad("SURVEY_REPLY from a client", client, [batch([surveyReply(surveyed)])], [err(7, 0)], { role: 1 }),
  bad("SURVEY_END from a client", client, [batch([surveyEnd(ended)])], [err(7, 0)], { role: 1 }),
  bad("SUBSCRIBE from a stranger", stranger, [batch([subscribe(listening)])], [err(16, 0)], { stranger: 1 }),
  bad("WELCOME from a client", client, [batch([welcome({ version: 1, broker: 1n, inFlightMax: 1, recordMax: 1 })])], [err(7, 0)], { role: 1 }),
  bad("PING from a client", client, [batch([ping()])], [err(7, 0)], { role: 1 }),
  bad("PONG from a client, reserved", client, [batch([record(8, 0, 0, 0, [])])], [err(3, 0)], { unknown: 1 }),
  bad("ERROR from a worker", worker, [batch([error({ status: 3, record: 0, reason: "" })])], [err(7, 0)], { role: 1 }),
  bad("an unknown kind before a bad request: the others are taken", client, [batch([record(200, 0, 0, 0, []), seq(4n, { service: "" })])], [fail(4), err(3, 0)], { unknown: 1, malformed: 1 }),
  bad("an unknown kind that may claim frames: nothing behind it is taken", client, [batch([record(60, 0, 0, 0, []), seq(4n, { body: [large] })]), large, large], [err(3, 0)], { unknown: 1 }),
  bad("an unknown kind behind the record that claims the frame", client, [batch([seq(4n, { body: [large], service: "" }), record(60, 0, 0, 0, [])]), large], [fail(4), err(3, 1)], { unknown: 1, malformed: 1 }),
  bad("a kind that this role may not send, with a frame: nothing behind it is taken", client, [batch([reply({ ...answer, body: [large] }), seq(4n, { body: [large] })]), large, large], [err(7, 0)], { role: 1 }),
  bad("REQUEST too short to say its frames: nothing behind it is taken", client, [batch([record(16, 0, 4, 0, id(basic)), seq(4n, { body: [large] })]), large, large], [err(3, 0)], { malformed: 1 }),
  bad("REQUEST of a stranger, with a frame", stranger, [batch([seq(4n, { body: [large] }), bye()]), large], [err(16, 0)], { stranger: 1 }),
  bad("REQUEST of a stranger", stranger, [batch([good])], [err(16, 0)], { stranger: 1 }),
  bad("REPLY of a stranger", "stranger worker", [batch([reply(answer), reply(answer)])], [err(16, 0)], { stranger: 2 }),
  bad("BYE of a stranger", stranger, [batch([bye()])], [err(16, 0)], { stranger: 1 }),
  bad("an unknown kind of a stranger", stranger, [batch([record(99, 0, 0, 0, [])])], [err(16, 0)], { stranger: 1 }),
  bad("records behind BYE", client, [batch([bye(), good])], [err(16, 1)], { stranger: 1 }),
  bad("REPLY of a client", client, [batch([reply(answer)])], [err(7, 0)], { role: 1 }),
  bad("FAILURE of a client", client, [batch([failure({ ...answer, status: 13, retryAfterMs: 0, reason: "" })])], [err(7, 0)], { role: 1 }),
  bad("CREDIT of a client", client, [batch([credit({ credit: 1 })])], [err(7, 0)], { role: 1 }),
  bad("DRAIN of a client", client, [batch([drain()])], [err(7, 0)], { role: 1 }),
  bad("REQUEST of a worker", worker, [batch([good])], [err(7, 0)], { role: 1 }),
  bad("CANCEL of a worker", worker, [batch([cancel({ ...basic, status: 1 })])], [err(7, 0)], { role: 1 }),
  bad("REQUEST of another session", client, [batch([seq(1n, { session: session + 1n })])], [err(7, 0)], { role: 1 }),
  bad("CANCEL of another session", client, [batch([cancel({ ...basic, session: 1n, status: 1 })])], [err(7, 0)], { role: 1 }),
  bad("REPLY for an attempt that is none", worker, [batch([reply({ ...answer, slot: 0xffffffff })])], [], { stale: 1 }),
  bad("FAILURE for an attempt that is none", worker, [batch([failure({ ...answer, status: 13, retryAfterMs: 0, reason: "" })])], [], { stale: 1 }),
  bad("a plain request of one that said HELLO", client, [Buffer.alloc(0), bytesOf("body")], [err(7)], { role: 1 }),
];

// --- PROTOCOL 4: frames as they are sent, the delimiter included ---

const many = (count) => Array.from({ length: count }, () => bytesOf("a"));
const plainRequests = [
  { name: "a body of two frames", sends: ["", "61", ""], isTaken: true, body: ["61", ""] },
  { name: "an empty body", sends: ["", ""], isTaken: true, body: [""] },
  { name: "a body of 255 frames", sends: ["", ...many(255).map(hex)], isTaken: true, body: many(255).map(hex) },
  { name: "a body of 256 frames", sends: ["", ...many(256).map(hex)], isTaken: false, status: "INVALID_ARGUMENT", counted: { malformed: 1 } },
];

const lines = (list) => `[\n${list.map((each) => JSON.stringify(each)).join(",\n")}\n]`;
writeFileSync(
  new URL("wire.json", import.meta.url),
  `{"protocol":1,"session":"${session.toString(16).padStart(16, "0")}",
"records":${lines(records)},
"forwards":${lines(forwards)},
"malformed":${lines(malformed)},
"plain":${lines(plainRequests)}}
`,
);
console.log(`${records.length} valid, ${forwards.length} forwarded, ${malformed.length} malformed`);
