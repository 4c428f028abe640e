//! The firmware's services: the one place that holds its tables. They last until the kernel takes over, which is after this
//! program's last instruction.

use core::{
    ffi::c_void,
    ops::{Deref, DerefMut},
    ptr::{self, NonNull},
    slice,
};

use uefi_raw::{
    Guid, Handle, Status,
    protocol::{
        block::BlockIoProtocol, device_path::DevicePathProtocol, file_system::SimpleFileSystemProtocol,
        loaded_image::LoadedImageProtocol,
    },
    table::{
        boot::{AllocateType, BootServices, MemoryType, PAGE_SIZE},
        runtime::{ResetType, RuntimeServices},
        system::SystemTable,
    },
};

use crate::path;

/// A protocol of the firmware.
///
/// # Safety
/// What the firmware has under this GUID is a `Self`.
pub(crate) unsafe trait Protocol {
    const GUID: Guid;
}

// SAFETY: so says the UEFI specification (2.10), in sections 13.9, 13.4, 9.1 and 10.2.
unsafe impl Protocol for BlockIoProtocol {
    const GUID: Guid = Self::GUID;
}
// SAFETY: see above.
unsafe impl Protocol for SimpleFileSystemProtocol {
    const GUID: Guid = Self::GUID;
}
// SAFETY: see above.
unsafe impl Protocol for LoadedImageProtocol {
    const GUID: Guid = Self::GUID;
}
// SAFETY: see above.
unsafe impl Protocol for DevicePathProtocol {
    const GUID: Guid = Self::GUID;
}

/// LocateHandleBuffer's search by protocol (UEFI 2.10, section 7.3.9).
const BY_PROTOCOL: i32 = 2;

/// Tells our resets of the watchdog from the firmware's own, which uses codes up to 0xffff.
const WATCHDOG_CODE: u64 = 0x5354_454c_4500;

/// The firmware as this program sees it.
#[derive(Clone, Copy)]
pub(crate) struct Firmware {
    pub(crate) image: Handle,
    pub(crate) table: &'static SystemTable,
    boot: &'static BootServices,
    runtime: &'static RuntimeServices,
}

impl Firmware {
    /// # Safety
    /// `image` and `table` are what the firmware passed to the entry point, and boot services are not ended while the result
    /// is used.
    pub(crate) unsafe fn new(image: Handle, table: *const SystemTable) -> Option<Self> {
        // SAFETY: the caller's promise; the two tables are there as long as boot services are.
        unsafe {
            let table = table.as_ref()?;
            let (boot, runtime) = (table.boot_services.as_ref()?, table.runtime_services.as_ref()?);
            Some(Self { image, table, boot, runtime })
        }
    }

    /// The services themselves, for what only one file calls.
    pub(crate) fn boot(&self) -> &'static BootServices {
        self.boot
    }

    pub(crate) fn runtime(&self) -> &'static RuntimeServices {
        self.runtime
    }

    pub(crate) fn protocol<T: Protocol>(&self, handle: Handle) -> Option<NonNull<T>> {
        let mut found = ptr::null_mut();
        // SAFETY: the GUID and the place for the answer are valid for the call; a wrong handle is refused.
        let status = unsafe { (self.boot.handle_protocol)(handle, &T::GUID, &raw mut found) };
        if status.is_success() { NonNull::new(found.cast()) } else { None }
    }

    /// The one interface that there is under a GUID, whatever handle has it.
    pub(crate) fn only(&self, guid: &Guid) -> Option<NonNull<c_void>> {
        let mut found = ptr::null_mut();
        // SAFETY: the GUID and the place for the answer are valid for the call; without a registration any instance is found.
        let status = unsafe { (self.boot.locate_protocol)(guid, ptr::null_mut(), &raw mut found) };
        if status.is_success() { NonNull::new(found) } else { None }
    }

    /// All handles with a protocol. (The list stays allocated, as little as it is: the kernel takes the memory back.)
    pub(crate) fn handles<T: Protocol>(&self) -> &'static [Handle] {
        let (mut count, mut list) = (0, ptr::null_mut());
        // SAFETY: the GUID and the places for the answers are valid for the call.
        let status = unsafe {
            (self.boot.locate_handle_buffer)(BY_PROTOCOL, &T::GUID, ptr::null(), &raw mut count, &raw mut list)
        };
        if !status.is_success() || list.is_null() {
            return &[];
        }
        // SAFETY: the firmware allocated the list for us and says how long it is; nobody frees it.
        unsafe { slice::from_raw_parts(list, count) }
    }

    /// A handle's device path with its end node.
    pub(crate) fn device_path(&self, handle: Handle) -> Option<&'static [u8]> {
        let start = self.protocol::<DevicePathProtocol>(handle)?;
        // SAFETY: a device path of the firmware ends with an end node and stays while its handle does.
        unsafe { path::bytes(start.as_ptr().cast()) }
    }

    /// Memory in whole pages.
    pub(crate) fn pages(&self, len: usize) -> Option<Pages> {
        let (count, mut start) = (len.div_ceil(PAGE_SIZE), 0);
        // SAFETY: the place for the answer is valid for the call.
        let status = unsafe {
            (self.boot.allocate_pages)(AllocateType::ANY_PAGES, MemoryType::LOADER_DATA, count, &raw mut start)
        };
        if !status.is_success() {
            return None;
        }
        let start = NonNull::new(ptr::with_exposed_provenance_mut(usize::try_from(start).ok()?))?;
        Some(Pages { boot: self.boot, start, len })
    }

    /// Resets the machine after that time, unless it is armed again or the kernel takes over.
    pub(crate) fn arm_watchdog(&self, seconds: usize) {
        // SAFETY: no data is passed. A firmware without a timer refuses, and there is nothing else to do then.
        let _ = unsafe { (self.boot.set_watchdog_timer)(seconds, WATCHDOG_CODE, 0, ptr::null()) };
    }

    pub(crate) fn wait(&self, seconds: usize) {
        for _ in 0..seconds {
            // SAFETY: no pointers.
            let _ = unsafe { (self.boot.stall)(1_000_000) };
        }
    }

    pub(crate) fn reset(&self) -> ! {
        // SAFETY: no data is passed. It does not return (UEFI 2.10, section 8.5.1).
        unsafe { (self.runtime.reset_system)(ResetType::COLD, Status::SUCCESS, 0, ptr::null()) }
    }
}

/// Memory of our own, given back when dropped.
pub(crate) struct Pages {
    boot: &'static BootServices,
    start: NonNull<u8>,
    len: usize,
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the firmware gave us this memory alone, at least `len` bytes of it. Whatever it holds, they are bytes.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: see above.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: they were allocated with the same number of pages, and no slice of them outlives `self`.
        let _ = unsafe { (self.boot.free_pages)(self.start.as_ptr() as u64, self.len.div_ceil(PAGE_SIZE)) };
    }
}
