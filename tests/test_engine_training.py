"""Networks that a space trains end to end: from a design to features, head and files."""

import json

import numpy as np
import pytest

import unibind
from unibind import weights
from unibind.alignment.aligner import Aligner
from unibind.alignment.contrast import Contrast
from unibind.alignment.heads import Head
from unibind.alignment.network_fit import Schedule
from unibind.alignment.targets import Targets
from unibind.encoders.trainable import TrainableEncoder
from unibind.engine import Engine
from unibind.errors import InvalidInputError, SpaceMismatchError
from unibind.modalities.timeseries import accept

CLASSES = ("a slow swing", "a fast tremor", "rest")
RATES = (0.03, 0.3, 0.0)  # swings per step
SHORT = Schedule(n_epochs=10, batch_size=8, learning_rate=3e-3)


@pytest.fixture(scope="module", autouse=True)
def towers():
    for name in (model.name for model in weights.MODELS.values() if model.in_mini):
        weights.fetch(name)


def recordings(seed, n_each=8, n_steps=64):
    """Return recordings and their labels."""
    generator = np.random.default_rng(seed)
    items, labels = [], []
    for label, rate in zip(CLASSES, RATES, strict=True):
        for _ in range(n_each):
            turns = 2 * np.pi * (rate * np.arange(n_steps) + generator.random())
            values = 3 * np.sin(turns) * (rate > 0) + 0.3 * generator.standard_normal(n_steps)
            items.append(accept(values, rate_hz=50))
            labels.append(label)
    return items, labels


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a space whose network was trained, and what `train` left out."""
    root = tmp_path_factory.mktemp("spaces") / "mini"
    with unibind.open(root).with_encoder("timeseries", "cnn-1d") as engine:
        items, labels = recordings(0)
        targets = Targets.from_labels(labels, engine.centers(classes=CLASSES))
        untold = [np.arange(20.0)]  # nobody says its rate
        failures = engine.train(
            "timeseries", [*items, *untold], with_one_more(targets), schedule=SHORT
        )
        engine.fit("timeseries", engine.encode("timeseries", items).features, targets)
    return root, failures


def with_one_more(targets):
    return Targets(targets.names, targets.points, np.append(targets.rows, 0))


def test_a_trained_network_finds_its_classes_after_the_space_is_opened_again(trained):
    items, labels = recordings(1)
    with unibind.open(trained[0]) as engine:
        encoder = engine.encoder("timeseries")
        assert isinstance(encoder, TrainableEncoder)
        assert encoder.is_trained
        found = engine.classify("timeseries", items, classes=list(CLASSES), top=1)
    right = [best.label == label for (best,), label in zip(found, labels, strict=True)]
    assert np.mean(right) > 0.8


def test_a_trained_network_embeds_items_for_unseen_classes_too(trained):
    items, _ = recordings(1, n_each=1)
    with unibind.open(trained[0]) as engine:
        found = engine.classify("timeseries", items, classes=["a slow swing", "a landslide"])
    assert all(len(each) == 2 for each in found)


def test_bad_items_are_left_out_and_told(trained):
    (failure,) = trained[1]
    assert failure.row == 24
    assert "rate_hz" in failure.error


def test_what_head_chose_came_from_items_that_the_network_had_not_seen(trained):
    root, _ = trained
    head = Head.open(root / "heads" / "timeseries")
    rehearsal = Head.open(root / "networks" / "timeseries-rehearsal")
    assert head.params["n_items"] == 24
    assert rehearsal.params["n_items"] < 24
    assert head.temperature == rehearsal.temperature
    assert head.seen_penalty == rehearsal.seen_penalty
    assert head.params["strength"] == rehearsal.params["strength"]
    assert head.metrics == rehearsal.metrics
    assert head.encoder != rehearsal.encoder


def test_nothing_of_the_checkpoint_stays_and_the_manifest_says_how(trained):
    root, _ = trained
    assert not (root / "networks" / "timeseries-checkpoint").exists()
    manifest = json.loads((root / "networks" / "timeseries" / "manifest.json").read_text())
    assert manifest["params"]["how"]["n_items"] == 24
    assert 1 <= manifest["params"]["how"]["n_epochs"] <= SHORT.n_epochs


def test_an_interrupted_training_goes_on_where_it_was(tmp_path):
    items, labels = recordings(0, n_each=4)

    def stop(n_done, n_most):
        if n_done == 4:
            raise KeyboardInterrupt

    with unibind.open(tmp_path / "mini").with_encoder("timeseries", "cnn-1d") as engine:
        targets = Targets.from_labels(labels, engine.centers(classes=CLASSES))
        schedule = Schedule(n_epochs=6)
        with pytest.raises(KeyboardInterrupt):
            engine.train("timeseries", items, targets, schedule=schedule, progress=stop)
        assert not engine.encoder("timeseries").is_trained
        seen = []
        engine.train(
            "timeseries", items, targets, schedule=schedule, progress=lambda n, _: seen.append(n)
        )
    assert seen[0] == 5


def test_align_trains_the_network_and_makes_its_head(tmp_path):
    items, labels = recordings(0, n_each=2, n_steps=16)
    with unibind.open(tmp_path / "mini").with_encoder("timeseries", "cnn-1d") as engine:
        targets = Targets.from_labels(labels, engine.centers(classes=CLASSES))
        head = engine.align("timeseries", items, targets)
        assert head.encoder == engine.encoder("timeseries").fingerprint
        assert engine.embed("timeseries", items[:2]).shape == (2, engine.space.dim)


def test_before_training_the_error_says_what_to_type(tmp_path):
    with unibind.open(tmp_path / "mini").with_encoder("timeseries", "cnn-1d") as engine:
        with pytest.raises(InvalidInputError, match=r"unibind align --modality timeseries"):
            engine.embed("timeseries", recordings(0, n_each=1)[0])
        with pytest.raises(InvalidInputError, match="image' is frozen"):
            engine.train("image", [], Targets(("a",), np.ones((1, 2), "f"), np.zeros(0, int)))


def test_a_head_of_another_networks_features_is_not_used(trained, tmp_path):
    items, labels = recordings(2)
    with unibind.open(trained[0]) as engine:
        copy = Engine(engine.space, tmp_path / "copy")
        head = engine.head("timeseries")
    head.save(tmp_path / "copy" / "heads" / "timeseries")
    targets = Targets.from_labels(labels, copy.centers(classes=CLASSES))
    copy.train("timeseries", items, targets, schedule=Schedule(n_epochs=1))
    with copy, pytest.raises(SpaceMismatchError, match="train it again"):
        copy.embed("timeseries", items[:1])


def test_the_command_line_trains_a_network(tmp_path, capsys):
    from typer.testing import CliRunner

    from unibind.cli import app

    folder = tmp_path / "data"
    for label in CLASSES[:2]:
        (folder / label).mkdir(parents=True)
    items, labels = recordings(0, n_each=2, n_steps=16)
    for n, (item, label) in enumerate(zip(items, labels, strict=True)):
        if label in CLASSES[:2]:
            text = "\n".join(["a", *map(str, item.values[0])])
            (folder / label / f"{n}.csv").write_text(text)
    finished = CliRunner().invoke(
        app,
        [
            "align", "--modality", "timeseries", "--encoder", "cnn-1d", "--data", str(folder),
            "--option", "rate_hz=50", "--space", str(tmp_path / "space"), "--json",
        ],
    )  # fmt: skip
    assert finished.exit_code == 0, finished.output
    made = json.loads(finished.stdout)
    assert (made["encoder"], made["items"], made["names"]) == ("cnn-1d", 4, 2)
    assert (tmp_path / "space" / "networks" / "timeseries" / "manifest.json").exists()


def test_a_head_whose_training_by_contrast_was_interrupted_goes_on_where_it_was(tmp_path, stamps):
    """And is the very head that an undisturbed training makes."""
    items = [item for item in stamps.items if item.label in ("birds", "fruit", "roadsigns")]
    names = [item.label for item in items]
    quick = Contrast(n_steps=30, check_every=10, patience=9)
    aligner = Aligner(method="linear", contrast=quick, n_folds=3)
    heads, looks = {}, []

    def stop_at_the_third(look):
        if look.step == 20:
            raise KeyboardInterrupt

    for name in ("straight", "interrupted"):
        with unibind.open(tmp_path / name / "mini") as engine:
            features = engine.encode("image", [item.path for item in items]).features
            targets = Targets.from_labels(names, engine.centers(classes=sorted(set(names))))
            kept = engine.root / "heads" / "image-checkpoint"
            if name == "interrupted":
                with pytest.raises(KeyboardInterrupt):
                    engine.fit("image", features, targets, aligner=aligner, watch=stop_at_the_third)
                assert kept.exists()
                assert not (engine.root / "heads" / "image").exists()
            heads[name] = engine.fit(
                "image", features, targets, aligner=aligner, watch=looks.append
            )
            assert not kept.exists()
    steps = [look.step for look in looks]
    assert steps == [0, 10, 20, 30, 20, 30]  # the second time it began where the third look was
    np.testing.assert_array_equal(heads["straight"].weight, heads["interrupted"].weight)
    assert heads["straight"].params == heads["interrupted"].params
