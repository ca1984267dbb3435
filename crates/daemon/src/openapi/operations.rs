//! Route by route: what it takes, what it answers, and by which codes it refuses.

use lockstep_model::Code;
use serde_json::{Value, json};

/// One route.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: Vec<Parameter>,
    /// Content type and schema.
    pub(super) body: Option<(&'static str, &'static str)>,
    pub(super) body_required: bool,
    pub(super) answers: Vec<Answer>,
    pub(super) codes: Vec<Code>,
}

/// A parameter.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    pub(super) place: &'static str,
    pub(super) name: &'static str,
    kind: &'static str,
    means: &'static str,
}

impl Parameter {
    pub(super) fn described(&self) -> Value {
        let Self { place, name, kind, means } = self;
        let required = *place == "path";
        json!({"name": name, "in": place, "required": required, "schema": {"type": kind}, "description": means})
    }
}

/// An answer that is no problem document.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) means: &'static str,
    pub(super) kind: &'static str,
    pub(super) schema: &'static str,
}

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

const OP_ID: Parameter =
    Parameter { place: "path", name: "op_id", kind: "string", means: "The operation's id, a UUID" };
const ACK: Parameter = Parameter {
    place: "query",
    name: "ack",
    kind: "string",
    means: "committed (default) or logged: what is waited for",
};
const TIMEOUT: Parameter = Parameter {
    place: "query",
    name: "timeout",
    kind: "string",
    means: "How long to wait, as in 5s or 300ms; 30s by default, at most 24h",
};
const IDEMPOTENCY_KEY: Parameter = Parameter {
    place: "header",
    name: "Idempotency-Key",
    kind: "string",
    means: "The same key runs once and gets the same answer",
};

const fn query(name: &'static str, kind: &'static str, means: &'static str) -> Parameter {
    Parameter { place: "query", name, kind, means }
}

const fn in_path(name: &'static str, means: &'static str) -> Parameter {
    Parameter { place: "path", name, kind: "string", means }
}

fn get(path: &'static str, name: &'static str, summary: &'static str) -> Operation {
    Operation {
        method: "get",
        path,
        name,
        summary,
        parameters: Vec::new(),
        body: None,
        body_required: false,
        answers: Vec::new(),
        codes: Vec::new(),
    }
}

fn post(path: &'static str, name: &'static str, summary: &'static str) -> Operation {
    Operation { method: "post", ..get(path, name, summary) }
}

impl Operation {
    fn with(mut self, parameters: &[Parameter]) -> Self {
        self.parameters.extend_from_slice(parameters);
        self
    }

    /// A body in JSON; reading it can fail in three ways.
    fn takes(mut self, schema: &'static str) -> Self {
        self.body = Some((JSON, schema));
        self.body_required = true;
        self.refuses(&[Code::Malformed, Code::TooLarge, Code::Overloaded])
    }

    fn may_take(self, schema: &'static str) -> Self {
        Self { body_required: false, ..self.takes(schema) }
    }

    fn answers(self, status: u16, means: &'static str, schema: &'static str) -> Self {
        self.answers_in(JSON, status, means, schema)
    }

    fn answers_in(mut self, kind: &'static str, status: u16, means: &'static str, schema: &'static str) -> Self {
        self.answers.push(Answer { status, means, kind, schema });
        self
    }

    fn refuses(mut self, codes: &[Code]) -> Self {
        self.codes.extend(codes.iter().filter(|code| !self.codes.contains(code)).copied().collect::<Vec<_>>());
        self
    }
}

/// All of them.
pub(super) fn operations() -> Vec<Operation> {
    let mut all = of_operations();
    all.extend(of_stores());
    all.extend(of_the_daemon());
    all
}

/// What can become of an operation that is sent: refused before the log, or at its turn.
const OP_CODES: [Code; 20] = [
    Code::Malformed,
    Code::NotFound,
    Code::UnknownTable,
    Code::PreconditionFailed,
    Code::IdempotencyMismatch,
    Code::NewerVersion,
    Code::TooLarge,
    Code::DimensionMismatch,
    Code::UnknownVector,
    Code::VectorMissing,
    Code::NotIndexed,
    Code::RejectedBySurreal,
    Code::RejectedByQdrant,
    Code::Parked,
    Code::NotImplemented,
    Code::WalFull,
    Code::Overloaded,
    Code::Stopping,
    Code::StoreUnavailable,
    Code::DiskFull,
];

fn of_operations() -> Vec<Operation> {
    let decisions = [Code::Malformed, Code::NotFound, Code::PreconditionFailed, Code::Stopping, Code::StoreUnavailable];
    vec![
        post("/v1/ops", "takeOperation", "Takes one operation")
            .with(&[ACK, TIMEOUT, IDEMPOTENCY_KEY])
            .takes("Operation")
            .answers(200, "It is committed", "OpAnswer")
            .answers(202, "It is logged, and has come this far", "OpAnswer")
            .refuses(&OP_CODES),
        get("/v1/ops", "listOperations", "Operations, newest first")
            .with(&[
                query("state", "string", "Only those in this state"),
                query("key", "string", "Only those on this key"),
                query("limit", "integer", "At most so many: 100 by default, at most 1000"),
                query("cursor", "string", "Where an earlier page ended"),
            ])
            .answers(200, "A page", "OpsPage")
            .refuses(&[Code::Malformed, Code::StoreUnavailable]),
        get("/v1/ops/{op_id}", "showOperation", "One operation, with its history")
            .with(&[OP_ID])
            .answers(200, "What is known of it", "OpView")
            .refuses(&[Code::Malformed, Code::NotFound, Code::StoreUnavailable]),
        post("/v1/ops/{op_id}/retry", "retryOperation", "Logs a parked operation's content as a new operation")
            .with(&[OP_ID])
            .may_take("RetryRequest")
            .answers(200, "The old one is discarded, the new one logged", "DecisionAnswer")
            .refuses(&decisions)
            .refuses(&[Code::Superseded, Code::WalFull, Code::DiskFull]),
        post("/v1/ops/{op_id}/rollback", "rollBackOperation", "Takes back what a parked operation has done")
            .with(&[OP_ID])
            .may_take("DecisionRequest")
            .answers(200, "It is rolled back", "DecisionAnswer")
            .refuses(&decisions)
            .refuses(&[Code::Parked]),
        post("/v1/ops/{op_id}/discard", "discardOperation", "Leaves what a parked operation has done as it is")
            .with(&[OP_ID])
            .may_take("DecisionRequest")
            .answers(200, "It is discarded", "DecisionAnswer")
            .refuses(&decisions),
        Operation {
            body: Some((NDJSON, "Operation")),
            body_required: true,
            ..post("/v1/bulk", "takeOperations", "Takes many operations, one a line")
        }
        .with(&[ACK])
        .answers_in(NDJSON, 200, "One line for each, in the order of the input", "BulkLine")
        .refuses(&[Code::Malformed]),
        post("/v1/barrier", "waitForAll", "Waits until everything that was logged before has ended")
            .with(&[TIMEOUT])
            .answers(200, "All has ended", "BarrierAnswer")
            .answers(202, "Not yet", "BarrierAnswer")
            .refuses(&[Code::Malformed, Code::Stopping]),
    ]
}

fn of_stores() -> Vec<Operation> {
    vec![
        get("/v1/entities/{table}/{id}", "showEntity", "What both stores hold under a key, also if that is nothing")
            .with(&[in_path("table", "The table"), in_path("id", "The id, percent-encoded")])
            .answers(200, "What they hold, and whether it fits together", "Entity")
            .refuses(&[Code::Malformed, Code::StoreUnavailable]),
        post("/v1/search", "search", "Nearest neighbours whose documents bear them out")
            .takes("SearchRequest")
            .answers(200, "The hits", "SearchAnswer")
            .refuses(&[
                Code::UnknownTable,
                Code::DimensionMismatch,
                Code::UnknownVector,
                Code::NotIndexed,
                Code::RejectedByQdrant,
                Code::StoreUnavailable,
            ]),
        post("/v1/query", "query", "Runs SurrealQL that only reads, where SurrealDB is embedded")
            .takes("QueryRequest")
            .answers(200, "One result for each statement", "QueryAnswer")
            .refuses(&[Code::RejectedBySurreal, Code::NotImplemented, Code::StoreUnavailable]),
        post("/v1/count", "count", "How much a clear would remove").takes("CountRequest").answers(
            200,
            "Null is not known",
            "CountAnswer",
        ),
        get("/v1/tables", "listTables", "The tables that are configured, or have been seen").answers(
            200,
            "The tables",
            "TablesAnswer",
        ),
        post("/v1/verify", "verify", "Begins to look whether the stores still hold what they were given")
            .answers(202, "It goes on behind", "VerifyAnswer")
            .refuses(&[Code::Stopping]),
        post("/v1/pause", "pause", "Stops the work of a store or a table; logging goes on")
            .takes("PauseRequest")
            .answers(200, "It is paused", "PauseAnswer")
            .refuses(&[Code::UnknownTable]),
        post("/v1/resume", "resume", "Lets the work of a store or a table go on")
            .takes("PauseRequest")
            .answers(200, "It goes on", "PauseAnswer")
            .refuses(&[Code::UnknownTable]),
    ]
}

fn of_the_daemon() -> Vec<Operation> {
    vec![
        get("/v1/status", "status", "The daemon at a glance").answers(200, "What is so", "StatusAnswer"),
        get("/v1/events", "followEvents", "What happens, as it happens")
            .with(&[
                query("after", "string", "The id of the event to go on after"),
                Parameter {
                    place: "header",
                    name: "Last-Event-ID",
                    kind: "string",
                    means: "As after, and before it: what a browser sends when it connects again",
                },
            ])
            .answers_in("text/event-stream", 200, "Events until the daemon stops", "Events")
            .refuses(&[Code::Malformed]),
        get("/healthz", "alive", "Whether the process can answer").answers(200, "It can", "AliveAnswer"),
        get("/readyz", "ready", "Whether operations are taken and work moves")
            .answers(200, "They are", "ReadyAnswer")
            .answers(503, "They are not, and why", "ReadyAnswer"),
        get("/metrics", "metrics", "Metrics for Prometheus").answers_in(
            "text/plain",
            200,
            "The text format, version 0.0.4",
            "Metrics",
        ),
        get("/openapi.json", "describe", "This document").answers(200, "OpenAPI 3.1", "AnyObject"),
        later("/v1/audit", "audit"),
        later("/v1/repair", "repair"),
        later("/v1/backfill", "backfill"),
    ]
}

fn later(path: &'static str, name: &'static str) -> Operation {
    post(path, name, "Not built yet").refuses(&[Code::NotImplemented])
}
