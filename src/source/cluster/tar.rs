//! Reads a tar archive as it streams in, member by member. Knows what PostgreSQL writes: files, directories
//! and links in ustar form. Anything else is an error, and so is an archive that ends before its end mark.

use std::io::{self, Read};

const BLOCK: usize = 512;

/// One member's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Parts joined with `/`, without a `./` before or a `/` after; empty for the root.
    pub(super) path: Vec<u8>,
    pub(super) kind: MemberKind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) user: Option<String>,
    pub(super) group: Option<String>,
    /// Seconds since the Unix epoch.
    pub(super) mtime: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MemberKind {
    File { len: u64 },
    Directory,
    Link { target: Vec<u8> },
}

/// An archive that is being read. Reading from it reads the current member's bytes.
pub(super) struct Tar<R> {
    from: R,
    /// Bytes of the current member that were not read yet.
    left: u64,
    /// Bytes after them, up to the next block.
    padding: u64,
}

impl<R: Read> Tar<R> {
    pub(super) fn new(from: R) -> Self {
        Self {
            from,
            left: 0,
            padding: 0,
        }
    }

    /// The next member; what was not read of the one before is skipped. `None` after the end mark, when the
    /// source itself has ended well.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        self.skip_rest()?;
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block).map_err(cut_short)?;
        if block == [0; BLOCK] {
            return self.end().map(|()| None);
        }
        let member = header(&block)?;
        if let MemberKind::File { len } = member.kind {
            self.left = len;
            self.padding = len.next_multiple_of(BLOCK as u64) - len;
        }
        Ok(Some(member))
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        let len = self.left + self.padding;
        let skipped = io::copy(&mut (&mut self.from).take(len), &mut io::sink())?;
        (self.left, self.padding) = (0, 0);
        match skipped == len {
            true => Ok(()),
            false => Err(cut_short(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// A second block of zeros, and then nothing but zeros: programs fill up to a whole record.
    fn end(&mut self) -> io::Result<()> {
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block).map_err(cut_short)?;
        loop {
            if block != [0; BLOCK] {
                return Err(io::Error::other("something follows the end of the archive"));
            }
            let mut filled = 0;
            while filled < BLOCK {
                match self.from.read(&mut block[filled..])? {
                    0 => return Ok(()),
                    len => filled += len,
                }
            }
        }
    }
}

impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if want == 0 {
            return Ok(0);
        }
        match self.from.read(&mut buffer[..want])? {
            0 => Err(cut_short(io::ErrorKind::UnexpectedEof.into())),
            len => {
                self.left -= len as u64;
                Ok(len)
            }
        }
    }
}

fn cut_short(cause: io::Error) -> io::Error {
    match cause.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other("the archive ends in the middle"),
        _ => cause,
    }
}

fn header(block: &[u8; BLOCK]) -> io::Result<Member> {
    let wrong = |what: &str| io::Error::other(format!("the archive has a header with {what}"));
    let sum: u64 = (0..BLOCK)
        .map(|at| match at {
            148..156 => u64::from(b' '),
            at => u64::from(block[at]),
        })
        .sum();
    if number(&block[148..156]) != Some(sum) {
        return Err(wrong("a wrong checksum"));
    }
    let field = |from: usize, len: usize| number(&block[from..from + len]);
    let small = |from: usize| field(from, 8).and_then(|n| u32::try_from(n).ok());
    let kind = match block[156] {
        b'0' | 0 => MemberKind::File {
            len: field(124, 12).ok_or_else(|| wrong("an impossible length"))?,
        },
        b'5' => MemberKind::Directory,
        b'2' => MemberKind::Link {
            target: text(&block[157..257]).to_vec(),
        },
        other => {
            let what = format!("the type `{}`, which is not known", other.escape_ascii());
            return Err(wrong(&what));
        }
    };
    let name = |from: usize| {
        let bytes = text(&block[from..from + 32]);
        let name = std::str::from_utf8(bytes).ok()?;
        (!name.is_empty()).then(|| name.to_owned())
    };
    Ok(Member {
        path: path(text(&block[345..500]), text(&block[..100]))?,
        kind,
        mode: small(100).ok_or_else(|| wrong("an impossible mode"))? & 0o7777,
        uid: small(108).ok_or_else(|| wrong("an impossible owner"))?,
        gid: small(116).ok_or_else(|| wrong("an impossible group"))?,
        user: name(265),
        group: name(297),
        mtime: field(136, 12).ok_or_else(|| wrong("an impossible time"))?,
    })
}

/// Up to the first zero.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

/// Octal digits, or, with the highest bit set, binary: for what is too large for these.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_last_chunk::<8>()?;
        let is_small = high.iter().enumerate().all(|(at, byte)| match at {
            0 => *byte == 0x80,
            _ => *byte == 0,
        });
        return is_small.then(|| u64::from_be_bytes(*low));
    }
    let digits = field.iter().skip_while(|byte| **byte == b' ');
    let mut digits = digits.take_while(|byte| !matches!(**byte, b' ' | 0));
    digits.try_fold(0_u64, |sum, digit| match digit {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// A path below the root: what leads out of it, or to two places by one name, is refused.
fn path(prefix: &[u8], name: &[u8]) -> io::Result<Vec<u8>> {
    let whole = match prefix.is_empty() {
        true => name.to_vec(),
        false => [prefix, b"/", name].concat(),
    };
    let mut parts = Vec::new();
    for part in whole.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(io::Error::other("the archive has a path with `..`")),
            part => parts.push(part),
        }
    }
    if whole.starts_with(b"/") {
        return Err(io::Error::other("the archive has an absolute path"));
    }
    Ok(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use crate::source::cluster::tar::{MemberKind, Tar};
    use std::io::Read;

    /// A header as PostgreSQL makes it.
    fn member(name: &str, kind: u8, bytes: &[u8]) -> Vec<u8> {
        let mut block = vec![0; 512];
        let mut put = |at: usize, text: &str| {
            block[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(0, name);
        put(100, "0000600 ");
        put(108, "0000145 ");
        put(116, "0000150 ");
        put(124, &format!("{:011o} ", bytes.len()));
        put(136, "14727655311 ");
        put(257, "ustar");
        put(263, "00");
        put(265, "postgres");
        block[156] = kind;
        let sum: u64 = block.iter().map(|b| u64::from(*b)).sum::<u64>() + 8 * u64::from(b' ');
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block.extend(bytes);
        block.resize(block.len().next_multiple_of(512), 0);
        block
    }

    const END: [u8; 1024] = [0; 1024];

    #[test]
    fn members_come_one_by_one_and_may_be_left_unread() {
        let bytes = [
            member("./pg_wal/", b'5', b""),
            member("a", b'0', &[7; 700]),
            member("b", b'0', b"bytes"),
            END.to_vec(),
            vec![0; 512 * 7],
        ]
        .concat();
        let mut tar = Tar::new(&bytes[..]);
        let directory = tar.next().unwrap().unwrap();
        assert_eq!(
            (&directory.path[..], directory.kind),
            (&b"pg_wal"[..], MemberKind::Directory)
        );
        let a = tar.next().unwrap().unwrap();
        assert_eq!(
            (a.mode, a.uid, a.user.as_deref()),
            (0o600, 0o145, Some("postgres"))
        );
        let b = tar.next().unwrap().unwrap();
        assert_eq!(b.kind, MemberKind::File { len: 5 });
        let mut read = String::new();
        tar.read_to_string(&mut read).unwrap();
        assert_eq!(read, "bytes");
        assert_eq!(tar.next().unwrap(), None);
    }

    #[test]
    fn an_archive_that_ends_too_early_is_no_archive() {
        let whole = [member("a", b'0', &[7; 700]), END.to_vec()].concat();
        for len in 0..whole.len() {
            let mut tar = Tar::new(&whole[..len]);
            let mut read = || {
                while tar.next()?.is_some() {}
                Ok::<(), std::io::Error>(())
            };
            assert!(read().is_err(), "{len} bytes of {}", whole.len());
        }
    }

    #[test]
    fn what_is_no_plain_member_is_refused() {
        let mut damaged = member("a", b'0', b"");
        damaged[0] = b'b';
        let cases = [
            damaged,
            member("../a", b'0', b""),
            member("/a", b'0', b""),
            member("a", b'1', b""),
            [END.to_vec(), vec![1; 512]].concat(),
        ];
        for bytes in cases {
            let mut tar = Tar::new(&bytes[..]);
            assert!(tar.next().is_err());
        }
    }
}
