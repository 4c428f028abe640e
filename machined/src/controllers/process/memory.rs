//! Memory in use, read from /proc/meminfo when somebody asks.

use procfs::{Current, Meminfo};

use crate::resources::memory::Memory;

/// The one object, unless the kernel does not say.
pub fn read() -> Vec<(String, Memory)> {
    let Ok(info) = Meminfo::current() else { return Vec::new() };
    let available = info.mem_available.unwrap_or(info.mem_free);
    let memory = Memory {
        total_bytes: info.mem_total,
        available_bytes: available,
        used_bytes: info.mem_total.saturating_sub(available),
    };
    vec![(Memory::ID.into(), memory)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_is_used_and_some_is_left() {
        let (_, memory) = read().pop().unwrap();
        assert!(memory.used_bytes > 0 && memory.available_bytes > 0);
        assert_eq!(memory.used_bytes + memory.available_bytes, memory.total_bytes);
    }
}
