"""Documents and statistics: what a program gets, beside what the command line gets."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from conftest import PATIENCE
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from userdata_client import (
    CacheStatus,
    Changes,
    Document,
    Freshness,
    Generator,
    Section,
    State,
    UserData,
    Wait,
    plain,
    v1,
)
from userdata_client.replies import _FIELDS, _name

if TYPE_CHECKING:
    from userdata_client.testing import Server


def test_a_document_says_where_it_came_from(client: Any) -> None:
    before = datetime.now(timezone.utc)
    # No other test's user, so nothing of it is loaded meanwhile.
    first = client.get("20", refresh=True)
    again = client.get(20)
    assert (first.cache.status, again.cache.status) == ("REFRESHED", CacheStatus.HIT_MEMORY)
    assert (first.cache.is_cached, again.cache.is_cached) == (False, True)
    assert first.cache.force_refresh
    assert first.cache.verified
    assert first.cache.complete
    assert first.cache.changes is Changes.KNOWN
    assert first.cache.assembled_at == again.cache.assembled_at
    assert before <= first.cache.assembled_at <= first.cache.timestamp < first.cache.expires_at
    assert timedelta() < first.cache.age <= again.cache.age
    assert first.data == again.data
    assert first.data.user_id == "20"


def test_each_section_is_reported(client: Any) -> None:
    document = client.get("1")
    assert list(document.sections) == list(Section)
    strategy = document.sections["strategy"]
    assert (strategy.section, strategy.state, strategy.generator) == (Section.STRATEGY, State.OK, Generator.DATABASE)
    assert strategy.read_at is not None
    assert strategy.took is not None
    assert strategy.warnings == ()


def test_only_selected_sections_come(client: Any) -> None:
    document = client.get("1", sections=["gap_analysis", Section.DERIVED])
    assert set(document.sections) == {"gap_analysis", "derived"}
    assert set(document.to_dict()) == {"gap_analysis", *_FIELDS[Section.DERIVED]}
    assert not document.data.HasField("strategy_data")


def test_arguments_reach_the_service(client: Any) -> None:
    document = client.get("1", params={"depth": 3, "tags": ["a", None, True, 0.5], "more": {"x": "y"}})
    other = client.get("1", params={"depth": 4})
    assert document.cache.data_hash != other.cache.data_hash
    strategy = document.data.strategy_data.strategy_id
    assert client.get("1", strategy=strategy).data.strategy_data.strategy_id == strategy
    for freshness in Freshness:
        assert client.get("1", freshness=freshness, max_age=timedelta(hours=24)).cache.verified
    assert client.get("1", max_age=0).cache.status != "HIT_MEMORY"


@pytest.mark.parametrize("user", range(1, 11))
def test_a_document_as_a_dict_equals_the_command_lines_json(server: Server, user: int) -> None:
    command = [os.environ["USERDATA_BIN"], "get", str(user), "--output", "json", "--addr", server.addr]

    def both(client: UserData) -> tuple[Any, Any]:
        printed = subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE).stdout
        found = client.get(user).to_dict()
        return found, with_integers(json.loads(printed)["data"], found)

    with server.client(timeout=PATIENCE) as client:
        found, expected = both(client)
        if found != expected:
            # A document that was loaded anew between the two calls has other times.
            found, expected = both(client)
    assert found == expected


def with_integers(printed: Any, ours: Any) -> Any:
    """The command line's JSON with ints where it has int64 as texts, as proto3's JSON does."""
    if isinstance(printed, dict) and isinstance(ours, dict):
        return {key: with_integers(value, ours.get(key)) for key, value in printed.items()}
    if isinstance(printed, list) and isinstance(ours, list) and len(printed) == len(ours):
        return [with_integers(value, other) for value, other in zip(printed, ours, strict=True)]
    return int(printed) if isinstance(printed, str) and isinstance(ours, int) else printed


def test_numbers_in_free_form_fields_are_ints_where_doubles_hold_them() -> None:
    numbers = [1.0, -0.0, 0.5, -7.0, 2.0**53 - 1, 2.0**53, 1e300]
    inner = Struct(fields={"n": Value(list_value=ListValue(values=[Value(number_value=each) for each in numbers]))})
    message = v1.ComprehensiveUserData(target_audience=Value(struct_value=inner))
    found = plain.to_dict(message)["target_audience"]["n"]
    assert found == numbers
    assert [type(each) for each in found] == [int, int, float, int, int, float, float]


def test_int64_are_ints_and_declared_doubles_stay_floats() -> None:
    window = v1.ComprehensiveUserData().performance_data.windows.add()
    window.overall.total_reach = 2**62
    window.overall.avg_performance_score = 4
    message = v1.ComprehensiveUserData()
    message.performance_data.windows.append(window)
    overall = plain.to_dict(message)["performance_data"]["windows"][0]["overall"]
    assert (overall["total_reach"], overall["avg_performance_score"]) == (2**62, 4.0)
    assert isinstance(overall["avg_performance_score"], float)
    assert "avg_engagement_rate" not in overall


def test_every_free_form_value_has_its_plain_one() -> None:
    value = {"none": None, "yes": True, "text": "x", "list": [1, [], {}], "object": {"a": {"b": 2.5}}}
    message = v1.GetComprehensiveUserDataRequest(parameters=plain.to_struct(value))
    assert plain.to_dict(message)["parameters"] == value
    # A Value without a kind, as some encoders write null.
    assert plain.to_dict(v1.ComprehensiveUserData(target_audience=Value()))["target_audience"] is None


def test_an_enum_value_that_is_newer_than_the_package_is_kept() -> None:
    message = v1.SectionReport.FromString(b"\x10\x63")  # Field 2, value 99.
    assert plain.to_dict(message)["state"] == 99
    assert State.named(_name(v1.State, 99, "STATE_")) is State.UNKNOWN


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"n": 2**53 + 1}, ValueError),
        ({"n": float("nan")}, ValueError),
        ({"n": [float("inf")]}, ValueError),
        ({"n": {1, 2}}, TypeError),
        ({"n": {1: 2}}, TypeError),
    ],
)
def test_a_parameter_without_a_form_on_the_wire_is_refused(client: Any, params: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="params"):
        client.get("1", params=params)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"user": True}, TypeError),
        ({"user": None}, TypeError),
        ({"user": "1", "sections": "strategy"}, TypeError),
        ({"user": "1", "sections": ["stratgy"]}, ValueError),
        ({"user": "1", "freshness": "very"}, ValueError),
        ({"user": "1", "timeout": 0}, ValueError),
        ({"user": "1", "timeout": float("inf")}, ValueError),
    ],
)
def test_a_wrong_argument_is_refused_before_a_call(client: Any, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        client.get(**arguments)


def test_a_representation_has_no_personal_data(client: Any) -> None:
    document = client.get("7")
    stats = client.stats(most_accessed=100)
    (warmed,) = client.warm(["7"])
    shown = [repr(each) for each in (document, document.cache, document.sections, stats, warmed)]
    secret = [document.cache.data_hash, document.data.strategy_data.strategy_name, "'7'"]
    assert not [text for text in shown for word in secret if word in text]
    assert all(shown)


def test_a_document_can_be_copied_and_pickled(client: Any) -> None:
    document = client.get("1")
    assert isinstance(document, Document)
    assert pickle.loads(pickle.dumps(document)) == document == copy.deepcopy(document)


def test_statistics_tell_what_this_instance_does(client: Any) -> None:
    client.get("1")
    stats = client.stats(most_accessed=1, instance_only=True)
    assert stats.data.requests > 0
    assert not stats.data.HasField("total_entries")
    as_dict = stats.to_dict()
    assert as_dict["requests"] == stats.data.requests
    assert "total_entries" not in as_dict
    assert {tier["tier"] for tier in as_dict["tiers"]} == {"memory", "redis", "database"}


def test_cleanup_returns_a_number(client: Any) -> None:
    assert client.cleanup(limit=10) == 0


@pytest.mark.parametrize(
    ("ours", "contracts", "prefix"),
    [
        (Section, v1.Section, "SECTION_"),
        (Freshness, v1.Freshness, "FRESHNESS_"),
        (Wait, v1.Wait, "WAIT_"),
        (CacheStatus, v1.CacheStatus, "CACHE_STATUS_"),
        (State, v1.State, "STATE_"),
        (Generator, v1.Generator, "GENERATOR_"),
        (Changes, v1.Changes, "CHANGES_"),
    ],
)
def test_each_enum_has_the_contracts_values(ours: Any, contracts: Any, prefix: str) -> None:
    values = {name.removeprefix(prefix) for name in contracts.keys()}  # noqa: SIM118 It is no dict.
    assert set(ours.__members__) - {"UNKNOWN", "UNSPECIFIED"} == values - {"UNSPECIFIED"}
    assert [f"{member}" for member in ours] == [member.value for member in ours]


def test_each_field_of_the_document_belongs_to_a_section() -> None:
    fields = [name for names in _FIELDS.values() for name in names]
    assert set(_FIELDS) == set(Section)
    assert sorted(fields) == sorted(v1.ComprehensiveUserData.DESCRIPTOR.fields_by_name)
