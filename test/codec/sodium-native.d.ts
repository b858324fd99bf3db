// What the tests use of sodium-native, which has no types of its own.
declare module "sodium-native" {
  interface Sodium {
    crypto_aead_xchacha20poly1305_ietf_encrypt(
      sealed: Buffer,
      plain: Buffer,
      associated: Buffer,
      secretNonce: null,
      nonce: Buffer,
      key: Buffer,
    ): number;
    /** @throws Error when the tag does not verify */
    crypto_aead_xchacha20poly1305_ietf_decrypt(
      plain: Buffer,
      secretNonce: null,
      sealed: Buffer,
      associated: Buffer,
      nonce: Buffer,
      key: Buffer,
    ): number;
    crypto_generichash(hash: Buffer, input: Buffer): void;
  }
  const sodium: Sodium;
  export default sodium;
}
