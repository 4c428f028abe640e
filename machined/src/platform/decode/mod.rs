//! User-data to text: plain, gzip, zstd, base64, MIME multipart, also one in another. Pure; any bytes are fine.
//!
//! Invariant: what comes out is at most [`TEXT`] bytes, and no step on the way makes more. No refusal quotes the source.

mod foreign;
mod multipart;

use std::io::Read;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Bytes of user-data as it is fetched: far above what any cloud takes.
pub(super) const RAW: usize = 16 << 20;
/// Bytes of text: a thousand documents are some 300 KiB.
pub(super) const TEXT: usize = 4 << 20;
/// One in another: base64 of gzip of a multipart with gzip in base64 is the longest that tools make.
const LAYERS: usize = 6;
/// Window of zstd, what RFC 8878 asks every decoder for; `--ultra` makes larger ones.
const WINDOW: u64 = 8 << 20;

/// Why user-data cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("it is empty: write Stele's documents into it")]
    Empty,
    #[error("it has more than {} MiB: machines are configured with some KiB of documents", RAW >> 20)]
    Large,
    #[error("unpacked it has more than {} MiB: machines are configured with some KiB of documents", TEXT >> 20)]
    Bomb,
    #[error("it is packed more than {LAYERS} times: pack it once, by gzip or zstd, or not at all")]
    Layers,
    #[error("its {0} is damaged or cut: make it anew")]
    Damaged(&'static str),
    #[error("it is {0}: use gzip, zstd, or plain text")]
    Packing(&'static str),
    #[error("it is no UTF-8 text, and not packed by gzip, zstd or base64")]
    Binary,
    #[error("it is {0}: write Stele's documents (apiVersion: stele/v1) in its place")]
    Foreign(&'static str),
    #[error("{0}")]
    Multipart(multipart::Error),
}

/// The text in there.
pub(super) fn decode(bytes: &[u8]) -> Result<Zeroizing<String>, Error> {
    if bytes.len() > RAW {
        return Err(Error::Large);
    }
    unwrap(bytes, LAYERS)
}

fn unwrap(bytes: &[u8], layers: usize) -> Result<Zeroizing<String>, Error> {
    let Some(deeper) = layers.checked_sub(1) else { return Err(Error::Layers) };
    if bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
        return Err(Error::Empty);
    }
    if let Some(unpacked) = unpack(bytes)? {
        return unwrap(&unpacked, deeper);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| foreign::packing(bytes).map_or(Error::Binary, Error::Packing))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(decoded) = base64(text)? {
        return unwrap(&decoded, deeper);
    }
    if multipart::is(text) {
        return multipart::decode(text, |part| unwrap(part, deeper));
    }
    if let Some(name) = foreign::name(text) {
        return Err(Error::Foreign(name));
    }
    if text.len() > TEXT {
        return Err(Error::Bomb);
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// Undoes gzip or zstd.
fn unpack(bytes: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return bounded(flate2::read::MultiGzDecoder::new(bytes), "gzip").map(Some);
    }
    if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return zstd(bytes).map(Some);
    }
    Ok(None)
}

/// Frame after frame, as RFC 8878 has it; all of them have to be whole.
fn zstd(mut bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let damaged = |_| Error::Damaged("zstd");
    let mut text = Zeroizing::new(Vec::new());
    while !bytes.is_empty() {
        let mut decoder = ruzstd::decoding::FrameDecoder::new();
        decoder.set_max_window_size(WINDOW);
        let frame = ruzstd::decoding::StreamingDecoder::new_with_decoder(&mut bytes, decoder).map_err(damaged)?;
        text.extend_from_slice(&bounded(frame, "zstd")?);
        if text.len() > TEXT {
            return Err(Error::Bomb);
        }
    }
    Ok(text)
}

/// Reads to the end, but not more than a text may have.
fn bounded(from: impl Read, what: &'static str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut text = Zeroizing::new(Vec::new());
    from.take(TEXT as u64 + 1).read_to_end(&mut text).map_err(|_| Error::Damaged(what))?;
    if text.len() > TEXT { Err(Error::Bomb) } else { Ok(text) }
}

/// Documents have a colon somewhere, which base64 has not; so what has only its letters is base64.
fn base64(text: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect());
    if !bytes.iter().all(letter) {
        return Ok(None);
    }
    let alphabet =
        if bytes.iter().any(|byte| matches!(byte, b'-' | b'_')) { alphabet::URL_SAFE } else { alphabet::STANDARD };
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(&alphabet, lenient).decode(&*bytes).map_err(|_| Error::Damaged("base64"))?;
    Ok(Some(Zeroizing::new(decoded)))
}

#[cfg(test)]
mod tests;
