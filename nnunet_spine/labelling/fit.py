"""Training of the network that scores detections. Needs torch; nothing else in this package does.

The loss is the negative log probability of the set of what each detection may be called (see `admissible`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from nnunet_spine.labelling.detections import N_STATES, Scan
from nnunet_spine.labelling.features import N_FEATURES, features
from nnunet_spine.labelling.made_up import made_up_scan
from nnunet_spine.labelling.network import FARTHEST

_NONE = N_STATES


@dataclass(frozen=True)
class Example:
    """A scan to learn from.

    Attributes:
        scan: detections.
        admissible: (n, 28) bool, over the states and "no vertebra".
    """

    scan: Scan
    admissible: np.ndarray


@dataclass(frozen=True)
class Variant:
    """An augmented scan as the network sees it.

    Attributes:
        features: (n, N_FEATURES).
        admissible: (n, 28) bool.
    """

    features: np.ndarray
    admissible: np.ndarray


@dataclass(frozen=True)
class Schedule:
    """Size and length of a training.

    Attributes:
        width, blocks, heads: of the transformer.
        epochs, batch, learning_rate, weight_decay, dropout: of the optimisation, AdamW with one cycle.
        average: weight of each step in the running mean of the weights that is kept.
    """

    width: int = 56
    blocks: int = 3
    heads: int = 4
    epochs: int = 100
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    dropout: float = 0.1
    average: float = 0.01


class Transformer(nn.Module):
    """The network of `network.apply_network`, for training."""

    def __init__(self, width: int, blocks: int, heads: int, dropout: float):
        super().__init__()
        self.embed = nn.Linear(N_FEATURES, width)
        for i in range(blocks):
            self.add_module(str(i), _Block(width, heads, dropout))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, N_STATES + 1)

    def forward(self, x: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Log scores (b, n, 28) of features (b, n, N_FEATURES); `known` (b, n) tells detections from padding."""
        order = torch.arange(x.shape[1])
        order = (order[None] - order[:, None]).clamp(-FARTHEST, FARTHEST) + FARTHEST
        hidden = torch.where(known, 0.0, -1e4)[:, None, None, :]
        x = self.embed(x)
        for name, block in self.named_children():
            if name.isdigit():
                x = block(x, order, hidden)
        return self.head(self.norm(x)).log_softmax(-1)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.bias = nn.Parameter(torch.zeros(heads, 2 * FARTHEST + 1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, order: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        b, n, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, len(self.bias), -1).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + self.bias[:, order] + hidden).softmax(-1)
        x = x + self.dropout(self.out((attention @ v).transpose(1, 2).reshape(b, n, width)))
        return x + self.dropout(self.down(torch.relu(self.up(self.norm2(x)))))


def made_up_examples(count: int, seed: int) -> list[Example]:
    """Examples of made-up spines, see `made_up`."""
    rng = np.random.default_rng(seed)
    examples = []
    for _ in range(count):
        scan, states = made_up_scan(rng)
        examples.append(Example(scan, np.arange(N_STATES + 1)[None] == states[:, None]))
    return examples


def draw_variants(examples: Sequence[Example], rounds: int, seed: int) -> list[list[Variant]]:
    """Several variants of every scan, by round; drawing costs more than learning, so that trainings share them."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(rounds):
        augmented = [augment(example, rng) for example in examples]
        drawn.append([Variant(features(scan, hide), admissible) for scan, admissible, hide in augmented])
    return drawn


def fit_network(
    variants: Sequence[Sequence[Variant]],
    seed: int,
    schedule: Schedule,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, np.ndarray]:
    """Train one network.

    Args:
        variants: by round, of all scans to learn from; an epoch sees one round, in turn.
        seed: of weights and order.
        schedule: size and length.
        say: takes a line on the progress now and then.

    Returns:
        Weights by name, as `network.apply_network` reads them.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Transformer(schedule.width, schedule.blocks, schedule.heads, schedule.dropout)
    rate = schedule.learning_rate
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=schedule.weight_decay, betas=(0.9, 0.98))
    steps = schedule.epochs * -(-len(variants[0]) // schedule.batch)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps + 1, pct_start=0.1)
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    for epoch in range(schedule.epochs):
        losses = []
        for x, admissible, known in _batches(variants[epoch % len(variants)], schedule.batch, rng):
            scores = network(x, known)
            loss = -torch.logsumexp(scores.masked_fill(~admissible, -30.0), -1)
            loss = (loss * known).sum() / known.sum()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            cycle.step()
            losses.append(loss.item())
            for name, value in network.state_dict().items():
                kept[name].lerp_(value, schedule.average)
        if epoch % 10 == 9 or epoch == schedule.epochs - 1:
            say(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}")
    return {name: value.numpy() for name, value in kept.items()}


def _batches(variants: Sequence[Variant], size: int, rng: np.random.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
    """Variants of similar length together, padded: features, admissible states, what is no padding."""
    lengths = np.array([len(v.features) for v in variants])
    order = np.argsort(lengths + rng.normal(size=len(lengths)))
    order = order[lengths[order] > 0]
    starts = np.arange(0, len(order), size)
    rng.shuffle(starts)
    for start in starts:
        batch = [variants[i] for i in order[start : start + size]]
        shape = (len(batch), max(len(v.features) for v in batch))
        x, known = np.zeros((*shape, N_FEATURES), np.float32), np.zeros(shape, bool)
        admissible = np.zeros((*shape, N_STATES + 1), bool)
        for i, variant in enumerate(batch):
            n = len(variant.features)
            x[i, :n], admissible[i, :n], known[i, :n] = variant.features, variant.admissible, True
        yield torch.from_numpy(x), torch.from_numpy(admissible), torch.from_numpy(known)


def augment(example: Example, rng: np.random.Generator) -> tuple[Scan, np.ndarray, frozenset[str]]:
    """A variant of a scan: cropped view, detections dropped, a false one added, all moved, evidence blurred or hidden.

    Returns:
        Scan, admissible states, and the groups of features to hide.
    """
    scan, admissible = _false_detection(*_fewer(example.scan, example.admissible, rng), rng)
    n = len(scan)
    jitter, tilt = rng.uniform(0, 1.5), rng.normal(0, 0.12)
    move = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    move = move * np.exp(rng.normal(0, 0.03, (3, 1)))  # stretches each axis a little after the tilt
    body, left, right = (
        (points + rng.normal(0, jitter, points.shape)) @ move.T
        for points in (scan.position_mm, scan.left_mm, scan.right_mm)
    )
    p = np.clip(scan.regions, 0.01, 0.99)
    logits = np.log(p / (1 - p)) * np.exp(rng.normal(0, 0.15)) + rng.normal(0, 0.4, p.shape) + rng.normal(0, 0.2, 3)
    regions = 1 / (1 + np.exp(-logits))
    for values in (regions, left, right):
        values[rng.random(n) < 0.03] = np.nan
    order = np.argsort(-body[:, 2], kind="stable")
    moved = replace(scan, position_mm=body, left_mm=left, right_mm=right, regions=regions)
    hide = {group for group, share in (("regions", 0.1), ("pedicles", 0.2)) if rng.random() < share}
    return _rows(moved, order), admissible[order], frozenset(hide)


def _fewer(scan: Scan, admissible: np.ndarray, rng: np.random.Generator) -> tuple[Scan, np.ndarray]:
    """A shorter view in 40 % of the cases, and in 40 % up to 12 % of the detections missing."""
    rows = np.arange(len(scan))
    if len(rows) > 2 and rng.random() < 0.4:
        length = int(rng.integers(2, len(rows) + 1))
        start = int(rng.integers(0, len(rows) - length + 1))
        rows = rows[start : start + length]
    if rng.random() < 0.4:
        kept = rng.random(len(rows)) >= rng.uniform(0, 0.12)
        rows = rows[kept] if kept.any() else rows
    return _rows(scan, rows), admissible[rows]


def _false_detection(scan: Scan, admissible: np.ndarray, rng: np.random.Generator) -> tuple[Scan, np.ndarray]:
    """In 25 % of the cases one more detection, beside the spine or a duplicate."""
    n = len(scan)
    if n < 2 or rng.random() >= 0.25:
        return scan, admissible
    near = int(rng.integers(n))
    off = rng.normal(0, (25, 15, 15)) if rng.random() < 0.6 else rng.normal(0, 4, 3)
    added = _rows(scan, [*range(n), near])
    place = scan.position_mm[near] + off
    position, regions = added.position_mm.copy(), added.regions.copy()
    position[n], regions[n] = place, scan.regions[int(rng.integers(n))]
    left, right = added.left_mm.copy(), added.right_mm.copy()
    left[n] = right[n] = np.nan
    states = np.concatenate([admissible, np.zeros((1, N_STATES + 1), bool)])
    states[n, _NONE] = True
    distance = np.linalg.norm(scan.position_mm - place, axis=1)
    if distance.min() < 8:  # which of the two is the duplicate is not to be known
        twin = int(distance.argmin())
        states[n] |= states[twin]
        states[twin, _NONE] = True
    estimated = added.estimated.copy()
    estimated[n] = False
    return (
        replace(added, position_mm=position, regions=regions, left_mm=left, right_mm=right, estimated=estimated),
        states,
    )


def _rows(scan: Scan, rows) -> Scan:
    """Some of the detections, in this order."""
    return Scan(**{name: values[np.asarray(rows)] for name, values in vars(scan).items()})
