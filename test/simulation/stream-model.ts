// What the model knows of streams: how much was granted and sent of each, and what a step owes of it.
import type { StreamCredit, StreamPart } from "../../build/core/command.js";
import type { Attempt, ModelRequest } from "./books.ts";
import { must } from "./log.ts";

/** One stream's books. All counts are over all attempts. */
export interface StreamBook {
  readonly canRestart: boolean;
  partsMax: number;
  bytesMax: number;
  /** Bytes of each part passed on, in order. */
  readonly sent: number[];
  /** How many of these came before the present attempt. */
  before: number;
}

export function newStream(kind: "once" | "restart"): StreamBook {
  return { canRestart: kind === "restart", partsMax: 0, bytesMax: 0, sent: [], before: 0 };
}

/** Whether parts of its present attempt are with the client. */
export function hasBegun({ stream }: ModelRequest): boolean {
  return stream !== undefined && stream.sent.length > stream.before;
}

/** Whether it must end with the worker that has it. */
export function isBound(request: ModelRequest): boolean {
  return hasBegun(request) && request.stream?.canRestart === false;
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0);

export class StreamModel {
  /** Says that something came about. */
  readonly #meet: (event: string) => void;
  /** The request whose part is to be passed on in this step, and the part. */
  #part: { request: ModelRequest; bytes: number } | undefined;
  /** The stream that is to fail in this step, since its worker broke the rules. */
  #broken: ModelRequest | undefined;
  /** Streams whose workers are to be told of a grant. */
  readonly #granted = new Set<ModelRequest>();

  constructor(meet: (event: string) => void) {
    this.#meet = meet;
  }

  begin(): void {
    this.#part = undefined;
    this.#broken = undefined;
    this.#granted.clear();
  }

  settle(): void {
    must(this.#part === undefined, "a part of a stream came and went nowhere");
    must(this.#broken === undefined, `${this.#broken?.name} was broken and did not fail`);
    must(this.#granted.size === 0, "a grant was not told");
  }

  /** What is to become of a part that is not stale; true where it is a good end. */
  expectPart({ request }: Attempt, part: StreamPart): boolean {
    if (request.where !== "in flight") return part.isLast;
    if (isGood(request, part)) {
      if (!part.isLast) this.#part = { request, bytes: part.bytes };
      else this.#meet("stream ended");
      return part.isLast;
    }
    this.#meet("stream broken");
    this.#broken = request;
    return false;
  }

  /** Whether the client's grant is to be refused. */
  expectCredit(request: ModelRequest, { partsMax, bytesMax }: StreamCredit): boolean {
    const { stream } = request;
    if (stream === undefined) return true;
    if (partsMax > stream.partsMax || bytesMax > stream.bytesMax) {
      stream.partsMax = Math.max(stream.partsMax, partsMax);
      stream.bytesMax = Math.max(stream.bytesMax, bytesMax);
      if (request.where === "in flight") this.#granted.add(request);
    }
    return false;
  }

  /** Handed to a worker: it begins at part 0. */
  onDispatch(request: ModelRequest): void {
    const { stream } = request;
    if (stream === undefined) return;
    must(stream.sent.length === 0 || stream.canRestart, `${request.name} begins anew unasked`);
    if (stream.sent.length > 0) this.#meet("stream begun anew");
    stream.before = stream.sent.length;
    if (stream.partsMax > stream.before) this.#granted.add(request);
  }

  onPart(request: ModelRequest): void {
    must(this.#part?.request === request, `${request.name} got a part of another stream`);
    must(request.outcomes === 0 && !request.released, `${request.name} got a part after its end`);
    const { stream } = request;
    must(stream !== undefined, `${request.name} is no stream`);
    stream.sent.push(this.#part.bytes);
    must(stream.sent.length <= stream.partsMax, `${request.name} got more than was granted`);
    this.#part = undefined;
  }

  onGrant(request: ModelRequest, partsMax: number, bytesMax: number): void {
    must(this.#granted.delete(request), `a grant of ${request.name} out of nowhere`);
    const { stream } = request;
    must(stream !== undefined, `${request.name} is no stream`);
    const earlier = stream.sent.slice(0, stream.before);
    must(partsMax === stream.partsMax - earlier.length, `${request.name}: ${partsMax} parts`);
    const left = Math.max(stream.bytesMax - sum(earlier), 0);
    must(bytesMax === left, `${request.name}: ${bytesMax} bytes`);
  }

  /** Whether `request` fails because its worker broke the rules: it does so once. */
  takeBroken(request: ModelRequest): boolean {
    if (this.#broken !== request) return false;
    this.#broken = undefined;
    return true;
  }
}

function isGood({ stream }: ModelRequest, { index, isLast, bytes, fault }: StreamPart): boolean {
  if (stream === undefined || fault !== undefined) return false;
  must(bytes > 0, "a part of no bytes");
  if (index !== stream.sent.length - stream.before) return false;
  const hasRoom = stream.sent.length < stream.partsMax && sum(stream.sent) < stream.bytesMax;
  return isLast || hasRoom;
}
