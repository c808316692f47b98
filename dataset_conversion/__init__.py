"""Public data sets as nnU-Net raw datasets: one generator of cases per data set, one writer for all of them.

A converter is a module with `find_scans(sources, **choices) -> Found` (see `case.py`); listing it in `CONVERTERS` gives
it a place on the command line and in the tests.
"""

import importlib
from types import ModuleType

CONVERTERS: dict[str, str] = {"verse": "nnunet_spine.dataset_conversion.verse"}
"""Name on the command line -> module."""


def converter(name: str) -> ModuleType:
    """Import the converter called `name`.

    Raises:
        KeyError: not in `CONVERTERS`.
    """
    return importlib.import_module(CONVERTERS[name])
