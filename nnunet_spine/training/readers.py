"""nnU-Net's readers that turn scans to RAS: arrays come in the order z, y, x with x to the right."""

REORIENTING_READERS = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")
