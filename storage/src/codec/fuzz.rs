//! What fuzzers feed to the codec: bytes as they may stand on a damaged disk.
//!
//! Each body may refuse its bytes, and must neither panic nor ask for more memory than they can fill. What it does not
//! refuse has to come back as the same when it is written and read again.

use super::{
    Encoder, FRAME_BYTES, Family, HEADER_BYTES, MAGIC, Names, VERSION, checksum, decode, decode_commit,
    decode_quarantine, decode_terms, hex, keys, unframe,
};

/// A record: family, length of the key, key, value. Read as it is, and once more with a frame that holds, so that bodies
/// are reached.
///
/// # Panics
/// Where a record that was read cannot be written, or is another one when it is read again.
pub fn record(bytes: &[u8]) {
    let (family, key, value) = split(bytes);
    comes_back(family, key, value);
    if value.len() >= FRAME_BYTES {
        let value = framed(family, key, value);
        comes_back(family, key, &value);
        let _ = (decode_quarantine(key, &value), hex(key));
        for key in [keys::COMMIT, keys::TERMS] {
            let value = framed(Family::Meta, key, &value);
            let _ = (decode_commit(&value), decode_terms(&value));
        }
    }
}

/// A frame: whatever is read as one is, byte for byte, the one that would be written around its body.
///
/// # Panics
/// Where a frame is believed that we never write.
pub fn frame(bytes: &[u8]) {
    let (family, key, value) = split(bytes);
    let holds = |value: &[u8]| match unframe(family, key, value) {
        Ok((kind, body)) => {
            assert_eq!((value[1], &value[FRAME_BYTES..]), (kind, body));
            assert_eq!(framed(family, key, value), value, "a frame that we never write");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    };
    holds(value);
    if value.len() >= FRAME_BYTES {
        let mut value = framed(family, key, value);
        holds(&value);
        assert!(unframe(family, key, &value).is_ok());
        // Any other bit turns it into no frame at all.
        let at = usize::from(bytes.last().copied().unwrap_or(0)) % value.len();
        value[at] ^= 1 << (bytes.len() % 8);
        assert!(unframe(family, key, &value).is_err(), "byte {at} of {value:02x?} was changed");
    }
}

/// A key: what is read as one is written as the same bytes.
///
/// # Panics
/// Where it is not.
pub fn key(bytes: &[u8]) {
    let (&first, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let family = Family::ALL[usize::from(first) % Family::ALL.len()];
    let mut names = Names::default();
    if let Some(key) = keys::decode(family, bytes, &mut |text| names.intern(text)) {
        let mut encoder = Encoder::default();
        assert_eq!(encoder.key(&key), Ok((family, bytes)), "{key:?}");
    }
}

fn comes_back(family: Family, key: &[u8], value: &[u8]) {
    let mut names = Names::default();
    let Ok(record) = decode(family, key, value, &mut names) else { return };
    let mut encoder = Encoder::default();
    let encoded = encoder.put(&record);
    let encoded = encoded.unwrap_or_else(|error| panic!("read and cannot be written: {error}: {record:?}"));
    assert_eq!((encoded.family, encoded.key), (family, key), "{record:?}");
    let again = decode(family, key, encoded.value, &mut names);
    assert_eq!(again.as_ref(), Ok(&record), "it came back as another one");
}

fn split(bytes: &[u8]) -> (Family, &[u8], &[u8]) {
    let (&first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let (&length, rest) = rest.split_first().unwrap_or((&0, &[]));
    let (key, value) = rest.split_at(usize::from(length).min(rest.len()));
    (Family::ALL[usize::from(first) % Family::ALL.len()], key, value)
}

/// The value with its magic, version, length and checksum made right.
fn framed(family: Family, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    let length = u32::try_from(value.len() - FRAME_BYTES).unwrap_or(u32::MAX);
    value[0] = MAGIC | VERSION;
    value[2..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(family, key, &value);
    value[HEADER_BYTES..FRAME_BYTES].copy_from_slice(&crc.to_le_bytes());
    value
}
