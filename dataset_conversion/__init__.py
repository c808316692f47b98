"""Public data sets as nnU-Net raw datasets: one converter per data set, one writer for all of them.

A converter is a module with a `CONVERTER`, see `case`; listing the module in `MODULES` gives it a place on the command
line and in the tests.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_spine.dataset_conversion.case import Converter

MODULES: tuple[str, ...] = (
    "nnunet_spine.dataset_conversion.verse",
    "nnunet_spine.dataset_conversion.csi2014",
    "nnunet_spine.dataset_conversion.xvertseg",
    "nnunet_spine.dataset_conversion.ctspine1k",
    "nnunet_spine.dataset_conversion.totalsegmentator",
    "nnunet_spine.dataset_conversion.glocker",
    "nnunet_spine.dataset_conversion.generic",
)


def converters() -> "dict[str, Converter]":
    """All converters by the names they give themselves."""
    found = [importlib.import_module(module).CONVERTER for module in MODULES]
    return {converter.name: converter for converter in found}
