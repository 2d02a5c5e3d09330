"""A client of a served space: the verbs of `unibind.Engine`, over HTTP.

    client = unibind.Client("http://127.0.0.1:8000", key="ub_read_...")
    client.classify("image", ["cat.jpg"], classes=["a cat", "a dog"])

    async with unibind.AsyncClient("http://127.0.0.1:8000") as client:
        await client.embed("text", ["a red kettle"])

Both drive the same generators, which yield what is to be sent and are told what came: so there is
one place that knows the API, splits long lists, and tries again.
"""

from unibind.client.asynchronous import AsyncClient
from unibind.client.blocking import Client

__all__ = ["AsyncClient", "Client"]
