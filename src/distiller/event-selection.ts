import type { EventSelection } from "../native/kernels.ts";
import { integer, oneOf, type ParameterValues } from "../operator/parameters.ts";

/** Parameters by which operators select events, as center-of-mass-partial has them; spread into an operator's own. */
export const eventSelectionParameters = {
  crop_to_x: integer({ optional: true }),
  crop_to_y: integer({ optional: true }),
  init_center_x: integer({ optional: true }),
  init_center_y: integer({ optional: true }),
  crop_shape: oneOf(["box", "disk"], { default: "box" }),
  invalid_frames: oneOf(["reject", "drop"], { default: "reject" }),
};

/** What their values say, for the kernels. Half a pair counts as none, as in interactEM, whose x is the row. */
export function eventSelection(
  values: ParameterValues<typeof eventSelectionParameters>,
): Pick<EventSelection, "cropTo" | "initCenter" | "cropShape" | "invalidFrames"> {
  const { crop_to_x, crop_to_y, init_center_x, init_center_y, crop_shape, invalid_frames } = values;
  return {
    ...(crop_to_x !== undefined && crop_to_y !== undefined && { cropTo: [crop_to_x, crop_to_y] }),
    ...(init_center_x !== undefined &&
      init_center_y !== undefined && { initCenter: [init_center_x, init_center_y] }),
    cropShape: crop_shape,
    invalidFrames: invalid_frames,
  };
}
