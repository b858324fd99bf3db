// Offsets and ordinals of PROTOCOL.md, named once.

/** PROTOCOL 1.1: "WQ", read as a little-endian u16. */
export const MAGIC = 0x5157;
export const VERSION = 1;
export const BATCH_HEADER_SIZE = 8;
export const RECORD_HEADER_SIZE = 8;

/** PROTOCOL 1.3. */
export const Kind = {
  HELLO: 1,
  WELCOME: 2,
  ERROR: 3,
  CREDIT: 4,
  DRAIN: 5,
  BYE: 6,
  PING: 7,
  REQUEST: 16,
  REPLY: 17,
  FAILURE: 18,
  CANCEL: 19,
  STREAM_PART: 24,
  STREAM_CREDIT: 25,
  STREAM_END: 26,
  PUBLISH: 32,
  SUBSCRIBE: 33,
  UNSUBSCRIBE: 34,
  EVENT: 35,
  PUSH: 40,
  PUSHED: 41,
  TASK: 42,
  TASK_DONE: 43,
  TASK_FAILED: 44,
  DEAD_LETTERS: 45,
  SURVEY: 48,
  SURVEY_REPLY: 49,
  SURVEY_END: 50,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** PROTOCOL 3.1. */
export const Flag = { RAW: 1, REDELIVERED: 2, UNTOUCHED: 4, STREAM: 8, RESTART: 16 } as const;

/** PROTOCOL 6: RETAIN is of PUBLISH, RETAINED of EVENT, NO_RETAINED of SUBSCRIBE. */
export const EventFlag = { RAW: 1, RETAIN: 2, RETAINED: 2, NO_RETAINED: 1, ANSWER: 128 } as const;

/** PROTOCOL 2.1; 1 was MOVES. */
export const HELLO_ONE_THREAD = 2;

/** PROTOCOL 2.1, 2.5. */
export const Role = { CLIENT: 1, WORKER: 2, PULSE: 3 } as const;
export type Role = (typeof Role)[keyof typeof Role];

/** Sizes of the fixed parts. */
export const HELLO_SIZE = 24;
export const WELCOME_SIZE = 32;
export const ERROR_SIZE = 16;
export const CREDIT_SIZE = 16;
export const DRAIN_SIZE = 16;
export const BYE_SIZE = 8;
export const PING_SIZE = 8;
export const ID_END = 32;
export const REQUEST_SIZE = 40;
export const REPLY_SIZE = 40;
export const FAILURE_SIZE = 40;
export const CANCEL_SIZE = 32;
export const STREAM_CREDIT_SIZE = 48;
/** PROTOCOL 3.6: where a part stands in its stream; the headers of its record. */
export const PLACE_SIZE = 24;
export const EVENT_SIZE = 32;
export const PUBLISHED_SIZE = 24;
export const SUBSCRIBE_SIZE = 16;
export const SUBSCRIBED_SIZE = 16;
export const UNSUBSCRIBE_SIZE = 16;
export const TAKEN_SIZE = 16;
export const PUBLISH_ASK_SIZE = 16;
export const DEAD_LETTERS_SIZE = 40;
export const DEAD_LETTER_SIZE = 32;

// Record header, PROTOCOL 1.2.
export const AT_KIND = 0;
export const AT_FLAGS = 1;
export const AT_A = 2;
export const AT_B = 3;
export const AT_SIZE = 4;
// The common part of request and reply, PROTOCOL 3.1.
export const AT_SESSION = 8;
export const AT_SEQUENCE = 16;
export const AT_SLOT = 24;
export const AT_GENERATION = 28;
// REQUEST 3.2, REPLY 3.3, FAILURE 3.4.
export const AT_TIMEOUT = 32;
export const AT_SERVICE_TIME = 32;
export const AT_RETRY_AFTER = 32;
export const AT_SERVICE_SIZE = 36;
export const AT_REASON_SIZE = 36;
export const AT_FRAME_COUNT = 37;
export const AT_HEADERS_SIZE = 38;

// PUBLISH and EVENT, PROTOCOL 6.1.
export const AT_PUBLISHER = 8;
export const AT_SUBSCRIPTION = 24;
export const AT_CONFIRM = 24;
export const AT_DROPPED = 28;

/** PROTOCOL 3.2: 0 is first. */
export const PRIORITY_MAX = 7;
/** A body of this many bytes and more travels as a frame of its own. */
export const FRAME_BYTES_MIN = 8 * 1024;
/** PROTOCOL 2.2: what a frame counts for beside its bytes, if it is not the only one. */
export const FRAME_COST = 512;
/** PROTOCOL 6.4: who reads events or publications says so when it has read as much, at the latest. */
export const TAKEN_BYTES = 64 * 1024;
/** PROTOCOL 6.4: what a client may have published and not heard to be taken. */
export const PUBLISH_WINDOW_BYTES = 1024 * 1024;
/** PROTOCOL 3.2. */
export const HEADERS_BYTES_MAX = 8 * 1024;
/** PROTOCOL 2.3: an ERROR about the batch or the connection as a whole. */
export const NO_RECORD = 0xffffffff;
/** PROTOCOL 7: what the core knows a queue by is this and its name, which no service can have. */
export const QUEUE_PREFIX = "\u0001";
/** The queue of plain PUSH and PULL sockets, PROTOCOL 7. */
export const DEFAULT_QUEUE = "default";
/** The service of plain peers, PROTOCOL 4. */
export const DEFAULT_SERVICE = "default";
