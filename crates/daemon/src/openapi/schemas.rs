//! The wire types: members and their types.

use lockstep_model::{Code, State};
use serde_json::{Value, json};

use super::reference;

fn text() -> Value {
    json!({"type": "string"})
}

fn whole() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

fn or_null(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

fn list(schema: &Value) -> Value {
    json!({"type": "array", "items": schema})
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "required": required, "properties": properties})
}

/// By name.
pub(super) fn schemas() -> Value {
    let states: Vec<String> = State::ALL.into_iter().map(|state| state.to_string()).collect();
    let counts: serde_json::Map<String, Value> = states.iter().map(|state| (state.clone(), whole())).collect();
    let codes: Vec<&str> = Code::ALL.into_iter().map(Code::as_str).collect();
    let mut schemas = json!({
        "State": {"type": "string", "enum": states},
        "StateCounts": {"type": "object", "properties": counts},
        "Problem": object(&["type", "title", "status", "code", "detail"], json!({
            "type": text(), "title": text(), "status": whole(), "detail": text(),
            "code": {"type": "string", "examples": codes, "description": "What programs go by; codes may be added"},
            "op_id": text(), "lsn": whole(), "state": reference("State"),
        })),
        "AnyObject": {"type": "object"},
        "Metrics": text(),
        "Events": {"type": "string", "description":
            "Server-sent events: logged, committed, rolled_back, parked, discarded (data: OpView without history), store_up, \
             store_down, audit_needed (data: store, state, at, detail), gap (data: from, to). id is the position to go on after."},
        "AliveAnswer": object(&["alive"], json!({"alive": flag()})),
        "ReadyAnswer": object(&["ready", "reasons"], json!({"ready": flag(), "reasons": list(&text())})),
    });
    let parts = [operations(), answers(), of_stores(), status()];
    if let Some(all) = schemas.as_object_mut() {
        for part in parts {
            if let Value::Object(mut part) = part {
                all.append(&mut part);
            }
        }
    }
    schemas
}

fn operations() -> Value {
    json!({
        "Operation": object(&["op"], json!({
            "op": {"enum": ["put", "patch", "delete", "relate", "unrelate", "atomic", "clear"]},
            "key": text(), "table": text(),
            "document": reference("AnyObject"),
            "vector": reference("Vector"),
            "vectors": {"type": "object", "additionalProperties": reference("Vector")},
            "edge": text(), "from": text(), "to": text(),
            "ops": list(&reference("Operation")),
            "where": reference("Filter"),
            "idempotency_key": text(), "if_version": whole(), "if_absent": flag(),
        })),
        "Vector": {"description": "Numbers; base64 of little-endian f32; sparse; or rows of numbers", "anyOf": [
            list(&json!({"type": "number"})),
            text(),
            object(&["indices", "values"], json!({"indices": list(&whole()), "values": list(&json!({"type": "number"}))})),
            list(&list(&json!({"type": "number"}))),
        ]},
        "Filter": {"type": "object", "description":
            "{\"f\":value}, {\"f\":[a,b]}, {\"f\":{\"gt\",\"gte\",\"lt\",\"lte\"}}, {\"all\":[…]}, {\"any\":[…]}, {\"not\":…}"},
        "DecisionRequest": object(&[], json!({"note": text()})),
        "RetryRequest": object(&[], json!({"note": text(), "force": flag()})),
        "SearchRequest": object(&["table", "vector"], json!({
            "table": text(), "vector": reference("Vector"), "using": text(), "limit": whole(),
            "filter": reference("Filter"), "with_document": flag(),
        })),
        "QueryRequest": object(&["query"], json!({"query": text(), "vars": reference("AnyObject")})),
        "CountRequest": object(&["table"], json!({"table": text(), "where": reference("Filter")})),
        "PauseRequest": {"oneOf": [
            object(&["store"], json!({"store": {"enum": ["surreal", "qdrant"]}})),
            object(&["table"], json!({"table": text()})),
        ]},
    })
}

fn answers() -> Value {
    let time = or_null(&json!({"type": "string", "format": "date-time"}));
    json!({
        "OpAnswer": object(&["op_id", "lsn", "version", "state", "key"], json!({
            "op_id": text(), "lsn": whole(), "version": whole(), "state": reference("State"), "key": or_null(&text()),
            "keys": list(&text()),
        })),
        "OpView": object(&["op_id", "lsn", "op", "state"], json!({
            "op_id": text(), "lsn": whole(), "version": or_null(&whole()), "key": or_null(&text()), "op": text(),
            "state": reference("State"), "attempts": or_null(&whole()), "created_at": time, "updated_at": time,
            "next_attempt_at": time, "waiting_for": or_null(&text()),
            "history": list(&object(&["state"], json!({"state": reference("State"), "at": time, "note": text()}))),
            "error": object(&["code", "detail"], json!({
                "store": or_null(&text()), "code": text(), "detail": text(), "at": time,
            })),
        })),
        "OpsPage": object(&["ops", "next"], json!({"ops": list(&reference("OpView")), "next": or_null(&text())})),
        "DecisionAnswer": object(&["op_id", "state"], json!({
            "op_id": text(), "state": reference("State"), "again": reference("OpAnswer"),
        })),
        "BulkLine": object(&["line"], json!({
            "line": whole(), "op_id": text(), "lsn": whole(), "state": reference("State"),
            "error": object(&["code", "detail"], json!({"code": text(), "detail": text()})),
        })),
        "BarrierAnswer": object(&["lsn"], json!({"lsn": whole()})),
    })
}

fn of_stores() -> Value {
    let side = |more: Value| {
        let mut properties =
            json!({"found": or_null(&flag()), "error": text(), "version": or_null(&whole()), "hash": or_null(&text())});
        if let (Some(all), Value::Object(mut more)) = (properties.as_object_mut(), more) {
            all.append(&mut more);
        }
        object(&["found"], properties)
    };
    let spec = object(&[], json!({"kind": text(), "size": or_null(&whole()), "distance": text(), "required": flag()}));
    json!({
        "Entity": object(&["key", "verdict", "surreal", "qdrant", "open_ops"], json!({
            "key": text(), "verdict": text(),
            "surreal": side(json!({"document": reference("AnyObject")})),
            "qdrant": side(json!({"payload": reference("AnyObject"), "vectors": {"type": "object"}})),
            "open_ops": list(&whole()),
        })),
        "SearchAnswer": object(&["hits", "dropped"], json!({
            "hits": list(&object(&["key", "score"], json!({
                "key": text(), "score": {"type": "number"}, "document": reference("AnyObject"),
            }))),
            "dropped": whole(),
        })),
        "QueryAnswer": object(&["results"], json!({"results": {"type": "array"}})),
        "CountAnswer": object(&["records", "points"], json!({"records": or_null(&whole()), "points": or_null(&whole())})),
        "TablesAnswer": object(&["tables"], json!({"tables": list(&object(&["table"], json!({
            "table": text(), "stores": text(), "collection": or_null(&text()),
            "vectors": {"type": "object", "additionalProperties": spec},
            "keep_vector": flag(), "point_id": text(), "configured": flag(), "paused": or_null(&text()),
            "records": or_null(&whole()), "points": or_null(&whole()),
        })))})),
        "VerifyAnswer": object(&["operations"], json!({"operations": whole()})),
        "PauseAnswer": object(&["paused"], json!({"store": text(), "table": text(), "paused": flag()})),
    })
}

fn status() -> Value {
    let number = or_null(&json!({"type": "number"}));
    json!({
        "StatusAnswer": object(&["version", "started_at", "wal", "totals", "stores", "recovery"], json!({
            "version": text(), "started_at": text(),
            "wal": object(&[], json!({
                "first_lsn": or_null(&whole()), "last_lsn": or_null(&whole()), "checkpoint_lsn": or_null(&whole()),
                "bytes": or_null(&whole()), "open_ops": whole(), "parked": whole(), "oldest_open_age_s": number,
                "states": reference("StateCounts"),
            })),
            "wal_dir": or_null(&text()),
            "totals": reference("StateCounts"),
            "stores": object(&["surreal", "qdrant"], json!({
                "surreal": reference("StoreView"), "qdrant": reference("StoreView"),
            })),
            "recovery": object(&["done"], json!({
                "done": flag(), "finished": whole(), "rolled_back": whole(), "parked": whole(),
            })),
            "audit_needed": or_null(&text()), "verifying": whole(), "covered_s": number,
        })),
        "StoreView": object(&["state"], json!({
            "state": {"enum": ["up", "down", "paused", "unknown"]}, "endpoint": or_null(&text()),
            "since": or_null(&text()), "detail": or_null(&text()), "paused_tables": list(&text()), "losses": whole(),
        })),
    })
}
