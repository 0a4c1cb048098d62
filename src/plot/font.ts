import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

/**
 * A TrueType font turned into SVG path data.
 *
 * Text is drawn as outlines and not as SVG `<text>`, because librsvg finds fonts through fontconfig: its settings are
 * global to the process, are read once before anything here can run, cannot be set from a worker thread, and differ
 * between machines. Outlines give the same picture everywhere and tell how wide a text will be.
 *
 * Reads only what the bundled DejaVu fonts need: a Basic Multilingual Plane character map (cmap format 4) and quadratic
 * outlines. No kerning and no hinting. A character that the font lacks is drawn as its "missing" box.
 *
 * Source: OpenType specification 1.9, tables head, hhea, hmtx, cmap, loca and glyf.
 */
export class OutlineFont {
  readonly #view: DataView;
  readonly #tables: ReadonlyMap<string, number>;
  readonly #unitsPerEm: number;
  readonly #longOffsets: boolean;
  readonly #advanceCount: number;
  readonly #characters: number;
  readonly #outlines = new Map<number, readonly Contour[]>();

  /** `bytes` is the content of a .ttf file; it is kept and not written to. */
  constructor(bytes: Uint8Array) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const tables = new Map<string, number>();
    for (let i = 0; i < view.getUint16(4); i++) {
      const record = 12 + 16 * i;
      const tag = String.fromCharCode(...bytes.subarray(record, record + 4));
      tables.set(tag, view.getUint32(record + 8));
    }
    this.#view = view;
    this.#tables = tables;
    this.#unitsPerEm = view.getUint16(this.#table("head") + 18);
    this.#longOffsets = view.getInt16(this.#table("head") + 50) === 1;
    this.#advanceCount = view.getUint16(this.#table("hhea") + 34);
    this.#characters = this.#findCharacterMap();
  }

  /** Advance width of a line of text at `size` pixels per em, in pixels. */
  width(text: string, size: number): number {
    let units = 0;
    for (const character of text) units += this.#advance(this.#glyph(character));
    return (units * size) / this.#unitsPerEm;
  }

  /** SVG path data of a line of text whose baseline starts at (`x`, `y`), in pixels. */
  path(text: string, x: number, y: number, size: number): string {
    const scale = size / this.#unitsPerEm;
    const point = (p: Point): string => `${round(x + p.x * scale)} ${round(y - p.y * scale)}`;
    let data = "";
    for (const character of text) {
      const glyph = this.#glyph(character);
      for (const contour of this.#outline(glyph)) data += contourPath(contour, point);
      x += this.#advance(glyph) * scale;
    }
    return data;
  }

  #table(tag: string): number {
    const offset = this.#tables.get(tag);
    if (offset === undefined) throw new RangeError(`The font has no table '${tag}'`);
    return offset;
  }

  #findCharacterMap(): number {
    const cmap = this.#table("cmap");
    for (let i = 0; i < this.#view.getUint16(cmap + 2); i++) {
      const subtable = cmap + this.#view.getUint32(cmap + 4 + 8 * i + 4);
      if (this.#view.getUint16(subtable) === 4) return subtable;
    }
    throw new RangeError("The font has no character map of format 4");
  }

  #glyph(character: string): number {
    const code = character.codePointAt(0) ?? 0;
    const view = this.#view;
    const bytes = view.getUint16(this.#characters + 6);
    const ends = this.#characters + 14;
    for (let segment = 0; segment < bytes; segment += 2) {
      if (view.getUint16(ends + segment) < code) continue;
      const start = view.getUint16(ends + bytes + 2 + segment);
      if (start > code) return 0;
      const delta = view.getUint16(ends + 2 * bytes + 2 + segment);
      const rangeAt = ends + 3 * bytes + 2 + segment;
      const range = view.getUint16(rangeAt);
      if (range === 0) return (code + delta) & 0xffff;
      const glyph = view.getUint16(rangeAt + range + 2 * (code - start));
      return glyph === 0 ? 0 : (glyph + delta) & 0xffff;
    }
    return 0;
  }

  #advance(glyph: number): number {
    // Glyphs past the last record share its width.
    return this.#view.getUint16(this.#table("hmtx") + 4 * Math.min(glyph, this.#advanceCount - 1));
  }

  #outline(glyph: number): readonly Contour[] {
    let outline = this.#outlines.get(glyph);
    if (outline === undefined) {
      outline = this.#readOutline(glyph);
      this.#outlines.set(glyph, outline);
    }
    return outline;
  }

  #readOutline(glyph: number): readonly Contour[] {
    const loca = this.#table("loca");
    const place = (index: number) =>
      this.#longOffsets ? this.#view.getUint32(loca + 4 * index) : 2 * this.#view.getUint16(loca + 2 * index);
    if (place(glyph) === place(glyph + 1)) return [];
    const at = this.#table("glyf") + place(glyph);
    const contourCount = this.#view.getInt16(at);
    return contourCount < 0 ? this.#readComposite(at + 10) : this.#readSimple(at + 10, contourCount);
  }

  #readSimple(at: number, contourCount: number): readonly Contour[] {
    const view = this.#view;
    const ends = Array.from({ length: contourCount }, (_, i) => view.getUint16(at + 2 * i));
    const pointCount = (ends.at(-1) ?? -1) + 1;
    at += 2 * contourCount;
    at += 2 + view.getUint16(at);

    const flags: number[] = [];
    while (flags.length < pointCount) {
      const flag = view.getUint8(at++);
      const repeats = flag & 8 ? view.getUint8(at++) : 0;
      for (let i = 0; i <= repeats; i++) flags.push(flag);
    }
    const readAxis = (short: number, sameOrPositive: number): number[] => {
      let value = 0;
      return flags.map((flag) => {
        if (flag & short) {
          value += flag & sameOrPositive ? view.getUint8(at) : -view.getUint8(at);
          at += 1;
        } else if (!(flag & sameOrPositive)) {
          value += view.getInt16(at);
          at += 2;
        }
        return value;
      });
    };
    const xs = readAxis(2, 16);
    const ys = readAxis(4, 32);
    const points = flags.map((flag, i) => ({ x: xs[i] ?? 0, y: ys[i] ?? 0, onCurve: (flag & 1) === 1 }));
    return ends.map((end, i) => points.slice((ends[i - 1] ?? -1) + 1, end + 1));
  }

  #readComposite(at: number): readonly Contour[] {
    const view = this.#view;
    const contours: Contour[] = [];
    let flags: number;
    do {
      flags = view.getUint16(at);
      const component = this.#outline(view.getUint16(at + 2));
      at += 4;
      const wide = (flags & 1) !== 0;
      const dx = wide ? view.getInt16(at) : view.getInt8(at);
      const dy = wide ? view.getInt16(at + 2) : view.getInt8(at + 1);
      at += wide ? 4 : 2;
      const [xx, xy, yx, yy] = this.#readTransform(flags, at);
      at += flags & 8 ? 2 : flags & 0x40 ? 4 : flags & 0x80 ? 8 : 0;
      for (const contour of component) {
        contours.push(
          contour.map((p) => ({ ...p, x: xx * p.x + yx * p.y + dx, y: xy * p.x + yy * p.y + dy })),
        );
      }
    } while (flags & 0x20);
    return contours;
  }

  /** The 2 by 2 matrix of a component; numbers are fixed point with 14 fraction bits. */
  #readTransform(flags: number, at: number): readonly [number, number, number, number] {
    const fixed = (index: number) => this.#view.getInt16(at + 2 * index) / 16384;
    if (flags & 8) return [fixed(0), 0, 0, fixed(0)];
    if (flags & 0x40) return [fixed(0), 0, 0, fixed(1)];
    if (flags & 0x80) return [fixed(0), fixed(1), fixed(2), fixed(3)];
    return [1, 0, 0, 1];
  }
}

interface Point {
  readonly x: number;
  readonly y: number;
  readonly onCurve: boolean;
}

type Contour = readonly Point[];

const fileNames = { regular: "DejaVuSans.ttf", bold: "DejaVuSans-Bold.ttf" } as const;
const loaded = new Map<keyof typeof fileNames, OutlineFont>();

/** The bundled sans-serif font, read at first use and shared. */
export function bundledFont(weight: keyof typeof fileNames): OutlineFont {
  let font = loaded.get(weight);
  if (font === undefined) {
    const resolve = createRequire(import.meta.url).resolve;
    font = new OutlineFont(readFileSync(resolve(`dejavu-fonts-ttf/ttf/${fileNames[weight]}`)));
    loaded.set(weight, font);
  }
  return font;
}

function contourPath(contour: Contour, point: (p: Point) => string): string {
  const first = contour[0];
  if (first === undefined) return "";
  // A contour may start off the curve: then it starts half-way to its last point, or at that point if it is on it.
  const last = contour[contour.length - 1] ?? first;
  const start = first.onCurve ? first : last.onCurve ? last : middle(first, last);
  let data = `M${point(start)}`;
  let control: Point | null = null;
  for (const p of first.onCurve ? [...contour.slice(1), first] : [...contour, start]) {
    if (p.onCurve) {
      data += control === null ? `L${point(p)}` : `Q${point(control)} ${point(p)}`;
      control = null;
    } else {
      if (control !== null) data += `Q${point(control)} ${point(middle(control, p))}`;
      control = p;
    }
  }
  // The outline closes on its start, which ends the last curve.
  return `${control === null ? data : `${data}Q${point(control)} ${point(start)}`}Z`;
}

function middle(a: Point, b: Point): Point {
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, onCurve: true };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
