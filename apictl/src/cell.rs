//! JSON values as cells of a table, in units people read.
//!
//! Invariant: the unit is in the field's name (`sizeBytes`, `sinceUptimeMs`, `timeUnixMs`), so a type needs no code
//! here; JSON and YAML show the plain numbers.

use api::v1::Column;
use jiff::Timestamp;
use serde_json::Value;

/// What a number means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    None,
    Bytes,
    /// Since 1970.
    UnixMs,
    Ms,
}

impl Unit {
    fn of(pointer: &str) -> Self {
        match pointer.rsplit('/').next().unwrap_or_default() {
            // Without a suffix by their nature: memory and disks are counted in bytes only.
            "size" | "memory" => Self::Bytes,
            name if name.ends_with("Bytes") => Self::Bytes,
            name if name.ends_with("UnixMs") => Self::UnixMs,
            name if name.ends_with("Ms") => Self::Ms,
            _ => Self::None,
        }
    }
}

/// The heading above such cells: without the unit that they show themselves.
pub(crate) fn header(column: &Column) -> String {
    match Unit::of(&column.pointer) {
        Unit::None => column.header.clone(),
        _ => column.header.trim_end_matches("-MS").to_owned(),
    }
}

/// A value below a pointer; lists with commas, what is nested as JSON.
pub(crate) fn cell(pointer: &str, value: &Value) -> String {
    match (value, Unit::of(pointer)) {
        (Value::Null, _) => String::new(),
        (Value::String(text), _) => text.clone(),
        (Value::Array(all), _) if all.iter().all(|one| !one.is_array() && !one.is_object()) => {
            all.iter().map(|one| cell(pointer, one)).collect::<Vec<_>>().join(",")
        }
        (Value::Number(number), Unit::Bytes) => number.as_u64().map_or_else(|| number.to_string(), bytes),
        (Value::Number(number), Unit::Ms) => {
            number.as_u64().map_or_else(|| number.to_string(), |ms| format!("{}.{:03}s", ms / 1000, ms % 1000))
        }
        (Value::Number(number), Unit::UnixMs) => {
            let time = number.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
            time.map_or_else(|| number.to_string(), |time| format!("{time:.0}"))
        }
        (other, _) => other.to_string(),
    }
}

/// In units of 1024, three digits at most before the point.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // Tenths, so that no rounding error of floating point shows.
    let (mut tenths, mut unit) = (u128::from(count) * 10 / 1024, 0);
    while tenths >= 10240 {
        tenths /= 1024;
        unit += 1;
    }
    let (whole, tenth) = (tenths / 10, tenths % 10);
    if tenth == 0 { format!("{whole} {}", UNITS[unit]) } else { format!("{whole}.{tenth} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_shown_in_their_unit() {
        for (pointer, value, shown) in [
            ("/sizeBytes", json!(0), "0 B"),
            ("/size", json!(1024), "1 KiB"),
            ("/memory", json!(1_572_864), "1.5 MiB"),
            ("/size", json!(u64::MAX), "15.9 EiB"),
            ("/cpuMs", json!(12_034), "12.034s"),
            ("/sinceUnixMs", json!(1_767_225_600_000_u64), "2026-01-01T00:00:00Z"),
            ("/version", json!(12), "12"),
            ("/size", json!("big"), "big"),
            ("/flags", json!(["a", "b"]), "a,b"),
            ("/deep", json!({"x": 1}), r#"{"x":1}"#),
            ("/none", json!(null), ""),
        ] {
            assert_eq!(cell(pointer, &value), shown, "{pointer}");
        }
        let column = Column { header: "UPTIME-MS".into(), pointer: "/uptimeMs".into(), wide: false };
        assert_eq!(header(&column), "UPTIME");
    }
}
