import type { OverlayOptions } from "sharp";
import { bundledFont } from "./font.ts";
import type { Raster } from "./heatmap.ts";

export type PictureFormat = "png" | "jpeg";

const ink = "#1a1a1a";
export const softInk = "#555555";

interface TextStyle {
  readonly anchor?: "start" | "middle" | "end";
  readonly bold?: boolean;
  readonly color?: string;
  /** Reads upwards; (x, y) is the middle of the baseline. */
  readonly turned?: boolean;
}

/** A white picture in the making: collects vector marks and pixel blocks, to be put together in one go. */
export class Sheet {
  readonly #marks: string[] = [];
  readonly #rasters: { readonly raster: Raster; readonly left: number; readonly top: number }[] = [];

  /** Text with its baseline at `y`, horizontally placed by `anchor`, centred unless said. */
  text(text: string, x: number, y: number, size: number, style: TextStyle = {}): void {
    const font = bundledFont(style.bold ? "bold" : "regular");
    const width = font.width(text, size);
    const shift = style.anchor === "start" ? 0 : style.anchor === "end" ? width : width / 2;
    const data = font.path(text, style.turned ? -shift : x - shift, style.turned ? 0 : y, size);
    const turn = style.turned ? ` transform="translate(${x} ${y}) rotate(-90)"` : "";
    this.#marks.push(`<path d="${data}" fill="${style.color ?? ink}"${turn}/>`);
  }

  line(x1: number, y1: number, x2: number, y2: number): void {
    this.#marks.push(`<path d="M${x1} ${y1}L${x2} ${y2}" stroke="${ink}" stroke-width="2"/>`);
  }

  /** A frame just outside the given area. */
  box(x: number, y: number, width: number, height: number): void {
    this.#marks.push(
      `<rect x="${x - 1}" y="${y - 1}" width="${width + 2}" height="${height + 2}" fill="none" stroke="${ink}" stroke-width="2"/>`,
    );
  }

  /** A triangle on the end of a colour bar; a negative height points up. */
  tip(x: number, y: number, width: number, height: number, color: string): void {
    this.#marks.push(
      `<path d="M${x - 1} ${y}L${x + width / 2} ${y + height}L${x + width + 1} ${y}Z" fill="${color}" stroke="${ink}" stroke-width="2" stroke-linejoin="round"/>`,
    );
  }

  /** `left` and `top` are whole pixels. */
  raster(raster: Raster, left: number, top: number): void {
    this.#rasters.push({ raster, left, top });
  }

  #svg(width: number, height: number): Buffer {
    return Buffer.from(
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${this.#marks.join("")}</svg>`,
    );
  }

  #overlays(): OverlayOptions[] {
    return this.#rasters.map(({ raster, left, top }) => ({
      input: Buffer.from(raster.data.buffer),
      raw: { width: raster.width, height: raster.height, channels: 3 },
      left,
      top,
    }));
  }

  /** The picture as a file's bytes, which belong to the caller. Pixel blocks lie over the marks. */
  async encode(width: number, height: number, format: PictureFormat): Promise<Uint8Array> {
    // At the first picture: most operators draw none, and would pay for it with memory and longer collections.
    const { default: sharp } = await import("sharp");
    const picture = sharp(this.#svg(width, height))
      .flatten({ background: "#ffffff" })
      .composite(this.#overlays())
      .removeAlpha();
    // Colour edges of a map are sharp: without 4:4:4 they would bleed into the neighbouring positions.
    return format === "png"
      ? picture.png({ compressionLevel: 6 }).toBuffer()
      : picture.jpeg({ quality: 92, chromaSubsampling: "4:4:4" }).toBuffer();
  }
}
