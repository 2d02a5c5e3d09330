"""The server: uvicorn, with what it leaves out: heads that never end, and too many connections."""

import asyncio
import os
import signal
from types import FrameType
from typing import Any, NoReturn

import uvicorn
from threadpoolctl import threadpool_limits
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from unibind.service.app import create_app
from unibind.service.logs import configure
from unibind.settings import ServiceSettings

__all__ = ["protocol_for", "serve"]

_KEEP_ALIVE_S = 30
_MAX_HEAD = 32 * 1024


def serve(settings: ServiceSettings) -> None:
    """Serve a space until SIGTERM or SIGINT; what was begun then is finished first.

    Raises:
        ArtifactError: There is no such space.
        FetchError: The weights of its text tower are not here yet.
        InvalidInputError: Others could reach it without a key.
    """
    # Requests are what runs side by side; threads for the words of one only wait for each other.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    configure(settings.log_format)
    app = create_app(settings)
    # The same holds for the threads of matrix products, which moreover spin while they wait.
    threadpool_limits(1, user_api="blas")
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=protocol_for(settings),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.drain_timeout_s) + 1,
    )
    # uvicorn raises the signal again once it has drained; that is a good end, not a failure.
    signal.signal(signal.SIGTERM, _end_well)
    uvicorn.Server(config).run()


def _end_well(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def protocol_for(settings: ServiceSettings) -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol with a limit on how long a head may take, and on connections."""

    class Guarded(HttpToolsProtocol):
        """HTTP/1.1, of which a request's head must come within `header_timeout_s`, and be small."""

        _head_timer: asyncio.TimerHandle | None = None
        _n_head = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > settings.max_connections:
                transport.close()
                return
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget_head()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            if self._head_timer is None and (before is None or before.response_complete):
                self._await_head()
            super().data_received(data)
            if self.cycle is not None and self.cycle is not before:
                self._forget_head()
            elif self._head_timer is not None:
                self._n_head += len(data)
                if self._n_head > _MAX_HEAD:
                    self.transport.close()

        def _await_head(self) -> None:
            self._n_head = 0
            self._head_timer = self.loop.call_later(settings.header_timeout_s, self._give_up)

        def _forget_head(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _give_up(self) -> None:
            self._head_timer = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Guarded
