"""``unibind serve``: one HTTP address for a space."""

from typing import Annotated

import typer

from unibind.cli.items import SpaceOption
from unibind.cli.output import AsJson, emit, warn
from unibind.errors import PluginError

__all__ = ["serve"]


def serve(
    space: SpaceOption = "mini",
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; others than loopback need a key.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 for any.")] = None,
    fetch_urls: Annotated[
        bool | None,
        typer.Option("--fetch-urls/--no-fetch-urls", help="Let parts be given by public URL."),
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="json or text.")] = None,
    as_json: AsJson = False,
) -> None:
    """Serve a space over HTTP: embeddings for OpenAI's clients, classes, search, items, a page.

    Everything else is set by UNIBIND_SERVE_...; docs/service.md lists it.
    """
    try:
        from pydantic import ValidationError

        from unibind.service.server import serve as serve_space
        from unibind.settings import ServiceSettings
    except ImportError as error:
        raise PluginError(
            f"serving needs the extra serve ({error.name} is missing): pip install 'unibind[serve]'"
        ) from error
    given = {"host": host, "port": port, "fetch_urls": fetch_urls, "log_format": log_format}
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        settings = ServiceSettings(space=space, **chosen)  # type: ignore[arg-type]
    except ValidationError as error:
        fault = error.errors()[0]
        raise typer.BadParameter(f"{fault['loc'][0]}: {fault['msg']}") from None
    url = f"http://{settings.host}:{settings.port}"
    emit(
        {"space": settings.space, "url": url},
        as_json=as_json,
        people=lambda: warn(f"serving {settings.space} at {url} (Ctrl-C ends it)"),
    )
    serve_space(settings)
