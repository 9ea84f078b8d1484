//! libCacheSim's binary format oracleGeneral: records of 24 bytes, all numbers little-endian.
//!
//! ```text
//! u32 time in seconds | u64 object | u32 size in bytes | i64 position of the object's next request, or none
//! ```
//!
//! The next request's position is passed over: it is worked out anew, for it may be cut off.
//!
//! Source: `libCacheSim/traceReader/customizedReader/oracle/oracleGeneralBin.h` of github.com/1a1a11a/libCacheSim.

use std::io::{ErrorKind, Read};

use super::{
    file::{Record, RecordError, Records},
    request::Op,
};

const RECORD_BYTES: usize = 24;

/// Length of a key: the object's number in hexadecimal digits.
const KEY_BYTES: usize = 16;

/// A reader of records.
pub(super) struct Reader<R> {
    source: R,
    /// Records read so far.
    count: u64,
    key: [u8; KEY_BYTES],
}

impl<R: Read> Reader<R> {
    pub(super) fn new(source: R) -> Reader<R> {
        Reader {
            source,
            count: 0,
            key: [0; KEY_BYTES],
        }
    }

    /// The bytes of the next record; `None` at the end.
    fn read(&mut self) -> Result<Option<[u8; RECORD_BYTES]>, RecordError> {
        let (mut record, mut read) = ([0; RECORD_BYTES], 0);
        while read < RECORD_BYTES {
            match self.source.read(&mut record[read..]) {
                Ok(0) if read == 0 => return Ok(None),
                Ok(0) => {
                    return Err(RecordError::Format {
                        place: format!("record {}", self.count + 1),
                        what: format!(
                            "it has {read} bytes, and a record of oracleGeneral has {RECORD_BYTES}"
                        ),
                    });
                }
                Ok(count) => read += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(RecordError::Read(error)),
            }
        }
        self.count += 1;
        Ok(Some(record))
    }
}

impl<R: Read> Records for Reader<R> {
    fn next(&mut self) -> Result<Option<Record<'_>>, RecordError> {
        let Some(record) = self.read()? else {
            return Ok(None);
        };
        let number = |from: usize, to: usize| {
            let bytes = record[from..to].iter().rev();
            bytes.fold(0, |number, &byte| number << 8 | u64::from(byte))
        };
        let (seconds, object, size) = (number(0, 4), number(4, 12), number(12, 16));
        for (index, digit) in self.key.iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[(object >> (4 * index) & 15) as usize];
        }
        Ok(Some(Record {
            op: Op::Get,
            key: &self.key,
            // Read from 4 bytes.
            value_bytes: size as u32,
            time_ms: Some(seconds * 1000),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seconds: u32, object: u64, size: u32, next: i64) -> Vec<u8> {
        [
            &seconds.to_le_bytes()[..],
            &object.to_le_bytes(),
            &size.to_le_bytes(),
            &next.to_le_bytes(),
        ]
        .concat()
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let file = [
            record(7, 0x0123_4567_89ab_cdef, 4096, -1),
            record(u32::MAX, 1, u32::MAX, i64::MAX),
        ]
        .concat();
        let mut reader = Reader::new(&file[..]);
        let expected = Record {
            op: Op::Get,
            key: b"0123456789abcdef",
            value_bytes: 4096,
            time_ms: Some(7000),
        };
        assert_eq!(reader.next().unwrap(), Some(expected));
        let expected = Record {
            op: Op::Get,
            key: b"0000000000000001",
            value_bytes: u32::MAX,
            time_ms: Some(u64::from(u32::MAX) * 1000),
        };
        assert_eq!(reader.next().unwrap(), Some(expected));
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn a_record_that_is_cut_short_is_named() {
        let file = [record(1, 2, 3, 4), record(1, 2, 3, 4)].concat();
        let mut reader = Reader::new(&file[..40]);
        assert!(reader.next().is_ok());
        let Err(RecordError::Format { place, what }) = reader.next() else {
            panic!("it is cut short");
        };
        assert_eq!(place, "record 2");
        assert!(what.contains("16 bytes"), "{what}");
    }
}
