"""Reads what the program itself has changed, whichever instance answers."""

from userdata_client import UserData

with UserData.from_env() as client:
    with client.session() as session:
        before = session.get("2")

        # Here the program would write to the planning application's tables.
        session.invalidate("2", reason="example")

        after = session.get("2")
        print("older than the write:", after.cache.assembled_at <= before.cache.assembled_at)
        token = session.token("2")

    # Another process goes on with the token, for example the next request of the same browser.
    with client.session({"2": token} if token else {}) as session:
        print("at another place:", session.get("2").cache.verified)
