//! The checksum at the end of an RDB: CRC-64 "Jones", reflected, without final inversion.

/// Reflected form of the polynomial `0xad93d23594c935a9`.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// `TABLES[n][byte]`: what `byte` does to the checksum with `n` bytes still to come.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before: u64 = tables[n - 1][byte];
            tables[n][byte] = (before >> 8) ^ tables[0][(before & 255) as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
}

/// The checksum of `bytes` after what gave `crc`; start with 0.
pub(crate) fn crc64(mut crc: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        crc ^= u64::from_le_bytes(*word);
        let mut folded = 0;
        for (n, table) in TABLES.iter().rev().enumerate() {
            folded ^= table[(crc >> (8 * n) & 255) as usize];
        }
        crc = folded;
    }
    for byte in rest {
        crc = TABLES[0][((crc ^ u64::from(*byte)) & 255) as usize] ^ (crc >> 8);
    }
    crc
}

#[cfg(test)]
mod tests {
    use crate::source::redis::rdb::crc64::crc64;

    #[test]
    fn it_is_the_checksum_that_redis_computes() {
        // From the comment in Redis's own source.
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        let text = b"This is a test of the emergency broadcast system.";
        let (left, right) = text.split_at(13);
        assert_eq!(crc64(crc64(0, left), right), crc64(0, text));
    }
}
