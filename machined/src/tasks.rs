//! The tasks machined is made of. Each is meant to run for as long as machined does; one that ends is named, and machined
//! ends with it and is started again by init, rather than going on without an organ.

use std::future::Future;

use tokio::task::{Id, JoinSet};

/// Named tasks.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<()>,
    names: Vec<(Id, &'static str)>,
}

impl Tasks {
    /// Starts a task that is not meant to end.
    pub fn start(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.names.push((self.set.spawn(task).id(), name));
    }

    /// Waits for any of them to end; returns its name and why. Cancel-safe.
    pub async fn ended(&mut self) -> (&'static str, String) {
        let (id, why) = match self.set.join_next_with_id().await {
            Some(Ok((id, ()))) => (id, "it came to its end".to_owned()),
            Some(Err(error)) => (error.id(), error.to_string()),
            None => return std::future::pending().await,
        };
        (self.names.iter().find(|(of, _)| *of == id).map_or("?", |(_, name)| name), why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_ends_is_named() {
        let mut tasks = Tasks::default();
        tasks.start("stays", std::future::pending());
        tasks.start("goes", async {});
        assert_eq!(tasks.ended().await.0, "goes");
    }
}
