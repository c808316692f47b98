import gzip
import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from nnunet_spine import cli
from nnunet_spine.anatomy import BY_NAME, dataset_labels
from nnunet_spine.errors import InputError
from nnunet_spine.io import files, label_tables, nifti, viewer_tables
from nnunet_spine.io.slicer_files import write_seg_nrrd

OBLIQUE = np.array([[1.2, -0.9, 0, -40], [0.9, 1.2, 0, 20], [0, 0, -2.0, 300], [0, 0, 0, 1.0]])


def mask(names=("T12", "T13", "L1"), ids="nnunet_id"):
    array = np.zeros((6, 5, 4 * len(names)), np.uint8)
    for k, name in enumerate(reversed(names)):
        array[1:4, 1:3, 4 * k + 1 : 4 * k + 3] = getattr(BY_NAME[name], ids)
    return array


@pytest.fixture(params=["a.nii.gz", "a.nii"])
def path(request, tmp_path):
    nifti.write_nifti(tmp_path / request.param, mask(), OBLIQUE)
    return tmp_path / request.param


class TestTables:
    @pytest.mark.parametrize("kind", label_tables.KINDS)
    def test_values_are_those_of_the_dataset(self, kind):
        values = {label.name: label.value for label in label_tables.label_table(kind)}
        if kind == "verse":
            assert (len(values), values["T12"], values["T13"], values["L6"]) == (26, 19, 28, 25)
        else:
            label_set = "vertebrae" if kind == "nnunet" else kind
            expected = dataset_labels(label_set)
            assert values == {name: value for name, value in expected.items() if value}
            assert label_tables.kind_of_dataset({"labels": expected}) == kind

    def test_levels_are_in_anatomical_order_with_their_colours(self):
        table = label_tables.label_table("nnunet")
        assert [label.name for label in table][18:21] == ["T12", "T13", "L1"]
        assert all(label.color == BY_NAME[label.name].color for label in table)

    def test_unknown(self):
        with pytest.raises(InputError, match="expected nnunet"):
            label_tables.label_table("levels")
        with pytest.raises(InputError, match="--kind"):
            label_tables.kind_of_dataset({"labels": {"background": 0, "liver": 1}})


class TestEmbedding:
    def test_names_come_back_and_the_rest_stays(self, path):
        before = nib.load(path)
        expected = np.asarray(before.dataobj).copy()
        assert label_tables.embedded_labels(path) is None
        assert label_tables.embed(path, "nnunet")
        after = nib.load(path)
        np.testing.assert_array_equal(after.dataobj, expected)
        np.testing.assert_array_equal(after.affine, before.affine)
        fields = set(before.header.keys()) - {"vox_offset", "scl_slope", "scl_inter"}
        assert all(np.array_equal(before.header[f], after.header[f]) for f in fields)
        assert after.get_data_dtype() == np.uint8
        assert label_tables.embedded_labels(path)[26] == "T13"
        assert after.dataobj.offset % 16 == 0

    def test_again_changes_nothing(self, path):
        label_tables.embed(path, "nnunet")
        content, time = path.read_bytes(), path.stat().st_mtime_ns
        assert not label_tables.embed(path, "nnunet")
        assert (path.read_bytes(), path.stat().st_mtime_ns) == (content, time)

    def test_another_table_replaces_it_and_other_extensions_stay(self, path):
        image = nib.Nifti1Image(mask(), OBLIQUE)
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"hello"))
        nib.save(image, path)
        label_tables.embed(path, "nnunet")
        assert label_tables.embed(path, "verse")
        found = nib.load(path).header.extensions
        assert [e.get_code() for e in found] == [30, 6]
        assert found[1].content.rstrip(b"\0") == b"hello"
        assert label_tables.embedded_labels(path)[28] == "T13"

    def test_a_link_to_the_source_is_replaced_and_the_source_stays(self, tmp_path, path):
        for name, make in (("hard", "hardlink_to"), ("soft", "symlink_to")):
            link = tmp_path / f"{name}_{path.name}"
            getattr(link, make)(path)
            before = path.read_bytes()
            label_tables.embed(link, "nnunet")
            assert path.read_bytes() == before
            assert label_tables.embedded_labels(link)
            assert not link.is_symlink()

    @pytest.mark.parametrize("dtype", [">i2", np.float32, np.int64])
    def test_stored_voxels_of_any_type_stay(self, tmp_path, dtype):
        image = nib.Nifti1Image(mask().astype(dtype), OBLIQUE, dtype=np.dtype(dtype))
        image.header.set_slope_inter(1, 0)
        nib.save(image, tmp_path / "a.nii.gz")
        before = gzip.decompress((tmp_path / "a.nii.gz").read_bytes())[352:]
        label_tables.embed(tmp_path / "a.nii.gz", "nnunet")
        assert gzip.decompress((tmp_path / "a.nii.gz").read_bytes()).endswith(before)
        np.testing.assert_array_equal(nib.load(tmp_path / "a.nii.gz").get_fdata(), mask())

    def test_values_beyond_the_table_are_refused(self, tmp_path):
        nifti.write_nifti(tmp_path / "a.nii.gz", mask(ids="verse_id"), OBLIQUE)
        before = (tmp_path / "a.nii.gz").read_bytes()
        with pytest.raises(InputError, match=r"value 28.*--kind verse"):
            label_tables.embed(tmp_path / "a.nii.gz", "nnunet")
        assert (tmp_path / "a.nii.gz").read_bytes() == before

    def test_written_at_once(self, tmp_path):
        label_tables.write_mask(tmp_path / "a.nii.gz", mask(), OBLIQUE, "nnunet")
        assert label_tables.embedded_labels(tmp_path / "a.nii.gz")[1] == "C1"
        assert not label_tables.embed(tmp_path / "a.nii.gz", "nnunet")


class TestReaders:
    """Programs that do not know the table read the same voxels and geometry."""

    @pytest.fixture
    def pair(self, tmp_path):
        nifti.write_nifti(tmp_path / "plain.nii.gz", mask(), OBLIQUE)
        label_tables.write_mask(tmp_path / "named.nii.gz", mask(), OBLIQUE, "nnunet")
        return tmp_path / "plain.nii.gz", tmp_path / "named.nii.gz"

    def test_simpleitk(self, pair):
        plain, named = (SimpleITK.ReadImage(str(p)) for p in pair)
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(named), SimpleITK.GetArrayFromImage(plain))
        for get in ("GetOrigin", "GetSpacing", "GetDirection", "GetPixelIDTypeAsString"):
            assert getattr(named, get)() == getattr(plain, get)()

    @pytest.mark.parametrize("reader", ["NibabelIO", "NibabelIOWithReorient"])
    def test_nnunet(self, pair, reader):
        from nnunetv2.imageio import nibabel_reader_writer

        reader = getattr(nibabel_reader_writer, reader)()
        (plain, plain_facts), (named, named_facts) = (reader.read_seg(str(p)) for p in pair)
        np.testing.assert_array_equal(named, plain)
        assert named_facts["spacing"] == plain_facts["spacing"]


class TestSidecars:
    def test_json_for_scripts(self, tmp_path):
        viewer_tables.write_sidecars(tmp_path, "regions")
        content = json.loads((tmp_path / "labels.json").read_text(encoding="utf-8"))
        assert content["kind"] == "regions"
        assert [(row["value"], row["name"]) for row in content["labels"]] == [
            (1, "cervical"),
            (2, "thoracic"),
            (3, "lumbar"),
        ]

    def test_label_descriptions_of_itk_snap(self, tmp_path):
        viewer_tables.write_sidecars(tmp_path, "nnunet")
        rows = [
            line.split()
            for line in (tmp_path / "labels_itksnap.txt").read_text(encoding="utf-8").splitlines()
            if line[0] != "#"
        ]
        assert rows[0] == ["0", "0", "0", "0", "0", "0", "0", '"Clear', 'Label"']
        assert rows[26] == ["26", *map(str, BY_NAME["T13"].color), "1", "1", "1", '"T13"']

    def test_colour_table_of_slicer(self, tmp_path):
        viewer_tables.write_sidecars(tmp_path, "verse")
        lines = (tmp_path / "labels_slicer.ctbl").read_text(encoding="utf-8").splitlines()
        assert lines[:3] == ["# Color table file", "# 27 values", "0 background 0 0 0 0"]
        assert lines[-1] == f"28 T13 {' '.join(map(str, BY_NAME['T13'].color))} 255"


class TestSegNrrd:
    def test_segments_and_grid(self, tmp_path):
        nifti.write_nifti(tmp_path / "a.nii.gz", mask(), OBLIQUE)
        write_seg_nrrd(tmp_path / "a.nii.gz", tmp_path / "a.seg.nrrd", "nnunet")
        image, mask_image = (SimpleITK.ReadImage(str(tmp_path / name)) for name in ("a.seg.nrrd", "a.nii.gz"))
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), SimpleITK.GetArrayFromImage(mask_image))
        for get in ("GetOrigin", "GetSpacing", "GetDirection"):
            np.testing.assert_allclose(getattr(image, get)(), getattr(mask_image, get)(), atol=1e-5)
        fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
        assert [fields[f"Segment{k}_Name"] for k in range(3)] == ["T12", "T13", "L1"]
        assert [fields[f"Segment{k}_LabelValue"] for k in range(3)] == ["19", "26", "20"]
        assert fields["Segment2_Extent"] == "1 3 1 2 1 2"
        assert "Segment3_ID" not in fields

    def test_unknown_values(self, tmp_path):
        nifti.write_nifti(tmp_path / "a.nii.gz", mask(ids="verse_id"), OBLIQUE)
        with pytest.raises(InputError, match="value 28"):
            write_seg_nrrd(tmp_path / "a.nii.gz", tmp_path / "a.seg.nrrd", "nnunet")
        assert not (tmp_path / "a.seg.nrrd").exists()


class TestCommand:
    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "predictions"
        for name in ("a.nii.gz", "b.nii.gz"):
            nifti.write_nifti(folder / name, mask(), OBLIQUE)
        return folder

    def test_a_folder_twice(self, folder, capsys):
        assert cli.main(["labels", "-i", str(folder)]) == 2  # 26 beside T12 and L1 is T13 here, a sacrum in VerSe
        assert "fit the tables nnunet and verse. Name the table with --kind" in capsys.readouterr().err
        assert cli.main(["labels", "-i", str(folder), "--kind", "nnunet"]) == 0
        assert "2 masks with the table 'nnunet', 2 of them" in capsys.readouterr().out
        assert cli.main(["labels", "-i", str(folder)]) == 0
        assert "0 of them" in capsys.readouterr().out
        tables = ["labels.json", "labels_itksnap.txt", "labels_slicer.ctbl"]
        assert sorted(p.name for p in folder.iterdir()) == ["a.nii.gz", "b.nii.gz", *tables]
        assert all(label_tables.embedded_labels(folder / name) for name in ("a.nii.gz", "b.nii.gz"))

    def test_the_dataset_tells_the_kind(self, folder, capsys):
        files.write_json(folder / "dataset.json", {"labels": dataset_labels("regions")})
        assert cli.main(["labels", "-i", str(folder)]) == 2
        assert "value 26" in capsys.readouterr().err
        files.write_json(folder / "dataset.json", {"labels": {"background": 0, "liver": 1}})
        assert cli.main(["labels", "-i", str(folder)]) == 2
        assert "dataset.json" in capsys.readouterr().err
        assert cli.main(["labels", "-i", str(folder), "--kind", "nnunet"]) == 0

    def test_the_dataset_above_tells_the_kind_too(self, tmp_path, capsys):
        nifti.write_nifti(tmp_path / "labelsTr" / "a.nii.gz", (mask() > 0).astype(np.uint8), OBLIQUE)
        files.write_json(tmp_path / "dataset.json", {"labels": dataset_labels("spine")})
        assert cli.main(["labels", "-i", str(tmp_path / "labelsTr")]) == 0
        assert label_tables.embedded_labels(tmp_path / "labelsTr" / "a.nii.gz") == {1: "spine"}

    def test_files_for_slicer(self, folder, tmp_path):
        files.write_json(tmp_path / "dataset.json", {"labels": dataset_labels()})
        assert cli.main(["labels", "-i", str(folder / "a.nii.gz"), "--seg-nrrd", str(tmp_path / "slicer")]) == 0
        assert [p.name for p in (tmp_path / "slicer").iterdir()] == ["a.seg.nrrd"]

    @pytest.mark.parametrize("arguments", [["--kind", "verse"], ["-i", "nosuch"], ["-i", "."]])
    def test_bad_arguments(self, arguments, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert cli.main(["labels", *arguments]) == 2
