import { writeFileSync } from "node:fs";
import { FileError, ParameterError } from "../errors.ts";
import { CountedFileWriter } from "./counted-file-writer.ts";
import { writeNpz } from "./npz.ts";

export interface SimulateOptions {
  /** File to write; the truth goes beside it. A name ending in `.h5` loses that ending there. */
  readonly path: string;
  /** [rows, columns] of scan positions; [128, 128] if not given. */
  readonly scanShape?: readonly [number, number];
  /** [rows, columns] of detector pixels; [576, 576] if not given. */
  readonly frameShape?: readonly [number, number];
  /** Mean number of electrons in a frame; 100 if not given. */
  readonly dose?: number;
  /** Frames of every scan position; 1 if not given. */
  readonly framesPerPosition?: number;
  /** Radius of the bright-field disk in pixels; a twelfth of the shorter frame side if not given. */
  readonly diskRadius?: number;
  /** Largest shift of the disk by the specimen, in pixels; a sixth of the disk's radius if not given. */
  readonly deflection?: number;
  /** [row, column] from the middle of the detector to the middle of the disk in vacuum, pixels; [-4.25, 6.5] if not given. */
  readonly beamOffset?: readonly [number, number];
  /** Lattice period in scan positions; 32 if not given. */
  readonly latticePeriod?: number;
  /** The same seed and options give the same file; 1 if not given. An integer below 2^32. */
  readonly seed?: number;
  /** Called now and then with the number of frames written so far and in all. */
  readonly onProgress?: (frames: number, totalFrames: number) => void;
}

export interface Simulation {
  readonly path: string;
  /** Archive with `com`, float32 (2, rows, columns) in pixels, and `potential`, float32 (rows, columns). */
  readonly truthPath: string;
  /** The parameters as JSON. */
  readonly parametersPath: string;
  readonly frames: number;
  readonly events: number;
}

/**
 * Writes a physically plausible electron-counted scan whose centre of mass is known.
 *
 * A thin specimen bends the beam by the gradient of its projected potential, so the bright-field disk moves as a whole:
 * `com = beam centre + gradient of the potential`, plane 0 along columns, plane 1 along rows (Waddell and Chapman, Optik
 * 54 (1979) 83). The potential is a few Fourier components of an oblique lattice; it fades into vacuum over the first
 * tenth of the columns. Electrons are Poisson in number and uniform in the disk, and fall into the pixel around them,
 * pixel `k` reaching from k - 1/2 to k + 1/2. A pixel may count several electrons of a frame.
 *
 * Random numbers are sfc32 (Chris Doty-Humphrey, PractRand), seeded with the seed and 20 steps of warming up.
 *
 * Memory: one slab of frames and the truth.
 *
 * @throws ParameterError `STEMLINE_SIMULATE_PARAMETER` if a value is out of range, or the disk could leave the frame.
 * @throws FileError `STEMLINE_COUNTED_FILE_WRITE` if the file cannot be written.
 */
export async function simulate(options: SimulateOptions): Promise<Simulation> {
  const parameters = checkParameters(options);
  const { path, onProgress } = options;
  const { scanShape, frameShape, framesPerPosition, dose, diskRadius, seed } = parameters;
  const [rows, columns] = scanShape;
  const positions = rows * columns;
  const totalFrames = positions * framesPerPosition;
  const { com, potential } = truth(parameters);
  const random = sfc32(seed);
  const framesPerSlab = Math.max(1, Math.min(totalFrames, Math.floor(slabEvents / (dose + 1))));
  const counts = new Uint32Array(framesPerSlab);
  let events = new Uint32Array(slabEvents * 2);
  let totalEvents = 0;

  const writer = new CountedFileWriter({ path, scanShape, frameShape, framesPerPosition });
  try {
    for (let first = 0; first < totalFrames; first += framesPerSlab) {
      const frames = Math.min(framesPerSlab, totalFrames - first);
      let used = 0;
      for (let i = 0; i < frames; i++) {
        const position = Math.floor((first + i) / framesPerPosition);
        const count = poisson(dose, random);
        if (used + count > events.length) {
          const grown = new Uint32Array((used + count) * 2);
          grown.set(events);
          events = grown;
        }
        const center = { column: com[position]!, row: com[positions + position]! };
        used = addElectrons(events, used, count, center, diskRadius, frameShape[1], random);
        counts[i] = count;
      }
      writer.append(events.subarray(0, used), counts.subarray(0, frames));
      totalEvents += used;
      onProgress?.(first + frames, totalFrames);
      // A long simulation must not keep signals and a progress bar waiting.
      await new Promise((resolve) => setImmediate(resolve));
    }
  } catch (error) {
    writer.discard();
    throw error;
  }
  writer.close();

  const stem = path.replace(/\.h5$/, "");
  const truthPath = `${stem}.truth.npz`;
  const parametersPath = `${stem}.truth.json`;
  const comArray = { shape: [2, rows, columns], data: com };
  writeBeside(truthPath, writeNpz({ com: comArray, potential: { shape: [rows, columns], data: potential } }));
  writeBeside(parametersPath, `${JSON.stringify({ ...parameters, generator: "sfc32" }, null, 2)}\n`);
  return { path, truthPath, parametersPath, frames: totalFrames, events: totalEvents };
}

/** Electrons made before they are written: some 2 MB. */
const slabEvents = 1 << 19;

type Parameters = Required<Omit<SimulateOptions, "path" | "onProgress">>;

function checkParameters(options: SimulateOptions): Parameters {
  const frameShape = options.frameShape ?? [576, 576];
  const radius = options.diskRadius ?? Math.min(...frameShape) / 12;
  const parameters = {
    scanShape: options.scanShape ?? ([128, 128] as const),
    frameShape,
    dose: options.dose ?? 100,
    framesPerPosition: options.framesPerPosition ?? 1,
    diskRadius: radius,
    deflection: options.deflection ?? radius / 6,
    beamOffset: options.beamOffset ?? ([-4.25, 6.5] as const),
    latticePeriod: options.latticePeriod ?? 32,
    seed: options.seed ?? 1,
  };
  const { scanShape, dose, framesPerPosition, diskRadius, deflection, beamOffset, latticePeriod, seed } =
    parameters;
  for (const length of [...scanShape, ...frameShape, framesPerPosition]) {
    const name = "scanShape, frameShape, framesPerPosition";
    if (!Number.isSafeInteger(length) || length < 1) throw outOfRange(name, "positive integers", length);
  }
  if (!(dose >= 0 && dose <= 1e6)) throw outOfRange("dose", "0 to 1000000 electrons a frame", dose);
  if (!(diskRadius > 0)) throw outOfRange("diskRadius", "a positive number", diskRadius);
  if (!(deflection >= 0)) throw outOfRange("deflection", "0 or more", deflection);
  if (!(latticePeriod >= 2)) throw outOfRange("latticePeriod", "at least 2 scan positions", latticePeriod);
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) {
    throw outOfRange("seed", "an integer below 2^32", seed);
  }
  for (const axis of [0, 1] as const) {
    const reach = Math.abs(beamOffset[axis]) + deflection + diskRadius;
    const room = frameShape[axis] / 2 - 1;
    if (!(reach <= room)) {
      const name = axis === 0 ? "rows" : "columns";
      throw outOfRange(`beamOffset, deflection and diskRadius in ${name}`, `at most ${room} together`, reach);
    }
  }
  return parameters;
}

function writeBeside(path: string, content: Uint8Array | string): void {
  try {
    writeFileSync(path, content);
  } catch (cause) {
    throw new FileError(
      "STEMLINE_COUNTED_FILE_WRITE",
      `${path}: expected to write here, got ${String(cause)}`,
      {
        cause,
      },
    );
  }
}

function outOfRange(name: string, expected: string, value: number): ParameterError {
  return new ParameterError(
    "STEMLINE_SIMULATE_PARAMETER",
    `simulate, ${name}: expected ${expected}, got ${value}`,
  );
}

/** Potential, and centre of mass from its gradient, scaled so that the largest shift is `deflection`. */
function truth({ scanShape, frameShape, beamOffset, deflection, latticePeriod }: Parameters): {
  com: Float32Array;
  potential: Float32Array;
} {
  const [rows, columns] = scanShape;
  const positions = rows * columns;
  const potential = new Float64Array(positions);
  const alongColumns = new Float64Array(positions);
  const alongRows = new Float64Array(positions);
  let largest = 0;
  for (let position = 0; position < positions; position++) {
    const row = Math.floor(position / columns);
    const column = position % columns;
    const lattice = latticePotential(row, column, latticePeriod);
    const edge = specimenEdge(column, columns);
    potential[position] = edge.value * lattice.value;
    alongColumns[position] = edge.value * lattice.alongColumns + edge.slope * lattice.value;
    alongRows[position] = edge.value * lattice.alongRows;
    largest = Math.max(largest, Math.hypot(alongColumns[position]!, alongRows[position]!));
  }
  const scale = largest === 0 ? 0 : deflection / largest;
  const com = new Float32Array(2 * positions);
  for (let position = 0; position < positions; position++) {
    com[position] = (frameShape[1] - 1) / 2 + beamOffset[1] + scale * alongColumns[position]!;
    com[positions + position] = (frameShape[0] - 1) / 2 + beamOffset[0] + scale * alongRows[position]!;
  }
  return { com, potential: Float32Array.from(potential, (value) => value * scale) };
}

/** Amplitude, phase and direction of each lattice wave: none is a mirror image of another, so no symmetry hides a swap. */
const waves = [
  { amplitude: 1, phase: 0.4, angle: 0.26, frequency: 1 },
  { amplitude: 0.7, phase: 1.9, angle: 1.48, frequency: 1.1 },
  { amplitude: 0.35, phase: 4.1, angle: 0.89, frequency: 1.7 },
] as const;

function latticePotential(row: number, column: number, period: number) {
  let value = 0;
  let alongColumns = 0;
  let alongRows = 0;
  for (const { amplitude, phase, angle, frequency } of waves) {
    const kColumn = (2 * Math.PI * frequency * Math.cos(angle)) / period;
    const kRow = (2 * Math.PI * frequency * Math.sin(angle)) / period;
    const argument = kColumn * column + kRow * row + phase;
    value += amplitude * Math.cos(argument);
    alongColumns -= amplitude * kColumn * Math.sin(argument);
    alongRows -= amplitude * kRow * Math.sin(argument);
  }
  return { value, alongColumns, alongRows };
}

/** Smooth step from vacuum, 0, to specimen, 1, over the first tenth of the columns. */
function specimenEdge(column: number, columns: number): { value: number; slope: number } {
  const width = columns / 10;
  const t = Math.min(1, column / width);
  return { value: t * t * (3 - 2 * t), slope: (6 * t * (1 - t)) / width };
}

function addElectrons(
  events: Uint32Array,
  start: number,
  count: number,
  center: { readonly column: number; readonly row: number },
  radius: number,
  frameColumns: number,
  random: () => number,
): number {
  let at = start;
  while (at < start + count) {
    const x = 2 * random() - 1;
    const y = 2 * random() - 1;
    if (x * x + y * y > 1) continue;
    const row = Math.floor(center.row + radius * y + 0.5);
    events[at++] = row * frameColumns + Math.floor(center.column + radius * x + 0.5);
  }
  return at;
}

/** Poisson variate as a sum of small ones, each by Knuth's product of uniforms; exact for every mean. */
function poisson(mean: number, random: () => number): number {
  let count = 0;
  for (let rest = mean; rest > 0; rest -= 16) {
    const limit = Math.exp(-Math.min(rest, 16));
    for (let product = random(); product > limit; product *= random()) count++;
  }
  return count;
}

/** Uniform numbers in [0, 1) from a 32-bit seed. */
function sfc32(seed: number): () => number {
  let a = seed >>> 0;
  let b = 0x9e3779b9;
  let c = 0x243f6a88;
  let counter = 1;
  const next = (): number => {
    const sum = (a + b + counter++) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 20; i++) next();
  return next;
}
