import { defineOperator, errorText, float, integer, messageFrom, oneOf } from "stemline";
import { batchParts, ScanAnalyzer } from "stemline/distiller";

/** Centre of mass, virtual detectors and summed pattern of the frames of one batch: batch -> com_partial and counts. */
export default defineOperator({
  inputs: ["in"],
  outputs: ["analysis"],
  parameters: {
    crop_to_x: integer({ optional: true }),
    crop_to_y: integer({ optional: true }),
    init_center_x: integer({ optional: true }),
    init_center_y: integer({ optional: true }),
    crop_shape: oneOf(["box", "disk"], { default: "box" }),
    invalid_frames: oneOf(["reject", "drop"], { default: "reject" }),
    detector_center_x: float({ optional: true }),
    detector_center_y: float({ optional: true }),
    bf_outer_radius: float({ default: 75 }),
    adf_inner_radius: float({ default: 75 }),
    adf_outer_radius: float({ default: 288 }),
  },
  setup: (): { detectors: string; analyzer: ScanAnalyzer | null } => ({ detectors: "", analyzer: null }),
  async run(message, { parameters, state, signal, count, log }) {
    if (message === null) return null;
    const { crop_to_x, crop_to_y, init_center_x, init_center_y, crop_shape, invalid_frames } = parameters;
    const { detector_center_x: x, detector_center_y: y } = parameters;
    // Half a pair counts as none, as in center-of-mass-partial. Its x is the row.
    const center = x !== undefined && y !== undefined && ({ center: [x, y] } as const);
    const detectors = [
      { name: "bright_field", ...center, innerRadius: 0, outerRadius: parameters.bf_outer_radius },
      {
        name: "annular_dark_field",
        ...center,
        innerRadius: parameters.adf_inner_radius,
        outerRadius: parameters.adf_outer_radius,
      },
    ];
    // Made anew for other detectors only. Messages under way keep the one that they began with.
    const wanted = JSON.stringify(detectors);
    if (state.detectors !== wanted) {
      try {
        state.analyzer = new ScanAnalyzer(detectors);
      } catch (error) {
        // One radius is often changed before the other: no message is to be lost meanwhile.
        if (state.analyzer === null) throw error;
        log.error({ detectors }, `the detectors stay as they were: ${errorText(error)}`);
      }
      state.detectors = wanted;
    }
    const analysis = await state.analyzer!.analyze(batchParts(message), {
      ...(crop_to_x !== undefined && crop_to_y !== undefined && { cropTo: [crop_to_x, crop_to_y] }),
      ...(init_center_x !== undefined &&
        init_center_y !== undefined && { initCenter: [init_center_x, init_center_y] }),
      cropShape: crop_shape,
      invalidFrames: invalid_frames,
      signal,
    });
    const { frames, droppedFrames, droppedReason } = analysis;
    count({ frames, droppedFrames });
    if (droppedFrames > 0) log.warn({ droppedFrames, of: frames }, `frames dropped: ${droppedReason}`);
    return frames === droppedFrames ? null : messageFrom(analysis);
  },
});
