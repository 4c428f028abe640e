//! What a module says about itself (its section `.modinfo`), and how modules are named.

/// What one module says about itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Module {
    /// Path below `/usr/lib/modules/<release>/`.
    pub path: String,
    /// Modules it cannot be loaded without.
    pub depends: Vec<String>,
    /// Device and other aliases.
    pub aliases: Vec<String>,
    /// Soft dependencies as `modules.softdep` has them: `pre: a b post: c`.
    pub softdeps: Vec<String>,
}

/// Modules are named with `_` everywhere but in file names.
pub(super) fn normal(name: &str) -> String {
    name.replace('-', "_")
}

pub(super) fn stem(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normal(file.split(".ko").next().unwrap_or(file))
}

pub(super) fn soft(module: &Module) -> impl Iterator<Item = String> {
    module.softdeps.iter().flat_map(|line| line.split_whitespace()).filter(|word| !word.ends_with(':')).map(normal)
}

/// `.modinfo` is a row of `key=value`, each ended by a zero byte.
pub(super) fn parse(path: &str, info: &[u8]) -> Module {
    let mut module = Module { path: path.to_owned(), ..Module::default() };
    for entry in info.split(|&byte| byte == 0) {
        let entry = String::from_utf8_lossy(entry);
        match entry.split_once('=') {
            Some(("depends", names)) => {
                module.depends.extend(names.split(',').filter(|name| !name.is_empty()).map(normal));
            }
            Some(("alias", pattern)) => module.aliases.push(pattern.to_owned()),
            Some(("softdep", line)) => module.softdeps.push(line.to_owned()),
            _ => {}
        }
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_modinfo() {
        let info = b"license=GPL\0alias=fs-erofs\0depends=libcrc32c,a-b\0softdep=pre: crc32c\0";
        let module = parse("kernel/fs/erofs/erofs.ko.xz", info);
        assert_eq!(module.depends, ["libcrc32c", "a_b"]);
        assert_eq!(module.aliases, ["fs-erofs"]);
        assert_eq!(soft(&module).collect::<Vec<_>>(), ["crc32c"]);
        assert_eq!(stem(&module.path), "erofs");
    }
}
