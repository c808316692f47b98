"""Do a scan, its mask and their headers fit each other and a human body? Each check says what it saw, in numbers.

The checks are pure functions that return a `Finding` where something contradicts, and None or nothing otherwise. A
finding flags a case or stops it; the user overrules one by its key (`--accept KEY`).
"""

from importlib import import_module

_HOMES = {
    "finding": ("KEYS", "Finding", "flags_of", "settle"),
    "headers": ("header_findings", "shear_finding"),
    "intensities": ("intensity_finding", "sample_step"),
    "levels": ("level_findings",),
    "placement": ("Contrast", "choose_placement", "contrast", "placement_finding", "sites"),
}

__all__ = sorted(name for names in _HOMES.values() for name in names)


def __getattr__(name: str) -> object:
    """Import a check when it is asked for: `--help` needs the keys alone, and no array library."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
