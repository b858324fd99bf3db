/** One connection to a broker, once made and never again. */
export interface Transport {
  /**
   * Sends one message; undefined when the next may follow at once, else a promise that resolves when it may,
   * or rejects when this one is lost. Not to be called before `onOpen`, nor while the promise is pending.
   */
  send(message: Uint8Array[]): Promise<void> | undefined;
  /** Ends it, without a word to the events; what was sent still goes out, for at most `lingerMs`. */
  close(lingerMs: number): void;
}

export interface TransportEvents {
  /** The handshake is done: messages go out and come in. */
  onOpen(): void;
  /** Frames of less than OWN_FRAME_BYTES_MIN are good until this returns. */
  onMessage(frames: Buffer[]): void;
  /** It is over, and why. Exactly once, unless it is closed before; what had come in was handed on. */
  onLost(reason: string): void;
}
