/** `diverging` for values around a centre, `sequential` for amounts, `cyclic` for angles. */
export type ColorMapName = "diverging" | "sequential" | "cyclic";

/** `log` is for counts: equal steps of log(1 + count), so that 0 has its place. */
export type Scale = "linear" | "log";

/** The part of a colour bar below a value: 0 at `low`, 1 at `high`. */
export function partBelow(value: number, low: number, high: number, scale: Scale): number {
  if (scale === "linear") return (value - low) / (high - low);
  return (Math.log1p(value) - Math.log1p(low)) / (Math.log1p(high) - Math.log1p(low));
}

/** Number of colours in a map. */
export const colorCount = 256;

/** [lightness 0 to 1, chroma, hue in degrees] of the OKLCH space. */
type Anchor = readonly [number, number, number];

/**
 * Anchors at equal distances from the low to the high end. Lightness is symmetric in `diverging` and in `cyclic`, so that
 * both signs weigh the same, and rises evenly in `sequential`, so that equal steps look equal. The ends of `cyclic` are
 * one colour.
 */
const anchors: Readonly<Record<ColorMapName, readonly Anchor[]>> = {
  diverging: [
    [0.4, 0.19, 264],
    [0.58, 0.165, 260],
    [0.8, 0.085, 254],
    [0.985, 0, 0],
    [0.8, 0.085, 32],
    [0.58, 0.185, 28],
    [0.4, 0.155, 27],
  ],
  sequential: [
    [0.1, 0.02, 290],
    [0.27, 0.11, 295],
    [0.44, 0.165, 325],
    [0.61, 0.19, 10],
    [0.78, 0.14, 55],
    [0.97, 0.06, 100],
  ],
  cyclic: [
    [0.93, 0.02, 320],
    [0.74, 0.07, 235],
    [0.55, 0.12, 268],
    [0.33, 0.125, 295],
    [0.23, 0.06, 330],
    [0.33, 0.105, 360],
    [0.55, 0.13, 25],
    [0.74, 0.075, 50],
    [0.93, 0.02, 320],
  ],
};

const built = new Map<ColorMapName, Uint8Array>();

/** `colorCount` sRGB colours, three bytes each, low to high. Shared: not to be written to. */
export function colorMap(name: ColorMapName): Uint8Array {
  let colors = built.get(name);
  if (colors === undefined) {
    colors = interpolate(anchors[name]);
    built.set(name, colors);
  }
  return colors;
}

/** Index into a colour map of a finite value; values past a limit take the colour of that limit. */
export function colorIndex(value: number, low: number, high: number, scale: Scale = "linear"): number {
  const index = Math.floor(partBelow(value, low, high, scale) * colorCount);
  return Math.max(0, Math.min(colorCount - 1, index));
}

function interpolate(stops: readonly Anchor[]): Uint8Array {
  const points = stops.map(([lightness, chroma, hue]) => {
    const angle = (hue * Math.PI) / 180;
    return [lightness, chroma * Math.cos(angle), chroma * Math.sin(angle)] as const;
  });
  const colors = new Uint8Array(3 * colorCount);
  for (let i = 0; i < colorCount; i++) {
    // Colours sit in the middle of their interval, so that a map mirrored in its anchors is mirrored in its bytes.
    const position = ((i + 0.5) / colorCount) * (points.length - 1);
    const left = Math.floor(position);
    const from = points[left] ?? [0, 0, 0];
    const to = points[left + 1] ?? from;
    const mix = (axis: 0 | 1 | 2) => from[axis] + (to[axis] - from[axis]) * (position - left);
    colors.set(oklabToSrgb(mix(0), mix(1), mix(2)), 3 * i);
  }
  return colors;
}

/** Source: B. Ottosson, "A perceptual color space for image processing" (2020). */
function oklabToSrgb(lightness: number, a: number, b: number): readonly [number, number, number] {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    srgbByte(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    srgbByte(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    srgbByte(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

function srgbByte(linear: number): number {
  const light = Math.max(0, Math.min(1, linear));
  return Math.round(255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055));
}
