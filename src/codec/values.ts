import { requireBytes } from "./options.js";

/**
 * An extension value of MessagePack that is not a timestamp: packs to ext and comes out of it.
 * The type is -128..127; the standard keeps the negative ones for itself.
 */
export class ExtData {
  readonly type: number;
  readonly data: Uint8Array;

  /** @throws RangeError when the type is no integer of -128..127; TypeError for other data */
  constructor(type: number, data: Uint8Array) {
    if (!Number.isInteger(type) || type < -128 || type > 127) {
      throw new RangeError(`type must be an integer of -128..127, got ${type}`);
    }
    this.type = type;
    this.data = requireBytes("data", data);
  }
}
