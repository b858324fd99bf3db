// wasmq/codec: values to sealed bytes and back. docs/codec.md is the specification.
export { Codec, createCodec } from "./codec.js";
export type { CodecContext } from "./context.js";
export {
  DICTIONARY_SIZE_MAX,
  DICTIONARY_SIZE_MIN,
  Dictionary,
  exportDictionary,
  importDictionary,
} from "./dictionary.js";
export { trainDictionary } from "./dictionary-training.js";
export { type Envelope, readEnvelope } from "./envelope.js";
export { CodecError, type CodecErrorCode } from "./errors.js";
export { CodecKey, formatKey, generateKey, importKey, parseKey } from "./keys.js";
export type { OpenedRequest } from "./opened-request.js";
export type { CodecOptions, EngineChoice } from "./options.js";
export {
  formatPublicKey,
  formatServiceKey,
  generateServiceKey,
  importPublicKey,
  importServiceKey,
  PublicKey,
  parsePublicKey,
  parseServiceKey,
  ServiceKey,
} from "./service-keys.js";
export type { AgreementStats } from "./service-sessions.js";
export { ExtData } from "./values.js";
