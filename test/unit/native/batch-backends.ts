import { backends, startAcceleration } from "../../../src/native/backends.ts";

const { mode, figures } = await startAcceleration();

/**
 * Backends that compute batches, as the `backend` of a call: those of the CPU, and the GPU where STEMLINE_BACKEND=cuda and there
 * is one. In tests without a GPU that may be its stand-in.
 */
export function batchBackends(): { name: string; supported: boolean }[] {
  return mode === "cuda" && figures !== null
    ? [...backends(), { name: "cuda", supported: true }]
    : backends();
}
