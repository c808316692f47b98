"""What nnU-Net finds when `nnUNet_extTrainer` names this folder: the package's own trainers, and any recipe.

nnU-Net imports this file under its bare name and forgets it again. The classes it finds are those of the installed
package, so they can be pickled and are the same objects everywhere.
"""

import sys
from pathlib import Path

try:
    import nnunet_spine.trainers as trainers
except ModuleNotFoundError as error:
    if error.name != "nnunet_spine":
        raise
    # Used straight from a checkout: nobody has put it on the import path.
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    import nnunet_spine.trainers as trainers


def __getattr__(name: str) -> type:
    return getattr(trainers, name)
