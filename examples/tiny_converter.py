"""A converter for folders of NAME.nii.gz with NAME_mask.nii.gz: python tiny_converter.py SRC -d 711."""

import sys

from nnunet_spine.commands.convert import main
from nnunet_spine.dataset_conversion.case import Converter, Found, Scan
from nnunet_spine.dataset_conversion.images import NiftiFile
from nnunet_spine.dataset_conversion.labels import LabelFile
from nnunet_spine.dataset_conversion.source_files import source_folders, volumes_left_out, walk

LUMBAR = {1: "L1", 2: "L2", 3: "L3", 4: "L4", 5: "L5"}  # mask value -> level


def find(sources, hospital="here"):
    """Pair images and masks by their names; a test folder is one whose name says so."""
    files = [path for source in source_folders(sources) for path in walk(source)]
    masks = {path.name.removesuffix("_mask.nii.gz"): path for path in files if path.name.endswith("_mask.nii.gz")}
    images = {name: mask.with_name(f"{name}.nii.gz") for name, mask in masks.items()}
    scans = [
        Scan(name, patient=name, image=NiftiFile(images[name]), mask=LabelFile(masks[name], LUMBAR),
             place=masks[name].parent, cohort=hospital)
        for name in sorted(masks)
    ]  # fmt: skip
    return Found(tuple(scans), left_out=volumes_left_out(files, [*masks.values(), *images.values()]))


CONVERTER = Converter(
    "tiny", title="Lumbar CT of one hospital", dataset_name="Tiny", licence="for this hospital only", reference="none",
    find=find, add_arguments=lambda parser: parser.add_argument("--hospital", default="here"),
    gives=frozenset({"image", "mask"}),
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main(CONVERTER))
