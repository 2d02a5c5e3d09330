"""Encoders by name, through the plug-in door."""

import inspect

from unibind.encoders.trainable import TrainableEncoder
from unibind.errors import InvalidInputError, PluginError
from unibind.plugins import load
from unibind.protocols import Encoder, NetworkDesign

__all__ = ["open_encoder"]

_GROUP = "unibind.encoders"


def open_encoder(name: str) -> Encoder:
    """Return a new encoder: ``"minilm-l6"``, or with an argument ``"hub-text:ORG/MODEL"``.

    A network's design (``"cnn-1d"``) becomes a `TrainableEncoder` that has no weights yet.

    Args:
        name: A declared name. What follows the first colon is handed to its factory: a model's
            id on a hub, say, or a folder.

    Raises:
        PluginError: No encoder is called so, it does not load, or it takes no argument.
        InvalidInputError: Its argument is missing.
        FetchError: Its weights are not here.
    """
    name, colon, argument = name.partition(":")
    factory = load(_GROUP, name)
    arguments = (argument,) if colon else ()
    try:
        inspect.signature(factory).bind(*arguments)
    except TypeError:
        if colon:
            raise PluginError(f"the encoder {name!r} takes no argument, got {argument!r}") from None
        raise InvalidInputError(
            f"the encoder {name!r} needs to know which model: write {name}:MODEL"
        ) from None
    encoder = factory(*arguments)
    if isinstance(encoder, NetworkDesign):
        return TrainableEncoder(encoder)
    if not isinstance(encoder, Encoder):
        raise PluginError(
            f"the encoder {name!r} gives {type(encoder).__name__}, which is no Encoder; "
            "it needs modality, dim, fingerprint and encode (see unibind.testing.check_encoder)"
        )
    return encoder
