import { defineOperator, messageFrom } from "stemline";
import {
  batchParts,
  centerOfMassPartial,
  comPartialPositions,
  eventSelection,
  eventSelectionParameters,
} from "stemline/distiller";

/** Centre of mass of each scan position over the frames of one batch: batch -> com_partial. */
export default defineOperator({
  inputs: ["in"],
  outputs: ["com_partial"],
  parameters: eventSelectionParameters,
  async run(message, { parameters, signal, count, log, readersAccept }) {
    if (message === null) return null;
    const partial = await centerOfMassPartial(batchParts(message), {
      ...eventSelection(parameters),
      // The whole scan is for Python readers.
      form: readersAccept(comPartialPositions) ? "positions" : "scan",
      signal,
    });
    const { frames, droppedFrames, droppedReason } = partial;
    count({ frames, droppedFrames });
    if (droppedFrames > 0) log.warn({ droppedFrames, of: frames }, `frames dropped: ${droppedReason}`);
    return frames === droppedFrames ? null : messageFrom(partial);
  },
});
