//! The audit log: shown, followed over a break, and verified against what was kept.

use api::{
    audit::{Hash, Record},
    v1::{EntriesRequest, EntriesResponse, HeadRequest, HeadResponse, audit_server::Audit},
};
use serde_json::Value;
use tonic::{Request, Response, Result};

use crate::{
    Fake, Operator,
    fake::Node,
    line, lines,
    service::{Service, Streamed},
};

impl Node {
    /// Records that follow one another.
    pub(crate) fn record(&self, count: u64) {
        self.change(|state| {
            let log = &mut state.configured.audit;
            for _ in 0..count {
                let previous: Hash = log.last().map_or([0; 32], |last| last[480..].try_into().unwrap());
                let sequence = log.len() as u64 + 1;
                let record = Record {
                    sequence,
                    time_unix_ms: 1_000_000 * sequence,
                    calls: 1,
                    previous,
                    change: sequence.is_multiple_of(2),
                    role: "stele:admin".into(),
                    subject: "CN=alice, O=stele:admin".into(),
                    address: "10.0.0.9:1".into(),
                    method: "/stele.v1.Config/Apply".into(),
                    ..Record::default()
                };
                log.push(record.format().0.to_vec());
            }
        });
    }
}

#[tonic::async_trait]
impl Audit for Service {
    type EntriesStream = Streamed<EntriesResponse>;

    async fn entries(&self, request: Request<EntriesRequest>) -> Result<Response<Self::EntriesStream>> {
        let EntriesRequest { from, follow } = request.into_inner();
        let mut next = usize::try_from(from.max(1)).unwrap();
        Ok(Response::new(Box::pin(self.0.stream(move |state| {
            let log = &state.configured.audit;
            let entry =
                |(at, record): (usize, &Vec<u8>)| EntriesResponse { sequence: at as u64 + 1, record: record.clone() };
            let news: Vec<_> = log.iter().enumerate().skip(next - 1).map(entry).collect();
            next = next.max(log.len() + 1);
            (follow || !news.is_empty()).then_some(news)
        }))))
    }

    async fn head(&self, _: Request<HeadRequest>) -> Result<Response<HeadResponse>> {
        let state = self.0.state.lock().unwrap();
        let log = &state.configured.audit;
        let hash = log.last().map_or(vec![0; 32], |last| last[480..].to_vec());
        Ok(Response::new(HeadResponse { sequence: log.len() as u64, hash, oldest: 1, dropped: 0 }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_listed_and_followed_over_a_break() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    node.node.record(4);
    let all = operator.ask(&node, &["audit", "list", "-o", "json"]).await;
    assert_eq!(all.code, 0, "{}", all.err);
    let all: Vec<Value> = serde_json::from_str(&all.out).unwrap();
    assert_eq!((all.len(), &all[3]["subject"]), (4, &"CN=alice, O=stele:admin".into()));
    let changes = operator.ask(&node, &["audit", "list", "--changes", "-o", "json"]).await.out;
    assert_eq!(serde_json::from_str::<Vec<Value>>(&changes).unwrap().len(), 2);
    let table = operator.ask(&node, &["audit", "list", "--tail", "1"]).await.out;
    assert!(table.lines().count() == 2 && table.contains("Config/Apply") && table.contains("ok"), "{table}");

    let mut child = operator.start(&node, &["audit", "list", "-f", "--tail", "1", "-o", "json"]);
    let mut out = lines(&mut child);
    let number = |line: String| serde_json::from_str::<Value>(&line).unwrap()["sequence"].as_u64().unwrap();
    assert_eq!(number(line(&mut out).await), 4);
    node.cut();
    node.node.record(2);
    assert_eq!([number(line(&mut out).await), number(line(&mut out).await)], [5, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_is_found_out_by_what_was_kept() {
    let (operator, node) = (Operator::new(), Fake::start().await);
    node.node.record(5);
    let file = operator.config().join("heads.yaml").display().to_string();
    assert_eq!(operator.ask(&node, &["audit", "head", "--keep", &file]).await.code, 0);
    node.node.record(3);
    let ended = operator.ask(&node, &["audit", "verify", "--kept", &file, "--update", "-o", "json"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let found: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&found[0]["whole"], &found[0]["vouchedUpTo"], &found[0]["last"]), (&true.into(), &5.into(), &8.into()));

    // One byte of one record.
    let good = node.node.state.lock().unwrap().configured.audit.clone();
    node.node.change(|state| state.configured.audit[2][200] ^= 1);
    let ended = operator.ask(&node, &["audit", "verify"]).await;
    assert!(ended.code == 1 && ended.err.contains("record 3 cannot be read"), "{}: {}", ended.code, ended.err);

    // Another log altogether, whole in itself.
    node.node.change(|state| state.configured.audit = vec![]);
    node.node.change(|state| state.boot = "b".into());
    node.node.record(8);
    assert_eq!(
        operator.ask(&node, &["audit", "verify", "--kept", &file]).await.code,
        0,
        "the same calls, the same bytes"
    );
    node.node.change(|state| state.configured.audit.truncate(4));
    let ended = operator.ask(&node, &["audit", "verify", "--kept", &file]).await;
    assert!(ended.code == 1 && ended.err.contains("record 8, which was kept as head, is not there"), "{}", ended.err);
    let wrong = format!("8:{}", "ab".repeat(32));
    node.node.change(|state| state.configured.audit = good);
    let ended = operator.ask(&node, &["audit", "verify", "--head", &wrong]).await;
    assert!(ended.code == 1 && ended.err.contains("not the one that was kept as head"), "{}", ended.err);
}
