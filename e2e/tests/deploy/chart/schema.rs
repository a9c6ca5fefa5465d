//! Checks values with the part of JSON schema that `values.schema.json` uses.

use serde_json::Value;

/// What is wrong with `value`, each with its path.
pub fn problems(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    for (keyword, rule) in schema.as_object().expect("a schema") {
        match keyword.as_str() {
            "type" => {
                let is = |rule: &Value| rule == kind || (rule == "integer" && value.is_i64());
                let types = rule
                    .as_array()
                    .map_or(std::slice::from_ref(rule), Vec::as_slice);
                if !types.iter().any(is) {
                    found.push(format!("{at} is a value of the type {kind}"));
                }
            }
            "enum" => {
                if !rule.as_array().expect("a list").contains(value) {
                    found.push(format!("{at} is {value}, not one of {rule}"));
                }
            }
            "minLength" => {
                if value == "" {
                    found.push(format!("{at} is empty"));
                }
            }
            "pattern" => {
                let text = value.as_str().unwrap_or_default();
                if !matches(rule.as_str().expect("a pattern"), text) {
                    found.push(format!("{at} is {value}, not {rule}"));
                }
            }
            "required" => {
                for key in rule.as_array().expect("a list") {
                    if value.get(key.as_str().expect("a key")).is_none() {
                        found.push(format!("{at} has no {key}"));
                    }
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(problems(rule, item, &format!("{at}/{index}")));
                }
            }
            "$schema" | "properties" | "additionalProperties" => {}
            other => panic!("{at}: the keyword {other} is not implemented"),
        }
    }
    for (key, member) in value.as_object().into_iter().flatten() {
        let at = format!("{at}/{key}");
        match schema["properties"]
            .get(key)
            .or(schema.get("additionalProperties"))
        {
            Some(Value::Bool(false)) => found.push(format!("{at} is no value of the chart")),
            Some(schema) => found.extend(problems(schema, member, &at)),
            None => {}
        }
    }
    found
}

/// Evaluates a regular expression as the admission policies do.
fn matches(pattern: &str, text: &str) -> bool {
    let program = cel::Program::compile("text.matches(pattern)").expect("an expression");
    let mut context = cel::Context::default();
    context.add_variable("text", text).expect("text");
    context.add_variable("pattern", pattern).expect("text");
    program.execute(&context) == Ok(cel::Value::Bool(true))
}
