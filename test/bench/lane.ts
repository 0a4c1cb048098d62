// What it saves when center-of-mass-partial sends the positions of a batch alone in place of the whole scan: bytes of a
// message, and time of partial, of reduce and of both, for a scan of 1,024 x 1,024 positions. Run by npm run bench:lane.
import { ComReducer, centerOfMassPartial, encodeBatchHeader } from "../../src/distiller/index.ts";
import type { MessageParts } from "../../src/native/addon.ts";
import { defaultBackend } from "../../src/native/backends.ts";

const side = 1024;
const frameSide = 576;
const frames = 32_768;
/** Neighbouring parts of one scan, worked on in turn, so that no result is what the caches still hold. */
const parts = 6;
const warmUpRounds = 5;
const rounds = 20;

const forms = ["scan", "positions"] as const;
type Form = (typeof forms)[number];

/** Milliseconds of each message. */
interface Times {
  readonly partial: number[];
  readonly reduce: number[];
}

function makeMessages(eventsPerFrame: number): MessageParts[] {
  const offsets = Uint32Array.from({ length: frames + 1 }, (_, frame) => frame * eventsPerFrame);
  return Array.from({ length: parts }, (_, part) => {
    const positions = Uint32Array.from({ length: frames }, (_, frame) => part * frames + frame);
    let state = part + 1;
    const events = Uint32Array.from({ length: frames * eventsPerFrame }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * frameSide * frameSide);
    });
    const meta = encodeBatchHeader({
      scanNumber: 1,
      scanShape: [side, side],
      frameShape: [frameSide, frameSide],
      dtype: "uint32",
      positions,
      offsets,
      frameNumbers: positions,
    });
    return { meta, data: new Uint8Array(events.buffer) };
  });
}

/** Sends messages through partial and reduce as a pipeline without a network does, and notes how long each takes. */
async function pass(messages: readonly MessageParts[], form: Form, reducer: ComReducer, times: Times) {
  let bytes = 0;
  for (const message of messages) {
    const started = performance.now();
    const { meta, data } = await centerOfMassPartial(message, { form });
    const between = performance.now();
    await reducer.add({ meta, data }, { emitEvery: 0 });
    times.partial.push(between - started);
    times.reduce.push(performance.now() - between);
    bytes = meta.byteLength + data.byteLength;
  }
  return bytes;
}

async function resultOf(reducer: ComReducer): Promise<Buffer> {
  const [emission] = await reducer.flush();
  return Buffer.concat([emission!.meta, emission!.data]);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

console.log(`${side} x ${side} positions, ${frames} frames a message, backend ${defaultBackend()}`);
console.log("events/frame  form       bytes a message  partial ms  reduce ms  both ms  ns a frame");
for (const eventsPerFrame of [10, 100]) {
  const messages = makeMessages(eventsPerFrame);
  const times = { scan: { partial: [], reduce: [] }, positions: { partial: [], reduce: [] } };
  const bytes = { scan: 0, positions: 0 };
  const reducers = { scan: new ComReducer(), positions: new ComReducer() };
  for (let round = -warmUpRounds; round < rounds; round += 1) {
    // One after the other in each round, so that what disturbs disturbs both; the first rounds warm up, and the first one is compared.
    const unmeasured = { partial: [], reduce: [] };
    for (const form of forms) {
      bytes[form] = await pass(messages, form, reducers[form], round < 0 ? unmeasured : times[form]);
    }
    if (round !== -warmUpRounds) continue;
    const [scan, positions] = await Promise.all(forms.map((form) => resultOf(reducers[form])));
    if (!scan!.equals(positions!)) throw new Error("the forms give different results");
  }
  for (const form of forms) {
    const { partial, reduce } = times[form];
    const both = median(partial.map((time, message) => time + reduce[message]!));
    const cells = [
      String(eventsPerFrame).padEnd(12),
      form.padEnd(9),
      bytes[form].toLocaleString("en").padStart(15),
      median(partial).toFixed(2).padStart(10),
      median(reduce).toFixed(2).padStart(9),
      both.toFixed(2).padStart(7),
      ((both * 1e6) / frames).toFixed(1).padStart(10),
    ];
    console.log(cells.join("  "));
  }
}
