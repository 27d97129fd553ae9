//! How OpenPGP makes a key of a passphrase: a digest of salt and passphrase, over and over.

use crate::model::secret::Secret;
use ring::digest::{self, Algorithm, Context};
use std::io::{self, Read};
use zeroize::Zeroizing;

/// How often, as one byte: 0xf0 is 33,554,432 bytes, about 15 ms.
const COUNT: u8 = 0xf0;

/// A way to make a key.
#[derive(Debug, Clone)]
pub(crate) struct S2k {
    hash: u8,
    salt: Option<[u8; 8]>,
    count: Option<u8>,
}

impl S2k {
    /// Iterated and salted, with SHA-256.
    pub(crate) fn new(salt: [u8; 8]) -> Self {
        Self {
            hash: crate::export::gpg::SHA_256,
            salt: Some(salt),
            count: Some(COUNT),
        }
    }

    /// Its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let kind = match (self.salt, self.count) {
            (None, _) => 0,
            (Some(_), None) => 1,
            (Some(_), Some(_)) => 3,
        };
        let mut bytes = vec![kind, self.hash];
        bytes.extend(self.salt.iter().flatten());
        bytes.extend(self.count);
        bytes
    }

    /// Reads one.
    pub(crate) fn decode(from: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; 2];
        from.read_exact(&mut head)?;
        let [kind, hash] = head;
        let (mut salt, mut count) = (None, None);
        if kind != 0 {
            let mut bytes = [0; 8];
            from.read_exact(&mut bytes)?;
            salt = Some(bytes);
        }
        match kind {
            0 | 1 => {}
            3 => {
                let mut byte = [0];
                from.read_exact(&mut byte)?;
                count = Some(byte[0]);
            }
            other => {
                let words = format!("its key is derived in the way {other}, which is not known");
                return Err(io::Error::other(words));
            }
        }
        Ok(Self { hash, salt, count })
    }

    /// The key of that length.
    pub(crate) fn key(
        &self,
        passphrase: &Secret,
        len_bytes: usize,
    ) -> io::Result<Zeroizing<Vec<u8>>> {
        let algorithm = self.algorithm()?;
        let salt = self.salt.iter().flatten().copied();
        let unit = salt.chain(passphrase.expose().iter().copied());
        let unit = Zeroizing::new(unit.collect::<Vec<u8>>());
        let asked = self
            .count
            .map_or(0, |c| (16 + usize::from(c & 15)) << ((c >> 4) + 6));
        let len = asked.max(unit.len());
        // Longer runs are digested faster.
        let repeated = Zeroizing::new(unit.repeat((4096 / unit.len().max(1)).max(1)));
        let mut key = Zeroizing::new(Vec::with_capacity(len_bytes));
        let mut nth = 0;
        while key.len() < len_bytes {
            let mut context = Context::new(algorithm);
            context.update(&vec![0; nth]);
            let mut left = len;
            while left > 0 {
                let now = left.min(repeated.len());
                context.update(&repeated[..now]);
                left -= now;
            }
            let part = context.finish();
            let wanted = (len_bytes - key.len()).min(part.as_ref().len());
            key.extend_from_slice(&part.as_ref()[..wanted]);
            nth += 1;
        }
        Ok(key)
    }

    fn algorithm(&self) -> io::Result<&'static Algorithm> {
        match self.hash {
            2 => Ok(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            8 => Ok(&digest::SHA256),
            9 => Ok(&digest::SHA384),
            10 => Ok(&digest::SHA512),
            other => {
                let words =
                    format!("its key is derived with the digest {other}, which is not known");
                Err(io::Error::other(words))
            }
        }
    }
}
