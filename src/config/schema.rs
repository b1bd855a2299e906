//! The file as JSON Schema, for editors and for checks before a rollout.

use serde_json::{Map, Value as Json, json};

use super::{Config, SETTINGS, Setting};

/// The schema of the TOML file.
#[must_use]
pub fn schema() -> Json {
    let defaults = Config::default();
    let mut sections: Map<String, Json> = Map::new();
    for setting in SETTINGS {
        let (section, name) = setting.path();
        let section = sections
            .entry(section)
            .or_insert_with(|| json!({ "type": "object", "properties": {}, "additionalProperties": false }));
        section["properties"][name] = described(setting, &defaults);
        if (setting.secret)() {
            section["properties"][format!("{name}_file")] =
                json!({ "type": "string", "description": format!("A file that holds {}.", setting.key) });
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "userdata configuration",
        "type": "object",
        "properties": sections,
        "additionalProperties": false,
    })
}

fn described(setting: &Setting, defaults: &Config) -> Json {
    let mut schema = (setting.schema)();
    let (doc, expected, variable) = (setting.doc.trim(), (setting.expected)(), setting.variable());
    schema["description"] = format!("{doc} Expected: {expected}. Environment: {variable}.").into();
    if !(setting.secret)() {
        schema["default"] = default(setting, defaults);
    }
    schema
}

/// The default as the file has it: numbers and switches as such, all else as text.
pub(super) fn default(setting: &Setting, defaults: &Config) -> Json {
    let (schema, text) = ((setting.schema)(), (setting.get)(defaults));
    let kind = schema.get("type").or_else(|| schema.pointer("/anyOf/0/type"));
    match kind.and_then(Json::as_str) {
        Some("integer" | "number" | "boolean") => serde_json::from_str(&text).unwrap_or(Json::String(text)),
        _ => Json::String(text),
    }
}
