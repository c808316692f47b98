"""The learned score: a small transformer over the detections of a scan, run with numpy alone.

`fit.py` trains it with torch and stores its weights; here they are read and applied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from nnunet_spine.errors import InputError
from nnunet_spine.labelling.detections import N_STATES, Scan
from nnunet_spine.labelling.features import N_FEATURES, features

FARTHEST = 12
"""Detections farther apart in order than this share one attention bias."""

FITTED = "vid.npz"


@dataclass(frozen=True)
class Prices:
    """Prices of the chain that reads the network's scores, chosen on scans that the network did not see.

    Attributes:
        temperature: the network's log scores are divided by it.
        temperature_of_positions: the same for scans with evidence on neither regions nor levels.
        doubt: temperature of all scores together: names stay, probabilities become honest.
        missed: log score of a level passed over, negative.
        rejected, rejected_at_end: added to the network's log score of a detection being no vertebra.
        t11, t13, l4, l6: log odds against spines of other counts; none against L6, as the network tells it from S1.
        spacing: weight of distances that do not fit the levels named, see `chain.Chain.spacing_weight`.
        levels: weight of the log of evidence per level.
    """

    temperature: float = 2.0
    temperature_of_positions: float = 6.0
    doubt: float = 2.5
    missed: float = -5.0
    rejected: float = -4.0
    rejected_at_end: float = -8.0
    t11: float = 3.0
    t13: float = 5.0
    l4: float = 5.0
    l6: float = 0.0
    spacing: float = 1.5
    levels: float = 1.0


@dataclass(frozen=True)
class Model:
    """An ensemble of networks and the prices fitted with it.

    Attributes:
        members: weights by name, one mapping per network.
        prices: of the chain.
    """

    members: tuple[Mapping[str, np.ndarray], ...]
    prices: Prices

    def log_scores(self, scan: Scan, hide: frozenset[str] = frozenset()) -> np.ndarray:
        """(n, 28) log scores of each state and, last, of no vertebra; each row's exponentials sum to about 1.

        Args:
            scan: detections in cranio-caudal order.
            hide: groups of features to treat as unknown.
        """
        if not len(scan):
            return np.zeros((0, N_STATES + 1))
        x = features(scan, hide)
        return np.mean([apply_network(weights, x) for weights in self.members], axis=0)


def apply_network(weights: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Log scores (n, 28) of n detections.

    A transformer with normalisation before each part, and an attention bias by distance in order.

    Args:
        weights: by name.
        x: (n, N_FEATURES).
    """
    n = len(x)
    order = np.clip(np.arange(n)[None] - np.arange(n)[:, None], -FARTHEST, FARTHEST) + FARTHEST
    x = _linear(weights, "embed", x)
    block = 0
    while f"{block}.qkv.weight" in weights:
        bias = weights[f"{block}.bias"]  # (heads, 2 FARTHEST + 1)
        heads = len(bias)
        q, k, v = (
            _linear(weights, f"{block}.qkv", _norm(weights, f"{block}.norm1", x))
            .reshape(n, 3, heads, -1)
            .transpose(1, 2, 0, 3)
        )
        attention = _softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]) + bias[:, order])  # (heads, n, n)
        x = x + _linear(weights, f"{block}.out", (attention @ v).transpose(1, 0, 2).reshape(n, -1))
        hidden = np.maximum(_linear(weights, f"{block}.up", _norm(weights, f"{block}.norm2", x)), 0)
        x = x + _linear(weights, f"{block}.down", hidden)
        block += 1
    logits = _linear(weights, "head", _norm(weights, "norm", x))
    top = logits.max(-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))


def save_model(model: Model, path) -> None:
    """Write weights (16-bit) and prices to one .npz file without pickled objects."""
    arrays = {
        f"{i}/{name}": w.astype(np.float16) for i, member in enumerate(model.members) for name, w in member.items()
    }
    prices = {f"prices/{name}": np.float64(value) for name, value in vars(model.prices).items()}
    np.savez_compressed(path, **arrays, **prices)


def load_model(path) -> Model:
    """Read what `save_model` wrote.

    Raises:
        InputError: another kind of file, or of a network with other features.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError) as error:
        raise InputError(f"no fitted parameters: {error}", "give a file written by the fit", path) from None
    members: dict[str, dict[str, np.ndarray]] = {}
    prices = {}
    for name, value in arrays.items():
        owner, _, rest = name.partition("/")
        if owner == "prices":
            prices[rest] = float(value)
        else:
            members.setdefault(owner, {})[rest] = value.astype(np.float32)
    if not members or any(m.get("embed.weight", np.zeros((0, 0))).shape[1] != N_FEATURES for m in members.values()):
        raise InputError(f"parameters for other features; expected {N_FEATURES}", "fit them anew", path)
    return Model(tuple(members[i] for i in sorted(members)), Prices(**prices))


@cache
def fitted_model() -> Model:
    """The parameters that come with the package, fitted on VID (see vid.txt beside them for source and licence)."""
    return load_model(files("nnunet_spine.labelling") / FITTED)


def _linear(weights: Mapping[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _norm(weights: Mapping[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
