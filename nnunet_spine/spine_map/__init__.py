"""Where in the scan the spine is: coarse maps of an attention net, and their fusion with segmentations."""
