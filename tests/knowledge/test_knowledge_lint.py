from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from planted import plant

from unibind.errors import InvalidInputError
from unibind.knowledge.geometry import Geometry, center_shifts
from unibind.knowledge.lint import lint, quarantined
from unibind.knowledge.names import NameFinder, words_of
from unibind.knowledge.values import AttributeRanges, KnowledgeBase, Line, Source
from unibind.testing import FakeEncoder


def linted(base, tower, **more):
    return lint(
        base,
        encoder=tower.encoder,
        count_tokens=tower.count_tokens,
        max_tokens=tower.max_tokens,
        **more,
    )


@pytest.fixture(scope="module")
def planted(everyday):
    return plant(everyday)


@pytest.fixture(scope="module")
def findings(planted, tower):
    return linted(planted.base, tower)


def test_of_planted_faults_of_every_kind_nearly_all_are_found(planted, findings):
    rows = {finding.row for finding in findings}
    total = Counter(planted.kinds.values())
    found = Counter(kind for row, kind in planted.kinds.items() if row in rows)
    assert sum(total.values()) >= 200
    assert len(total) >= 15
    assert sum(found.values()) >= 0.95 * sum(total.values()), total - found
    for kind in ("control-character", "duplicate", "over-length", "refusal"):
        assert found[kind] == total[kind], kind


def test_faults_of_a_text_are_found_under_their_own_name(planted, findings):
    named = {(finding.row, finding.kind) for finding in findings}
    by_eye = {"misplaced", "names-other-class", "outlier"}  # each may be told as another of these
    wrong = [
        (row, kind)
        for row, kind in planted.kinds.items()
        if kind not in by_eye and (row, kind) not in named
    ]
    assert wrong == []


def test_of_the_clean_lines_of_everyday_at_most_two_percent_are_flagged(everyday, tower):
    found = linted(everyday, tower)
    assert len({finding.row for finding in found}) <= 0.02 * len(everyday.lines)
    assert not [finding for finding in found if finding.severity == "error"]


def test_fix_moves_errors_aside_keeps_the_first_copy_and_what_was_reviewed():
    lines = (
        Line("a", "looks", "The same text stands here twice."),
        Line("a", "looks", "the same text stands here twice"),
        Line("a", "looks", "Sure! Here are some sentences:"),
        Line(
            "b", "looks", "See https://example.com for the rest.", status="accepted", reviewer="A"
        ),
    )
    base = KnowledgeBase("x", ("a", "b"), lines)
    cleaned = quarantined(base, lint(base))
    assert cleaned.lines == (lines[0], lines[3])
    assert [line.text for line in cleaned.quarantine] == [lines[1].text, lines[2].text]
    assert [line.reason.partition(":")[0] for line in cleaned.quarantine] == [
        "duplicate",
        "chat-debris",
    ]


def test_severities_are_a_ladder_and_an_unknown_one_is_refused(planted):
    base = replace(planted.base, lines=planted.base.lines[:600])
    counts = [len(lint(base, severity=s)) for s in ("note", "warning", "error")]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[2] > 0
    with pytest.raises(InvalidInputError, match="no severity 'fatal'"):
        lint(planted.base, severity="fatal")


def test_tokens_are_counted_with_the_tower_s_own_tokenizer(everyday, tower):
    words = "frog " * 400
    base = replace(everyday, lines=(Line("frog", "looks", words), *everyday.lines[1:50]))
    (finding,) = [f for f in linted(base, tower) if f.kind == "over-length"]
    assert finding.row == 1
    assert finding.evidence == "402 tokens, the text tower reads 256"


def test_a_phrase_is_long_enough_where_the_prompt_asks_for_phrases():
    line = Line("a", "looks", "long tail", source="s")
    phrases = KnowledgeBase("x", ("a",), (line,), {}, {"s": Source("w", "m", prompt="dclip")})
    sentences = KnowledgeBase("x", ("a",), (line,), {}, {"s": Source("w", "m", prompt="looks")})
    assert lint(phrases) == []
    assert [f.kind for f in lint(sentences)] == ["too-short"]


@pytest.mark.parametrize("n_lines", [0, 1, 2])
def test_tiny_bases_are_linted(n_lines):
    base = KnowledgeBase("x", ("a",), (Line("a", "looks", "The only line of all."),) * n_lines)
    kinds = {f.kind for f in lint(base, encoder=FakeEncoder())}
    assert kinds == ({"duplicate"} if n_lines == 2 else set())


def geometry_of(n_classes=3, n_each=5, dim=64):
    lines = tuple(
        Line(f"class {c}", "looks", f"line {c} {i}")
        for c in range(n_classes)
        for i in range(n_each)
    )
    base = KnowledgeBase("x", tuple(f"class {c}" for c in range(n_classes)), lines)
    return base, Geometry.of(base, FakeEncoder(dim))


def test_similarities_leave_a_line_out_of_its_own_center():
    base, geometry = geometry_of()
    for row in range(len(base.lines)):
        for c in range(3):
            mates = [i for i in range(len(base.lines)) if geometry.class_of[i] == c and i != row]
            center = geometry.lines[mates].mean(axis=0)
            cosine = geometry.lines[row] @ (center / np.linalg.norm(center))
            assert geometry.similarities[row, c] == pytest.approx(cosine, abs=1e-5)


def test_told_apart_is_the_share_of_lines_nearer_to_their_own_center():
    base, geometry = geometry_of()
    for twins in geometry.twins(limit=1.1):
        a, b = base.classes.index(twins.first), base.classes.index(twins.second)
        right = [
            np.mean(
                [
                    geometry.similarities[i, own] > geometry.similarities[i, other]
                    for i in range(len(base.lines))
                    if geometry.class_of[i] == own
                ]
            )
            for own, other in ((a, b), (b, a))
        ]
        assert twins.told_apart == pytest.approx(np.mean(right))


def test_jeans_and_trousers_are_too_close_and_frog_and_tram_are_not(everyday, tower):
    names = {"jeans", "trousers", "frog", "tram", "violin", "piano"}
    base = replace(
        everyday,
        classes=tuple(n for n in everyday.classes if n in names),
        lines=tuple(x for x in everyday.lines if x.class_name in names),
    )
    twins = [{a, b} for a, b, _ in Geometry.of(base, tower.encoder).twins(limit=0.8)]
    assert {"jeans", "trousers"} in twins
    assert {"frog", "tram"} not in twins


def test_centers_move_by_one_minus_their_cosine():
    encoder = FakeEncoder()
    old = KnowledgeBase("x", ("a", "b"), (Line("a", "v", "one"), Line("b", "v", "two")))
    new = replace(old, lines=(Line("a", "v", "three"), Line("b", "v", "two")))
    one, three = encoder.encode(["one", "three"])
    cosine = one @ three / np.linalg.norm(one) / np.linalg.norm(three)
    assert center_shifts(old, new, encoder) == {"a": pytest.approx(1 - cosine, abs=1e-5), "b": 0.0}


def test_names_are_found_whatever_their_number_case_and_length():
    finder = NameFinder(["frog", "washing machine", "berry", "glass"])
    assert finder.named(words_of("Frogs near the Washing Machine's door")) == {0, 1}
    assert finder.named(words_of("machine washing")) == set()
    assert finder.named(words_of("Berries in glasses")) == {2, 3}


def ranges(name="frog", sensor="scan", **bounds):
    return AttributeRanges(name, sensor, bounds)


def with_attributes(*entries):
    return KnowledgeBase("x", ("frog", "tram"), (), attributes=entries)


def test_attribute_lint_finds_what_cannot_be():
    from unibind.knowledge.attribute_lint import lint_attributes

    faulty = with_attributes(
        ranges(height_m=(0.2, 0.1)),
        ranges("tram", height_m=(2.0, 5000.0)),
        ranges("lynx", height_m=(0.5, 0.7)),
        ranges("tram", "nose", smell=(1.0, 2.0)),
        ranges("tram", "sound", loudness=(1.0, 2.0)),
        ranges("tram", fill=(0.1, 1.4)),
        replace(
            ranges("frog", "sound", pitch_hz=(100.0, 200.0)),
            samples={"pitch_hz": ((100.0, 200.0), (10000.0, 20000.0))},
        ),
    )
    found = {(f.row, f.kind) for f in lint_attributes(faulty)}
    assert found == {
        (1, "range-order"),
        (2, "impossible-value"),
        (3, "unknown-class"),
        (4, "unknown-sensor"),
        (5, "unknown-attribute"),
        (6, "impossible-value"),
        (6, "repeated-ranges"),
        (7, "samples-disagree"),
    }


def test_classes_that_no_attribute_separates_are_noted():
    from unibind.knowledge.attribute_lint import lint_attributes

    same = with_attributes(
        ranges(height_m=(0.1, 0.2), fill=(0.2, 0.4)),
        ranges("tram", height_m=(0.1, 0.2), fill=(0.2, 0.4)),
    )
    apart = with_attributes(
        ranges(height_m=(0.1, 0.2), fill=(0.2, 0.4)),
        ranges("tram", height_m=(3.0, 4.0), fill=(0.2, 0.4)),
    )
    assert [f.kind for f in lint_attributes(same, severity="note")] == ["classes-inseparable"]
    assert lint_attributes(apart, severity="note") == []


def test_the_attributes_of_everyday_have_no_fault(everyday):
    from unibind.knowledge.attribute_lint import lint_attributes

    assert lint_attributes(everyday) == []
