import { bytesMessage, defineOperator, oneOf } from "stemline";
import { Com, centerOfMassFigure, scanAnalysisFigure } from "stemline/distiller";

/** Draws the centre of mass of a scan, and what was counted besides: com -> image. */
export default defineOperator({
  inputs: ["in"],
  outputs: ["image"],
  parameters: {
    xy_rtheta: oneOf(["xy", "rtheta"], { default: "xy" }),
    format: oneOf(["png", "jpeg"], { default: "png" }),
    panels: oneOf(["com", "analysis"], { default: "com" }),
  },
  async run(message, { parameters }) {
    if (message === null) return null;
    const com = Com.decode({ meta: message.header.meta, data: message.data });
    const { xy_rtheta: mode, format, panels } = parameters;
    const draw = panels === "analysis" ? scanAnalysisFigure : centerOfMassFigure;
    const { com: values, scanNumber, scanShape, frameShape, counts } = com;
    const picture = await draw({ com: values, counts, scanShape, frameShape, scanNumber, mode, format });
    return bytesMessage({ plot_type: mode, scan_number: scanNumber }, picture);
  },
});
