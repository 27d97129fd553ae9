//! Moves the bytes of a file over SFTP, many requests at a time: the line never waits for an answer.

use crate::store::Kind;
use crate::store::sftp::connection::{Failure, answered};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use openssh_sftp_client::Error;
use openssh_sftp_client::file::File;
use std::io::SeekFrom;
use std::ops::Range;
use std::pin::Pin;
use tokio::io::AsyncSeek;

/// What a server of OpenSSH takes in one request.
const PIECE_BYTES: u64 = 255 << 10;
/// Requests on their way: 8 MiB, which fills 1 Gbit/s over 60 ms.
const AT_ONCE: usize = 32;

/// The bytes of `range`, which lies in the file.
pub(super) async fn read(file: &File, range: Range<u64>) -> Result<Bytes, Failure> {
    let mut body = BytesMut::with_capacity((range.end - range.start) as usize);
    let pieces = pieces(range).map(|piece| read_piece(file.clone(), piece));
    let mut pieces = stream::iter(pieces).buffered(AT_ONCE);
    while let Some(piece) = pieces.try_next().await? {
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// Writes all of `body` to the file, which is empty.
pub(super) async fn write(file: &File, body: &Bytes) -> Result<(), Failure> {
    let pieces = pieces(0..body.len() as u64).map(|piece| {
        let bytes = body.slice(piece.start as usize..piece.end as usize);
        write_piece(file.clone(), piece.start, bytes)
    });
    let pieces = stream::iter(pieces).buffer_unordered(AT_ONCE);
    pieces.try_collect().await
}

fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    let starts = range.step_by(PIECE_BYTES as usize);
    starts.map(move |start| start..end.min(start + PIECE_BYTES))
}

/// A server may answer with less than was asked for.
async fn read_piece(mut file: File, range: Range<u64>) -> Result<BytesMut, Failure> {
    let len = (range.end - range.start) as usize;
    let mut piece = BytesMut::with_capacity(len);
    while piece.len() < len {
        go_to(&mut file, range.start + piece.len() as u64)?;
        let missing = len - piece.len();
        let part = answered(file.read(missing as u32, BytesMut::with_capacity(missing))).await?;
        match part {
            Some(part) if !part.is_empty() && part.len() <= missing => piece.unsplit(part),
            _ => return Err(Kind::Corrupt.into()),
        }
    }
    Ok(piece)
}

/// A server may take less than it was given.
async fn write_piece(mut file: File, start: u64, mut bytes: Bytes) -> Result<(), Failure> {
    let mut at = start;
    while !bytes.is_empty() {
        go_to(&mut file, at)?;
        let written = answered(file.write_zero_copy(&[bytes.clone()])).await?;
        bytes = bytes.slice(written..);
        at += written as u64;
    }
    Ok(())
}

fn go_to(file: &mut File, at: u64) -> Result<(), Failure> {
    let went = Pin::new(file).start_seek(SeekFrom::Start(at));
    went.map_err(|cause| Error::from(cause).into())
}

#[cfg(test)]
mod tests {
    use crate::store::sftp::transfer::{PIECE_BYTES, pieces};

    #[test]
    fn pieces_cover_a_range_without_gaps() {
        for len in [
            0,
            1,
            PIECE_BYTES - 1,
            PIECE_BYTES,
            PIECE_BYTES + 1,
            3 * PIECE_BYTES,
        ] {
            let all: Vec<_> = pieces(7..7 + len).collect();
            assert_eq!(
                all.iter().map(|piece| piece.end - piece.start).sum::<u64>(),
                len
            );
            assert!(all.windows(2).all(|two| two[0].end == two[1].start));
            assert!(
                all.iter()
                    .all(|piece| piece.end - piece.start <= PIECE_BYTES)
            );
            assert_eq!(all.first().map_or(7, |piece| piece.start), 7);
        }
    }
}
