//! Sizes of the UKI and of each part of it, as `imager sizes` tells them, and of what is beside it on the disk.

use std::path::Path;

use anyhow::{Context, Result};

/// Name of a part and its bytes, for one kernel.
pub(crate) struct Figure {
    pub(crate) kernel: String,
    pub(crate) parts: Vec<(String, u64)>,
}

/// Reads the sizes that were written beside each image when it was built.
pub(crate) fn measure(out: &Path, kernels: &[String]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for kernel in kernels {
        let stem = if kernel == "generic" { "stele-metal-amd64" } else { "stele-amd64" };
        let path = out.join(format!("{stem}.sizes.json"));
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let parts: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text)?;
        let mut parts: Vec<_> = parts.into_iter().filter_map(|(name, size)| Some((name, size.as_u64()?))).collect();
        for (name, extension) in [("recovery UKI", "recovery.efi"), ("loader", "loader.efi")] {
            let file = out.join(stem).with_extension(extension);
            let size = file.metadata().with_context(|| format!("reading {}", file.display()))?.len();
            parts.push((name.to_owned(), size));
        }
        figures.push(Figure { kernel: kernel.clone(), parts });
    }
    Ok(figures)
}
