"""`nnunet-spine spine-map -i IMAGES -o OUT -m MODEL`."""

import argparse
import sys
from pathlib import Path

from nnunet_spine.errors import InputError, WriteError

HELP = "write maps of where the spine is, with a model of AttentionTrainer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-i", "--input", required=True, metavar="DIR", help="images named as for nnU-Net: case_0000.nii.gz"
    )
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder to write case_attention.nii.gz to")
    parser.add_argument("-m", "--model", required=True, metavar="DIR", help="model folder that nnUNetv2_train wrote")
    parser.add_argument(
        "-f", "--folds", nargs="+", default=[], metavar="F", help="folds to average; unset: all that are trained"
    )
    parser.add_argument("-chk", "--checkpoint", default="checkpoint_final.pth", metavar="FILE", help="of each fold")
    parser.add_argument("-device", "--device", metavar="D", help="cuda, cpu or mps; unset: cuda if there is one")
    parser.epilog = "Exit code 1 when a case failed."


def run(args: argparse.Namespace) -> int:
    """Write the maps; see `nnunet_spine.spine_map.predict`."""
    for folder in (args.input, args.model):
        if not Path(folder).is_dir():
            raise InputError("no such folder", "check the path", folder)
    import torch
    from tqdm import tqdm

    from nnunet_spine.inference.spine_map import cases_in, load_model
    from nnunet_spine.io.files import write_nifti
    from nnunet_spine.spine_map.fusion import MAP_SUFFIX
    from nnunet_spine.spine_map.predict import map_in_world

    try:
        device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise InputError(f"--device {args.device}", "give cuda, cpu or mps") from error
    model = load_model(args.model, device, folds=args.folds, checkpoint=args.checkpoint)
    cases = cases_in(args.input, model.dataset_json["file_ending"])
    preprocessor = model.configuration.preprocessor_class(verbose=False)
    failed = 0
    for case, files in tqdm(cases.items(), unit="scan", disable=args.quiet):
        try:
            data, _, properties = preprocessor.run_case(
                files, None, model.plans, model.configuration, model.dataset_json
            )
            attention = model.predict(torch.from_numpy(data), device)
            array, affine = map_in_world(attention, data.shape[1:], properties, model.plans.transpose_forward)
            write_nifti(Path(args.output) / f"{case}{MAP_SUFFIX}", array, affine)
        except WriteError:
            raise
        except Exception as error:  # nnU-Net's readers raise anything
            if args.debug:
                raise
            failed += 1
            tqdm.write(f"{case}: {error}", file=sys.stderr)
    if not args.quiet:
        print(f"{len(cases) - failed} of {len(cases)} maps in {args.output}")
    return 1 if failed else 0
