//! The compressions of a batch, in the framings that Kafka's clients write.
//!
//! | id | name | framing |
//! | --- | --- | --- |
//! | 1 | gzip | RFC 1952, any number of members |
//! | 2 | snappy | raw, or as in Java: `\x82SNAPPY\0`, version:i32, compatible:i32, (length:i32, raw)* |
//! | 3 | lz4 | the frame format, blocks independent or linked |
//! | 4 | zstd | RFC 8878, any number of frames, without a dictionary |
//!
//! Invariant: decompression holds at most the bytes that the caller allows plus [`WINDOW_MAX`], whatever the input
//! claims. The checksums inside the framings are not looked at: the batch's own CRC covers every byte of them.

use super::error::BatchError;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};
use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The largest zstd window that is decoded: what every decoder must support, and what Kafka's clients write up to level
/// 19.
pub const WINDOW_MAX: usize = 8 << 20;

/// By how much the output grows where its size is not known beforehand.
const STEP: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    /// From the low three bits of a batch's attributes.
    pub fn from_id(id: u8) -> Result<Compression, BatchError> {
        match id {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            _ => Err(BatchError::UnknownCompression { id }),
        }
    }

    pub fn id(self) -> u8 {
        match self {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        }
    }
}

/// As in Kafka's `compression.type`.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        })
    }
}

/// Why one of the decoders below gave up.
enum Failure {
    Damaged,
    TooLarge,
}

/// Decompresses into at most `size_max` bytes, and never above 1 GiB. What takes more, or a window above [`WINDOW_MAX`],
/// is [`BatchError::DecompressedTooLarge`].
pub fn decompress(compression: Compression, input: &[u8], size_max: usize) -> Result<Vec<u8>, BatchError> {
    let size_max = size_max.min(1 << 30);
    let result = match compression {
        Compression::None if input.len() > size_max => Err(Failure::TooLarge),
        Compression::None => Ok(input.to_vec()),
        Compression::Gzip => gunzip(input, size_max),
        Compression::Snappy => unsnappy(input, size_max),
        Compression::Lz4 => unlz4(input, size_max),
        Compression::Zstd => unzstd(input, size_max),
    };
    result.map_err(|failure| match failure {
        Failure::Damaged => BatchError::Decompress { compression },
        Failure::TooLarge => BatchError::DecompressedTooLarge { size_max },
    })
}

/// Cuts `len` bytes off the front.
fn take<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], Failure> {
    let (taken, rest) = input.split_at_checked(len).ok_or(Failure::Damaged)?;
    *input = rest;
    Ok(taken)
}

fn take_array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], Failure> {
    let (taken, rest) = input.split_first_chunk().ok_or(Failure::Damaged)?;
    *input = rest;
    Ok(*taken)
}

/// Makes room for `len` more bytes behind the output, or refuses.
fn grow(output: &mut Vec<u8>, len: usize, size_max: usize) -> Result<(), Failure> {
    if len > size_max - output.len() {
        return Err(Failure::TooLarge);
    }
    output.resize(output.len() + len, 0);
    Ok(())
}

fn gunzip(mut input: &[u8], size_max: usize) -> Result<Vec<u8>, Failure> {
    let mut output = Vec::new();
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    loop {
        skip_gzip_header(&mut input)?;
        state.reset(DataFormat::Raw);
        inflate_member(&mut state, &mut input, &mut output, size_max)?;
        take(&mut input, 8)?; // CRC-32 and length
        if input.is_empty() {
            return Ok(output);
        }
    }
}

fn skip_gzip_header(input: &mut &[u8]) -> Result<(), Failure> {
    let [0x1f, 0x8b, 8, flags, _, _, _, _, _, _] = take_array::<10>(input)? else { return Err(Failure::Damaged) };
    if flags & 4 != 0 {
        let extra = u16::from_le_bytes(take_array(input)?);
        take(input, usize::from(extra))?;
    }
    // A file name and a comment, each ended by a zero.
    for flag in [8, 16] {
        if flags & flag != 0 {
            let end = input.iter().position(|byte| *byte == 0).ok_or(Failure::Damaged)?;
            take(input, end + 1)?;
        }
    }
    if flags & 2 != 0 {
        take(input, 2)?;
    }
    Ok(())
}

fn inflate_member(
    state: &mut InflateState,
    input: &mut &[u8],
    output: &mut Vec<u8>,
    size_max: usize,
) -> Result<(), Failure> {
    loop {
        let start = output.len();
        // One byte of room beyond the limit tells an output that ends at the limit from one that goes on.
        grow(output, STEP.min(size_max - start + 1), size_max + 1)?;
        let result = inflate(state, input, &mut output[start..], MZFlush::None);
        output.truncate(start + result.bytes_written);
        *input = &input[result.bytes_consumed..];
        if output.len() > size_max {
            return Err(Failure::TooLarge);
        }
        match result.status {
            Ok(MZStatus::StreamEnd) => return Ok(()),
            Ok(MZStatus::Ok) if result.bytes_written > 0 || result.bytes_consumed > 0 => {}
            Ok(MZStatus::Ok | MZStatus::NeedDict) | Err(_) => return Err(Failure::Damaged),
        }
    }
}

/// What the Java library begins with, followed by its version and the version that can read it.
const XERIAL: &[u8] = b"\x82SNAPPY\0";

fn unsnappy(input: &[u8], size_max: usize) -> Result<Vec<u8>, Failure> {
    let mut output = Vec::new();
    let Some(mut blocks) = input.strip_prefix(XERIAL) else {
        unsnappy_block(input, &mut output, size_max)?;
        return Ok(output);
    };
    take(&mut blocks, 8)?;
    while !blocks.is_empty() {
        let len = u32::from_be_bytes(take_array(&mut blocks)?);
        unsnappy_block(take(&mut blocks, len as usize)?, &mut output, size_max)?;
    }
    Ok(output)
}

fn unsnappy_block(block: &[u8], output: &mut Vec<u8>, size_max: usize) -> Result<(), Failure> {
    let len = snap::raw::decompress_len(block).map_err(|_| Failure::Damaged)?;
    // Three bytes of snappy give at most 64: what announces more is not large, it lies.
    if len / 32 > block.len() {
        return Err(Failure::Damaged);
    }
    let start = output.len();
    grow(output, len, size_max)?;
    let written = snap::raw::Decoder::new().decompress(block, &mut output[start..]);
    match written {
        Ok(written) if written == len => Ok(()),
        Ok(_) | Err(_) => Err(Failure::Damaged),
    }
}

const LZ4_MAGIC: u32 = 0x184d_2204;

fn unlz4(mut input: &[u8], size_max: usize) -> Result<Vec<u8>, Failure> {
    let mut output = Vec::new();
    while !input.is_empty() {
        unlz4_frame(&mut input, &mut output, size_max)?;
    }
    Ok(output)
}

fn unlz4_frame(input: &mut &[u8], output: &mut Vec<u8>, size_max: usize) -> Result<(), Failure> {
    let magic = u32::from_le_bytes(take_array(input)?);
    let [flags, sizes] = take_array(input)?;
    let block_size_max = match sizes >> 4 & 7 {
        id @ 4..=7 => 1usize << (8 + 2 * id),
        _ => return Err(Failure::Damaged),
    };
    if magic != LZ4_MAGIC || flags >> 6 != 1 {
        return Err(Failure::Damaged);
    }
    let (independent, block_checksum) = (flags & 0x20 != 0, flags & 0x10 != 0);
    let (content_size, content_checksum, dictionary) = (flags & 0x08 != 0, flags & 0x04 != 0, flags & 0x01 != 0);
    if dictionary {
        return Err(Failure::Damaged);
    }
    take(input, if content_size { 8 } else { 0 } + 1)?; // and the header's checksum
    let frame_start = output.len();
    loop {
        let len = u32::from_le_bytes(take_array(input)?);
        if len == 0 {
            break;
        }
        let block = take(input, (len & 0x7fff_ffff) as usize)?;
        if len >> 31 == 1 {
            let start = output.len();
            grow(output, block.len(), size_max)?;
            output[start..].copy_from_slice(block);
        } else {
            let window_start =
                if independent { output.len() } else { frame_start.max(output.len().saturating_sub(64 << 10)) };
            unlz4_block(block, output, window_start, block_size_max, size_max)?;
        }
        take(input, if block_checksum { 4 } else { 0 })?;
    }
    take(input, if content_checksum { 4 } else { 0 })?;
    Ok(())
}

/// Decompresses one block behind the output, which may refer to what stands there from `window_start` on.
fn unlz4_block(
    block: &[u8],
    output: &mut Vec<u8>,
    window_start: usize,
    block_size_max: usize,
    size_max: usize,
) -> Result<(), Failure> {
    let start = output.len();
    // A byte of lz4 gives at most 255.
    let room = block_size_max.min(block.len().saturating_mul(255)).min(size_max - start);
    grow(output, room, size_max)?;
    let (before, target) = output.split_at_mut(start);
    match lz4_flex::block::decompress_into_with_dict(block, target, &before[window_start..]) {
        Ok(written) => {
            output.truncate(start + written);
            Ok(())
        }
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if room == size_max - start => {
            Err(Failure::TooLarge)
        }
        Err(_) => Err(Failure::Damaged),
    }
}

/// The largest window that the decoder of Kafka's Java clients and brokers takes.
const KAFKAS_WINDOW_MAX: u64 = 1 << 27;

fn unzstd(mut input: &[u8], size_max: usize) -> Result<Vec<u8>, Failure> {
    let mut output = Vec::new();
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(WINDOW_MAX as u64);
    while !input.is_empty() {
        // Skippable frames: 0x184d2a50 to 0x184d2a5f, a length, and what it counts.
        if let [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, ..] = *input {
            take(&mut input, 8)?;
            take(&mut input, u32::from_le_bytes([a, b, c, d]) as usize)?;
            continue;
        }
        decoder.reset(&mut input).map_err(|error| match error {
            // Allowed, and more than we spend on it; what Kafka's own decoder refuses is refused.
            FrameDecoderError::WindowSizeTooBig { requested, .. } if requested <= KAFKAS_WINDOW_MAX => {
                Failure::TooLarge
            }
            _ => Failure::Damaged,
        })?;
        let mut finished = false;
        while !finished {
            finished = decoder
                .decode_blocks(&mut input, BlockDecodingStrategy::UptoBytes(STEP))
                .map_err(|_| Failure::Damaged)?;
            let len = decoder.can_collect();
            let start = output.len();
            grow(&mut output, len, size_max)?;
            let collected = decoder.collect_to_writer(&mut output[start..]).map_err(|_| Failure::Damaged)?;
            assert_eq!(collected, len, "the decoder gives what it says");
        }
    }
    Ok(output)
}

/// What an lz4 frame of independent blocks of at most 64 KiB begins with, the header's checksum included.
const LZ4_HEAD: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];

/// What gzip takes where nobody says otherwise.
const GZIP_LEVEL: u8 = 6;

/// Compresses, in a framing that every Kafka client reads. `level` is gzip's, 1 to 9; the other encoders have one.
pub fn compress(compression: Compression, level: Option<u8>, input: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => input.to_vec(),
        Compression::Gzip => gzip(level.unwrap_or(GZIP_LEVEL), input),
        Compression::Snappy => {
            snap::raw::Encoder::new().compress_vec(input).expect("below the 4 GiB that snappy takes")
        }
        Compression::Lz4 => lz4(input),
        Compression::Zstd => ruzstd::encoding::compress_to_vec(input, ruzstd::encoding::CompressionLevel::Fastest),
    }
}

fn gzip(level: u8, input: &[u8]) -> Vec<u8> {
    let mut output = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    output.extend(miniz_oxide::deflate::compress_to_vec(input, level));
    output.extend(crc32fast::hash(input).to_le_bytes());
    output.extend((input.len() as u32).to_le_bytes());
    output
}

fn lz4(input: &[u8]) -> Vec<u8> {
    let mut output = LZ4_HEAD.to_vec();
    for block in input.chunks(64 << 10) {
        let packed = lz4_flex::block::compress(block);
        let (stored, bytes) = if packed.len() < block.len() { (0, packed.as_slice()) } else { (1 << 31, block) };
        output.extend((bytes.len() as u32 | stored).to_le_bytes());
        output.extend(bytes);
    }
    output.extend([0; 4]);
    output
}
