import { boolean, defineOperator, integer, messageFrom } from "stemline";
import { ComReducer, comPartialParts, comPartialPositions } from "stemline/distiller";

/** Joins the partial centres of mass of a scan into one map: com_partial -> com. */
export default defineOperator({
  inputs: ["in"],
  accepts: { in: [comPartialPositions] },
  outputs: ["com"],
  parameters: {
    emit_every: integer({ default: 50 }),
    max_concurrent_scans: integer({ default: 4 }),
    include_headers: boolean({ default: false }),
    replace_nans: boolean({ default: true }),
  },
  setup: () => new ComReducer(),
  async run(message, { parameters, state, count }) {
    if (message === null) return null;
    const emissions = await state.add(comPartialParts(message), {
      emitEvery: parameters.emit_every,
      maxConcurrentScans: parameters.max_concurrent_scans,
      includeHeaders: parameters.include_headers,
      replaceNaNs: parameters.replace_nans,
    });
    // The frames of a scan are counted once, when it is over.
    for (const { frames, complete, evicted } of emissions) if (complete || evicted) count({ frames });
    return emissions.map(messageFrom);
  },
  async *flush({ parameters, state, count }) {
    const options = { includeHeaders: parameters.include_headers, replaceNaNs: parameters.replace_nans };
    for (const emission of await state.flush(options)) {
      count({ frames: emission.frames });
      yield messageFrom(emission);
    }
  },
});
