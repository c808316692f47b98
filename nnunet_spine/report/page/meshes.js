// Embedded meshes -> arrays for drawing. The form is written by report/encode.py.

// Meshes of a case by label map: {reference: [mesh], prediction: [mesh]}; vertices in mm around a common centre.
async function readMeshes(entry) {
  const buffer = await inflatedBlob(`meshes-${entry.index}`);
  const headLength = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, headLength)));
  const values = undoDeltas(new Uint8Array(buffer, 4 + headLength));
  let at = 0;
  const take = (count) => values.subarray(at, (at += count));
  const sets = { reference: [], prediction: [] };
  for (const item of head.meshes) {
    const xyz = take(3 * item.vertices);
    const positions = new Float32Array(3 * item.vertices);
    for (let i = 0; i < item.vertices; i++) {
      for (let axis = 0; axis < 3; axis++) positions[3 * i + axis] = xyz[axis * item.vertices + i] * head.step_mm;
    }
    const faces = new Uint32Array(take(3 * item.faces));
    const deviations = new Float32Array(item.vertices);
    if (item.deviation) take(item.vertices).forEach((value, i) => { deviations[i] = value * head.step_mm; });
    sets[item.map].push({ level: item.level, positions, faces, deviations, compared: item.deviation, normals: vertexNormals(positions, faces), centre: meanOf(positions) });
  }
  return sets;
}

// Four planes of bytes -> running sums.
function undoDeltas(planes) {
  const count = planes.length / 4;
  const values = new Int32Array(count);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    sum += planes[i] | (planes[i + count] << 8) | (planes[i + 2 * count] << 16) | (planes[i + 3 * count] << 24);
    values[i] = sum |= 0;
  }
  return values;
}

function vertexNormals(positions, faces) {
  const normals = new Float32Array(positions.length);
  for (let f = 0; f < faces.length; f += 3) {
    const [a, b, c] = [3 * faces[f], 3 * faces[f + 1], 3 * faces[f + 2]];
    const ux = positions[b] - positions[a], uy = positions[b + 1] - positions[a + 1], uz = positions[b + 2] - positions[a + 2];
    const vx = positions[c] - positions[a], vy = positions[c + 1] - positions[a + 1], vz = positions[c + 2] - positions[a + 2];
    const nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx; // length: twice the area
    for (const corner of [a, b, c]) {
      normals[corner] += nx;
      normals[corner + 1] += ny;
      normals[corner + 2] += nz;
    }
  }
  return normals; // the shader normalises
}

function meanOf(positions) {
  const sum = [0, 0, 0];
  for (let i = 0; i < positions.length; i++) sum[i % 3] += positions[i];
  return sum.map((value) => value / (positions.length / 3));
}
