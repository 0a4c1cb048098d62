import { describe, expect, it } from "vitest";
import { colorMap } from "../../../src/plot/color-map.ts";
import { drawHeatmapFigure, type HeatmapPanel } from "../../../src/plot/heatmap-figure.ts";
import { cellColor, decodePicture, framedAreas } from "./picture.ts";

function panel(values: Float32Array, settings: Partial<HeatmapPanel> = {}): HeatmapPanel {
  return {
    title: "phase",
    note: "",
    values,
    unit: "rad",
    colors: "sequential",
    limits: { low: 0, high: 4 },
    ...settings,
  };
}

describe("drawHeatmapFigure", () => {
  it("draws a single map with its colour bar", async () => {
    const picture = await decodePicture(
      await drawHeatmapFigure({
        title: "scan 3",
        scanShape: [2, 3],
        panels: [panel(Float32Array.of(0, 1, 2, 3, 4, 9))],
        format: "png",
      }),
    );
    const [map, bar, ...others] = framedAreas(picture);
    expect(others).toEqual([]);
    expect(bar!.height).toBe(map!.height);
    expect(bar!.left).toBeGreaterThan(map!.left + map!.width);
    const highest = [...colorMap("sequential").subarray(-3)];
    expect([...cellColor(picture, map!, [2, 3], 1, 1)]).toEqual(highest);
    expect([...cellColor(picture, map!, [2, 3], 1, 2)]).toEqual(highest);
    expect([...cellColor(picture, map!, [2, 3], 0, 0)]).toEqual([...colorMap("sequential").subarray(0, 3)]);
  });

  it("puts a tip only on the ends of the bar that values go past", async () => {
    const tips = async (values: Float32Array) => {
      const picture = await decodePicture(
        await drawHeatmapFigure({
          title: "",
          scanShape: [1, 3],
          panels: [panel(values)],
          format: "png",
        }),
      );
      const bar = framedAreas(picture)[1]!;
      const middle = bar.left + bar.width / 2;
      const inked = (y: number) => picture.pixel(middle, y).join() !== "255,255,255";
      return { above: inked(bar.top - 10), below: inked(bar.top + bar.height + 10) };
    };
    expect(await tips(Float32Array.of(0, 2, 4))).toEqual({ above: false, below: false });
    expect(await tips(Float32Array.of(0, 2, 5))).toEqual({ above: true, below: false });
    expect(await tips(Float32Array.of(-1, 2, 4))).toEqual({ above: false, below: true });
    expect(await tips(Float32Array.of(0, Number.POSITIVE_INFINITY, Number.NaN))).toEqual({
      above: false,
      below: false,
    });
  });

  it("names the panel whose size is wrong", async () => {
    const drawn = drawHeatmapFigure({
      title: "scan 3",
      scanShape: [2, 3],
      panels: [panel(new Float32Array(6)), panel(new Float32Array(7), { title: "amplitude" })],
      format: "png",
    });
    await expect(drawn).rejects.toMatchObject({
      code: "STEMLINE_PLOT_SHAPE",
      message: "amplitude: expected 6 values for a scan of 2 x 3, got 7",
    });
  });
});
