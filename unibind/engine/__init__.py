"""The engine: the only place where encoders, heads, centers and stores meet.

    engine = unibind.open("mini")
    engine.embed("image", ["cat.jpg"])                                  # (1, D), unit length
    engine.classify("image", ["cat.jpg"], classes=["a cat", "a dog"])
    engine.add("image", ["cat.jpg"], keys=["cat"], metadata=[{"licence": "CC0"}])
    engine.search("text", ["a cat"], into=["image"], k=10)

An item is given as a path, as a file's content in bytes, or already decoded; a text as a str.
"""

from unibind.engine.engine import Embedded, Engine
from unibind.engine.opening import SPACES, open
from unibind.engine.recipes import RECIPES, Recipe
from unibind.engine.senses import Senses

__all__ = ["RECIPES", "SPACES", "Embedded", "Engine", "Recipe", "Senses", "open"]
