import numpy as np
import pytest

from nnunet_spine import geometry, meshes
from nnunet_spine.anatomy import BY_NAME, lookup_table
from nnunet_spine.errors import InputError
from nnunet_spine.io import nifti

L1, L2, L3 = (BY_NAME[name].nnunet_id for name in ("L1", "L2", "L3"))


def ball(radius_mm, centre_mm=(0, 0, 0), affine=None, shape=(60, 60, 60)):
    """Voxels of a ball; by default on a 1 mm grid with its centre in the middle."""
    affine = centred(np.eye(3), shape) if affine is None else affine
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    inside = np.linalg.norm(geometry.to_world(affine, index) - centre_mm, axis=-1) <= radius_mm
    return np.where(inside, L2, 0).astype(np.uint8)


def centred(axes, shape=(60, 60, 60)):
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def volume_mm3(mesh):
    a, b, c = mesh.vertices_mm[mesh.faces].astype(float).transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6)


def is_closed(mesh):
    """Whether each edge belongs to two faces that run through it in opposite directions."""
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    there, back = (set(map(tuple, e)) for e in (edges, edges[:, ::-1]))
    return len(there) == len(edges) and there == back


OBLIQUE = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
AXES = {
    "RAS": np.eye(3),
    "LAS": np.diag([-1.0, 1, 1]),
    "LPS": np.diag([-1.0, -1, 1]),
    "PIR": np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]]),
    "thick slices": np.diag([1.0, 1.0, 3.0]),
    "oblique": OBLIQUE,
    "oblique, mirrored, thick": OBLIQUE @ np.diag([-1.0, 1.0, 2.5]),
}


class TestVertebraMeshes:
    @pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
    def test_a_ball_in_the_world(self, axes):
        affine = centred(axes)
        affine[:3, 3] += (100, -50, 700)
        mesh = meshes.vertebra_meshes(ball(20, (100, -50, 700), affine), affine)[L2]
        radius = np.linalg.norm(mesh.vertices_mm - (100, -50, 700), axis=1)
        spacing = geometry.spacing_mm(affine).max()
        assert 20 - spacing < radius.min() < radius.max() < 20 + spacing
        assert volume_mm3(mesh) == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.03)  # positive: faces look outward
        assert is_closed(mesh)
        assert (mesh.vertices_mm.dtype, mesh.faces.dtype, mesh.deviation_mm) == (np.float32, np.int32, None)

    def test_one_mesh_per_level(self):
        labels = np.zeros((40, 40, 60), np.uint8)
        labels[10:30, 10:30, 5:25], labels[10:30, 10:30, 25:45] = L2, L1
        found = meshes.vertebra_meshes(labels, np.eye(4))
        assert list(found) == [L1, L2]
        assert found[L2].vertices_mm[:, 2].max() < 25.5 < found[L1].vertices_mm[:, 2].min() + 2

    def test_coarser_grids_have_fewer_vertices(self):
        fine, coarse = (meshes.vertebra_meshes(ball(20), np.eye(4), spacing_mm=s)[L2] for s in (1, 4))
        assert 8 < len(fine.vertices_mm) / len(coarse.vertices_mm) < 32

    def test_closed_at_the_border_of_the_scan(self):
        labels = np.zeros((20, 20, 20), np.uint8)
        labels[:, :, 10:] = L1
        mesh = meshes.vertebra_meshes(labels, np.eye(4))[L1]
        assert is_closed(mesh)
        np.testing.assert_allclose(mesh.vertices_mm.min(0), [-0.5, -0.5, 9.5], atol=0.3)
        np.testing.assert_allclose(mesh.vertices_mm.max(0), 19.5, atol=0.3)

    def test_a_single_voxel_is_drawn(self):
        labels = np.zeros((9, 9, 9), np.uint8)
        labels[4, 5, 6] = L1
        mesh = meshes.vertebra_meshes(labels, np.eye(4))[L1]
        assert is_closed(mesh)
        np.testing.assert_allclose(mesh.vertices_mm.mean(0), [4, 5, 6], atol=1)

    def test_a_stray_piece_belongs_to_its_level(self):
        labels = np.zeros((400, 60, 60), np.uint8)
        labels[:60] = ball(20)
        labels[390:396, 5:11, 5:11] = L2
        mesh = meshes.vertebra_meshes(labels, np.eye(4))[L2]
        assert is_closed(mesh)
        assert volume_mm3(mesh) == pytest.approx(4 / 3 * np.pi * 20**3 + 6**3, rel=0.03)

    def test_empty(self):
        assert meshes.vertebra_meshes(np.zeros((5, 6, 7), np.uint8), np.eye(4)) == {}
        assert meshes.deviation_meshes(np.zeros((5, 6, 7)), np.ones((5, 6, 7)), np.eye(4)) == {}

    def test_bad_input(self):
        with pytest.raises(InputError, match="mesh spacing"):
            meshes.vertebra_meshes(ball(5), np.eye(4), spacing_mm=0)
        with pytest.raises(InputError, match="three axes"):
            meshes.vertebra_meshes(np.zeros((5, 5), np.uint8), np.eye(4))
        with pytest.raises(InputError, match="same grid"):
            meshes.deviation_meshes(ball(5), ball(5)[1:], np.eye(4))


class TestDeviations:
    def test_none_from_itself(self):
        deviation = meshes.deviation_meshes(ball(20), ball(20), np.eye(4))[L2].deviation_mm
        assert deviation.dtype == np.float32
        assert np.abs(deviation).max() < 0.1

    @pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
    def test_three_mm_larger_or_smaller(self, axes):
        affine = centred(axes)
        large, small = ball(20, affine=affine), ball(17, affine=affine)
        voxel_mm = geometry.spacing_mm(affine).max()
        for prediction, reference, expected in ((large, small, 3), (small, large, -3)):
            mesh = meshes.deviation_meshes(prediction, reference, affine)[L2]
            assert mesh.deviation_mm.shape == (len(mesh.vertices_mm),)
            assert mesh.deviation_mm.mean() == pytest.approx(expected, abs=0.16 * voxel_mm)
            assert np.abs(mesh.deviation_mm - expected).max() < 0.6 * voxel_mm

    def test_exact_along_the_axes_whatever_the_voxels(self):
        prediction, reference = np.zeros((2, 40, 40, 20), np.uint8)
        reference[10:30, 10:30, 5:15], prediction[12:27, 10:30, 4:17] = L1, L1
        affine = np.diag([1.0, 0.5, 3.0, 1.0])
        mesh = meshes.deviation_meshes(prediction, reference, affine)[L1]
        x, y, z = mesh.vertices_mm.T
        middle_of_top = (np.abs(x - 19) < 4) & (np.abs(y - 9.75) < 2) & (z > 44)
        middle_of_left = (x < 13) & (np.abs(y - 9.75) < 2) & (np.abs(z - 28) < 6)
        np.testing.assert_allclose(mesh.deviation_mm[middle_of_top], 6, atol=1e-4)  # two slices of 3 mm
        np.testing.assert_allclose(mesh.deviation_mm[middle_of_left], -2, atol=1e-4)
        assert middle_of_top.any()
        assert middle_of_left.any()

    def test_translation_shows_at_the_poles(self):
        mesh = meshes.deviation_meshes(ball(20, (3, 0, 0)), ball(20), centred(np.eye(3)))[L2]
        x = mesh.vertices_mm[:, 0]
        assert mesh.deviation_mm[x.argmax()] == pytest.approx(3, abs=0.2)
        assert mesh.deviation_mm[x.argmin()] == pytest.approx(-3, abs=0.2)
        equator = np.abs(x - 1.5) < 1
        assert np.abs(mesh.deviation_mm[equator]).mean() < 0.5

    def test_compared_with_the_vertebra_it_lies_on(self):
        reference = np.zeros((30, 30, 70), np.uint8)
        reference[5:25, 5:25, 5:25], reference[5:25, 5:25, 30:50] = L3, L2
        prediction = np.zeros_like(reference)
        prediction[5:25, 5:25, 5:25], prediction[5:25, 5:25, 30:50] = L2, L1  # named one level too high
        prediction[0:3, 0:3, 60:66] = L3  # on nothing
        found = meshes.deviation_meshes(prediction, reference, np.eye(4))
        assert np.abs(found[L1].deviation_mm).max() < 0.1
        assert np.abs(found[L2].deviation_mm).max() < 0.1
        assert found[L3].deviation_mm is None

    def test_cut_off_by_the_border_of_the_scan(self):
        labels = ball(20)[:, :, 25:]
        mesh = meshes.deviation_meshes(labels, labels, np.eye(4))[L2]
        assert np.abs(mesh.deviation_mm).max() < 0.3

    def test_a_large_error_is_not_capped(self):
        reference = np.zeros((90, 30, 30), np.uint8)
        reference[5:25, 5:25, 5:25] = L1
        prediction = reference.copy()
        prediction[80:84, 12:16, 12:16] = L1
        mesh = meshes.deviation_meshes(prediction, reference, np.eye(4))[L1]
        far = mesh.vertices_mm[:, 0].argmax()
        assert mesh.deviation_mm[far] == pytest.approx(83.5 - 24.5, abs=0.1)


def test_real_vertebrae(real_data):
    mask, affine = nifti.read_nifti(real_data / "ct" / "sub-tptbox_seg-vert_msk.nii.gz")
    labels = lookup_table("verse", "nnunet")[mask].astype(np.uint8)
    voxel_mm3 = np.linalg.det(affine[:3, :3])
    for label, mesh in meshes.vertebra_meshes(labels, affine).items():
        assert is_closed(mesh)
        assert volume_mm3(mesh) == pytest.approx((labels == label).sum() * abs(voxel_mm3), rel=0.05)
    for mesh in meshes.deviation_meshes(labels, labels, affine).values():
        assert np.abs(mesh.deviation_mm).mean() < 0.05
