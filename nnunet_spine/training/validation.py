"""A final validation that is not nnU-Net's, shared among processes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from torch import distributed

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


def validate_in_shares(trainer: "nnUNetTrainer", validate_case: Callable[[str], float]) -> dict[str, float]:
    """Validate the cases of the trainer's fold; each process takes its share of them.

    The processes meet once, at the end: shares differ by one case at most, so none waits for long.

    Args:
        validate_case: writes what is to be written of a case, and returns its score.

    Returns:
        Score of each case, in every process; the mean is logged as nnU-Net logs its final Dice.
    """
    trainer.network.eval()
    _, keys = trainer.do_split()
    rank, n_ranks = (distributed.get_rank(), distributed.get_world_size()) if trainer.is_ddp else (0, 1)
    scores = {}
    for case in keys[rank::n_ranks]:
        scores[case] = float(validate_case(case))
        trainer.print_to_log_file(f"{case}: score {scores[case]:.4f}")
    if trainer.is_ddp:
        shares = [None] * n_ranks
        distributed.all_gather_object(shares, scores)
        scores = {case: score for share in shares for case, score in share.items()}
    mean = float(np.mean(list(scores.values()))) if scores else float("nan")
    trainer.logger.log_summary("final_val/foreground_dice", mean)
    trainer.print_to_log_file(f"Mean score of {len(scores)} validation cases: {mean:.4f}")
    return scores
