//! One repository of a registry (OCI distribution specification 1.1): manifests and blobs.

use std::time::Duration;

use config::image::Digest;
use config::image::pull::{Check, Endpoint};
use http::{StatusCode, header};

use super::client::{Body, Client};
use super::failure::Failure;
use super::spec::{INDEX, LARGEST, MANIFEST};

/// A repository.
pub(super) struct Registry {
    pub(super) client: Client,
    /// Its path behind `/v2`, and what the endpoint has in front.
    pub(super) path: String,
}

impl Registry {
    pub(super) fn new(endpoint: &Endpoint, repository: &str, stall: Duration) -> Result<Self, Failure> {
        let client = Client::new(endpoint, stall)?;
        let path = format!("/v2{}/{repository}", client.address.path);
        Ok(Self { client, path })
    }

    /// How it is called in messages.
    pub(super) fn name(&self) -> String {
        self.client.address.to_string()
    }

    /// A manifest or an index, by tag or by digest.
    pub(super) async fn manifest(&mut self, wanted: &str) -> Result<Vec<u8>, Failure> {
        let accept = vec![(header::ACCEPT, format!("{INDEX}, {MANIFEST}"))];
        let mut answer = self.client.get(&format!("{}/manifests/{wanted}", self.path), &accept).await?;
        match answer.status {
            StatusCode::OK => answer.body.whole(LARGEST).await,
            _ => Err(answer.failure(wanted)),
        }
    }

    /// A blob from this byte on, or from its start where the registry does not know how; says from where.
    pub(super) async fn blob(&mut self, digest: &Digest, from: u64) -> Result<(u64, Body), Failure> {
        let mut headers = Vec::new();
        if from > 0 {
            headers.push((header::RANGE, format!("bytes={from}-")));
        }
        let answer = self.client.get(&format!("{}/blobs/{digest}", self.path), &headers).await?;
        match answer.status {
            StatusCode::OK => Ok((0, answer.body)),
            StatusCode::PARTIAL_CONTENT if from > 0 => {
                let range = answer.headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
                if range.is_some_and(|range| range.starts_with(&format!("bytes {from}-"))) {
                    Ok((from, answer.body))
                } else {
                    Err(Failure::new(
                        Check::Digest,
                        format!("{digest}: the registry sends another piece than asked for"),
                    ))
                }
            }
            _ => Err(answer.failure(&digest.to_string())),
        }
    }
}
