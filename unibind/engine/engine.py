"""One space with everything that is done in it."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from unibind import plugins
from unibind.alignment.aligner import Aligner, Watcher
from unibind.alignment.centers import ClassCenters
from unibind.alignment.examples import Examples, Seen
from unibind.alignment.heads import Head
from unibind.alignment.prior import SemanticPrior
from unibind.alignment.space import Space
from unibind.alignment.targets import Targets
from unibind.encoders.cache import FeatureCache
from unibind.encoders.imagenet_labels import read_labels
from unibind.encoders.pipeline import Encoded, Failure, encode_sources
from unibind.encoders.registry import open_encoder
from unibind.encoders.trainable import TrainableEncoder
from unibind.engine.classifying import EVIDENCE, Classified, Classifier
from unibind.engine.measuring import Measured, measured_targets
from unibind.engine.recipes import Recipe, class_texts_of
from unibind.engine.senses import TEXT, Senses
from unibind.engine.training import (
    as_rehearsed,
    rehearsed_head,
    train_encoder,
    with_rehearsed_strength,
)
from unibind.errors import InvalidInputError
from unibind.knowledge.base import KnowledgeBase, open_base
from unibind.protocols import Encoder, TracingStore, VectorStore
from unibind.types import (
    FloatArray,
    Hit,
    IntArray,
    Json,
    Modality,
    Prediction,
    ProgressCallback,
)

if TYPE_CHECKING:
    from unibind.alignment.network_fit import Schedule  # torch

__all__ = ["Embedded", "Engine"]

_STORE = "store"


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """What came of many items.

    Attributes:
        embeddings: Of the M items that worked, in their order, unit length, shape (M, D).
        rows: Places of those among the items, ascending, shape (M,).
        failures: The others, in their order.
    """

    embeddings: FloatArray
    rows: IntArray
    failures: tuple[Failure, ...]


class Engine:
    """One space with all that speaks it: towers, heads, class centers and a store.

    Towers, heads and the store are opened when they are first needed. An engine may be used by
    several threads for reading.

    Args:
        space: The space.
        root: Its folder; heads are read from it, and the store lies in it.
        opened: Towers that are open already, by modality.
    """

    def __init__(
        self, space: Space, root: Path, *, opened: Mapping[str, Encoder] | None = None
    ) -> None:
        self.space = space
        self.root = root
        self.senses = Senses(space, root, opened=opened)
        self._classifier = Classifier(space, self.senses)

    @classmethod
    def from_recipe(cls, recipe: Recipe, root: Path) -> Self:
        """Return the engine of a space that was not built yet.

        Raises:
            FetchError: The weights of the text tower are not here yet.
        """
        tower = open_encoder(recipe.text_encoder)
        names = [label.name for label in read_labels()]
        with FeatureCache.of(tower) as cache:
            features = encode_sources(tower, names, cache=cache).features
        space = Space.around(
            tower,
            text_encoder=recipe.text_encoder,
            encoders=dict(recipe.encoders),
            names=names,
            features=features,
        )
        return cls(space, root, opened={TEXT: tower})

    def with_encoder(self, modality: str, encoder: str) -> "Engine":
        """Return an engine of the same space with one more modality, or another encoder for it.

        Nothing is written before `align` or `save`.

        Args:
            modality: Any but text.
            encoder: Name of an installed encoder that reads it.

        Raises:
            InvalidInputError: The encoder reads something else.
            PluginError: No encoder is called so, or it does not load.
            FetchError: Its weights are not here yet.
        """
        if modality == TEXT:
            raise InvalidInputError(
                "another text tower is another space; make one with another recipe"
            )
        tower = open_encoder(encoder)
        if tower.modality.name != modality:
            raise InvalidInputError(
                f"the encoder {encoder!r} reads {tower.modality.name}, not {modality}"
            )
        space = self.space.with_encoder(modality, encoder)
        return Engine(space, self.root, opened={modality: tower})

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of what can be embedded: text first, then by the alphabet."""
        return (TEXT, *sorted(self.space.encoders))

    def embed(
        self, modality: str, items: Sequence[Any], *, options: Mapping[str, Json] | None = None
    ) -> FloatArray:
        """Return the embeddings of items, unit length, shape (N, D).

        Args:
            modality: One of `modalities`.
            items: Paths, contents in bytes, or decoded values; str are texts for ``"text"``.
            options: What the items do not say of themselves, of the modality's options.

        Raises:
            InvalidInputError: The space has no such modality, or an item cannot be read; the
                message lists the items. `embed_each` goes on without them.
        """
        embedded = self.embed_each(modality, items, options=options)
        if embedded.failures:
            raise InvalidInputError(_describe(embedded.failures, len(items)))
        return embedded.embeddings

    def embed_each(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        options: Mapping[str, Json] | None = None,
        progress: ProgressCallback | None = None,
    ) -> Embedded:
        """Return the embeddings of the items that work, and a list of those that do not.

        Args:
            modality: One of `modalities`.
            items: As in `embed`.
            options: As in `embed`.
            progress: Called with the items done and their number.

        Raises:
            InvalidInputError: The space has no such modality.
        """
        encoded = self.encode(modality, items, options=options, progress=progress)
        embeddings = self.senses.place(modality, encoded.features)
        return Embedded(embeddings, encoded.rows, encoded.failures)

    def encode(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        options: Mapping[str, Json] | None = None,
        progress: ProgressCallback | None = None,
    ) -> Encoded:
        """Return the features of the items that work, and a list of those that do not.

        What was encoded once is not encoded again, so an interrupted run goes on where it was.

        Args:
            modality: One of `modalities`.
            items: As in `embed`.
            options: As in `embed`.
            progress: Called with the items done and their number.

        Raises:
            InvalidInputError: The space has no such modality.
        """
        if isinstance(items, str | bytes | os.PathLike):
            raise InvalidInputError("one item was given where a list was needed; write [item]")
        return self.senses.encode(modality, items, options=options, progress=progress)

    def centers(
        self,
        *,
        classes: Sequence[str] | None = None,
        knowledge: str | Path | KnowledgeBase | None = None,
        selection: str = "all",
        n_centers: int | None = None,
        modality: str | None = None,
        texts: str | None = None,
    ) -> ClassCenters:
        """Return class centers, of names or of a knowledge base, of all or some of its classes.

        Args:
            classes: Names of classes; with knowledge, those of its classes that count.
            knowledge: A knowledge base, its name or its folder. A class's name stands beside its
                sentences as one more, the first.
            selection: Which sentences speak for a class, one of `alignment.centers.SELECTION`.
            n_centers: How many at most; all by default.
            modality: What is to be compared with them: then the text stands for a class that the
                modality's ablation chose, see `engine.recipes`.
            texts: Another one for it, of `knowledge.class_texts.KINDS`.

        Raises:
            InvalidInputError: Neither was given, a name is empty or stands twice, the base has no
                such class, or there is no such rule or text.
            ArtifactError: There is no such knowledge base.
        """
        return self._classifier.centers(
            classes=classes,
            knowledge=knowledge,
            selection=selection,
            n_centers=n_centers,
            texts=None if modality is texts is None else class_texts_of(modality or "", texts),
        )

    def classify(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        classes: Sequence[str] | None = None,
        knowledge: str | Path | KnowledgeBase | None = None,
        options: Mapping[str, Json] | None = None,
        evidence: Collection[str] = EVIDENCE,
        top: int | None = None,
        explain: bool = False,
        unknown: float | None = None,
        texts: str | None = None,
    ) -> list[list[Prediction]]:
        """Return for each item the classes, the likeliest first.

        Args:
            modality: One of `modalities`, or one that an installed instrument measures.
            items: As in `embed`.
            classes: Names of classes, any that have a name.
            knowledge: A knowledge base: its classes, its ranges for what an instrument measures,
                and its sentences where they were found to help (`engine.recipes`) or are asked for.
            options: As in `embed`.
            evidence: What may speak, of `EVIDENCE`. What is missing (a head, ranges, a physical
                unit) is left out.
            top: How many classes are listed of each item; all by default.
            explain: Whether each class comes with what spoke for it, `Prediction.reasons`.
            unknown: Share of items of these classes that may wrongly be called ``"unknown"``: 0.05.
                That label is then listed too, first where an item is none of the classes.
            texts: Which text of a base stands for a class, of `knowledge.class_texts.KINDS`; by
                default the one that the modality's ablation chose.

        Raises:
            InvalidInputError: As in `embed` and `centers`, nothing that was allowed to can speak,
                or the head knows of nothing but the listed classes.
        """
        classified = self.classify_each(
            modality,
            items,
            classes=classes,
            knowledge=knowledge,
            options=options,
            evidence=evidence,
            top=top,
            explain=explain,
            unknown=unknown,
            texts=texts,
        )
        if classified.failures:
            raise InvalidInputError(_describe(classified.failures, len(items)))
        return classified.predictions

    def classify_each(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        classes: Sequence[str] | None = None,
        knowledge: str | Path | KnowledgeBase | None = None,
        options: Mapping[str, Json] | None = None,
        evidence: Collection[str] = EVIDENCE,
        top: int | None = None,
        explain: bool = False,
        unknown: float | None = None,
        texts: str | None = None,
        progress: ProgressCallback | None = None,
    ) -> Classified:
        """Return the classes of the items that work, and a list of those that do not.

        Args:
            modality: As in `classify`.
            items: As in `embed`.
            classes: As in `classify`.
            knowledge: As in `classify`.
            options: As in `embed`.
            evidence: As in `classify`.
            top: As in `classify`.
            explain: As in `classify`.
            unknown: As in `classify`.
            texts: As in `classify`.
            progress: Called with the items done and their number.

        Raises:
            InvalidInputError: As in `classify`, but for items that cannot be read.
        """
        return self._classifier.classify_each(
            modality,
            items,
            classes=classes,
            knowledge=knowledge,
            options=options,
            evidence=evidence,
            top=top,
            explain=explain,
            unknown=unknown,
            texts=texts,
            progress=progress,
        )

    def decide(
        self,
        modality: str,
        embeddings: FloatArray | None,
        centers: ClassCenters,
        *,
        measured: Measured | None = None,
        taught: tuple[Examples, Seen, Seen] | None = None,
        top: int | None = None,
    ) -> list[list[Prediction]]:
        """Return for each item the classes, the likeliest first.

        Args:
            modality: What the items are.
            embeddings: What `embed` returned, shape (N, D), or None if only `measured` speaks.
            centers: What `centers` returned.
            measured: What instruments found on the same items.
            taught: Examples of some classes, and the items and these in the places where they are
                compared; none by default.
            top: As in `classify`.

        Raises:
            SpaceMismatchError: The centers are of another space.
            InvalidInputError: Neither embeddings nor measurements were given.
        """
        return self._classifier.decide(
            modality, embeddings, centers, measured=measured, taught=taught, top=top
        )

    def teach(
        self,
        modality: str,
        items: Sequence[Any],
        labels: Sequence[str],
        *,
        options: Mapping[str, Json] | None = None,
    ) -> int:
        """Learn classes from a few labelled examples, at once and without training.

        They are kept in the space's folder, and move these classes wherever they are listed, among
        whichever others. An item that was taught already is not taken twice.

        Args:
            modality: One of `modalities`.
            items: As in `embed`; 1 to 16 of each class are enough.
            labels: Class of each.
            options: As in `embed`.

        Returns:
            How many examples there are now.

        Raises:
            InvalidInputError: As in `embed`, or there is not one label each.
            ArtifactError: The folder cannot be written.
        """
        if len(labels) != len(items):
            raise InvalidInputError(
                f"{len(items)} examples with {len(labels)} labels; one each is needed"
            )
        encoded = self.encode(modality, items, options=options)
        if encoded.failures:
            raise InvalidInputError(_describe(encoded.failures, len(items)))
        known = self.senses.examples(modality)
        if known is None:
            nothing = np.zeros((0, encoded.features.shape[1]), dtype=np.float32)
            known = Examples((), nothing, self.encoder(modality).fingerprint)
        taught = known.plus(labels, encoded.features)
        self.save()
        self.senses.keep_examples(modality, taught)
        return len(taught)

    def unteach(self, modality: str, labels: Collection[str] | None = None) -> int:
        """Forget what was taught of some classes, or all of it, and return how many examples.

        Raises:
            ArtifactError: The folder cannot be written.
        """
        known = self.senses.examples(modality)
        if known is None:
            return 0
        kept = known.without(known.labels if labels is None else labels)
        self.senses.keep_examples(modality, kept)
        return len(known) - len(kept)

    def add(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        keys: Sequence[str],
        metadata: Sequence[Mapping[str, Json]] | None = None,
        options: Mapping[str, Json] | None = None,
    ) -> None:
        """Store items under keys; a key that is there is replaced. Durable once it returns.

        All items are stored, or, if one cannot be read, none.

        Args:
            modality: One of `modalities`.
            items: As in `embed`.
            keys: Your ids of the items, no two alike.
            metadata: JSON objects kept beside the items, which `search` can filter by.
            options: As in `embed`.

        Raises:
            InvalidInputError: As in `embed`, or keys and items are not equally many.
            StoreError: The store cannot be written.
        """
        if len(keys) != len(items):
            raise InvalidInputError(f"{len(items)} items with {len(keys)} keys; one each is needed")
        embeddings = self.embed(modality, items, options=options)
        if not isinstance(self.store, TracingStore):
            self.store.upsert(keys, embeddings, modality=modality, metadata=metadata)
            return
        self.store.upsert(
            keys,
            embeddings,
            modality=modality,
            metadata=metadata,
            sources=[_address(item, self.encoder(modality).modality) for item in items],
            made_by=self.senses.maker(modality),
        )

    def outdated(self) -> dict[str, int]:
        """Return by modality how many stored items an earlier head or encoder embedded.

        They are still found, but not as well: what is alike for one head need not be for another.

        Raises:
            StoreError: The store cannot be read.
        """
        if not (self.root / _STORE).exists() or not isinstance(self.store, TracingStore):
            return {}
        counts = {
            modality: sum(n for maker, n in makers.items() if maker != self.senses.maker(modality))
            for modality, makers in self.store.makers().items()
            if modality in self.modalities
        }
        return {modality: n for modality, n in counts.items() if n}

    def search(
        self,
        modality: str,
        items: Sequence[Any],
        *,
        into: Sequence[str] | None = None,
        k: int = 10,
        where: Mapping[str, Json] | None = None,
        options: Mapping[str, Json] | None = None,
    ) -> list[list[Hit]]:
        """Return for each item its k nearest stored ones, best first.

        Args:
            modality: What the items are, one of `modalities`.
            items: As in `embed`.
            into: Modalities to search in; all by default.
            k: How many hits at most.
            where: Only hits whose metadata fulfils this.
            options: As in `embed`, of the items that are searched with.

        Raises:
            InvalidInputError: As in `embed`, or k or a condition is not as needed.
            StoreError: The store cannot be read.
        """
        queries = self.embed(modality, items, options=options)
        return self.store.search(
            queries, k=k, modalities=into, where=where, query_modality=modality
        )

    def count(self, modality: str | None = None) -> int:
        """Return how many items are stored, in all or of one modality; this makes no store.

        Raises:
            StoreError: The store cannot be read.
        """
        return self.store.count(modality) if (self.root / _STORE).exists() else 0

    def align(
        self,
        modality: str,
        items: Sequence[Any],
        targets: Targets,
        *,
        aligner: Aligner | None = None,
        judged: Sequence[bool] | None = None,
        knowledge: str | Path | KnowledgeBase | None = None,
        options: Mapping[str, Json] | None = None,
        progress: ProgressCallback | None = None,
        watch: Watcher | None = None,
    ) -> Head:
        """Train the modality's head on items, keep it in the space's folder, and use it.

        Where the encoder is a network that `is_trainable`, it is trained first. What was
        interrupted goes on where it was, with the same items: none is encoded twice, and training
        by contrast is kept at each look.

        Args:
            modality: One of `modalities` but text, which no head projects.
            items: Training items, as in `embed`.
            targets: What each item is pulled towards.
            aligner: How; by default a ridge whose choices are made on held-out classes.
            judged: Which items the choices are judged on; all by default.
            knowledge: The base whose ranges instruments are held against, so that the weight of
                what they measure is chosen on held-out classes too.
            options: As in `embed`.
            progress: Called while items are encoded, and then while a head trains by contrast.
            watch: Called with each look at the held-out classes meanwhile.

        Raises:
            InvalidInputError: An item cannot be read, or there are too few.
            ArtifactError: The folder cannot be written.
        """
        if self.is_trainable(modality):
            self.train(modality, items, targets, options=options, progress=progress)
        encoded = self.encode(modality, items, options=options, progress=progress)
        if encoded.failures:
            raise InvalidInputError(_describe(encoded.failures, len(items)))
        base = open_base(knowledge) if isinstance(knowledge, str | Path) else knowledge
        measured = measured_targets(modality, items, targets, base, options=options)
        return self.fit(
            modality,
            encoded.features,
            targets,
            aligner=aligner,
            judged=judged,
            measured=measured,
            progress=progress,
            watch=watch,
        )

    def is_trainable(self, modality: str) -> bool:
        """Return whether the modality's encoder is a network that is trained end to end.

        Raises:
            InvalidInputError: The space has no such modality.
        """
        return isinstance(self.encoder(modality), TrainableEncoder)

    def train(
        self,
        modality: str,
        items: Sequence[Any],
        targets: Targets,
        *,
        seed: int = 0,
        schedule: "Schedule | None" = None,
        groups: Sequence[str | None] | None = None,
        options: Mapping[str, Json] | None = None,
        progress: ProgressCallback | None = None,
    ) -> tuple[Failure, ...]:
        """Train the modality's network end to end, keep it in the space's folder, and use it.

        It has no head then: `align` does both. An interrupted training goes on where it was.

        Args:
            modality: One whose encoder `is_trainable`.
            items: Training items, as in `embed`.
            targets: What each item is pulled towards.
            seed: Of what is held out, the weights and the batches.
            schedule: How to train; None takes the defaults.
            groups: Who or what each item is of; where all have one, whole groups are held out.
            options: As in `embed`.
            progress: Called after each epoch.

        Returns:
            The items that cannot be read; it was trained without them.

        Raises:
            InvalidInputError: The encoder is frozen, or there are too few items.
            ArtifactError: The folder cannot be written.
        """
        failures = train_encoder(
            self.senses,
            modality,
            items,
            targets,
            seed=seed,
            schedule=schedule,
            groups=groups,
            options=options,
            progress=progress,
        )
        self.save()
        return failures

    def fit(
        self,
        modality: str,
        features: FloatArray,
        targets: Targets,
        *,
        aligner: Aligner | None = None,
        judged: Sequence[bool] | None = None,
        measured: FloatArray | None = None,
        progress: ProgressCallback | None = None,
        watch: Watcher | None = None,
    ) -> Head:
        """Train the modality's head on features, keep it in the space's folder, and use it.

        An interrupted training by contrast goes on where it was, with the same items.

        Args:
            modality: One of `modalities` but text, which no head projects.
            features: Of the training items, by `encode`, shape (N, F).
            targets: As in `align`.
            aligner: As in `align`.
            judged: As in `align`.
            measured: Log likelihood ratios of the targets by what instruments measured on the
                items, shape (N, U).
            progress: Called while a head trains by contrast.
            watch: Called with each look at the held-out classes meanwhile.

        Raises:
            InvalidInputError: There are too few items, or all look alike to the encoder.
            ArtifactError: The folder cannot be written.
        """
        if modality == TEXT:
            raise InvalidInputError("text is the space itself and has no head; align another")
        encoder, prior = self.encoder(modality), self.prior(modality)
        rehearsal = rehearsed_head(self.senses, modality)
        head = with_rehearsed_strength(aligner or Aligner(), rehearsal).fit(
            self.senses.head_inputs(modality, features),
            targets,
            space=self.space.id,
            encoder=encoder.fingerprint,
            prior=None if prior is None else prior.embed(features),
            judged=judged,
            measured=measured,
            progress=progress,
            watch=watch,
            checkpoint=self.root / "heads" / f"{modality}-checkpoint",
        )
        head = as_rehearsed(head, rehearsal)
        self.save()
        self.senses.keep_head(modality, head)
        return head

    def save(self) -> None:
        """Write the space's own folder, so that it is found by `open` from now on.

        Raises:
            ArtifactError: The folder cannot be written.
        """
        self.space.save(self.root / "space")

    def encoder(self, modality: str) -> Encoder:
        """Return the tower of a modality.

        Raises:
            InvalidInputError: The space has no such modality.
            PluginError: Its encoder is not installed.
            FetchError: Its weights are not here yet.
            SpaceMismatchError: The text tower is not the one that the space was made with.
        """
        return self.senses.encoder(modality)

    def head(self, modality: str) -> Head | None:
        """Return the head of a modality, None if none was trained.

        Raises:
            ArtifactError: It is damaged.
            SpaceMismatchError: It is of another space, or takes another encoder's features.
        """
        return self.senses.head(modality)

    def prior(self, modality: str) -> SemanticPrior | None:
        """Return the semantic prior of a modality, None if its encoder never learned names."""
        return self.senses.prior(modality)

    @cached_property
    def store(self) -> VectorStore:
        """The store in the space's folder; made when it is first used."""
        store: VectorStore = plugins.load("unibind.stores", "local").open(
            self.root / _STORE, space=self.space.id, dim=self.space.dim
        )
        return store

    def close(self) -> None:
        """Release the files of caches and store."""
        self.senses.close()
        if "store" in self.__dict__:
            self.store.close()
            del self.__dict__["store"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _address(item: Any, modality: Modality) -> str | None:
    """Return where an item lies, None if it is no file."""
    is_path = isinstance(item, os.PathLike) or (isinstance(item, str) and not modality.str_is_item)
    return Path(item).absolute().as_uri() if is_path else None


def _describe(failures: Sequence[Failure], n_items: int) -> str:
    if n_items == 1:
        return f"{failures[0].source}: {failures[0].error}"
    shown = "; ".join(f"{failure.source}: {failure.error}" for failure in failures[:3])
    more = f"; and {len(failures) - 3} more" if len(failures) > 3 else ""
    return f"{len(failures)} of {n_items} items cannot be used: {shown}{more}"
