//! Decrypts what `gpg --symmetric` wrote. Whether it is whole and unchanged is known only at its end: whoever
//! reads must not rely on anything before.

use crate::export::gpg::cfb::{Cfb, key_len_bytes};
use crate::export::gpg::packet::{Body, Kind, malformed, tag};
use crate::export::gpg::s2k::S2k;
use crate::export::gpg::{
    BAD_DECRYPT, CODE_HEADER, CODE_LEN_BYTES, PREFIX_LEN_BYTES, TAG_COMPRESSED, TAG_ENCRYPTED,
    TAG_LITERAL, TAG_PADDING_MARKER, TAG_SESSION_KEY,
};
use crate::model::secret::Secret;
use crate::repository::fill;
use flate2::read::{DeflateDecoder, ZlibDecoder};
use sha1::{Digest, Sha1};
use std::io::{self, Read};

/// Decrypted at a time.
const CHUNK: usize = 1 << 16;

/// Whether a file that begins so is of OpenPGP and encrypted for a passphrase.
pub fn is_packet(start: &[u8]) -> bool {
    let tag = match start.first() {
        Some(new @ 0xc0..) => new & 0x3f,
        Some(old @ 0x80..0xc0) => old >> 2 & 15,
        _ => return false,
    };
    // Version 4 follows the length, which is short.
    tag == TAG_SESSION_KEY && start.get(2) == Some(&4)
}

/// Decrypts what it is read from.
pub struct Decrypt<R: Read>(Literal<R>);

type Sealed<R> = Coded<Body<R>>;

enum Literal<R: Read> {
    Plain(Body<Sealed<R>>),
    Deflated(Body<DeflateDecoder<Body<Sealed<R>>>>),
    Zlib(Body<ZlibDecoder<Body<Sealed<R>>>>),
}

impl<R: Read> Decrypt<R> {
    /// Reads as far as what was encrypted begins, and tells whether the passphrase fits.
    pub fn new(mut from: R, passphrase: &Secret) -> io::Result<Self> {
        let mut key = None;
        loop {
            let Some((found, kind)) = tag(&mut from)? else {
                return Err(malformed("nothing that is encrypted"));
            };
            match found {
                TAG_SESSION_KEY => {
                    let mut body = Body::new(&mut from, kind)?;
                    let made = session_key(&mut body, passphrase)?;
                    io::copy(&mut body, &mut io::sink())?;
                    key = key.or(Some(made));
                }
                TAG_PADDING_MARKER => {
                    io::copy(&mut Body::new(&mut from, kind)?, &mut io::sink())?;
                }
                TAG_ENCRYPTED => {
                    let key = key.ok_or_else(|| malformed("no key that a passphrase gives"))?;
                    let coded = Coded::new(Body::new(from, kind)?, &key)?;
                    return Ok(Self(literal(coded)?));
                }
                1 => return Err(io::Error::other("it is encrypted to somebody's public key")),
                20 => {
                    let words = "it is encrypted as OCB, which only GnuPG 2.3 and later read; `gpg --decrypt` it first";
                    return Err(io::Error::other(words));
                }
                other => return Err(malformed(&format!("a packet of the tag {other}"))),
            }
        }
    }
}

/// The key that a passphrase gives, or that is encrypted with what it gives.
fn session_key(
    body: &mut impl Read,
    passphrase: &Secret,
) -> io::Result<zeroize::Zeroizing<Vec<u8>>> {
    let mut head = [0; 2];
    body.read_exact(&mut head)?;
    let [version, cipher] = head;
    if version != 4 {
        return Err(malformed(&format!(
            "a key of version {version}, which is not known"
        )));
    }
    let s2k = S2k::decode(body)?;
    let key = s2k.key(passphrase, key_len_bytes(cipher)?)?;
    let mut encrypted = zeroize::Zeroizing::new(Vec::new());
    body.take(64).read_to_end(&mut encrypted)?;
    if encrypted.is_empty() {
        return Ok(key);
    }
    Cfb::new(&key)?.decrypt(&mut encrypted);
    let (cipher, key) = encrypted
        .split_first()
        .ok_or_else(|| malformed("an empty key"))?;
    match key_len_bytes(*cipher) {
        Ok(len) if len == key.len() => Ok(zeroize::Zeroizing::new(key.to_vec())),
        _ => Err(io::Error::other(BAD_DECRYPT)),
    }
}

/// Finds the literal packet.
fn literal<R: Read>(mut coded: Sealed<R>) -> io::Result<Literal<R>> {
    let (found, kind) = inner_tag(&mut coded)?;
    if found == TAG_LITERAL {
        return Ok(Literal::Plain(begin(coded, kind)?));
    }
    if found != TAG_COMPRESSED {
        return Err(malformed(&format!("a packet of the tag {found} inside")));
    }
    let mut body = Body::new(coded, kind)?;
    let mut algorithm = [0];
    body.read_exact(&mut algorithm)?;
    match algorithm[0] {
        1 => {
            let mut inflated = DeflateDecoder::new(body);
            let kind = literal_tag(&mut inflated)?;
            Ok(Literal::Deflated(begin(inflated, kind)?))
        }
        2 => {
            let mut inflated = ZlibDecoder::new(body);
            let kind = literal_tag(&mut inflated)?;
            Ok(Literal::Zlib(begin(inflated, kind)?))
        }
        other => {
            let words = format!(
                "it is compressed in the way {other}, which is not read here; `gpg --decrypt` reads it"
            );
            Err(io::Error::other(words))
        }
    }
}

fn inner_tag(from: &mut impl Read) -> io::Result<(u8, Kind)> {
    // What was decrypted with another key is no packet.
    let found = tag(from).map_err(|_| io::Error::other(BAD_DECRYPT))?;
    found.ok_or_else(|| malformed("nothing inside"))
}

fn literal_tag(from: &mut impl Read) -> io::Result<Kind> {
    match inner_tag(from)? {
        (TAG_LITERAL, kind) => Ok(kind),
        (other, _) => Err(malformed(&format!("a packet of the tag {other} inside"))),
    }
}

/// Passes over how the literal packet was called, and when.
fn begin<R: Read>(from: R, kind: Kind) -> io::Result<Body<R>> {
    let mut body = Body::new(from, kind)?;
    let mut head = [0; 2];
    body.read_exact(&mut head)?;
    let mut rest = vec![0; usize::from(head[1]) + 4];
    body.read_exact(&mut rest)?;
    Ok(body)
}

impl<R: Read> Read for Decrypt<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.0 {
            Literal::Plain(body) => body.read(to),
            Literal::Deflated(body) => body.read(to),
            Literal::Zlib(body) => body.read(to),
        };
        let read = read?;
        if read == 0 && !to.is_empty() {
            match &mut self.0 {
                Literal::Plain(body) => body.source().finish(),
                Literal::Deflated(body) => body.source().get_mut().source().finish(),
                Literal::Zlib(body) => body.source().get_mut().source().finish(),
            }?;
        }
        Ok(read)
    }
}

/// Decrypts, and checks at the end that the code fits. The code itself is not given out.
struct Coded<R> {
    from: R,
    cfb: Cfb,
    code: Sha1,
    /// Decrypted; the last bytes may be the code.
    ready: Vec<u8>,
    given: usize,
    at_end: bool,
}

impl<R: Read> Coded<R> {
    fn new(mut from: R, key: &[u8]) -> io::Result<Self> {
        let mut version = [0];
        from.read_exact(&mut version)?;
        if version != [1] {
            return Err(malformed(&format!(
                "an encrypted packet of version {}",
                version[0]
            )));
        }
        let mut cfb = Cfb::new(key)?;
        let mut prefix = [0; PREFIX_LEN_BYTES];
        from.read_exact(&mut prefix)?;
        cfb.decrypt(&mut prefix);
        if prefix[14..16] != prefix[16..18] {
            return Err(io::Error::other(BAD_DECRYPT));
        }
        let mut code = Sha1::new();
        code.update(prefix);
        Ok(Self {
            from,
            cfb,
            code,
            ready: Vec::new(),
            given: 0,
            at_end: false,
        })
    }

    /// Reads on, so that more than a code is ready, or it is at the end.
    fn fill(&mut self) -> io::Result<()> {
        self.ready.drain(..self.given);
        self.given = 0;
        let start = self.ready.len();
        self.ready.resize(start + CHUNK, 0);
        let len = fill(&mut self.from, &mut self.ready[start..])?;
        self.ready.truncate(start + len);
        self.cfb.decrypt(&mut self.ready[start..]);
        self.at_end = len < CHUNK;
        let plain = self.ready.len().saturating_sub(CODE_LEN_BYTES);
        // What stays is hashed when more comes after it; each byte once.
        self.code.update(&self.ready[..plain]);
        if self.at_end {
            self.check()?;
        }
        Ok(())
    }

    fn check(&mut self) -> io::Result<()> {
        let plain = self.ready.len().checked_sub(CODE_LEN_BYTES);
        let plain = plain.ok_or_else(|| malformed("no room for its code"))?;
        let (header, code) = self.ready[plain..].split_at(CODE_HEADER.len());
        self.code.update(CODE_HEADER);
        let made: [u8; 20] = self.code.clone().finalize().into();
        match header == CODE_HEADER && code == made {
            true => Ok(()),
            false => Err(io::Error::other(
                "its modification detection code does not fit: the file is damaged",
            )),
        }
    }

    /// Reads what is left, so that the code was checked.
    fn finish(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(|_| ())
    }
}

impl<R: Read> Read for Coded<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            let plain = self.ready.len().saturating_sub(CODE_LEN_BYTES);
            if self.given < plain {
                let len = to.len().min(plain - self.given);
                to[..len].copy_from_slice(&self.ready[self.given..self.given + len]);
                self.given += len;
                return Ok(len);
            }
            if self.at_end {
                return Ok(0);
            }
            self.fill()?;
        }
    }
}
