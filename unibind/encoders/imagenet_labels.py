"""ImageNet's 1000 classes in the order of the logits: names people use, and what they mean."""

import ast
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from unibind import weights
from unibind.errors import FetchError

__all__ = ["ImagenetLabel", "read_labels"]


@dataclass(frozen=True, slots=True)
class ImagenetLabel:
    """One class of ImageNet-1k.

    Attributes:
        name: What people call it, unique among the 1000: ``"crane bird"``.
        definition: WordNet's definition of it.
        synset: WordNet's id of it: ``"n02012849"``.
    """

    name: str
    definition: str
    synset: str


def read_labels(folder: Path | None = None) -> tuple[ImagenetLabel, ...]:
    """Return the 1000 classes; row i is logit i.

    Names are the curated ones of OpenCLIP, because WordNet calls two classes "crane". Where two
    classes share a curated name ("missile", "sunglasses"), the first WordNet lemma stands in.

    Args:
        folder: The files of the model ``imagenet-labels``; the fetched ones if None.

    Raises:
        FetchError: The files are not here, or are not what they should be.
    """
    folder = folder or weights.path("imagenet-labels")
    synsets = (folder / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
    lemmas = _read_table(folder / "imagenet_synset_to_lemma.txt")
    definitions = _read_table(folder / "imagenet_synset_to_definition.txt")
    curated = _read_tuple(folder / "zero_shot_metadata.py", "IMAGENET_CLASSNAMES")
    shared = {name for name, count in Counter(curated).items() if count > 1}
    try:
        labels = tuple(
            ImagenetLabel(
                name=lemmas[synset].split(",")[0] if name in shared else name,
                definition=definitions[synset],
                synset=synset,
            )
            for synset, name in zip(synsets, curated, strict=True)
        )
    except (KeyError, ValueError) as error:
        raise FetchError(
            f"the label files in {folder} do not fit each other ({error}); "
            "run `unibind models fetch imagenet-labels`"
        ) from error
    return labels


def _read_table(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return {synset: text for synset, _, text in (line.partition("\t") for line in lines)}


def _read_tuple(file: Path, name: str) -> tuple[str, ...]:
    """Return a literal tuple of strings out of a Python source, which is read and never run."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return tuple(ast.literal_eval(node.value))
    raise FetchError(f"{file} assigns no {name}; run `unibind models fetch imagenet-labels`")
