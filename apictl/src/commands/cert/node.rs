//! `apictl cert renew --node`: the node's own certificate, signed here.

use api::{
    facts::moment,
    pki::{Ca, Certificate, Node as Names, Request},
    v1::{
        EnrolmentRequestRequest, InstallRequest, ReadRequest, config_client::ConfigClient,
        enrolment_client::EnrolmentClient,
    },
};
use config::kinds::{Api, Authority};

use super::renew::Args;
use crate::{
    apply,
    bundle::{self, API, Bundle},
    exit::{Code, Failure, Result},
    node::{App, Node},
    target::Target,
};

pub(super) async fn run(app: &App, args: &Args) -> Result {
    let path = args.secrets.as_deref().unwrap_or(std::path::Path::new(""));
    let ca = Bundle::load(path)?.ca(API)?;
    let targets = app.targets()?;
    let answers = app
        .ask(async |node| match targets.iter().find(|target| target.name == node.name) {
            Some(target) => renew(node, target, &ca).await,
            None => Err(Failure::new(Code::NotFound, "no such node", "")),
        })
        .await?;
    for (node, certificate) in &answers.good {
        let until = moment(certificate.not_after);
        app.ui.note(&format!(
            "{}: its certificate is valid until {until}, for {}",
            node.name,
            certificate.names.join(", ")
        ));
    }
    answers.end()
}

/// Request, signature, installation.
pub(super) async fn renew(node: &Node, target: &Target, ca: &Ca) -> Result<Certificate> {
    let documents = ConfigClient::new(node.channel.clone()).read(ReadRequest { revision: 0 }).await?.into_inner();
    let stream = config::parse(&documents.documents).map_err(|_| {
        Failure::new(Code::Failed, "the node's documents cannot be read here", "use apictl of its version")
    })?;
    let api = stream.documents.of::<Api>().next().map(|(_, api)| api);
    let ttl = match (stream.documents.of::<Authority>().next(), api) {
        (Some(_), Some(api)) => api.certificates.server.0,
        _ => apply::YEAR,
    };
    let mut enrolment = EnrolmentClient::new(node.channel.clone());
    let asked = enrolment.request(EnrolmentRequestRequest {}).await?.into_inner();
    let request = Request::from_pem(&asked.request).map_err(bundle::failed)?;
    let names = apply::names(asked.names, target, api);
    let signed = ca.sign_node(&request, &Names { names, ttl }).map_err(bundle::failed)?;
    enrolment.install(InstallRequest { certificate: signed.pem() }).await?;
    Ok(signed)
}
