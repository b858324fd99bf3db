// Reading without memory of one's own for each read: node:net would else give every chunk 64 KiB outside of
// V8's heap, which only a collection frees, and at some hundred MB a second V8 does little else.
import { type OnReadOpts, Socket } from "node:net";

/**
 * All sockets are read into this, one after the other; what is read is good until its callback returns. Twice
 * what a message of many bodies has, so that few are cut.
 */
export const READ_BYTES_MAX = 256 * 1024;
const shared = Buffer.allocUnsafeSlow(READ_BYTES_MAX);

/** For `net.connect`: whatever is read is given to `onBytes`, until that returns false; `resume` goes on. */
export function readingInto(onBytes: (bytes: Buffer) => boolean): OnReadOpts {
  return {
    buffer: shared,
    callback: (size, bytes) => onBytes((bytes as Buffer).subarray(0, size)),
  };
}

/** What a Socket has beside its public face, in every Node.js that there is a package for. */
interface Handled {
  _handle?: object | null;
}

/**
 * An accepted socket cannot be told how to read, so its connection is taken over by another that can.
 * `peer` is paused, and is nothing any more. Where this Node.js does not let go of connections so, `peer`
 * itself is returned and read as usual.
 */
export function readAccepted(peer: Socket, onBytes: (bytes: Buffer) => boolean): Socket {
  const handle = (peer as Handled)._handle;
  if (handle === undefined || handle === null || peer.destroyed || peer.readableLength > 0) {
    peer.on("data", (bytes: Buffer) => {
      if (!onBytes(bytes)) peer.pause();
    });
    peer.resume();
    return peer;
  }
  (peer as Handled)._handle = null;
  // Its server counts it as gone.
  peer.destroy();
  return new Socket({ handle, onread: readingInto(onBytes) } as object);
}
