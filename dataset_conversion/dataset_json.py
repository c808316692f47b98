"""Content of nnU-Net's dataset.json."""

from collections.abc import Mapping

from nnunet_spine import __version__


def dataset_json(
    labels: Mapping[str, int],
    n_training: int,
    *,
    name: str,
    licence: str,
    reference: str,
    dataset: dict[str, dict[str, object]] | None = None,
) -> dict[str, object]:
    """dataset.json as nnU-Net 2.8 reads it.

    Args:
        labels: name -> value, background included.
        n_training: number of training cases, validation included.
        dataset: case -> {"images": [path], "label": path} where images lie in another dataset.
    """
    content = {
        "channel_names": {"0": "CT"},
        "labels": dict(labels),
        "numTraining": n_training,
        "file_ending": ".nii.gz",
        # Scans come in many orientations, and nnU-Net does not turn them by itself.
        "overwrite_image_reader_writer": "NibabelIOWithReorient",
        "name": name,
        "licence": licence,
        "reference": reference,
        "converted_by": f"nnunet-spine {__version__}",
    }
    return content | ({"dataset": dataset} if dataset is not None else {})
