"""How well instances match those of a reference, whatever their numbers: panoptic quality (Kirillov et al. 2019)."""

from dataclasses import dataclass

import numpy as np

MATCH_IOU = 0.5


@dataclass(frozen=True)
class InstanceQuality:
    """Instances of a prediction against those of a reference.

    Attributes:
        matched: pairs with an intersection over union above 0.5, of which there is at most one for each instance.
        missed: instances of the reference without a pair.
        surplus: instances of the prediction without a pair.
        mean_iou: over the pairs, 0 without one.
        dice: best Dice of each instance of the reference with any of the prediction.
    """

    matched: int
    missed: int
    surplus: int
    mean_iou: float
    dice: tuple[float, ...]

    @property
    def panoptic(self) -> float:
        """Mean IoU of the pairs times matched / (matched + missed / 2 + surplus / 2); 1 where both are empty."""
        whole = self.matched + (self.missed + self.surplus) / 2
        return self.mean_iou * self.matched / whole if whole else 1.0


def compare_instances(prediction: np.ndarray, reference: np.ndarray) -> InstanceQuality:
    """Match the instances of two maps on one grid.

    >>> compare_instances(np.array([3, 3, 3, 0]), np.array([1, 1, 1, 1])).panoptic
    0.75

    Args:
        prediction, reference: integers of one shape, 0 background.
    """
    labelled = (prediction != 0) | (reference != 0)
    values, codes = zip(
        *(np.unique(np.concatenate([[0], m[labelled]]), return_inverse=True) for m in (prediction, reference)),
        strict=True,
    )
    shape = tuple(len(v) for v in values)
    both = np.bincount(codes[0][1:] * shape[1] + codes[1][1:], minlength=shape[0] * shape[1]).reshape(shape)
    sizes = both.sum(1), both.sum(0)
    common = both[1:, 1:]
    union = sizes[0][1:, None] + sizes[1][None, 1:] - common
    iou = common / np.maximum(union, 1)
    dice = 2 * common / np.maximum(sizes[0][1:, None] + sizes[1][None, 1:], 1)
    pairs = iou > MATCH_IOU
    matched = int(pairs.sum())
    return InstanceQuality(
        matched,
        shape[1] - 1 - matched,
        shape[0] - 1 - matched,
        float(iou[pairs].mean()) if matched else 0.0,
        tuple(dice.max(0).tolist()) if shape[0] > 1 else (0.0,) * (shape[1] - 1),
    )
