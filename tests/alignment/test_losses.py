"""Each loss against a slow loop over plain floats, which also gives its derivative."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from unibind.alignment.losses import (
    center_loss,
    instance_loss,
    multi_positive_loss,
    released_loss,
    sigmoid_loss,
)

N, C, K, D = 7, 4, 3, 5
LABELS = torch.tensor([0, 1, 1, 3, 0, 0, 2])
Rows = np.ndarray


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(rows, dim=-1)


def dot(one: Rows, other: Rows) -> float:
    return sum(float(a) * float(b) for a, b in zip(one, other, strict=True))


def log_share(scores: list[float], right: int) -> float:
    return scores[right] - math.log(sum(math.exp(score) for score in scores))


# The formulas, as loops over floats: (first argument, second argument, temperature) -> nats.


def reduced(cosines: list[float], reduction: str) -> float:
    if reduction == "nearest":
        return max(cosines)
    if reduction == "mean":
        return sum(cosines) / len(cosines)
    return 0.05 * math.log(sum(math.exp(q / 0.05) for q in cosines) / len(cosines))


def slow_center(reduction: str) -> Callable[[Rows, Rows, float], float]:
    def loss(embeddings: Rows, centers: Rows, temperature: float) -> float:
        total = 0.0
        for embedding, label in zip(embeddings, LABELS.tolist(), strict=True):
            scores = [reduced([dot(embedding, v) for v in of], reduction) for of in centers]
            total -= log_share([score / temperature for score in scores], label)
        return total / len(embeddings)

    return loss


def slow_multi_positive(embeddings: Rows, _: Rows, temperature: float) -> float:
    losses = []
    for n in range(len(embeddings)):
        others = [a for a in range(len(embeddings)) if a != n]
        positives = [p for p in others if LABELS[p] == LABELS[n]]
        if not positives:
            continue
        scores = [dot(embeddings[n], embeddings[a]) / temperature for a in others]
        shares = [log_share(scores, others.index(p)) for p in positives]
        losses.append(-sum(shares) / len(positives))
    assert len(losses) == 5  # the items of class 2 and 3 are alone
    return sum(losses) / len(losses)


def slow_released(embeddings: Rows, descriptions: Rows, _: float) -> float:
    total = 0.0
    for n, embedding in enumerate(embeddings):
        total -= log_share([dot(embedding, d) for d in descriptions], n)
    return total / len(embeddings)


def slow_instance(embeddings: Rows, texts: Rows, temperature: float) -> float:
    total = 0.0
    for n in range(len(embeddings)):
        rivals = [n, *(m for m in range(len(embeddings)) if LABELS[m] != LABELS[n])]
        to_texts = [dot(embeddings[n], texts[m]) / temperature for m in rivals]
        to_items = [dot(embeddings[m], texts[n]) / temperature for m in rivals]
        total -= log_share(to_texts, 0) + log_share(to_items, 0)
    return total / (2 * len(embeddings))


def slow_sigmoid(embeddings: Rows, points: Rows, temperature: float) -> float:
    total = 0.0
    for embedding, label in zip(embeddings, LABELS.tolist(), strict=True):
        for c, point in enumerate(points):
            sign = 1 if c == label else -1
            logit = dot(embedding, point) / temperature - 2.0
            total += math.log(1 + math.exp(-sign * logit))
    return total / len(embeddings)


LOSSES = {
    f"center, {reduction}": (
        lambda e, v, t, how=reduction: center_loss(e, v, LABELS, temperature=t, reduction=how),
        slow_center(reduction),
        (C, K, D),
    )
    for reduction in ("nearest", "log-sum-exp", "mean")
} | {
    "multi-positive": (
        lambda e, _, t: multi_positive_loss(e, LABELS, temperature=t),
        slow_multi_positive,
        (1, D),
    ),
    "released": (lambda e, d, _: released_loss(e, d), slow_released, (N, D)),
    "instance": (
        lambda e, c, t: instance_loss(e, c, LABELS, temperature=t),
        slow_instance,
        (N, D),
    ),
    "sigmoid": (
        lambda e, v, t: sigmoid_loss(e, v, LABELS, temperature=t, bias=-2.0),
        slow_sigmoid,
        (C, D),
    ),
}


@pytest.fixture(params=LOSSES)
def case(request):
    fast, slow, shape = LOSSES[request.param]
    return fast, slow, draw(N, D), draw(*shape, seed=1)


def test_a_loss_is_its_formula(case):
    fast, slow, embeddings, others = case
    for temperature in (0.1, 0.3, 1.0):
        expected = slow(embeddings.numpy(), others.numpy(), temperature)
        assert float(fast(embeddings, others, temperature)) == pytest.approx(expected)


def test_a_gradient_is_the_difference_quotient_of_the_loop(case):
    """Nothing of torch takes part in the oracle: a central difference of sums of floats."""
    fast, slow, embeddings, others = case
    temperature = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    leaf = embeddings.clone().requires_grad_()
    fast(leaf, others, temperature).backward()
    step = 1e-6
    for n in range(N):
        for d in range(D):
            up, down = embeddings.numpy().copy(), embeddings.numpy().copy()
            up[n, d] += step
            down[n, d] -= step
            quotient = (slow(up, others.numpy(), 0.4) - slow(down, others.numpy(), 0.4)) / 2 / step
            assert float(leaf.grad[n, d]) == pytest.approx(quotient, abs=1e-6)
    at = [slow(embeddings.numpy(), others.numpy(), 0.4 + side * step) for side in (1, -1)]
    found = 0.0 if temperature.grad is None else float(temperature.grad)
    assert found == pytest.approx((at[0] - at[1]) / 2 / step, abs=1e-5)


def test_a_loss_does_not_change_when_the_space_is_turned(case):
    fast, _, embeddings, others = case
    turn, _ = torch.linalg.qr(draw(D, D, seed=2))
    turned = fast(embeddings @ turn, others @ turn, 0.2)
    assert float(turned) == pytest.approx(float(fast(embeddings, others, 0.2)))


def test_center_loss_ignores_the_order_of_a_class_centers():
    embeddings, centers = draw(N, D), draw(C, K, D, seed=1)
    for reduction in ("nearest", "log-sum-exp", "mean"):
        one, other = (
            center_loss(embeddings, of, LABELS, temperature=0.1, reduction=reduction)
            for of in (centers, centers.flip(1))
        )
        assert float(one) == pytest.approx(float(other))


def test_log_sum_exp_lies_between_the_mean_and_the_nearest():
    embeddings, centers = draw(1, D), draw(2, K, D, seed=1)
    centers[1] = centers[1, :1]  # the rival's centers are one, so its score is the same thrice
    label = torch.tensor([0])
    mean, between, nearest = (
        float(center_loss(embeddings, centers, label, temperature=0.1, reduction=how))
        for how in ("mean", "log-sum-exp", "nearest")
    )
    assert nearest < between < mean


def test_center_loss_is_nothing_at_ones_own_center_and_the_log_of_c_between_equals():
    centers = torch.eye(C, dtype=torch.float64)[:, None, :]
    at_home = center_loss(centers[:, 0], centers, torch.arange(C), temperature=0.01)
    assert float(at_home) < 1e-30
    between = torch.ones(1, C, dtype=torch.float64) / C**0.5
    lost = center_loss(between, centers, torch.tensor([2]), temperature=0.01)
    assert float(lost) == pytest.approx(math.log(C))


@pytest.mark.parametrize("name", ["multi-positive", "instance"])
def test_a_loss_among_items_ignores_their_order(name):
    embeddings, texts, order = draw(N, D), draw(N, D, seed=1), torch.tensor([3, 0, 6, 5, 1, 4, 2])

    def loss(rows: torch.Tensor) -> float:
        if name == "multi-positive":
            return float(multi_positive_loss(embeddings[rows], LABELS[rows], temperature=0.2))
        return float(instance_loss(embeddings[rows], texts[rows], LABELS[rows], temperature=0.2))

    assert loss(order) == pytest.approx(loss(torch.arange(N)))


@pytest.mark.parametrize("n", [1, 4])
def test_items_without_a_positive_lose_nothing_and_pull_nowhere(n):
    embeddings = draw(n, D).requires_grad_()
    loss = multi_positive_loss(embeddings, torch.arange(n), temperature=0.1)
    loss.backward()
    assert loss.item() == 0
    assert (embeddings.grad == 0).all()


def test_instance_loss_between_two_of_one_caption_is_nothing():
    embeddings, texts = draw(2, D), draw(1, D, seed=1).expand(2, D)
    assert float(instance_loss(embeddings, texts, torch.zeros(2), temperature=0.1)) == 0
    apart = instance_loss(embeddings, texts, torch.arange(2), temperature=0.1)
    assert float(apart) >= math.log(2)  # for them to differ, one cannot be told from the other


def test_sigmoid_loss_lets_no_class_compete_with_another():
    """A class more adds its own question, and changes nothing about the others."""
    embeddings, points = draw(N, D), draw(C + 1, D, seed=1)

    def loss(of: torch.Tensor) -> float:
        return float(sigmoid_loss(embeddings, of, LABELS, temperature=0.2, bias=-1.0))

    alone = torch.nn.functional.softplus(embeddings @ points[-1] / 0.2 - 1.0).mean()
    assert loss(points) == pytest.approx(loss(points[:-1]) + float(alone))


def test_the_released_loss_cannot_fall_below_its_bound():
    """1024 items, all as right as can be: 4.94 nats are left, and every item of a class differs."""
    n = 1024
    bound = math.log(1 + (n - 1) * math.exp(-2))
    assert bound == pytest.approx(4.94, abs=0.005)
    # Two opposite points are the best that can be done, for two items.
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    assert float(released_loss(opposite, opposite)) == pytest.approx(math.log(1 + math.exp(-2)))
    same_class = opposite[:1].expand(n, 2)
    assert float(released_loss(same_class, same_class)) == pytest.approx(math.log(n))
    assert (
        float(center_loss(opposite, opposite[:, None], torch.tensor([0, 1]), temperature=0.05))
        < 1e-9
    )
