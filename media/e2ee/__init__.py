"""LiveKit's end-to-end encryption of media, from the receiver's side. Pure: no clock, no I/O, no threads.

A sender encrypts each encoded frame by itself, before it is packetised, with AES-128-GCM:

    clear header | ciphertext | tag (16) | IV (12) | IV length (1, always 12) | key index (1)

- The clear header is authenticated (AAD). VP8: 10 bytes of a key frame, 3 of another. Opus: 1 (the TOC).
  VP9: none. H.264: all of the Annex B stream up to and with the second byte of the first slice NAL unit
  (type 1 or 5). H.265: likewise, both bytes of the first slice's NAL unit header (types 0 to 9, 16 to 21).
  What follows in the access unit, further slices too, is one ciphertext inside that first slice.
- H.264 and H.265: everything behind the clear header, the trailer too, has emulation prevention bytes put in,
  so that no start code shows. Receivers join NAL units with start codes of four bytes; so must the AAD.
- AV1: livekit-client refuses it, and what the native SDKs of today send cannot be put together again.
- Frames that the server makes up (blank pictures, silence) are clear and end with the `sif_trailer` that it
  tells on joining. They carry no authenticity: only known silence is let through.

Keys are a ring of 16, shared by all or one ring a participant. Of key material `m`, the encryption key is the first 16
bytes of KDF(m) and the next material, when a sender ratchets, the first 32: PBKDF2-HMAC-SHA256 of 100,000 rounds for
text (and the native SDKs' default), HKDF-SHA256 with 128 zero bytes of info for raw keys in livekit-client. The salt is
"LKFrameEncryptionKey" for both. A receiver that fails tries the next keys of the ratchet, up to 16.

Sources: client-sdk-js `src/e2ee/worker/FrameCryptor.ts`, `ParticipantKeyHandler.ts`, `utils.ts`, `constants.ts`;
webrtc-sdk `api/crypto/frame_crypto_transformer.cc`; rust-sdks `livekit/src/room/e2ee/key_provider.rs`.
"""
