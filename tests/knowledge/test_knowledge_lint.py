from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from planted import KINDS, half_of, plant

from unibind.errors import InvalidInputError
from unibind.knowledge.geometry import Geometry, center_shifts
from unibind.knowledge.lint import lint, quarantined
from unibind.knowledge.names import Mentions, NameFinder, words_of
from unibind.knowledge.twins import twins_in
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
def held_out_classes(everyday):
    return half_of(everyday, "held_out")


@pytest.fixture(scope="module")
def planted(held_out_classes):
    return plant(held_out_classes, half="tuning", n_each=12)


@pytest.fixture(scope="module")
def findings(planted, tower):
    return linted(planted.base, tower)


def found_and_planted(planted, findings):
    told = {(finding.row, finding.kind) for finding in findings}
    rows = {row for row, _ in told}
    found = Counter(
        kind
        for row, kind in planted.kinds.items()
        if ((row, kind) in told if kind == "classes-too-close" else row in rows)
    )
    return found, Counter(planted.kinds.values())


def test_of_planted_faults_of_every_kind_nearly_all_are_found(planted, findings):
    found, total = found_and_planted(planted, findings)
    assert set(total.values()) == {12}
    assert set(total) == set(KINDS)
    assert sum(total.values()) >= 200
    # One draw; benchmarks/results/knowledge_recall.md has six and their interval.
    assert sum(found.values()) >= 0.94 * sum(total.values()), total - found
    for kind in ("control-character", "duplicate", "over-length", "refusal"):
        assert found[kind] == total[kind], kind


def test_texts_that_no_rule_was_made_for_are_mostly_found(held_out_classes, tower):
    planted = plant(held_out_classes, half="held_out", n_each=16, seed=1)
    found, total = found_and_planted(planted, linted(planted.base, tower))
    assert sum(found.values()) >= 0.85 * sum(total.values()), total - found
    for kind in ("control-character", "duplicate", "over-length", "url", "wrong-language"):
        assert found[kind] == total[kind], kind


def test_faults_of_a_text_are_found_under_their_own_name(planted, findings):
    named = {(finding.row, finding.kind) for finding in findings}
    by_eye = {"misplaced", "names-other-class", "outlier"}  # each may be told as another of these
    talk = {"refusal", "chat-debris", "instruction", "placeholder", "gibberish", "markup"}
    wrong = [
        (row, kind)
        for row, kind in planted.kinds.items()
        if kind not in by_eye | talk and (row, kind) not in named
    ]
    assert len(wrong) <= 0.02 * len(planted.kinds), wrong


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


def test_faulty_lines_say_nothing_about_where_a_class_lies():
    base, _ = geometry_of()
    geometry = Geometry.of(base, FakeEncoder(64), distrusted={1, 2})
    mates = geometry.lines[[2, 3, 4]].mean(axis=0)  # of the first class, without rows 1 and 2
    cosines = geometry.lines @ (mates / np.linalg.norm(mates))
    for row in (0, 1, *range(5, 15)):
        assert geometry.similarities[row, 0] == pytest.approx(cosines[row], abs=1e-5)


def test_likeness_is_the_cosine_between_lines_over_that_within_classes():
    _, geometry = geometry_of()
    cosines = geometry.lines @ geometry.lines.T
    within, between = [], {}
    for c in range(3):
        rows = range(5 * c, 5 * c + 5)
        within.append(max(np.mean([cosines[i, j] for i in rows for j in rows if i != j]), 1e-3))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        between[a, b] = cosines[5 * a : 5 * a + 5, 5 * b : 5 * b + 5].mean()
        expected = between[a, b] / np.sqrt(within[a] * within[b])
        assert geometry.likenesses[a, b] == pytest.approx(expected, rel=1e-3)


def test_classes_of_few_lines_are_not_compared():
    lines = tuple(Line(name, "looks", f"{name} {i}") for name in "ab" for i in range(3))
    geometry = Geometry.of(KnowledgeBase("x", ("a", "b"), lines), FakeEncoder(64))
    assert geometry.likenesses.max() == -1.0
    assert twins_in(geometry) == []


def test_a_class_that_was_split_is_one_and_unlike_classes_are_not(everyday, tower):
    names = {"frog", "tram", "violin", "piano"}
    lines = [x for x in everyday.lines if x.class_name in names]
    halved = [
        replace(x, class_name="toad") if x.class_name == "frog" and at % 2 else x
        for at, x in enumerate(lines)
    ]
    base = replace(everyday, classes=(*names, "toad"), lines=tuple(halved))
    pairs = [{x.first, x.second} for x in twins_in(Geometry.of(base, tower.encoder)) if x.is_one]
    assert pairs == [{"frog", "toad"}]


def test_jeans_and_trousers_are_too_close_and_frog_and_tram_are_not(everyday, tower):
    pairs = [
        {x.first, x.second} for x in twins_in(Geometry.of(everyday, tower.encoder)) if x.is_one
    ]
    assert {"jeans", "trousers"} in pairs
    assert {"frog", "tram"} not in pairs


def test_a_name_that_other_classes_often_use_weighs_little():
    classes = ("shoe", "box", "violin")
    lines = ["a shoe in a box", "it comes in a box", "a box of wood", "a violin", "a violin bow"]
    mentions = Mentions.of(classes, [0, 0, 1, 2, 2], [words_of(line) for line in lines])
    assert mentions.others == (frozenset(), frozenset({1}), *[frozenset()] * 3)
    assert mentions.weights == pytest.approx((np.log(2), np.log(2), np.log(3)))


@pytest.mark.parametrize(
    ("text", "is_talk"),
    [
        ("When in doubt, the label you choose is seahorse.", True),
        ("If you want, my model can answer in other words.", True),
        ("Females answer with a bubbling, liquid chuckle.", False),
        ("A heavy I-beam handle ends in a hook.", False),
    ],
)
def test_two_words_about_talking_are_meta_talk(text, is_talk):
    base = KnowledgeBase("x", ("a",), (Line("a", "looks", text),))
    assert ("meta-talk" in {f.kind for f in lint(base)}) is is_talk


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
    assert NameFinder(["mouse", "leaf"]).named(words_of("Mice under leaves")) == {0, 1}


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
