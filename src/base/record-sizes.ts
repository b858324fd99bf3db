/**
 * What a broker may say it takes (PROTOCOL 2.2, recordMax): a client that has not heard it yet takes so much, since a
 * request may come with the WELCOME of a worker.
 */
export const RECORD_BYTES_CEILING = 511 * 1024 * 1024;

/** What may stand beside the largest record in a message. */
export const RECORD_ROOM_BYTES = 1024 * 1024;
