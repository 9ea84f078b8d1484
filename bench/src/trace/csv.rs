//! Traces as CSV: a header with the columns `key`, `size`, `op` and `time`, in any order, and a line for each request.

use std::io::Read;

use csv::{ByteRecord, ReaderBuilder, Trim};
use larder_proto::limits::KEY_BYTES_MAX;

use super::{
    file::{Record, RecordError, Records},
    limits::SECONDS_MAX,
    request::Op,
};

/// A reader of lines.
pub(super) struct Reader<R> {
    lines: csv::Reader<R>,
    columns: Columns,
    line: ByteRecord,
}

/// Where the columns are. Others are passed over.
#[derive(Clone, Copy, Debug)]
struct Columns {
    key: usize,
    size: usize,
    op: Option<usize>,
    time: Option<usize>,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(source: R) -> Result<Reader<R>, RecordError> {
        let mut lines = ReaderBuilder::new().trim(Trim::All).from_reader(source);
        let header = lines.byte_headers().map_err(refused)?;
        let column = |name: &str| {
            let named = |field: &[u8]| field.eq_ignore_ascii_case(name.as_bytes());
            header.iter().position(named)
        };
        let needed = |name| {
            column(name).ok_or_else(|| RecordError::Format {
                place: "line 1".to_owned(),
                what: format!(
                    "there is no column '{name}': the first line names the columns, such as key,size,op,time"
                ),
            })
        };
        let columns = Columns {
            key: needed("key")?,
            size: needed("size")?,
            op: column("op"),
            time: column("time"),
        };
        Ok(Reader {
            lines,
            columns,
            line: ByteRecord::new(),
        })
    }
}

impl<R: Read> Records for Reader<R> {
    fn next(&mut self) -> Result<Option<Record<'_>>, RecordError> {
        if !self
            .lines
            .read_byte_record(&mut self.line)
            .map_err(refused)?
        {
            return Ok(None);
        }
        let place = self.line.position().map_or(0, |position| position.line());
        record(self.columns, &self.line)
            .map(Some)
            .map_err(|what| RecordError::Format {
                place: format!("line {place}"),
                what,
            })
    }
}

fn record(columns: Columns, line: &ByteRecord) -> Result<Record<'_>, String> {
    let field = |column: usize| line.get(column).unwrap_or_default();
    let key = field(columns.key);
    if key.len() > KEY_BYTES_MAX {
        let length = key.len();
        return Err(format!(
            "a key of {length} bytes is longer than {KEY_BYTES_MAX}"
        ));
    }
    let op = columns.op.map_or(Ok(Op::Get), |column| op(field(column)))?;
    let value_bytes = match (op, field(columns.size)) {
        (Op::Del, b"") => 0,
        (_, size) => number(size)
            .ok_or_else(|| format!("'{}' is no size: bytes, up to {}", shown(size), u32::MAX))?,
    };
    let time_ms = columns
        .time
        .map(|column| time_ms(field(column)))
        .transpose()?;
    Ok(Record {
        op,
        key,
        value_bytes,
        time_ms,
    })
}

fn op(field: &[u8]) -> Result<Op, String> {
    match field.to_ascii_lowercase().as_slice() {
        b"get" => Ok(Op::Get),
        b"set" => Ok(Op::Set),
        b"del" => Ok(Op::Del),
        _ => Err(format!("'{}' is no op: get, set or del", shown(field))),
    }
}

fn time_ms(field: &[u8]) -> Result<u64, String> {
    number(field)
        .filter(|seconds: &f64| (0.0..=SECONDS_MAX as f64).contains(seconds))
        .map(|seconds| (seconds * 1000.0).round() as u64)
        .ok_or_else(|| {
            format!(
                "'{}' is no time: seconds such as 12 or 12.345",
                shown(field)
            )
        })
}

fn number<T: std::str::FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// A field, for a message.
fn shown(field: &[u8]) -> String {
    const SHOWN: usize = 40;
    let text = String::from_utf8_lossy(field);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into_owned(),
    }
}

/// What the library says of a line.
fn refused(error: csv::Error) -> RecordError {
    let line = error.position().map_or(1, |position| position.line());
    let what = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("it has {len} fields, and the first line {expected_len}"),
        _ => match error.into_kind() {
            csv::ErrorKind::Io(source) => return RecordError::Read(source),
            kind => format!("{kind:?}"),
        },
    };
    RecordError::Format {
        place: format!("line {line}"),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Line = (Op, Vec<u8>, u32, Option<u64>);

    fn read(text: &str) -> Result<Vec<Line>, String> {
        let told = |error| match error {
            RecordError::Format { place, what } => format!("{place}: {what}"),
            RecordError::Read(error) => error.to_string(),
        };
        let mut reader = Reader::new(text.as_bytes()).map_err(told)?;
        let mut lines = Vec::new();
        while let Some(record) = reader.next().map_err(told)? {
            let Record {
                op,
                key,
                value_bytes,
                time_ms,
            } = record;
            lines.push((op, key.to_vec(), value_bytes, time_ms));
        }
        Ok(lines)
    }

    #[test]
    fn columns_stand_in_any_order_and_some_may_be_left_out() {
        let text = "Time, op ,size,zone,key\n0,GET,10,x,a\n1.5,set,20,x,b\n2,del,,x,a\n";
        assert_eq!(
            read(text).unwrap(),
            [
                (Op::Get, b"a".to_vec(), 10, Some(0)),
                (Op::Set, b"b".to_vec(), 20, Some(1500)),
                (Op::Del, b"a".to_vec(), 0, Some(2000)),
            ]
        );
        assert_eq!(
            read("key,size\n\"a,b\",0\r\nc,4294967295").unwrap(),
            [
                (Op::Get, b"a,b".to_vec(), 0, None),
                (Op::Get, b"c".to_vec(), u32::MAX, None),
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, expected) in [
            ("", "line 1: there is no column 'key'"),
            ("a,10\nb,20\n", "line 1: there is no column 'key'"),
            ("key\na\n", "line 1: there is no column 'size'"),
            ("key,size\na,1\nb\n", "line 3: it has 1 fields"),
            ("key,size\na,1\nb,-1\n", "line 3: '-1' is no size"),
            ("key,size\na,4294967296\n", "is no size"),
            ("key,size\na,\n", "line 2: '' is no size"),
            (
                "key,size,op\na,1,put\n",
                "line 2: 'put' is no op: get, set or del",
            ),
            ("key,size,time\na,1,-1\n", "line 2: '-1' is no time"),
            ("key,size,time\na,1,nan\n", "is no time"),
            ("key,size,time\na,1,1e300\n", "is no time"),
            ("key,size,time\na,1,\n", "is no time"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        let long = format!("key,size\n{},1\n", "k".repeat(KEY_BYTES_MAX + 1));
        assert!(
            read(&long)
                .unwrap_err()
                .contains("line 2: a key of 65537 bytes")
        );
    }
}
