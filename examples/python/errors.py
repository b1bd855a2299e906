"""What can fail, and what a program learns about it."""

from userdata_client import InvalidArgumentError, NotFoundError, UnavailableError, UserData, UserDataError

with UserData.from_env() as client:
    try:
        client.get("a user that does not exist")
    except NotFoundError as error:
        print(f"{error.reason}; the service's log has it as request {error.request_id}")

    try:
        client.get("1", strategy=-1, max_age=90_000)
    except InvalidArgumentError as error:
        for violation in error.field_violations:
            print(f"{violation.field} {violation.description}")

# Retries have been made when an error is raised. Nothing listens on port 1.
with UserData("http://127.0.0.1:1") as client:
    try:
        client.get("1")
    except UnavailableError as error:
        print("unavailable:", error.code.name, "retry after", error.retry_after)
    except UserDataError as error:
        print("failed:", error)
