"""Detected vertebrae to names: exact inference over the sequence of levels, with probabilities.

from nnunet_spine.labelling import Detection, label_vertebrae

labelling = label_vertebrae([Detection((1.0, 2.0, -30.0), regions=(0.02, 0.95, 0.03)), ...])
labelling.names[0].name, labelling.names[0].probability, labelling.ambiguous, labelling.anomalies
"""

from nnunet_spine.labelling.detections import Detection
from nnunet_spine.labelling.keypoints import group_keypoints
from nnunet_spine.labelling.label import Anomaly, Labelling, Missing, Name, label_vertebrae

__all__ = ["Anomaly", "Detection", "Labelling", "Missing", "Name", "group_keypoints", "label_vertebrae"]
