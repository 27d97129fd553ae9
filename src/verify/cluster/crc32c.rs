//! CRC-32C (Castagnoli), which PostgreSQL writes into the manifest of a base backup. Eight bytes at a time.

const POLYNOMIAL: u32 = 0x82F6_3B78;

const TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ POLYNOMIAL
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// A checksum that is being computed.
pub(super) struct Crc32c(u32);

impl Crc32c {
    pub(super) fn new() -> Self {
        Self(!0)
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            let [a, b, c, d] =
                (crc ^ u32::from_le_bytes([word[0], word[1], word[2], word[3]])).to_le_bytes();
            let of = |table: usize, byte: u8| TABLES[table][usize::from(byte)];
            crc = of(7, a)
                ^ of(6, b)
                ^ of(5, c)
                ^ of(4, d)
                ^ of(3, word[4])
                ^ of(2, word[5])
                ^ of(1, word[6])
                ^ of(0, word[7]);
        }
        for byte in rest {
            crc = crc >> 8 ^ TABLES[0][usize::from(crc as u8 ^ byte)];
        }
        self.0 = crc;
    }

    /// The bytes as PostgreSQL writes them: those of the number in memory.
    pub(super) fn finish(self) -> [u8; 4] {
        (!self.0).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use crate::verify::cluster::crc32c::Crc32c;

    fn crc(parts: &[&[u8]]) -> u32 {
        let mut crc = Crc32c::new();
        for part in parts {
            crc.update(part);
        }
        u32::from_le_bytes(crc.finish())
    }

    #[test]
    fn known_values_come_out() {
        // RFC 3720, B.4.
        assert_eq!(crc(&[b"123456789"]), 0xE306_9283);
        assert_eq!(crc(&[&[0; 32]]), 0x8A91_36AA);
        assert_eq!(crc(&[&[0xFF; 32]]), 0x62A8_AB43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc(&[&ascending]), 0x46DD_794E);
        assert_eq!(crc(&[]), 0);
    }

    #[test]
    fn parts_make_no_difference() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for at in [1, 7, 8, 500, 999] {
            assert_eq!(crc(&[&bytes[..at], &bytes[at..]]), crc(&[&bytes]));
        }
    }
}
