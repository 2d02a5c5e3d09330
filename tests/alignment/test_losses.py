import math

import pytest
import torch

from unibind.alignment.losses import center_loss, multi_positive_loss

N, C, K, D = 7, 4, 3, 5


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(rows, dim=-1)


LABELS = torch.tensor([0, 1, 1, 3, 0, 0, 2])


def test_center_loss_is_the_formula():
    embeddings, centers, temperature = draw(N, D), draw(C, K, D, seed=1), 0.3
    total = 0.0
    for n in range(N):
        best = [max(float(embeddings[n] @ centers[c, k]) for k in range(K)) for c in range(C)]
        shares = [math.exp(score / temperature) for score in best]
        total -= math.log(shares[LABELS[n]] / sum(shares))
    loss = center_loss(embeddings, centers, LABELS, temperature=temperature)
    assert float(loss) == pytest.approx(total / N)


def test_center_loss_ignores_the_order_of_a_class_centers():
    embeddings, centers = draw(N, D), draw(C, K, D, seed=1)
    loss = center_loss(embeddings, centers, LABELS, temperature=0.1)
    assert center_loss(embeddings, centers.flip(1), LABELS, temperature=0.1) == loss


def test_center_loss_is_nothing_at_ones_own_center_and_the_log_of_c_between_equals():
    centers = torch.eye(C, dtype=torch.float64)[:, None, :]
    at_home = center_loss(centers[:, 0], centers, torch.arange(C), temperature=0.01)
    assert float(at_home) < 1e-30
    between = torch.ones(1, C, dtype=torch.float64) / C**0.5
    lost = center_loss(between, centers, torch.tensor([2]), temperature=0.01)
    assert float(lost) == pytest.approx(math.log(C))


def test_the_gradient_of_center_loss_is_its_derivative():
    embeddings, centers = draw(N, D).requires_grad_(), draw(C, K, D, seed=1).requires_grad_()
    temperature = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda e, c, t: center_loss(e, c, LABELS, temperature=t), (embeddings, centers, temperature)
    )


def test_multi_positive_loss_is_the_formula():
    embeddings, temperature = draw(N, D), 0.3
    losses = []
    for i in range(N):
        others = [a for a in range(N) if a != i]
        positives = [p for p in others if LABELS[p] == LABELS[i]]
        if not positives:
            continue
        total = sum(math.exp(float(embeddings[i] @ embeddings[a]) / temperature) for a in others)
        shares = [
            math.exp(float(embeddings[i] @ embeddings[p]) / temperature) / total for p in positives
        ]
        losses.append(-sum(map(math.log, shares)) / len(shares))
    assert len(losses) == 5  # the items of class 2 and 3 are alone
    loss = multi_positive_loss(embeddings, LABELS, temperature=temperature)
    assert float(loss) == pytest.approx(sum(losses) / len(losses))


def test_multi_positive_loss_ignores_the_order_of_the_items():
    embeddings, order = draw(N, D), torch.randperm(N)
    loss = multi_positive_loss(embeddings, LABELS, temperature=0.2)
    shuffled = multi_positive_loss(embeddings[order], LABELS[order], temperature=0.2)
    assert float(shuffled) == pytest.approx(float(loss))


def test_the_gradient_of_multi_positive_loss_is_its_derivative():
    embeddings = draw(N, D).requires_grad_()
    temperature = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda e, t: multi_positive_loss(e, LABELS, temperature=t), (embeddings, temperature)
    )


@pytest.mark.parametrize("n", [1, 4])
def test_items_without_a_positive_lose_nothing_and_pull_nowhere(n):
    embeddings = draw(n, D).requires_grad_()
    loss = multi_positive_loss(embeddings, torch.arange(n), temperature=0.1)
    loss.backward()
    assert loss.item() == 0
    assert (embeddings.grad == 0).all()
