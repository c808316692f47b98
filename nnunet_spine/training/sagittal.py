"""Where sagittal slices lie in preprocessed volumes, for networks that treat them unlike the other directions."""

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_spine.errors import InputError
from nnunet_spine.training.readers import REORIENTING_READERS


def sagittal_axis(plans_manager: PlansManager) -> int:
    """Axis of preprocessed volumes that runs from left to right, i.e. counts sagittal slices.

    Raises:
        InputError: the plans' reader does not reorient, so any axis may be it.
    """
    reader = plans_manager.plans["image_reader_writer"]
    if reader not in REORIENTING_READERS:
        raise InputError(
            f"sagittal slices need a reader that reorients, these plans use {reader}",
            'set "overwrite_image_reader_writer": "NibabelIOWithReorient" in dataset.json and plan anew',
        )
    # such readers deliver cranio-caudal, antero-posterior, left-right
    return list(plans_manager.transpose_forward).index(2)
