"""How far the surface of a predicted vertebra lies from a reference surface given as triangles (Mita et al.).

Distances run from the prediction's surface to the nearest point of the reference: a reference that shows more than the
prediction (a whole spine) or has been cut does not count against it, and so they say nothing about what is missing.
"""

from dataclasses import dataclass, replace

import numpy as np

from nnunet_spine.errors import InputError
from nnunet_spine.meshes import Mesh, boundary_mesh

SPACING_MM = 1.0
FRAMES = ("ras", "lps")
NEAR_MM = 5.0
_FITS = 0.5  # share of the prediction's surface that lies near the reference
_CLEAR = 0.2  # by which one frame has to be better than the other


@dataclass(frozen=True)
class Deviation:
    """Signed distances of a predicted surface, each point weighted by its share of the area; inside is negative.

    Attributes:
        mesh: the prediction's surface, with `deviation_mm`.
        mean_mm, sd_mm: of the signed distances.
        mean_absolute_mm: of their sizes.
        max_mm: largest size, inside or outside.
        hd95_mm: 95th percentile of the sizes; one-sided, from the prediction to the reference.
    """

    mesh: Mesh
    mean_mm: float
    sd_mm: float
    mean_absolute_mm: float
    max_mm: float
    hd95_mm: float


def surface_deviation(
    mask: np.ndarray, affine: np.ndarray, vertices_mm: np.ndarray, faces: np.ndarray, *, spacing_mm: float = SPACING_MM
) -> Deviation:
    """Signed distances of a mask's surface to a triangle mesh.

    The mask's surface runs half way between voxels (`meshes.boundary_mesh`). Source: Mita et al., figure of surface
    deviation; they do not say how points are weighted, we weigh by area.

    Args:
        mask: 3-D bool.
        affine: voxel index -> RAS mm, 4x4.
        vertices_mm: of the reference, world RAS (n, 3).
        faces: vertex numbers (m, 3), counter-clockwise seen from outside.
        spacing_mm: distance between points of the prediction's surface, about; never finer than the mask.

    Raises:
        InputError: an empty mask.
    """
    mesh = boundary_mesh(mask, affine, spacing_mm=spacing_mm)
    distance_mm = signed_distance_mm(mesh.vertices_mm, vertices_mm, faces)
    weight = _vertex_areas(mesh)
    size_mm = np.abs(distance_mm)
    mean_mm = float(np.average(distance_mm, weights=weight))
    order = np.argsort(size_mm)
    share = np.cumsum(weight[order]) / weight.sum()
    return Deviation(
        replace(mesh, deviation_mm=distance_mm.astype(np.float32)),
        mean_mm,
        float(np.sqrt(np.average((distance_mm - mean_mm) ** 2, weights=weight))),
        float(np.average(size_mm, weights=weight)),
        float(size_mm.max()),
        float(size_mm[order[min(np.searchsorted(share, 0.95), len(order) - 1)]]),
    )


def signed_distance_mm(points_mm: np.ndarray, vertices_mm: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Distance of points (n, 3) to the nearest point of a triangle mesh, negative inside, (n,).

    The sign is that of the angle to the surface's normal at the nearest point: the face's inside a triangle, the sum
    over both faces on an edge, the angle-weighted mean at a corner (Baerentzen & Aanaes 2005), which is right for
    closed surfaces and, away from their rims, for open ones.
    """
    import trimesh

    mesh = trimesh.Trimesh(vertices_mm, faces, process=False)
    nearest_mm, distance_mm, face = trimesh.proximity.closest_point(mesh, np.asarray(points_mm, float))
    share = trimesh.triangles.points_to_barycentric(mesh.triangles[face], nearest_mm)  # (n, 3)
    away = share > 1e-6  # corners of the triangle that the nearest point depends on
    normal = mesh.face_normals[face].copy()
    corner = away.sum(1) == 1
    normal[corner] = mesh.vertex_normals[mesh.faces[face[corner], away[corner].argmax(1)]]
    edge = np.flatnonzero(away.sum(1) == 2)
    normal[edge] = _edge_normals(mesh)[_edge_number(mesh, face[edge], (~away[edge]).argmax(1))]
    outwards = np.einsum("ij,ij->i", np.asarray(points_mm, float) - nearest_mm, normal)
    return np.where(outwards < 0, -distance_mm, distance_mm)


def choose_frame(
    points_mm: np.ndarray, vertices: np.ndarray, faces: np.ndarray, *, declared: str = ""
) -> tuple[str, dict[str, float]]:
    """In which frame a surface lies on a prediction: RAS, or LPS as ITK has it.

    A frame fits where half of the prediction's surface lies within 5 mm of the reference. Where both fit and neither
    is clearly better, what the file itself declares decides.

    Args:
        points_mm: on the prediction's surface, world RAS (n, 3).
        vertices, faces: of the reference, in its own frame.
        declared: "ras", "lps", or "" for a file that does not say.

    Returns:
        "ras" or "lps", and for each the share of the prediction's surface near the reference.

    Raises:
        InputError: neither fits, or both do and the file does not say.
    """
    near = {frame: _share_near(points_mm, to_ras(vertices, frame), faces) for frame in FRAMES}
    best, other = sorted(FRAMES, key=near.__getitem__, reverse=True)
    shares = f"{near['ras']:.0%} of the prediction's surface lie within {NEAR_MM:g} mm in RAS, {near['lps']:.0%} in LPS"
    if near[best] < _FITS:
        raise InputError(
            f"lies on the prediction neither in RAS nor in LPS ({shares})",
            "check the case, the level and the unit (mm), or name the frame with --frame",
        )
    if near[best] - near[other] >= _CLEAR:
        return best, near
    if near[declared or best] >= _FITS and declared:
        return declared, near
    raise InputError(f"may be in RAS or in LPS ({shares})", "name the frame with --frame ras or --frame lps")


def to_ras(vertices: np.ndarray, frame: str) -> np.ndarray:
    """Vertices (n, 3) of a surface in "ras" or "lps" as RAS. Turning by 180 degrees keeps faces outward.

    Example:
        >>> to_ras(np.array([[1.0, 2.0, 3.0]]), "lps").tolist()
        [[-1.0, -2.0, 3.0]]
    """
    return vertices * np.array([-1.0, -1.0, 1.0]) if frame == "lps" else vertices


def _share_near(points_mm: np.ndarray, vertices_mm: np.ndarray, faces: np.ndarray) -> float:
    """Share of some 1000 of the points that lie within `NEAR_MM` of the surface."""
    import trimesh

    some = points_mm[:: max(1, len(points_mm) // 1000)].astype(float)
    boxed = np.all((some > vertices_mm.min(0) - NEAR_MM) & (some < vertices_mm.max(0) + NEAR_MM), axis=1)
    if not boxed.any():
        return 0.0
    mesh = trimesh.Trimesh(vertices_mm, faces, process=False)
    _, distance_mm, _ = trimesh.proximity.closest_point(mesh, some[boxed])
    return float((distance_mm <= NEAR_MM).sum() / len(some))


def _vertex_areas(mesh: Mesh) -> np.ndarray:
    """A third of the area of the faces around each vertex, (n,)."""
    a, b, c = (mesh.vertices_mm[mesh.faces[:, k]].astype(float) for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    return np.bincount(mesh.faces.ravel(), weights=np.repeat(area, 3), minlength=len(mesh.vertices_mm))


def _edge_number(mesh, face: np.ndarray, opposite: np.ndarray) -> np.ndarray:
    """Number among the mesh's unique edges of the edge opposite a corner (0, 1, 2) of a face."""
    return mesh.faces_unique_edges[face, (opposite + 1) % 3]  # edges of a face are 01, 12, 20


def _edge_normals(mesh) -> np.ndarray:
    """Sum of the normals of the faces at each unique edge, (number of edges, 3)."""
    total = np.zeros((len(mesh.edges_unique), 3))
    np.add.at(total, mesh.faces_unique_edges.ravel(), np.repeat(mesh.face_normals, 3, axis=0))
    return total
