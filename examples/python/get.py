"""Gets a user's document: where it came from, one section, and plain JSON values."""

import json

from userdata_client import Section, UserData

with UserData.from_env() as client:
    document = client.get("1", sections=[Section.STRATEGY, Section.GAP_ANALYSIS])

    cache = document.cache
    print(f"{cache.status}, {cache.age.total_seconds():.3f} s old, verified: {cache.verified}")
    for name, report in document.sections.items():
        print(f"{name}: {report.state}, made by {report.generator}")

    # The contract's message knows what is absent; an editor completes its fields.
    if document.data.HasField("strategy_data"):
        print("strategy:", document.data.strategy_data.strategy_name)
    for gap in document.data.gap_analysis.content_gaps[:3]:
        print(f"gap: {gap.topic} ({gap.priority})")

    print(len(json.dumps(document.to_dict())), "characters of JSON")
