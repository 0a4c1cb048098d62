import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { centerOfMassFigure } from "../../../src/plot/center-of-mass-figure.ts";
import { bundledFont } from "../../../src/plot/font.ts";

/** Where a picture is dark: bounding box and amount of ink. */
async function ink(picture: Buffer) {
  const { data, info } = await sharp(picture)
    .flatten({ background: "#fff" })
    .greyscale()
    .raw()
    .toBuffer({ resolveWithObject: true });
  const box = { left: info.width, right: -1, top: info.height, bottom: -1, amount: 0 };
  for (const [i, value] of data.entries()) {
    box.amount += (255 - value) / 255;
    if (value > 127) continue;
    box.left = Math.min(box.left, i % info.width);
    box.right = Math.max(box.right, i % info.width);
    box.top = Math.min(box.top, Math.floor(i / info.width));
    box.bottom = Math.max(box.bottom, Math.floor(i / info.width));
  }
  return { width: box.right - box.left + 1, height: box.bottom - box.top + 1, amount: box.amount };
}

function asSvg(text: string, size: number): Buffer {
  const width = Math.ceil(bundledFont("regular").width(text, size)) + 40;
  const path = bundledFont("regular").path(text, 20, 1.3 * size, size);
  return Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${2 * size}"><path d="${path}"/></svg>`,
  );
}

describe("OutlineFont", () => {
  // é and ⁻ are made of parts in this font, π and − are not Latin, 8 and B have holes.
  it.each(["scan 0123456789", "COM θ, −π/2", "×10⁻⁵", "éÅüB8@&%gjQ"])(
    "draws '%s' as pango does from the same file",
    async (text) => {
      const fontfile = createRequire(import.meta.url).resolve("dejavu-fonts-ttf/ttf/DejaVuSans.ttf");
      const escaped = text.replace("&", "&amp;");
      const reference = await ink(
        await sharp({ text: { text: escaped, font: "DejaVu Sans 80", fontfile, dpi: 72 } })
          .negate()
          .png()
          .toBuffer(),
      );
      const ours = await ink(asSvg(text, 80));
      // Pango hints and kerns: a pixel a letter at most.
      expect(Math.abs(ours.width - reference.width)).toBeLessThanOrEqual(text.length + 2);
      expect(Math.abs(ours.height - reference.height)).toBeLessThanOrEqual(3);
      expect(ours.amount / reference.amount).toBeGreaterThan(0.96);
      expect(ours.amount / reference.amount).toBeLessThan(1.04);
    },
  );

  it("measures what it draws", () => {
    const font = bundledFont("bold");
    expect(font.width("", 30)).toBe(0);
    expect(font.path("", 0, 0, 30)).toBe("");
    expect(font.path(" ", 0, 0, 30)).toBe("");
    expect(font.width("ab", 30)).toBeCloseTo(font.width("a", 30) + font.width("b", 30), 9);
    expect(font.width("a", 60)).toBeCloseTo(2 * font.width("a", 30), 9);
  });

  it("draws a box for a character it lacks", () => {
    expect(bundledFont("regular").path("\u{2f81a}", 0, 0, 30)).toMatch(/^M.*Z$/);
  });
});

describe("text of a figure", () => {
  const figure = `{ com: Float32Array.from({ length: 24 }, (_, i) => i), scanShape: [3, 4], scanNumber: 12, mode: "rtheta", format: "png" }`;

  it("is the same where no font is installed and fontconfig is broken", { timeout: 60_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "stemline-fonts-"));
    try {
      const noFonts = join(folder, "fonts.conf");
      await writeFile(noFonts, `<?xml version="1.0"?><fontconfig></fontconfig>`);
      const here = createHash("sha256")
        .update(
          await centerOfMassFigure({
            com: Float32Array.from({ length: 24 }, (_, i) => i),
            scanShape: [3, 4],
            scanNumber: 12,
            mode: "rtheta",
            format: "png",
          }),
        )
        .digest("hex");
      for (const config of [noFonts, join(folder, "missing.conf")]) {
        const { stdout, stderr } = await promisify(execFile)(
          process.execPath,
          [
            "--import",
            "tsx",
            "--input-type=module",
            "--eval",
            `import { createHash } from "node:crypto";
            import { centerOfMassFigure } from ${JSON.stringify(new URL("../../../src/plot/center-of-mass-figure.ts", import.meta.url))};
            const picture = await centerOfMassFigure(${figure});
            console.log(createHash("sha256").update(picture).digest("hex"));`,
          ],
          { env: { PATH: process.env.PATH, HOME: folder, FONTCONFIG_FILE: config, FONTCONFIG_PATH: folder } },
        );
        expect(stdout.trim()).toBe(here);
        expect(stderr).not.toContain("Fontconfig");
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
