import { readFile } from "node:fs/promises";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import operator from "../../../operators/center-of-mass-plot/run.ts";
import type { BytesMessage } from "../../../src/wire/message.ts";
import { quietContext } from "../operator/context.ts";

const golden = new URL("../../golden/operators/center-of-mass-plot/", import.meta.url);

type Parameters = { readonly xy_rtheta: "xy" | "rtheta"; readonly format: "png" | "jpeg" };

async function recordedInput(mode: string): Promise<BytesMessage> {
  const part = async (name: string) => new Uint8Array(await readFile(new URL(`${mode}/in0/${name}`, golden)));
  const [meta, data] = await Promise.all([part("part1.bin"), part("part2.bin")]);
  return { header: { subject: "bytes", meta, tracking: null }, data };
}

async function run(message: BytesMessage | null, parameters: Parameters): Promise<BytesMessage | null> {
  const result = await operator.run(message, {
    ...quietContext(),
    parameters,
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

  it("gives nothing without a message", async () => {
    expect(await run(null, { xy_rtheta: "xy", format: "png" })).toBeNull();
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
