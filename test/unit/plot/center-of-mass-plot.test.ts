import { readFile } from "node:fs/promises";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import operator from "../../../operators/center-of-mass-plot/run.ts";
import { Com } from "../../../src/distiller/com.ts";
import { type BytesMessage, bytesMessage } from "../../../src/wire/message.ts";
import { quietContext } from "../operator/context.ts";
import { decodePicture, framedAreas } from "./picture.ts";

const golden = new URL("../../golden/operators/center-of-mass-plot/", import.meta.url);

type Parameters = {
  readonly xy_rtheta: "xy" | "rtheta";
  readonly format: "png" | "jpeg";
  readonly panels: "com" | "analysis";
};
const defaults: Parameters = { xy_rtheta: "xy", format: "png", panels: "com" };

async function recordedInput(mode: string): Promise<BytesMessage> {
  const part = async (name: string) => new Uint8Array(await readFile(new URL(`${mode}/in0/${name}`, golden)));
  const [meta, data] = await Promise.all([part("part1.bin"), part("part2.bin")]);
  return { header: { subject: "bytes", meta, tracking: null }, data };
}

async function run(
  message: BytesMessage | null,
  parameters: Partial<Parameters>,
): Promise<BytesMessage | null> {
  const result = await operator.run(message, {
    ...quietContext(),
    parameters: { ...defaults, ...parameters },
    count() {},
    state: undefined,
    trigger: null,
  });
  return result as BytesMessage | null;
}

describe("center-of-mass-plot", () => {
  it("answers a recorded message with the meta that the Python operator gives, and a picture", async () => {
    const answer = await run(await recordedInput("xy"), { xy_rtheta: "xy", format: "jpeg" });
    const peer = JSON.parse(await readFile(new URL("xy/out0/part0.json", golden), "utf8"));
    // Ours also says which scan the picture is of.
    expect(answer?.header).toEqual({ ...peer, meta: { ...peer.meta, scan_number: 5 } });
    expect((await sharp(answer!.data).metadata()).format).toBe("jpeg");
  });

  it("draws length and angle of a scan on which the Python operator fails", async () => {
    const answer = await run(await recordedInput("rtheta"), { xy_rtheta: "rtheta", format: "png" });
    expect(answer?.header.meta).toEqual({ plot_type: "rtheta", scan_number: 5 });
    expect((await sharp(answer!.data).metadata()).format).toBe("png");
  });

  const counted = () => {
    const shape = [6, 9] as const;
    const maps = (scale: number) => ({
      shape,
      values: Float64Array.from({ length: 54 }, (_, i) => scale * i),
    });
    return {
      scanNumber: 5,
      scanShape: shape,
      frameShape: [20, 30] as const,
      com: Float32Array.from({ length: 108 }, (_, i) => (i * 7) % 11),
      counts: {
        events: maps(3),
        pattern: { shape: [20, 30] as const, values: Float64Array.from({ length: 600 }, (_, i) => i) },
        bright_field: maps(2),
      },
    };
  };
  const messageOf = (com: Com) => {
    const { meta, data } = com.encode();
    return bytesMessage(meta, data);
  };

  it("draws the two maps alone unless told otherwise, whatever else is in the message", async () => {
    const { counts: _, ...plain } = counted();
    for (const xy_rtheta of ["xy", "rtheta"] as const) {
      const expected = await run(messageOf(new Com(plain)), { xy_rtheta });
      const answer = await run(messageOf(new Com(counted())), { xy_rtheta });
      expect(Buffer.compare(answer!.data, expected!.data)).toBe(0);
    }
  });

  it("draws an analysis with all that was counted, and the two maps alone without counts", async () => {
    const { counts: _, ...plain } = counted();
    const maps = await run(messageOf(new Com(plain)), {});
    const bare = await run(messageOf(new Com(plain)), { panels: "analysis" });
    expect(Buffer.compare(bare!.data, maps!.data)).toBe(0);
    const analysis = await run(messageOf(new Com(counted())), { panels: "analysis" });
    expect(analysis!.header).toEqual(maps!.header);
    const areas = framedAreas(await decodePicture(analysis!.data));
    expect(areas).toHaveLength(10);
  });

  it("gives nothing without a message", async () => {
    expect(await run(null, {})).toBeNull();
  });

  it("declares the parameters and ports of operator.json", async () => {
    const file = new URL("../../../operators/center-of-mass-plot/operator.json", import.meta.url);
    const spec = JSON.parse(await readFile(file, "utf8"));
    expect(operator.inputs).toEqual(spec.inputs.map((port: { name: string }) => port.name));
    expect(operator.outputs).toEqual(spec.outputs.map((port: { name: string }) => port.name));
    for (const { name, type, options, default: value } of spec.parameters) {
      expect(operator.parameters?.[name as keyof Parameters]).toEqual({ type, options, default: value });
    }
  });
});
