import { defineOperator, integer, messageFrom, oneOf } from "stemline";
import { batchParts, centerOfMassPartial, comPartialPositions } from "stemline/distiller";

/** Centre of mass of each scan position over the frames of one batch: batch -> com_partial. */
export default defineOperator({
  inputs: ["in"],
  outputs: ["com_partial"],
  parameters: {
    crop_to_x: integer({ optional: true }),
    crop_to_y: integer({ optional: true }),
    init_center_x: integer({ optional: true }),
    init_center_y: integer({ optional: true }),
    crop_shape: oneOf(["box", "disk"], { default: "box" }),
    invalid_frames: oneOf(["reject", "drop"], { default: "reject" }),
  },
  async run(message, { parameters, signal, count, log, readersAccept }) {
    if (message === null) return null;
    const { crop_to_x, crop_to_y, init_center_x, init_center_y, crop_shape, invalid_frames } = parameters;
    const partial = await centerOfMassPartial(batchParts(message), {
      // Half a pair counts as none, as in interactEM. Its x is the row.
      ...(crop_to_x !== undefined && crop_to_y !== undefined && { cropTo: [crop_to_x, crop_to_y] }),
      ...(init_center_x !== undefined &&
        init_center_y !== undefined && { initCenter: [init_center_x, init_center_y] }),
      cropShape: crop_shape,
      invalidFrames: invalid_frames,
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
