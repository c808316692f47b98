"""Vertebra segmentation, localisation and identification in CT with nnU-Net v2."""

from pathlib import Path

__version__ = "0.1.0"

# In a checkout `trainers/`, `architectures/` and `dataset_conversion/` lie beside this folder instead of inside it.
_here = Path(__file__).resolve().parent
if not (_here / "trainers").is_dir() and (_here.parent / "trainers" / "__init__.py").is_file():
    __path__.append(str(_here.parent))
