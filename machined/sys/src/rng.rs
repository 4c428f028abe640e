//! Credited entropy for the kernel's generator: RNDADDENTROPY. Only bytes that really are secret and random belong here.

use std::ffi::c_int;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;

const ADD_ENTROPY: libc::Ioctl = 0x4008_5203;
/// As many bytes as the generator's pool state holds twice over; more adds nothing.
pub const MAX: usize = 64;

/// Adds at most [`MAX`] bytes and credits eight bits for each.
pub fn credit(secret: &[u8]) -> io::Result<()> {
    #[repr(C)]
    struct PoolInfo {
        entropy_bits: c_int,
        size: c_int,
        bytes: [u8; MAX],
    }
    let len = secret.len().min(MAX);
    let size = c_int::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut info = PoolInfo { entropy_bits: size * 8, size, bytes: [0; MAX] };
    info.bytes[..len].copy_from_slice(&secret[..len]);
    let device = OpenOptions::new().write(true).open("/dev/urandom")?;
    // SAFETY: the request reads a rand_pool_info with `size` bytes behind it, which `info` is.
    if unsafe { libc::ioctl(device.as_raw_fd(), ADD_ENTROPY, &raw const info) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
