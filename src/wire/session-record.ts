import { isStatusCode, type StatusCode } from "../base/status.js";
import type { BatchReader, BatchWriter } from "./batch.js";
import * as at from "./layout.js";
import { Kind, Role, VERSION } from "./layout.js";
import { reasonOf } from "./request-record.js";
import { isServiceName, readText } from "./text.js";

/** PROTOCOL 2.1. */
export interface Hello {
  role: Role;
  sessionLow: number;
  sessionHigh: number;
  concurrency: number;
  services: string[];
  /** Queues that a worker takes tasks of; none if left out. */
  queues?: string[];
  /** Whether the thread that runs its handlers also answers ZMTP's PING, and may be busy for long. */
  isOneThread: boolean;
}

/** PROTOCOL 2.2. */
export interface Welcome {
  brokerLow: number;
  brokerHigh: number;
  inFlightMax: number;
  recordMax: number;
}

/** PROTOCOL 2.3. */
export interface PeerError {
  status: StatusCode;
  record: number;
  reason: string;
}

/** A HELLO as it was read. */
export type ReadHello = Hello & { queues: string[] };

/** The HELLO that `reader` stands on, or what is wrong with it. */
export function readHello(reader: BatchReader): ReadHello | string {
  if (reader.size < at.HELLO_SIZE) return "HELLO too short";
  const { bytes, view } = reader;
  const start = reader.at;
  const role = bytes[start + at.AT_A];
  if (role !== Role.CLIENT && role !== Role.WORKER && role !== Role.PULSE) {
    return `role must be 1, 2 or 3, got ${role}`;
  }
  const version = bytes[start + at.AT_B];
  if (version < VERSION) return `version ${version} is not spoken here; ${VERSION} is`;
  const sessionLow = view.getUint32(start + 8, true);
  const sessionHigh = view.getUint32(start + 12, true);
  if (sessionLow === 0 && sessionHigh === 0) return "session must not be 0";
  const serviceCount = view.getUint16(start + 20, true);
  const queueCount = view.getUint16(start + 22, true);
  const services: string[] = [];
  const queues: string[] = [];
  const end = start + reader.size;
  let next = start + at.HELLO_SIZE;
  for (let i = 0; i < serviceCount + queueCount; i++) {
    const isQueue = i >= serviceCount;
    if (next >= end || next + 1 + bytes[next] > end) return "services longer than the record";
    const name = readText(bytes, next + 1, bytes[next]);
    if (name === undefined || !isServiceName(name)) {
      const which = isQueue ? `queue ${i - serviceCount}` : `service ${i}`;
      return `${which} is not a valid name`;
    }
    (isQueue ? queues : services).push(name);
    next += 1 + bytes[next];
  }
  if (next !== end) return "bytes behind the services";
  const concurrency = view.getUint32(start + 16, true);
  const isOneThread = (bytes[start + at.AT_FLAGS] & at.HELLO_ONE_THREAD) !== 0;
  return { role, sessionLow, sessionHigh, concurrency, services, queues, isOneThread };
}

export function writeHello(writer: BatchWriter, hello: Hello): void {
  const { services, queues = [] } = hello;
  const names = [...services, ...queues].map((name) => Buffer.from(name));
  const size = names.reduce((sum, name) => sum + 1 + name.length, at.HELLO_SIZE);
  const start = begin(writer, Kind.HELLO, size, hello.role, VERSION);
  const { bytes, view } = writer;
  if (hello.isOneThread) bytes[start + at.AT_FLAGS] = at.HELLO_ONE_THREAD;
  view.setUint32(start + 8, hello.sessionLow, true);
  view.setUint32(start + 12, hello.sessionHigh, true);
  view.setUint32(start + 16, hello.concurrency, true);
  view.setUint16(start + 20, services.length, true);
  view.setUint16(start + 22, queues.length, true);
  let next = start + at.HELLO_SIZE;
  for (const name of names) {
    bytes[next] = name.length;
    bytes.set(name, next + 1);
    next += 1 + name.length;
  }
}

/** The WELCOME that `reader` stands on, or what is wrong with it. */
export function readWelcome(reader: BatchReader): Welcome | string {
  if (reader.size < at.WELCOME_SIZE) return "WELCOME too short";
  const { view } = reader;
  const start = reader.at;
  return {
    brokerLow: view.getUint32(start + 8, true),
    brokerHigh: view.getUint32(start + 12, true),
    inFlightMax: view.getUint32(start + 16, true),
    recordMax: view.getUint32(start + 20, true),
  };
}

export function writeWelcome(writer: BatchWriter, welcome: Welcome): void {
  const start = begin(writer, Kind.WELCOME, at.WELCOME_SIZE, VERSION, 0);
  const { view } = writer;
  view.setUint32(start + 8, welcome.brokerLow, true);
  view.setUint32(start + 12, welcome.brokerHigh, true);
  view.setUint32(start + 16, welcome.inFlightMax, true);
  view.setUint32(start + 20, welcome.recordMax, true);
  view.setUint32(start + 24, 0, true);
  view.setUint32(start + 28, 0, true);
}

/** The ERROR that `reader` stands on, or what is wrong with it. */
export function readError(reader: BatchReader): PeerError | string {
  if (reader.size < at.ERROR_SIZE) return "ERROR too short";
  const { bytes, view } = reader;
  const start = reader.at;
  const status = bytes[start + at.AT_A];
  const reasonSize = view.getUint16(start + 12, true);
  if (!isStatusCode(status)) return `status ${status} is unknown`;
  if (at.ERROR_SIZE + reasonSize > reader.size) return "reason longer than the record";
  const reason = readText(bytes, start + at.ERROR_SIZE, reasonSize);
  if (reason === undefined) return "reason must be UTF-8";
  return { status, record: view.getUint32(start + 8, true), reason };
}

export function writeError(writer: BatchWriter, error: PeerError): void {
  const reason = reasonOf(error.reason);
  const start = begin(writer, Kind.ERROR, at.ERROR_SIZE + reason.length, error.status, 0);
  const { bytes, view } = writer;
  view.setUint32(start + 8, error.record, true);
  view.setUint16(start + 12, reason.length, true);
  view.setUint16(start + 14, 0, true);
  bytes.set(reason, start + at.ERROR_SIZE);
}

/** The credit that `reader` stands on (PROTOCOL 2.4), or what is wrong with it. */
export function readCredit(reader: BatchReader): number | string {
  if (reader.size < at.CREDIT_SIZE) return "CREDIT too short";
  return reader.view.getUint32(reader.at + 8, true);
}

export function writeCredit(writer: BatchWriter, credit: number): void {
  const start = begin(writer, Kind.CREDIT, at.CREDIT_SIZE, 0, 0);
  writer.view.setUint32(start + 8, credit, true);
  writer.view.setUint32(start + 12, 0, true);
}

export function writeDrain(writer: BatchWriter): void {
  const start = begin(writer, Kind.DRAIN, at.DRAIN_SIZE, 0, 0);
  writer.bytes.fill(0, start + 8, start + at.DRAIN_SIZE);
}

export function writeBye(writer: BatchWriter): void {
  begin(writer, Kind.BYE, at.BYE_SIZE, 0, 0);
}

export function writePing(writer: BatchWriter): void {
  begin(writer, Kind.PING, at.PING_SIZE, 0, 0);
}

function begin(writer: BatchWriter, kind: Kind, size: number, a: number, b: number): number {
  const start = writer.reserve(size);
  const { bytes, view } = writer;
  bytes[start] = kind;
  bytes[start + at.AT_FLAGS] = 0;
  bytes[start + at.AT_A] = a;
  bytes[start + at.AT_B] = b;
  view.setUint32(start + at.AT_SIZE, size, true);
  return start;
}
