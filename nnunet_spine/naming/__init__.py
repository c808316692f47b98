"""Names for the bones of a mask: what the mask's own names say, what a scan shows around them, and one chain of both.

from nnunet_spine.naming import relabel

result = relabel(labels, affine, scan=(hu, scan_affine))
result.labels, result.changes, result.unsure
"""

from nnunet_spine.naming.surroundings import Surroundings, look_around
from nnunet_spine.naming.whole_bones import SURE, NamedBone, Relabelled, name_bones, relabel

__all__ = ["SURE", "NamedBone", "Relabelled", "Surroundings", "look_around", "name_bones", "relabel"]
