import type { WorkerParty } from "./cast.js";
import type { ByteCounts, CodecMeter } from "./meter.js";
import { type Column, formatCount, formatMs, formatShare, formatTable } from "./table.js";
import { percentile, type Tally } from "./tally.js";

const left = (title: string): Column => ({ title, align: "left" });
const right = (title: string): Column => ({ title, align: "right" });

/** The table at the end: requests, workers, latency, bytes. */
export function reportLines(
  tally: Tally,
  workers: readonly Pick<WorkerParty, "name" | "pid" | "note">[],
  meter: CodecMeter,
): string[] {
  return [
    ...requestLines(tally),
    "",
    ...workerLines(tally, workers),
    "",
    ...latencyLines(tally),
    "",
    ...byteLines(meter),
  ];
}

function requestLines(tally: Tally): string[] {
  const failures = [...tally.failures].map(([reason, count]) => `${count} x ${reason}`);
  const rows: [string, number, string][] = [
    ["sent", tally.sent, ""],
    ["replies", tally.replies, "each compared with the client's own answer"],
    ["wrong", tally.wrong, ""],
    ["lost", tally.lost, failures.join("; ")],
    ["duplicates", tally.duplicates, "answers beyond the first"],
    ["redelivered", tally.redelivered, "in work at the killed worker, or on the way there or back"],
    ["begun twice", tally.begunTwice, "by the killed worker and by another"],
    ["finished twice", tally.finishedTwice, ""],
  ];
  return formatTable(
    [left("requests"), right(""), left("")],
    rows.map(([name, count, note]) => [name, formatCount(count), count === 0 ? "" : note]),
  );
}

function workerLines(
  tally: Tally,
  workers: readonly Pick<WorkerParty, "name" | "pid" | "note">[],
): string[] {
  return formatTable(
    [left("worker"), right("pid"), right("replies"), right("share"), left("")],
    workers.map(({ name, pid, note }) => {
      const replies = tally.repliesByWorker.get(name) ?? 0;
      const share = tally.replies === 0 ? 0 : replies / tally.replies;
      return [name, String(pid), formatCount(replies), formatShare(share), note];
    }),
  );
}

function latencyLines({ latenciesMs }: Tally): string[] {
  const [p50, p99, most] = [0.5, 0.99, 1].map((share) => percentile(latenciesMs, share));
  return formatTable(
    [left("latency"), right("p50"), right("p99"), right("max")],
    [["request to reply", formatMs(p50), formatMs(p99), formatMs(most)]],
  );
}

function byteLines({ request, reply }: CodecMeter): string[] {
  const row = (name: string, { json, messagePack, sealed }: ByteCounts) => [
    name,
    formatCount(json),
    formatCount(messagePack),
    formatCount(sealed),
    json === 0 ? "" : `${Math.round((sealed / json) * 100)} % of JSON`,
  ];
  return formatTable(
    [left("bytes"), right("JSON"), right("MessagePack"), right("sealed"), left("")],
    [row("requests", request), row("replies", reply)],
  );
}
