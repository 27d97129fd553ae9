//! What `gpg --symmetric` writes and reads: OpenPGP (RFC 9580) with a passphrase, as SKESK version 4 and SEIPD
//! version 1. Writes AES-256 with a modification detection code, which every GnuPG reads; reads what GnuPG
//! writes of the same kind, compressed or not. A few chunks are in memory, whatever passes through.

mod cfb;
mod packet;
mod read;
mod s2k;
mod write;

pub use read::{Decrypt, is_packet};
pub use write::{Encrypt, Fresh};

/// What a passphrase that does not fit leads to, nearly always.
pub const BAD_DECRYPT: &str = "bad decrypt: the password is another one, or the file is damaged";

/// AES with a key of 256 bits, as OpenPGP numbers it.
const AES_256: u8 = 9;
/// SHA-256, as OpenPGP numbers it.
const SHA_256: u8 = 8;
/// Tags of packets.
const TAG_SESSION_KEY: u8 = 3;
const TAG_COMPRESSED: u8 = 8;
const TAG_LITERAL: u8 = 11;
const TAG_PADDING_MARKER: u8 = 10;
const TAG_ENCRYPTED: u8 = 18;
/// Header of the packet with the code, which is always written in the same way.
const CODE_HEADER: [u8; 2] = [0xd3, 20];
/// The code, with its header.
const CODE_LEN_BYTES: usize = 22;
/// Random bytes at the beginning, and the last two of them again.
const PREFIX_LEN_BYTES: usize = 18;
