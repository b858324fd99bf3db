import { Status, type StatusCode } from "../base/status.js";
import { nobodyServes } from "../core/services.js";
import { defaultSurveyLimits, type Survey, type SurveyOutlet, Surveys } from "../core/surveys.js";
import type { BatchReader } from "../wire/batch.js";
import { AT_FLAGS, Flag, Kind } from "../wire/layout.js";
import {
  forwardRequest,
  type HeldRecord,
  RequestRecord,
  writeCancel,
} from "../wire/request-record.js";
import { forwardSurveyReply, SurveyReplyRecord, writeSurveyEnd } from "../wire/survey-record.js";
import { NameCache } from "../wire/text.js";
import type { Host, Pattern } from "./host.js";
import type { Peer } from "./peers.js";
import { isOwn } from "./request-records.js";

/** SURVEY goes to every worker of a service at once, and what they answer to who asked. */
export class SurveyPattern implements Pattern, SurveyOutlet {
  readonly kinds = new Map([
    [Kind.SURVEY, "client"],
    [Kind.SURVEY_REPLY, "worker"],
  ] as const);
  readonly surveys: Surveys;
  readonly #host: Host;
  readonly #names = new NameCache();
  readonly #survey = new RequestRecord();
  readonly #reply = new SurveyReplyRecord();
  /** The record of the survey that begins. */
  #held: HeldRecord | undefined;
  #timeoutMs = 0;

  constructor(host: Host) {
    this.#host = host;
    this.surveys = new Surveys(this, defaultSurveyLimits, performance.now());
  }

  onRecord(peer: Peer, reader: BatchReader): void {
    if (reader.kind === Kind.SURVEY) this.#onSurvey(peer, reader);
    else this.#onReply(peer, reader);
  }

  #onSurvey(peer: Peer, reader: BatchReader): void {
    const record = this.#survey;
    const fault = record.read(reader, this.#names);
    if (!record.hasId) return this.#host.malformed(fault as string);
    if (!isOwn(this.#host, peer, record)) return;
    const refuse = (status: StatusCode, reason: string, retryAfterMs = 0) =>
      this.#tellEnd(peer, record.sequence, 0, 0, status, reason, retryAfterMs);
    const { limits, isShuttingDown, delivery, core } = this.#host;
    if (fault !== undefined) {
      this.#host.countMalformed();
      return refuse(Status.INVALID_ARGUMENT, fault);
    }
    if (record.bytes > limits.recordBytesMax) {
      return refuse(Status.INVALID_ARGUMENT, "survey larger than the broker takes");
    }
    const denial = peer.access?.denial("call", record.service);
    if (denial !== undefined) return refuse(Status.PERMISSION_DENIED, denial);
    if (isShuttingDown) return refuse(Status.UNAVAILABLE, "broker is shutting down", 1000);
    const service = core.registry.services.get(record.service);
    if (service?.isServed !== true) return refuse(Status.NOT_FOUND, nobodyServes(record.service));
    const { bytes } = record;
    const { native, otherCount } = this.#workersOf(record.service, bytes);
    const reason = this.surveys.refusal(peer.index, native.length + otherCount, bytes);
    if (reason !== undefined) return refuse(Status.RESOURCE_EXHAUSTED, reason, 100);
    this.#timeoutMs = Math.min(record.timeoutMs || limits.timeoutMsMax, limits.timeoutMsMax);
    this.#held = record.held;
    // Of a request's flags a survey has this one alone: its answers are no streams.
    record.held.bytes[record.held.at + AT_FLAGS] &= Flag.RAW;
    const question = {
      client: peer.index,
      sequence: record.sequence,
      service: record.service,
      bytes,
    };
    this.surveys.start(question, native, otherCount, this.#timeoutMs, delivery.nowMs);
    this.#held = undefined;
  }

  /**
   * The workers that serve it now; those that speak no records, or have not read what they were sent, are
   * only counted.
   */
  #workersOf(service: string, bytes: number): { native: number[]; otherCount: number } {
    const { core, peers } = this.#host;
    const native: number[] = [];
    let otherCount = 0;
    for (const { peer: index, state, pool } of core.workers()) {
      if (state !== "ready" || !pool.services.some(({ name }) => name === service)) continue;
      const peer = peers.at(index);
      if (peer?.role === "worker" && peer.outbox.hasRoomFor(bytes)) native.push(index);
      else otherCount++;
    }
    return { native, otherCount };
  }

  #onReply(peer: Peer, reader: BatchReader): void {
    const record = this.#reply;
    const fault = record.read(reader);
    if (fault !== undefined) return this.#host.malformed(fault);
    const { slot, generation } = record;
    const survey = this.surveys.find(peer.index, slot, generation);
    if (survey === undefined) return this.surveys.onLate(peer.index, slot, generation);
    if (record.bytes > this.#host.limits.recordBytesMax) {
      // As if it had not answered; it stands among the missing in the end.
      return this.#host.malformed("SURVEY_REPLY larger than the broker takes");
    }
    const client = this.#host.peers.at(survey.client) as Peer;
    const { writer } = client.outbox;
    forwardSurveyReply(writer, record.held, client, survey.sequence, peer);
    client.wrote();
    this.surveys.onAnswered(peer.index, survey);
  }

  // --- SurveyOutlet ---

  ask(worker: number, { slot, generation }: Survey): void {
    const peer = this.#host.peers.at(worker) as Peer;
    const held = this.#held as HeldRecord;
    const timeoutMs = Math.min(Math.max(1, Math.ceil(this.#timeoutMs)), 0xffffffff);
    forwardRequest(peer.outbox.writer, held, slot, generation, 1, timeoutMs);
    peer.wrote();
  }

  cancel(worker: number, survey: Survey): void {
    const peer = this.#host.peers.at(worker);
    const client = this.#host.peers.at(survey.client);
    if (peer === undefined || client === undefined) return;
    const { sessionLow, sessionHigh } = client;
    const { sequence, slot, generation } = survey;
    const id = { sessionLow, sessionHigh, sequence, slot, generation };
    writeCancel(peer.outbox.writer, id, Status.DEADLINE_EXCEEDED);
    peer.wrote();
  }

  end({ client, sequence, asked }: Survey, missing: number): void {
    const peer = this.#host.peers.at(client);
    if (peer !== undefined) this.#tellEnd(peer, sequence, asked, missing, Status.OK, "", 0);
  }

  #tellEnd(
    peer: Peer,
    sequence: number,
    asked: number,
    missing: number,
    status: StatusCode,
    reason: string,
    retryAfterMs: number,
  ): void {
    const { sessionLow, sessionHigh } = peer;
    const id = { sessionLow, sessionHigh, sequence, slot: asked, generation: missing };
    writeSurveyEnd(peer.outbox.writer, id, status, reason, retryAfterMs);
    peer.wrote();
  }

  // --- Pattern ---

  onLeave(peer: Peer): void {
    this.surveys.onLeave(peer.index, performance.now());
  }

  recheck(peer: Peer): void {
    const { access, index } = peer;
    if (access === undefined) return;
    for (const survey of this.surveys.of(index)) {
      const reason = access.denial("call", survey.service);
      if (reason === undefined) continue;
      this.surveys.abort(survey, performance.now());
      const { sequence, asked, answered } = survey;
      const missing = asked - answered;
      this.#tellEnd(peer, sequence, asked, missing, Status.PERMISSION_DENIED, reason, 0);
    }
  }

  get needsTick(): boolean {
    return this.surveys.needsTick;
  }

  onTick(nowMs: number): void {
    this.surveys.tick(nowMs);
  }

  close(): void {}
}
