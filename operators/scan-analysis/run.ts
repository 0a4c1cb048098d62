import { defineOperator, errorText, float, messageFrom } from "stemline";
import { batchParts, eventSelection, eventSelectionParameters, ScanAnalyzer } from "stemline/distiller";

/** Centre of mass, virtual detectors and summed pattern of the frames of one batch: batch -> com_partial and counts. */
export default defineOperator({
  inputs: ["in"],
  outputs: ["analysis"],
  parameters: {
    ...eventSelectionParameters,
    detector_center_x: float({ optional: true }),
    detector_center_y: float({ optional: true }),
    bf_outer_radius: float({ default: 75 }),
    adf_inner_radius: float({ default: 75 }),
    adf_outer_radius: float({ default: 288 }),
  },
  setup: (): { detectors: string; analyzer: ScanAnalyzer | null } => ({ detectors: "", analyzer: null }),
  async run(message, { parameters, state, signal, count, log }) {
    if (message === null) return null;
    const { detector_center_x: x, detector_center_y: y } = parameters;
    // As the crop: half a pair counts as none, and x is the row.
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
      ...eventSelection(parameters),
      signal,
    });
    const { frames, droppedFrames, droppedReason } = analysis;
    count({ frames, droppedFrames });
    if (droppedFrames > 0) log.warn({ droppedFrames, of: frames }, `frames dropped: ${droppedReason}`);
    return frames === droppedFrames ? null : messageFrom(analysis);
  },
});
