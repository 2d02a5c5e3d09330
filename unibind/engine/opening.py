"""From a folder or a name to the engine of a space."""

import os
from pathlib import Path

from unibind import artifact
from unibind.alignment.space import Space
from unibind.engine.engine import Engine
from unibind.engine.recipes import RECIPES
from unibind.errors import ArtifactError

__all__ = ["SPACES", "open"]

SPACES = Path("indexes")
"""Where spaces lie that are opened by name, seen from the working directory."""


def open(space: str | os.PathLike[str], *, recipe: str | None = None) -> "Engine":  # noqa: A001
    """Return the engine of a space.

    Args:
        space: The folder of a built space, or a name: of a folder in ``indexes/``, or of one of
            `RECIPES`, which works at once with what needs no training.
        recipe: Which of `RECIPES` to begin a space with that is not there and is not called like
            one of them.

    Raises:
        ArtifactError: There is no such space or recipe, or it is damaged.
        FetchError: The weights of its towers are not here yet.
    """
    given = Path(space)
    for root in (given, SPACES / given):
        if artifact.exists(root / "space"):
            return Engine(_with_new_senses(Space.open(root / "space")), root)
    begun = RECIPES.get(given.name) or RECIPES.get(recipe or "")
    if begun is None:
        raise ArtifactError(
            f"no space at {given} nor at {SPACES / given}, looked for in {Path.cwd()}; build one "
            f"with `unibind quickstart` or `unibind align --space {given}`, or open one that "
            f"needs no building: {', '.join(RECIPES)}"
        )
    root = given if len(given.parts) > 1 else SPACES / given
    return Engine.from_recipe(begun, root)


def _with_new_senses(space: Space) -> Space:
    """Return a space with encoders of the modalities that came to its recipe after it was built."""
    for recipe in RECIPES.values():
        if recipe.text_encoder == space.text_encoder:
            for modality in recipe.encoders.keys() - space.encoders.keys():
                space = space.with_encoder(modality, recipe.encoders[modality])
    return space
