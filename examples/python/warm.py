"""Loads documents before they are needed, and shows the progress. With asyncio."""

import asyncio

from userdata_client import AsyncUserData


async def main() -> None:
    async with AsyncUserData.from_env() as client:
        async for item in client.warm(["1", "2", ("3", None), "nobody"], concurrency=2):
            result = item.status if item.error is None else item.error.reason
            print(f"{item.done}/{item.total} {result}")

        documents = await asyncio.gather(*(client.get(user, sections=["derived"]) for user in ("1", "2", "3")))
        print([str(document.cache.status) for document in documents])


asyncio.run(main())
