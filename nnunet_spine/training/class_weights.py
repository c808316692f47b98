"""Class weights from how often each class occurs in the training cases."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from torch import distributed

LOWEST, HIGHEST = 0.1, 10.0


def count_labels(segmentations: Iterable[np.ndarray], n_labels: int) -> np.ndarray:
    """Voxels of each label over all segmentations (z, y, x); labels outside 0 to n_labels - 1 are left out."""
    counts = np.zeros(n_labels, np.int64)
    for segmentation in segmentations:
        for plane in segmentation.reshape(len(segmentation), -1):  # bincount takes 8 bytes per voxel
            counts += np.bincount(plane[(plane >= 0) & (plane < n_labels)].astype(np.intp), minlength=n_labels)
    return counts


def region_counts(label_counts: np.ndarray, regions: Sequence[int | Sequence[int]]) -> np.ndarray:
    """Voxels of each region, a region being a label or several."""
    return np.array([label_counts[np.atleast_1d(region)].sum() for region in regions])


def weights_from_counts(counts: np.ndarray) -> tuple[float, ...]:
    """Inverse square root of the counts N, divided by their mean and clipped to [0.1, 10]; 1 for classes never seen.

    The mean is over the classes that were seen, before clipping. Hempe & Heinrich weigh rare classes more but leave the
    formula open.
    """
    counts = np.asarray(counts, float)
    seen = counts > 0
    weights = np.ones(len(counts))
    if seen.any():
        inverse = 1 / np.sqrt(counts[seen])
        weights[seen] = np.clip(inverse / inverse.mean(), LOWEST, HIGHEST)
    return tuple(weights.tolist())


def count_cases(
    dataset: nnUNetBaseDataset, cases: Sequence[str], labels: LabelManager, log: Callable[[str], None]
) -> np.ndarray:
    """`count_labels` of preprocessed cases.

    nnU-Net keeps places of each class, not their number, so all segmentations are read once, with progress in the log.
    """

    def segmentations() -> Iterator[np.ndarray]:
        for i, case in enumerate(cases):
            if i % max(1, len(cases) // 10) == 0:
                log(f"counting labels for the class weights: {i} of {len(cases)} cases")
            yield np.asarray(dataset.load_case(case)[1][0])

    return count_labels(segmentations(), max(labels.all_labels) + 1)


def class_weights(counts: np.ndarray, labels: LabelManager) -> tuple[float, ...]:
    """Weights from the voxels of each label: one per label, background included, or one per region."""
    return weights_from_counts(region_counts(counts, labels.foreground_regions) if labels.has_regions else counts)


def weights_of_training_cases(
    dataset: nnUNetBaseDataset, labels: LabelManager, log: Callable[[str], None], *, ddp: bool
) -> tuple[float, ...]:
    """`class_weights` of all cases of a data set; with `ddp` each process counts its share of them."""
    rank, n_ranks = (distributed.get_rank(), distributed.get_world_size()) if ddp else (0, 1)
    counts = [count_cases(dataset, dataset.identifiers[rank::n_ranks], labels, log)]
    if ddp:
        mine, counts = counts[0], [None] * n_ranks
        distributed.all_gather_object(counts, mine)
    return class_weights(sum(counts), labels)
