//! Enrols a certificate for Secure Boot in an empty variable store of OVMF: as platform key, as key exchange key, and in
//! the list of what may start.
//!
//! The store is EDK2's (MdeModulePkg, `VariableFormat.h`): a header of the flash volume, one of the store, then variables,
//! each a header, a name and data, with erased flash (0xff) behind the last one. The lists of certificates are those of the
//! UEFI specification (2.10, section 32.4.1).

use anyhow::{Result, ensure};

/// `EFI_SYSTEM_NV_DATA_FV_GUID` stands in the volume's header, which is this long in OVMF's 4 MB firmware.
const VOLUME: usize = 0x48;
/// `gEfiAuthenticatedVariableGuid`, as bytes.
const AUTHENTICATED: [u8; 16] = guid(0xaaf3_2c78, 0x947b, 0x439a, [0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92]);
/// `VARIABLE_STORE_HEADER`.
const STORE: usize = 28;
/// Headers begin at multiples of it.
const ALIGNED: usize = 4;

const GLOBAL: [u8; 16] = guid(0x8be4_df61, 0x93ca, 0x11d2, [0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c]);
const SECURITY: [u8; 16] = guid(0xd719_b2cb, 0x3d3a, 0x4596, [0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f]);
const ENABLE: [u8; 16] = guid(0xf0a3_0bc7, 0xaf08, 0x4556, [0x99, 0xc4, 0x00, 0x10, 0x09, 0xc9, 0x3a, 0x44]);
const X509: [u8; 16] = guid(0xa5c0_59a1, 0x94e4, 0x4aa7, [0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72]);

/// Kept, and seen before and after the system's start.
const KEPT: u32 = 0x7;
/// Changed only by who signs the change.
const SIGNED: u32 = 0x20;
/// Of the firmware alone: kept, and gone from sight at the system's start.
const PRIVATE: u32 = 0x3;

/// Makes a store trust what the owner of one certificate (DER) signs, and turns Secure Boot on.
pub(super) fn trust(store: &mut [u8], certificate: &[u8]) -> Result<()> {
    let known = store.get(VOLUME..VOLUME + AUTHENTICATED.len()) == Some(&AUTHENTICATED);
    ensure!(known, "the firmware's variables are not in the format of EDK2's authenticated variables");
    let list = list(certificate)?;
    let mut at = VOLUME + STORE;
    for (name, owner, attributes, data) in [
        ("PK", GLOBAL, KEPT | SIGNED, &*list),
        ("KEK", GLOBAL, KEPT | SIGNED, &*list),
        ("db", SECURITY, KEPT | SIGNED, &*list),
        ("SecureBootEnable", ENABLE, PRIVATE, &[1]),
    ] {
        let bytes = variable(name, owner, attributes, data)?;
        let place = store.get_mut(at..at + bytes.len()).filter(|place| place.iter().all(|byte| *byte == 0xff));
        ensure!(place.is_some(), "the firmware's variables are not empty or too small");
        if let Some(place) = place {
            place.copy_from_slice(&bytes);
        }
        at = (at + bytes.len()).next_multiple_of(ALIGNED);
    }
    Ok(())
}

/// `EFI_SIGNATURE_LIST` with one certificate.
fn list(certificate: &[u8]) -> Result<Vec<u8>> {
    let entry = u32::try_from(GLOBAL.len() + certificate.len())?;
    let mut bytes = X509.to_vec();
    for size in [entry + 28, 0, entry] {
        bytes.extend(size.to_le_bytes());
    }
    bytes.extend(GLOBAL); // whose it is: anybody's
    bytes.extend(certificate);
    Ok(bytes)
}

/// `AUTHENTICATED_VARIABLE_HEADER` with name and data.
fn variable(name: &str, owner: [u8; 16], attributes: u32, data: &[u8]) -> Result<Vec<u8>> {
    const START: u16 = 0x55aa;
    const ADDED: u8 = 0x3f;
    let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let mut bytes = START.to_le_bytes().to_vec();
    bytes.extend([ADDED, 0]);
    bytes.extend(attributes.to_le_bytes());
    bytes.extend([0; 8 + 16 + 4]); // counter, time of the last signed change, place of its key: never changed
    bytes.extend(u32::try_from(name.len())?.to_le_bytes());
    bytes.extend(u32::try_from(data.len())?.to_le_bytes());
    bytes.extend(owner);
    bytes.extend(name);
    bytes.extend(data);
    Ok(bytes)
}

/// The bytes of a GUID: the first three fields are little-endian.
const fn guid(first: u32, second: u16, third: u16, rest: [u8; 8]) -> [u8; 16] {
    let [a, b, c, d] = first.to_le_bytes();
    let [e, f] = second.to_le_bytes();
    let [g, h] = third.to_le_bytes();
    let [i, j, k, l, m, n, o, p] = rest;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}
