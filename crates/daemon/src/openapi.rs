//! The description of the routes, as OpenAPI 3.1.
//!
//! Each route is one entry in [`operations`], with what it takes and with every code that it can answer; a test compares the
//! entries with the router's own table. Schemas name members and types; what they mean, and what else may be in them, is said
//! once, in the documentation of the wire types (crate `lockstep-api`). Readers ignore what they do not know.

mod operations;
mod schemas;

use std::collections::BTreeMap;

use lockstep_api::Problem;
use lockstep_model::Code;
use serde_json::{Map, Value, json};

use self::operations::{Answer, Operation, operations};

/// The document.
pub(crate) fn document() -> Value {
    let mut paths = Map::new();
    for operation in operations() {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described(&operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lockstep",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Keeps SurrealDB and Qdrant in lockstep. Served over HTTP/1.1 on a Unix socket.",
        },
        "servers": [{"url": "http://localhost", "description": "The Unix socket; the host is not looked at"}],
        "paths": paths,
        "components": {"schemas": schemas::schemas()},
    })
}

fn described(operation: &Operation) -> Value {
    let mut described = json!({
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": responses(operation),
    });
    if !operation.parameters.is_empty() {
        described["parameters"] = operation.parameters.iter().map(|parameter| parameter.described()).collect();
    }
    if let Some((kind, schema)) = operation.body {
        described["requestBody"] =
            json!({"required": operation.body_required, "content": {kind: {"schema": reference(schema)}}});
    }
    described
}

fn responses(operation: &Operation) -> Value {
    let mut responses = Map::new();
    for Answer { status, means, kind, schema } in &operation.answers {
        let mut content = Map::new();
        content.insert((*kind).to_owned(), json!({"schema": reference(schema)}));
        responses.insert(status.to_string(), json!({"description": means, "content": content}));
    }
    let mut problems: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in &operation.codes {
        problems.entry(code.status()).or_default().push(*code);
    }
    for (status, codes) in problems {
        let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
        let titles: Vec<String> = codes.iter().map(|code| format!("`{code}`: {}", code.title())).collect();
        let schema = json!({"allOf": [reference("Problem"), {"properties": {"code": {"enum": names}}}]});
        let mut problem = Map::new();
        problem.insert(Problem::CONTENT_TYPE.to_owned(), json!({"schema": schema}));
        let response = responses.entry(status.to_string()).or_insert_with(|| json!({"description": "", "content": {}}));
        let before = response["description"].as_str().map(str::to_owned).unwrap_or_default();
        let said: Vec<String> = [before].into_iter().filter(|text| !text.is_empty()).chain(titles).collect();
        response["description"] = json!(said.join(". "));
        if let Some(content) = response["content"].as_object_mut() {
            content.append(&mut problem);
        }
        if matches!(status, 503 | 507) {
            response["headers"] = json!({"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds until another try is worth it"}});
        }
    }
    Value::Object(responses)
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes::routes;

    #[test]
    fn it_describes_the_routes_that_are_there_and_no_others() {
        let there: BTreeSet<(&str, &str)> = routes().iter().map(|route| (route.method, route.path)).collect();
        let document = document();
        let described: BTreeSet<(&str, &str)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(move |method| (method.as_str(), path.as_str()))
            })
            .collect();
        assert_eq!(described, there);
    }

    #[test]
    fn what_it_refers_to_is_there_and_names_are_given_once() {
        let document = document();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let mut used = BTreeSet::new();
        references(&document, &mut used);
        let named: BTreeSet<String> = schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
        assert_eq!(used, named, "each is used, and each that is used is there");
        let names: Vec<&str> = operations().iter().map(|operation| operation.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn parameters_in_paths_are_described() {
        for operation in operations() {
            let in_path: BTreeSet<&str> =
                operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            let described: BTreeSet<&str> = operation
                .parameters
                .iter()
                .filter(|parameter| parameter.place == "path")
                .map(|parameter| parameter.name)
                .collect();
            assert_eq!(in_path, described, "{}", operation.path);
            assert!(
                operation.codes.contains(&Code::NotImplemented) || !operation.answers.is_empty(),
                "{}",
                operation.path
            );
        }
    }

    fn references(value: &Value, into: &mut BTreeSet<String>) {
        if let Value::Object(members) = value {
            into.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, into));
        } else if let Value::Array(items) = value {
            items.iter().for_each(|item| references(item, into));
        }
    }
}
