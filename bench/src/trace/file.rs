//! Traces that are read from files.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use clap::ValueEnum;

use super::{
    csv,
    error::TraceError,
    limits::REQUESTS_MAX,
    oracle,
    request::{Clock, Op, Trace, TraceBuilder},
    zst,
};

/// Bytes that are read from a file at once.
const READ_BYTES: usize = 1 << 16;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A header with the columns key, size, op and time, in any order, the last two optional.
    Csv,
    /// Records of 24 bytes, as libCacheSim has them.
    OracleGeneral,
}

impl Format {
    /// The format of a file of this name, whether compressed or not.
    fn of(path: &Path) -> Option<Format> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".zst").unwrap_or(&name);
        let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        if ends(&[".csv"]) {
            Some(Format::Csv)
        } else if ends(&[".oraclegeneral", ".oraclegeneral.bin"]) {
            Some(Format::OracleGeneral)
        } else {
            None
        }
    }
}

/// Something about a record that its format does not allow, or an error of the file.
#[derive(Debug)]
pub(super) enum RecordError {
    Format { place: String, what: String },
    Read(io::Error),
}

impl RecordError {
    fn at(self, path: &Path) -> TraceError {
        let path = path.to_owned();
        match self {
            RecordError::Format { place, what } => TraceError::Format { path, place, what },
            RecordError::Read(source) => TraceError::Read { path, source },
        }
    }
}

/// A record of a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Record<'a> {
    pub(super) op: Op,
    pub(super) key: &'a [u8],
    pub(super) value_bytes: u32,
    /// `None` if the file has no times.
    pub(super) time_ms: Option<u64>,
}

/// A reader of one format.
pub(super) trait Records {
    /// The next record; `None` at the end.
    fn next(&mut self) -> Result<Option<Record<'_>>, RecordError>;
}

/// A file, and how much of it is wanted.
#[derive(Debug)]
pub(super) struct TraceFile {
    pub(super) path: PathBuf,
    /// `None`: by the file's name.
    pub(super) format: Option<Format>,
    /// The first so many requests only.
    pub(super) requests: Option<u64>,
    /// Requests a second, if the file has no times.
    pub(super) rate: u64,
}

impl TraceFile {
    /// Reads it, without having all of it in memory at once.
    pub(super) fn load(&self) -> Result<Trace, TraceError> {
        let format = self.format()?;
        let reading = |source| RecordError::Read(source).at(&self.path);
        let file = File::open(&self.path).map_err(reading)?;
        let reader = zst::reader(BufReader::with_capacity(READ_BYTES, file)).map_err(reading)?;
        self.trace(format, reader)
    }

    fn format(&self) -> Result<Format, TraceError> {
        self.format
            .or_else(|| Format::of(&self.path))
            .ok_or_else(|| {
                TraceError::Options(format!(
                    "{}: the name does not say how it is written (.csv, .oracleGeneral, each also with .zst): give --format",
                    self.path.display()
                ))
            })
    }

    fn trace(&self, format: Format, reader: Box<dyn Read>) -> Result<Trace, TraceError> {
        let mut records: Box<dyn Records> = match format {
            Format::Csv => {
                Box::new(csv::Reader::new(reader).map_err(|error| error.at(&self.path))?)
            }
            Format::OracleGeneral => Box::new(oracle::Reader::new(reader)),
        };
        let name = self.path.file_name().unwrap_or_default();
        let mut trace = TraceBuilder::new(name.to_string_lossy());
        let mut clock = Clock::Rate(self.rate);
        while self.requests.is_none_or(|most| trace.len() < most)
            && let Some(record) = records.next().map_err(|error| error.at(&self.path))?
        {
            if trace.len() == REQUESTS_MAX {
                return Err(TraceError::TooLong {
                    path: self.path.clone(),
                });
            }
            if record.time_ms.is_some() {
                clock = Clock::Given;
            }
            let time_ms = record.time_ms.unwrap_or(0);
            trace.push(record.op, record.key, record.value_bytes, time_ms);
        }
        if trace.len() == 0 {
            return Err(TraceError::Empty {
                path: self.path.clone(),
            });
        }
        Ok(trace.finish(clock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_format() {
        for (name, format) in [
            ("a/trace.csv", Some(Format::Csv)),
            ("TRACE.CSV.zst", Some(Format::Csv)),
            ("w92.oracleGeneral.bin.zst", Some(Format::OracleGeneral)),
            ("cluster10.oracleGeneral", Some(Format::OracleGeneral)),
            ("w92.oracleGeneral.zst", Some(Format::OracleGeneral)),
            ("trace.bin", None),
            ("csv", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }

    fn read(text: &'static str, requests: Option<u64>) -> Result<Trace, TraceError> {
        let file = TraceFile {
            path: "t.csv".into(),
            format: None,
            requests,
            rate: 10,
        };
        file.trace(file.format()?, Box::new(text.as_bytes()))
    }

    #[test]
    fn times_are_the_files_or_else_by_rate() {
        let times = |text| {
            let trace = read(text, None).unwrap();
            let times = trace.requests().iter().map(|request| request.time_ms());
            times.collect::<Vec<_>>()
        };
        assert_eq!(times("key,size\na,1\nb,1\n"), [0, 100]);
        assert_eq!(times("key,size,time\na,1,5\nb,1,5.5\n"), [0, 500]);
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_place() {
        let error = |text, requests| read(text, requests).unwrap_err().to_string();
        assert_eq!(error("key,size\n", None), "t.csv has no requests");
        let message = error("key,size\na,1\nb,x\n", None);
        assert!(message.starts_with("t.csv, line 3: "), "{message}");
        assert_eq!(
            read("key,size\na,1\nb,x\n", Some(1))
                .unwrap()
                .requests()
                .len(),
            1,
            "what is not asked for is not read"
        );
        let file = TraceFile {
            path: "not/there.csv".into(),
            format: None,
            requests: None,
            rate: 1,
        };
        let message = file.load().unwrap_err().to_string();
        assert!(message.starts_with("not/there.csv: "), "{message}");
    }
}
