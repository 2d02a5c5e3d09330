import json
import statistics
from dataclasses import replace

import pytest
from chat_server import chat_server, completion, facts_of

from unibind.errors import ArtifactError, InvalidInputError, WriterUnavailableError
from unibind.knowledge.attribute_build import build_attributes, median_ranges
from unibind.knowledge.base import open_base, save_base
from unibind.knowledge.review import accept, difference, edit, reject
from unibind.knowledge.sensors import find_sensor, sensors
from unibind.knowledge.values import AttributeRanges, KnowledgeBase, Line
from unibind.knowledge.writers.openai_server import OpenAIWriter
from unibind.testing import FakeEncoder
from unibind.types import WriterSettings


def base():
    lines = (
        Line("frog", "looks", "one"),
        Line("frog", "sound", "two"),
        Line("tram", "looks", "three"),
    )
    return KnowledgeBase("x", ("frog", "tram"), lines)


def test_accepting_keeps_the_reviewer_with_each_line():
    changed = accept(base(), [1, 3], reviewer="Ann")
    assert [(x.status, x.reviewer) for x in changed.lines] == [
        ("accepted", "Ann"),
        ("unreviewed", ""),
        ("accepted", "Ann"),
    ]


def test_editing_writes_anew_and_accepting_later_does_not_hide_it():
    changed = accept(edit(base(), 2, "a new text", reviewer="Ann"), [2], reviewer="Bo")
    assert (changed.lines[1].text, changed.lines[1].status, changed.lines[1].reviewer) == (
        "a new text",
        "edited",
        "Ann",
    )


def test_rejecting_moves_a_line_into_quarantine_with_person_and_reason():
    changed = reject(base(), [2], reviewer="Ann", reason="no frog does that")
    assert [x.text for x in changed.lines] == ["one", "three"]
    (gone,) = changed.quarantine
    assert (gone.text, gone.reviewer, gone.reason) == ("two", "Ann", "rejected: no frog does that")


def test_wrong_rows_empty_texts_and_nameless_reviewers_are_refused():
    with pytest.raises(InvalidInputError, match="lines 1 to 3, there is no line 4"):
        accept(base(), [4], reviewer="Ann")
    with pytest.raises(InvalidInputError, match="name the reviewer"):
        reject(base(), [1], reviewer=" ")
    with pytest.raises(InvalidInputError, match="the new text is empty"):
        edit(base(), 1, " ", reviewer="Ann")


def test_a_difference_tells_added_removed_moved_and_how_far_centers_moved():
    lines = base().lines
    after = replace(
        base(),
        classes=("frog", "tram", "newt"),
        lines=(lines[0], replace(lines[1], class_name="newt"), Line("tram", "looks", "four")),
    )
    changes = difference(base(), after, encoder=FakeEncoder())
    assert [x.text for x in changes.added] == ["four"]
    assert [x.text for x in changes.removed] == ["three"]
    assert [(a.class_name, b.class_name) for a, b in changes.moved] == [("frog", "newt")]
    assert changes.classes_added == ("newt",)
    assert set(changes.shifts) == {"frog", "tram"}
    assert difference(base(), base(), encoder=FakeEncoder()).shifts == {}


def test_review_and_provenance_do_not_count_as_a_difference():
    changes = difference(base(), accept(base(), [1, 2, 3], reviewer="Ann"))
    assert (changes.added, changes.removed, changes.moved) == ((), (), ())


# -- attribute ranges --------------------------------------------------------------------------


def test_ranges_are_medians_of_lows_and_highs_over_samples():
    samples = [{"a": (1.0, 5.0)}, {"a": (2.0, 4.0), "b": (1.0, 2.0)}, {"a": (9.0, 90.0)}]
    assert median_ranges(samples) == {
        "a": (statistics.median([1, 2, 9]), statistics.median([5, 4, 90]))
    }
    assert median_ranges(samples[1:])["b"] == (1.0, 2.0)


def test_every_attribute_of_everyday_is_declared_with_unit_and_definition(everyday):
    for entry in everyday.attributes:
        assert set(entry.ranges) <= set(find_sensor(entry.sensor).attributes)
    for sensor in sensors().values():
        for attribute in sensor.attributes.values():
            assert attribute.definition
            assert attribute.low < attribute.high
    with pytest.raises(InvalidInputError, match="no sensor 'nose'; there are scan, sound"):
        find_sensor("nose")


def scan_answer(body):
    """Answer with ranges that depend on the seed, one of them impossible, one absent."""
    assert [a["unit"] for a in facts_of(body)["attributes"]][:1] == ["m"]
    height = 0.1 + body["seed"] % 7 / 100
    return completion(
        json.dumps(
            {
                "height_m": [height, 3 * height],
                "length_m": [0.2, 0.4],
                "width_m": [0.5, 0.1],
                "fill": [0.1, 7],
                "mirror_symmetry": None,
            }
        )
    )


def test_ranges_are_written_checked_aggregated_and_asked_for_once(tmp_path, no_key):
    save_base(replace(base(), lines=()), tmp_path / "b")
    scan = [find_sensor("scan")]
    with chat_server(answer=scan_answer) as site:
        author = OpenAIWriter(WriterSettings(base_url=site.address, model="m", n_in_flight=2))
        report = build_attributes(tmp_path / "b", scan, author, writer_name="openai", n_samples=3)
        assert (report.n_written, report.n_calls, report.missing) == (2, 6, ())
        assert report.refused == {
            "width_m not a possible range": 6,
            "fill not a possible range": 6,
        }
        for entry in open_base(tmp_path / "b").attributes:
            assert set(entry.ranges) == {"height_m", "length_m"}
            assert entry.n_samples == len(entry.samples["height_m"]) == 3
            lows = [low for low, _ in entry.samples["height_m"]]
            assert entry.ranges["height_m"][0] == statistics.median(lows)
        again = build_attributes(tmp_path / "b", scan, author, writer_name="openai", n_samples=3)
        more = build_attributes(tmp_path / "b", scan, author, writer_name="openai", n_samples=4)
        dry = build_attributes(
            tmp_path / "b", scan, author, writer_name="openai", n_samples=5, dry_run=True
        )
        assert (again.n_calls, more.n_calls, dry.expected.n_calls) == (0, 2, 2)
    source = open_base(tmp_path / "b").sources[open_base(tmp_path / "b").attributes[0].source]
    assert (source.prompt, source.generator) == ("attributes", "m")


def test_imported_ranges_stay_and_unusable_answers_are_listed(tmp_path, no_key):
    imported = AttributeRanges("frog", "scan", {"height_m": (0.03, 0.09)})
    save_base(replace(base(), attributes=(imported,)), tmp_path / "b")
    with chat_server(answer=lambda body: completion("I do not know.")) as site:
        author = OpenAIWriter(WriterSettings(base_url=site.address, model="m"))
        report = build_attributes(
            tmp_path / "b",
            [find_sensor("scan")],
            author,
            writer_name="x",
            n_samples=1,
            n_attempts=2,
        )
    assert report.missing == (("tram", "scan"),)
    assert report.refused == {"no usable range": 2}
    assert open_base(tmp_path / "b").attributes == (imported,)


def test_ranges_need_a_base_and_a_server(tmp_path, no_key):
    author = OpenAIWriter(WriterSettings(model="m"))
    with pytest.raises(ArtifactError, match="no knowledge base"):
        build_attributes(tmp_path / "none", [find_sensor("scan")], author, writer_name="x")
    save_base(base(), tmp_path / "b")
    with pytest.raises(WriterUnavailableError, match="set OPENAI_API_KEY"):
        build_attributes(tmp_path / "b", [find_sensor("scan")], author, writer_name="x")
