import sharp from "sharp";

/** A decoded RGB picture to look up pixels in. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  pixel(x: number, y: number): readonly [number, number, number];
}

export interface Area {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

export async function decodePicture(bytes: Uint8Array): Promise<Picture> {
  const { data, info } = await sharp(bytes).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return {
    width: info.width,
    height: info.height,
    pixel(x, y) {
      const at = 3 * (Math.round(y) * info.width + Math.round(x));
      return [data[at]!, data[at + 1]!, data[at + 2]!];
    },
  };
}

/**
 * Finds the framed areas (maps and colour bars) of at least `minSide` by `minSide` pixels in reading order, from their dark
 * frames alone, so that it shares nothing with the layout.
 */
export function framedAreas(picture: Picture, minSide = 30): Area[] {
  const dark = (x: number, y: number) => {
    const [r, g, b] = picture.pixel(x, y);
    return r === 0x1a && g === 0x1a && b === 0x1a;
  };
  const run = (x: number, y: number, dx: 0 | 1, dy: 0 | 1) => {
    let length = 0;
    while (
      x + length * dx < picture.width &&
      y + length * dy < picture.height &&
      dark(x + length * dx, y + length * dy)
    )
      length++;
    return length;
  };
  const areas: Area[] = [];
  for (let y = 1; y < picture.height; y++) {
    for (let x = 1; x < picture.width; x++) {
      if (!dark(x, y) || dark(x - 1, y) || dark(x, y - 1)) continue;
      const height = run(x, y, 0, 1);
      if (height < minSide) continue;
      // A tick at the very end of an axis lengthens the line along the frame's edge.
      let width = run(x, y, 1, 0);
      while (width >= minSide && run(x + width - 1, y, 0, 1) < height) width--;
      if (width < minSide || run(x, y + height - 1, 1, 0) < width) continue;
      // The frame is two pixels wide.
      areas.push({ left: x + 2, top: y + 2, width: width - 4, height: height - 4 });
    }
  }
  return areas;
}

/** Colour in the middle of cell (row, column) of a map of `shape` cells. */
export function cellColor(
  picture: Picture,
  area: Area,
  shape: readonly [number, number],
  row: number,
  column: number,
): readonly [number, number, number] {
  const x = area.left + ((column + 0.5) * area.width) / shape[1];
  const y = area.top + ((row + 0.5) * area.height) / shape[0];
  return picture.pixel(Math.floor(x), Math.floor(y));
}
