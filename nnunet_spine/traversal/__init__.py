"""From vertebra to vertebra: a network that segments the next one, given those already found, is led along the spine.

from nnunet_spine.traversal import Rules, Scan, spine_parts, walk_spine

walk = walk_spine(Scan(image, affine, spine_parts(regions, affine)), segment, (128, 128, 128))
walk.labels, walk.instances[0].completeness, walk.decisions
"""

from nnunet_spine.traversal.doubts import Doubt, doubts
from nnunet_spine.traversal.parts import Part, spine_parts
from nnunet_spine.traversal.record import Decision, Instance, Walk
from nnunet_spine.traversal.rules import Rules
from nnunet_spine.traversal.run import Scan, walk_spine, walk_spines

__all__ = [
    "Decision",
    "Doubt",
    "Instance",
    "Part",
    "Rules",
    "Scan",
    "Walk",
    "doubts",
    "spine_parts",
    "walk_spine",
    "walk_spines",
]
