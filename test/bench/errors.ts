/** Why a benchmark cannot go on, for the one who started it. */
export class BenchError extends Error {
  override readonly name = "BenchError";
}
