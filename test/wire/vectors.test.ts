// The vectors of test/vectors/wire.json, assembled from PROTOCOL.md by hand, against the decoder,
// the encoder and the broker.
import { afterEach, describe, expect, it } from "vitest";
import { BatchReader, BatchWriter } from "../../build/wire/batch.js";
import { Kind } from "../../build/wire/layout.js";
import {
  forwardReply,
  forwardRequest,
  ReplyRecord,
  RequestRecord,
} from "../../build/wire/request-record.js";
import { forwardSurveyReply, SurveyReplyRecord } from "../../build/wire/survey-record.js";
import { NameCache } from "../../build/wire/text.js";
import { clientHello, Stage, workerHello } from "../broker/fake-port.js";
import { hex, readMessage, u64Parts, unhex, vectors, writeRecord } from "./support.js";

/** All kinds but those that are reserved. */
const KINDS = Object.keys(Kind);

describe("messages that are right", () => {
  it("are there of every kind", () => {
    const named = new Set(
      vectors.records.flatMap(({ records }) => records.map(({ kind }) => kind)),
    );
    expect(KINDS.filter((kind) => !named.has(kind))).toEqual([]);
  });

  for (const { name, frames, records, canonical } of vectors.records) {
    it(`reads ${name}`, () => {
      expect(readMessage(frames.map(unhex))).toEqual({ records, fault: undefined });
    });
    if (!canonical) continue;
    it(`writes ${name}`, () => {
      const writer = new BatchWriter();
      for (const record of records) writeRecord(writer, record);
      expect(writer.finish().map(hex)).toEqual(frames);
    });
  }
});

describe("records that the broker passes on", () => {
  for (const { name, to, from, sent } of vectors.forwards) {
    it(name, () => {
      const reader = new BatchReader();
      const frames = from.map(unhex);
      expect(reader.open(frames, 0) && reader.next()).toBe(true);
      const writer = new BatchWriter();
      if (name.startsWith("REQUEST") || name === "SURVEY") {
        const record = new RequestRecord();
        expect(record.read(reader, new NameCache())).toBeUndefined();
        const { slot, generation, attempt, timeoutMs } = to;
        forwardRequest(writer, record.held, slot, generation, attempt, timeoutMs);
      } else if (name === "SURVEY_REPLY") {
        const record = new SurveyReplyRecord();
        expect(record.read(reader)).toBeUndefined();
        const [client, worker] = [u64Parts(to.session), u64Parts(to.worker)].map(
          ({ low: sessionLow, high: sessionHigh }) => ({ sessionLow, sessionHigh }),
        );
        forwardSurveyReply(writer, record.held, client, Number(to.sequence), worker);
      } else {
        const record = new ReplyRecord();
        expect(record.read(reader)).toBeUndefined();
        const { low, high } = u64Parts(to.session);
        forwardReply(writer, record.held, low, high, Number(to.sequence));
      }
      expect(reader.next()).toBe(false);
      expect(writer.finish().map(hex)).toEqual(sent);
      // What came in is as it was: the broker may have to send it again.
      expect(frames.map(hex)).toEqual(from);
    });
  }
});

describe("bad messages (PROTOCOL 5)", () => {
  let stage: Stage;

  afterEach(() => stage.close());

  for (const { name, as, frames, answer, counted } of vectors.malformed) {
    it(`${as}: ${name}`, () => {
      stage = new Stage();
      stage.addPatterns();
      const side = as.endsWith("worker") ? "backend" : "frontend";
      const { exchange } = stage;
      if (as === "client") stage.send(side, "peer", clientHello(vectors.session));
      if (as === "worker") stage.send(side, "peer", workerHello(["echo"], 4, vectors.session));
      stage.take(side, "peer");
      const peersBefore = exchange.peers.count;

      stage.receive(side, "peer", frames.map(unhex));
      exchange.onTurn();

      const told = stage.take(side, "peer").map(({ kind, status, record, sequence }) => {
        return kind === "ERROR" ? { kind, status, record } : { kind, sequence, status };
      });
      expect(told).toEqual(answer);
      const { stale } = exchange.core.counts;
      const faults = Object.entries({ ...exchange.faults, stale }).filter(([, n]) => n > 0);
      expect(Object.fromEntries(faults)).toEqual(counted);
      // No state for strangers, none left of bad requests.
      expect(exchange.peers.count).toBe(name === "records behind BYE" ? 0 : peersBefore);
      expect(exchange.core.requests.count).toBe(0);
      expect(exchange.core.clientCount + exchange.core.workerCount).toBe(exchange.peers.count);
    });
  }
});

describe("plain requests (PROTOCOL 4)", () => {
  for (const { name, sends, isTaken, body, status, counted } of vectors.plain) {
    it(name, () => {
      const stage = new Stage();
      stage.send("backend", "worker", workerHello(["default"]));
      stage.take("backend", "worker");
      stage.receive("frontend", "req", sends.map(unhex));
      stage.exchange.onTurn();
      const requests = stage.take("backend", "worker");
      const answers = stage.takeMessages("frontend", "req");
      if (isTaken) {
        expect(requests).toMatchObject([{ kind: "REQUEST", service: "default", flags: 1, body }]);
        stage.send("backend", "worker", { ...requests[0], kind: "REPLY", serviceTimeUs: 0 });
        const replies = stage.takeMessages("frontend", "req");
        expect(replies.map((frames) => frames.map(hex))).toEqual([["", ...(body ?? [])]]);
      } else {
        expect(requests).toEqual([]);
        expect(answers).toHaveLength(1);
        expect(answers[0].slice(0, 2).map(hex)).toEqual(["", ""]);
        expect(Buffer.from(answers[0][2]).toString()).toBe(status);
        expect(stage.exchange.faults).toMatchObject(counted ?? {});
        expect(stage.exchange.peers.count).toBe(1);
      }
      stage.close();
    });
  }
});
