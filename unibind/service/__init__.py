"""A space behind one HTTP address: OpenAI's embeddings route, and classes, search and items.

    unibind serve --space mini

How a request goes: `edge` (who asks, how much, how long) -> `routes` (what is asked, `schemas`) ->
`runtime`, which joins `decoding` (files to items, in processes that may be killed), `batching`
(items of many requests through one forward pass) and `writing` (one writer of the store).

Nothing is imported here: a decoder is a module of this package, and starts without the rest.
"""
