//! Reads the declarations of the image. Called once, by `build`.

use std::fs;
use std::io;

use config::service::{self, Service};

use super::{Context, Error};

/// All good declarations, in the order of their file names; those that do not parse are reported. One that cannot be read
/// is an error: it may be of a service that runs.
pub(super) fn load(context: &Context) -> Result<Vec<Service>, Error> {
    let dir = &context.paths.declarations;
    let mut files: Vec<_> = match fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(Error::Declarations)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            context.broken("services", &format!("cannot read {}: {error}", dir.display()));
            return Ok(Vec::new());
        }
        Err(error) => return Err(Error::Declarations(error)),
    };
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    let mut services: Vec<Service> = Vec::new();
    for path in files {
        let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read(&path).map_err(Error::Declarations)?;
        let service = String::from_utf8(text)
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
    Ok(services)
}
