"""Messages as plain JSON values, and plain values as the parameters of a request.

The form is that of the service's JSON (docs/data.md, section 11), except that int64 are ints: names as in the contract;
what is absent is left out; numbers, texts, lists and maps are always there; enums by name; times as RFC 3339.
In free-form values an integral number below 2^53 is an int: the wire knows doubles only.

A message type is looked at once. json_format would look at each field of each message, and makes texts of int64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message

# From here on a double no longer holds every integer.
INTEGRAL_MAX = 2**53

_Plain = Callable[[Any], Any]


def to_dict(message: Message, left_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The message as plain JSON values, without some of its fields."""
    plain: dict[str, Any] = {}
    for name, has_presence, convert in _fields(message.DESCRIPTOR):
        if name not in left_out and (not has_presence or message.HasField(name)):
            plain[name] = convert(getattr(message, name))
    return plain


@cache  # One entry for each type of the contract.
def _fields(of: Descriptor) -> tuple[tuple[str, bool, _Plain], ...]:
    return tuple((field.name, field.has_presence, _of_field(field)) for field in of.fields)


def _of_field(field: FieldDescriptor) -> _Plain:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        of_value = _of_one(field.message_type.fields_by_name["value"])
        return lambda entries: {str(key): of_value(entries[key]) for key in sorted(entries)}
    of_one = _of_one(field)
    if field.is_repeated:
        return lambda values: [of_one(value) for value in values]
    return of_one


def _of_one(field: FieldDescriptor) -> _Plain:
    if field.message_type is not None:
        return _WELL_KNOWN.get(field.message_type.full_name, to_dict)
    if field.enum_type is not None:
        names = {value.number: value.name for value in field.enum_type.values}
        # As proto3's JSON does with a value that is newer than this package.
        return lambda number: names.get(number, number)
    return lambda scalar: scalar


def _of_value(value: struct_pb2.Value) -> Any:  # noqa: ANN401 A JSON value.
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) < INTEGRAL_MAX else number
    if kind == "struct_value":
        return _of_struct(value.struct_value)
    if kind == "list_value":
        return _of_list(value.list_value)
    return None if kind in (None, "null_value") else getattr(value, kind)


def _of_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    return {key: _of_value(struct.fields[key]) for key in sorted(struct.fields)}


def _of_list(values: struct_pb2.ListValue) -> list[Any]:
    return [_of_value(value) for value in values.values]


_WELL_KNOWN: dict[str, _Plain] = {
    struct_pb2.Value.DESCRIPTOR.full_name: _of_value,
    struct_pb2.Struct.DESCRIPTOR.full_name: _of_struct,
    struct_pb2.ListValue.DESCRIPTOR.full_name: _of_list,
    timestamp_pb2.Timestamp.DESCRIPTOR.full_name: lambda time: time.ToJsonString(),
    duration_pb2.Duration.DESCRIPTOR.full_name: lambda duration: duration.ToJsonString(),
}


def to_struct(values: Mapping[str, object]) -> struct_pb2.Struct:
    """Parameters as the wire has them.

    Raises:
        TypeError: a value is no JSON value.
        ValueError: a number is not finite, or the wire's doubles cannot hold it.
    """
    struct = struct_pb2.Struct()
    for key, value in values.items():
        if not isinstance(cast("object", key), str):
            raise TypeError(f"params: a key is a {type(key).__name__}, not a str")
        struct.fields[key].CopyFrom(_to_value(value))
    return struct


def _to_value(value: object) -> struct_pb2.Value:
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, (int, float)):
        return struct_pb2.Value(number_value=_to_double(value))
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, Mapping):
        return struct_pb2.Value(struct_value=to_struct(cast("Mapping[str, object]", value)))
    if isinstance(value, (list, tuple)):
        items = cast("list[object]", value)
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_to_value(item) for item in items]))
    raise TypeError(f"params: a {type(value).__name__} is no JSON value")


def _to_double(number: float) -> float:
    if isinstance(number, int) and abs(number) > INTEGRAL_MAX:
        raise ValueError("params: an integer beyond 2^53 would lose digits; pass it as a text")
    if not math.isfinite(number):
        raise ValueError("params: a number is not finite")
    return float(number)
