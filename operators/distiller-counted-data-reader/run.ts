import { boolean, bytesMessage, defineOperator, float, mount, string } from "stemline";
import { CountedFile } from "stemline/distiller";

interface Reading {
  filename: string;
  /** Number of the scan being sent: 1 for a file's first reading, one more for each further one. */
  scanNumber: number;
  file: CountedFile | null;
  keepFlyback: boolean;
  batches: ReturnType<CountedFile["batches"]> | null;
}

/** Sends the frames of an electron-counted HDF5 file in batches, once for each trigger. */
export default defineOperator({
  outputs: ["counted_data"],
  triggers: ["read_now"],
  parameters: {
    raw_data_dir: mount({ default: "~/ncem_raw_data" }),
    filename: string({ default: "test_file.h5" }),
    cache_last_file: boolean({ default: false }),
    batch_size_mb: float({ default: 1.0 }),
    keep_flyback: boolean({ default: true }),
  },
  setup: (): Reading => ({ filename: "", scanNumber: 1, file: null, keepFlyback: true, batches: null }),
  async run(_message, { trigger, parameters, state, count }) {
    if (trigger === null) return null;
    const { raw_data_dir, filename, batch_size_mb: batchSizeMb, keep_flyback: keepFlyback } = parameters;
    if (filename !== state.filename) {
      close(state);
      Object.assign(state, { filename, scanNumber: 1 });
    }
    if (state.batches === null) {
      if (!parameters.cache_last_file || keepFlyback !== state.keepFlyback) close(state);
      state.file ??= await CountedFile.open(`${raw_data_dir}/${filename}`, { keepFlyback });
      state.keepFlyback = keepFlyback;
      state.batches = state.file.batches({ scanNumber: state.scanNumber, batchSizeMb });
      count({ expectedFrames: state.file.totalFrames });
    }
    const batch = nextBatch(state);
    if (batch === null) return null;
    count({ frames: batch.frames });
    return bytesMessage(batch.meta, batch.data);
  },
  teardown: ({ state }) => close(state),
});

/** The next batch, or null once the file has been sent whole. After an error the next trigger starts the scan over. */
function nextBatch(state: Reading) {
  try {
    const next = state.batches!.next();
    if (!next.done) return next.value;
  } catch (error) {
    close(state);
    throw error;
  }
  state.batches = null;
  state.scanNumber += 1;
  return null;
}

function close(state: Reading): void {
  state.file?.close();
  state.file = null;
  state.batches = null;
}
