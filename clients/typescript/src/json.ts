/**
 * The JSON form of docs/data.md, section 11, with one difference: int64 are numbers as long as JavaScript can hold them.
 */

import {
    ScalarType,
    toJson,
    type DescField,
    type DescMessage,
    type JsonObject,
    type JsonValue,
    type MessageShape,
} from "@bufbuild/protobuf";

/** A message as plain JSON: the contract's own field names, enums by name, times as text. */
export function plainJson<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): JsonObject {
    const json = toJson(schema, message, { alwaysEmitImplicit: true, useProtoFieldName: true });
    return ofMessage(schema, json) as JsonObject;
}

function ofMessage(schema: DescMessage, json: JsonValue): JsonValue {
    // google.protobuf's own types have a form of their own: texts, or the JSON that they hold.
    if (schema.typeName.startsWith("google.protobuf.") || !isObject(json)) {
        return json;
    }
    const plain: JsonObject = {};
    for (const field of schema.fields) {
        const value = json[field.name];
        if (value !== undefined) {
            plain[field.name] = ofField(field, value);
        }
    }
    return plain;
}

function ofField(field: DescField, json: JsonValue): JsonValue {
    const each = (value: JsonValue) =>
        field.message !== undefined ? ofMessage(field.message, value) : ofScalar(field.scalar, value);
    switch (field.fieldKind) {
        case "list":
            return Array.isArray(json) ? json.map(each) : json;
        case "map":
            return isObject(json)
                ? Object.fromEntries(Object.entries(json).map(([key, value]) => [key, each(value)]))
                : json;
        default:
            return each(json);
    }
}

function ofScalar(scalar: ScalarType | undefined, json: JsonValue): JsonValue {
    switch (scalar) {
        case ScalarType.INT64:
        case ScalarType.UINT64:
        case ScalarType.SINT64:
        case ScalarType.FIXED64:
        case ScalarType.SFIXED64:
            return Number.isSafeInteger(Number(json)) ? Number(json) : json;
        default:
            return json;
    }
}

function isObject(json: JsonValue): json is JsonObject {
    return typeof json === "object" && json !== null && !Array.isArray(json);
}
