/** What `stemline/distiller` adds for 4D Camera data: batches, centre of mass, counted files, simulation. */
export {
  type AnnulusDetector,
  type CenterOfMassPartialOptions,
  type ComReducerOptions,
  centerOfMassPartial,
  comPartialPositions,
  type EventSelection,
  type MaskDetector,
  ScanAnalyzer,
  type VirtualDetector,
} from "../native/kernels.ts";
export { type CenterOfMassFigure, centerOfMassFigure } from "../plot/center-of-mass-figure.ts";
export { type ScanAnalysisFigure, scanAnalysisFigure } from "../plot/scan-analysis-figure.ts";
export { type BatchFields, encodeBatchHeader } from "./batch-encoder.ts";
export { BatchedFrames, type Events } from "./batched-frames.ts";
export { Com, ComPartial, type Counts } from "./com.ts";
export { ComReducer } from "./com-reducer.ts";
export {
  type BatchOptions,
  CountedFile,
  type CountedFileOptions,
  type EncodedBatch,
} from "./counted-file.ts";
export { CountedFileWriter, type CountedFileWriterOptions } from "./counted-file-writer.ts";
export { eventSelection, eventSelectionParameters } from "./event-selection.ts";
export type { FrameHeader } from "./frame-header.ts";
export { batchParts, comPartialParts } from "./message-parts.ts";
export { type NpzArray, type NpzData, readNpz, writeNpz } from "./npz.ts";
export { type SimulateOptions, type Simulation, simulate } from "./simulate.ts";
