//! Decompressing a file on the way, if it is compressed.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// What a frame of zstd begins with.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A reader of what is in the file: its bytes or, if they are zstd, what those decompress to. What decides is how it
/// begins, not its name.
pub(super) fn reader(mut file: impl BufRead + 'static) -> io::Result<Box<dyn Read>> {
    if !file.fill_buf()?.starts_with(&MAGIC) {
        return Ok(Box::new(file));
    }
    Ok(Box::new(Frames {
        source: file,
        decoder: FrameDecoder::new(),
        within: false,
    }))
}

/// The frames of a file, one after the other.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    /// A frame was begun and is not yet read to its end.
    within: bool,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.within {
                let read = self.read_frame(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
                self.within = false;
            }
            if self.source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.begin_frame()?;
        }
    }
}

impl<R: BufRead> Frames<R> {
    /// Some of the frame's bytes; none at its end.
    fn read_frame(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let one = || BlockDecodingStrategy::UptoBlocks(1);
        while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
            self.decoder
                .decode_blocks(&mut self.source, one())
                .map_err(io::Error::other)?;
        }
        self.decoder.read(buffer)
    }

    /// Begins the next frame, or passes over it if it has nothing to decompress.
    fn begin_frame(&mut self) -> io::Result<()> {
        let skipped = match self.decoder.init(&mut self.source) {
            Ok(()) => {
                self.within = true;
                return Ok(());
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => u64::from(length),
            Err(error) => return Err(io::Error::other(error)),
        };
        let mut content = self.source.by_ref().take(skipped);
        match io::copy(&mut content, &mut io::sink())? {
            copied if copied < skipped => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn read(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        reader(Cursor::new(bytes))?.read_to_end(&mut read)?;
        Ok(read)
    }

    fn compressed(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    #[test]
    fn frames_follow_each_other_and_some_are_passed_over() {
        let skipped = [&[0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let long = b"0123456789".repeat(100_000);
        let file = [
            compressed(b"one "),
            skipped,
            compressed(&long),
            compressed(b""),
        ]
        .concat();
        assert_eq!(read(file).unwrap(), [&b"one "[..], &long].concat());
    }

    #[test]
    fn what_is_not_compressed_is_read_as_it_is() {
        for text in [&b""[..], b"key", b"key,size\n"] {
            assert_eq!(read(text.to_vec()).unwrap(), text);
        }
    }

    #[test]
    fn a_file_that_is_cut_short_or_damaged_is_an_error() {
        let whole = compressed(&b"0123456789".repeat(1000));
        for length in 5..whole.len() {
            assert!(read(whole[..length].to_vec()).is_err(), "{length}");
        }
        assert!(read([&whole[..], b"more"].concat()).is_err());
    }
}
