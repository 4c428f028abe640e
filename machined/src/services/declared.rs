//! Reads the declarations of the image. Called once, by `build`.

use std::fs;

use config::service::{self, Service};

use super::Context;

/// All good declarations, in the order of their file names; the others are reported.
pub(super) fn load(context: &Context) -> Vec<Service> {
    let dir = &context.paths.declarations;
    let mut files: Vec<_> = match fs::read_dir(dir) {
        Ok(entries) => entries.filter_map(|e| Some(e.ok()?.path())).collect(),
        Err(error) => {
            context.broken("services", &format!("cannot read {}: {error}", dir.display()));
            return Vec::new();
        }
    };
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    let mut services: Vec<Service> = Vec::new();
    for path in files {
        let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let service = fs::read_to_string(&path)
            .map_err(|e| e.to_string())
            .and_then(|text| service::parse(&text).map_err(|problems| problems.to_string().replace('\n', "; ")));
        match service {
            Ok(service) if services.iter().any(|s| s.name == service.name) => {
                context.broken(&file, &format!("{}: another file declares {} too", path.display(), service.name));
            }
            Ok(service) => services.push(service),
            Err(why) => context.broken(&file, &format!("{}: {why}", path.display())),
        }
    }
    services
}
