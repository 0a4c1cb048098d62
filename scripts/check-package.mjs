// Computes a recorded scan with a package folder of stemline, through its public functions and on every backend of this
// processor, and compares the results bit for bit with those recorded from the Python peer.
// Usage: node scripts/check-package.mjs PACKAGE_FOLDER [DEFAULT_BACKEND]
import { strictEqual } from "node:assert";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";

const [folder, expectedBackend] = process.argv.slice(2);
if (folder === undefined) {
  console.error("expected the folder of a package");
  process.exit(2);
}
const load = (path) => import(pathToFileURL(resolve(folder, "dist", path)).href);
const { centerOfMassPartial, readNpz } = await load("distiller/index.js");
const { addonPath, backends, cudaStatus, defaultBackend } = await load("native/backends.js");

const golden = (path) => readFileSync(new URL(`../test/golden/synthetic-128/${path}`, import.meta.url));
const message = {
  meta: gunzipSync(golden("part1.msgpack.gz")),
  data: gunzipSync(golden("part2.bin.gz")),
};
const { com: recorded } = JSON.parse(golden("case.json"));

const prebuild = join("prebuilds", `${process.platform}-${process.arch}`, "stemline.node");
strictEqual(addonPath(), resolve(folder, prebuild));
if (expectedBackend !== undefined) strictEqual(defaultBackend(), expectedBackend);

const supported = backends().filter((backend) => backend.supported);
let compared = 0;
for (const { name } of supported) {
  for (const { crop_to: crop, init_center: center, replace_nans: replaceNaNs, npy } of recorded) {
    const disk = typeof crop === "number";
    const { data, backend } = await centerOfMassPartial(message, {
      ...(crop !== null && { cropTo: disk ? [crop, crop] : crop }),
      cropShape: disk ? "disk" : "box",
      ...(center !== null && { initCenter: center }),
      replaceNaNs,
      // The default is asked for by naming none.
      ...(name !== defaultBackend() && { backend: name }),
    });
    strictEqual(backend, name);
    const com = readNpz(data, ["com"]).com.data;
    const file = golden(`com/${npy}`);
    const expected = file.subarray(10 + file.readUInt16LE(8));
    strictEqual(
      Buffer.from(com.buffer, com.byteOffset, com.byteLength).equals(expected),
      true,
      `${name}, ${npy}`,
    );
    compared++;
  }
}
strictEqual(compared, supported.length * recorded.length);
// With or without a GPU, the CUDA library that lies beside the addon can be asked.
const cuda = cudaStatus();
strictEqual(cuda.library, join(dirname(addonPath()), "stemline_cuda.so"));
const reasons = existsSync(cuda.library)
  ? [null, "driver-missing", "driver-too-old", "no-device"]
  : ["library-missing"];
strictEqual(reasons.includes(cuda.reason), true, cuda.message);
console.log(`CUDA: ${cuda.message || cuda.devices.map(({ name }) => name).join(", ")}`);
console.log(
  `${prebuild} on Node ${process.version}: ${compared} results as recorded; backends ${supported
    .map(({ name }) => name)
    .join(", ")}; default ${defaultBackend()}`,
);
