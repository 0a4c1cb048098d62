import { bytesMessage, defineOperator, oneOf } from "stemline";
import { Com, centerOfMassFigure } from "stemline/distiller";

/** Draws the centre of mass of a scan: com -> image. */
export default defineOperator({
  inputs: ["in"],
  outputs: ["image"],
  parameters: {
    xy_rtheta: oneOf(["xy", "rtheta"], { default: "xy" }),
    format: oneOf(["png", "jpeg"], { default: "png" }),
  },
  async run(message, { parameters }) {
    if (message === null) return null;
    const { com, scanShape, scanNumber } = Com.decode({ meta: message.header.meta, data: message.data });
    const { xy_rtheta: mode, format } = parameters;
    const picture = await centerOfMassFigure({ com, scanShape, scanNumber, mode, format });
    return bytesMessage({ plot_type: mode, scan_number: scanNumber }, picture);
  },
});
