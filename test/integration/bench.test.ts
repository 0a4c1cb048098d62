import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildNative, root } from "../bench/native.ts";

const keys = [
  ...["name", "nsPerFrame", "eventsPerSecond", "bytesPerSecond"],
  ...["limit", "ratioToLimit", "ratioToBaseline", "spread"],
];

async function bench(...args: string[]) {
  const child = spawn(process.execPath, ["--import", "tsx", "test/bench/main.ts", ...args], { cwd: root });
  const ended = once(child, "close");
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [status] = await ended;
  return { status: status as number | null, stdout, stderr };
}

describe("npm run bench", () => {
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "stemline-bench-test-"));
    // From nothing it takes a minute or two where others compile at the same time.
    await buildNative("stemline_bench", "stemline_bench_inputs");
  }, 600_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  // Every comparator checks its answer against ours; no time is asserted.
  it("prints a machine and figures of the documented shape, and writes a page", async () => {
    const report = join(folder, "report.html");
    const filter = "^(com/box/.*/10/l[23]|small/none/.*/10/128)";
    const { status, stdout, stderr } = await bench(
      "--json",
      "--seconds",
      "0.001",
      "--filter",
      filter,
      "--report",
      report,
    );
    expect(status, stderr).toBe(0);
    const [machine, ...figures] = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(Object.keys(machine!)).toEqual(["machine"]);
    expect(machine!.machine).toMatchObject({
      compiler: expect.any(String),
      clock: expect.stringMatching(/GHz$/),
    });
    expect(figures.length).toBeGreaterThan(15);
    for (const figure of figures) {
      expect(Object.keys(figure)).toEqual(keys);
      expect(figure.spread).toBeGreaterThanOrEqual(0);
    }
    const small = figures.find(({ name }) => name === "small/none/node/10/128");
    expect(small).toMatchObject({ limit: "limit/stream/l3", ratioToBaseline: expect.any(Number) });
    expect(readFileSync(report, "utf8")).toContain("small/none/node/10/128");
  });

  it.each([
    [["--filter", "nothing"], "--filter: no benchmark matches /nothing/"],
    [["--filter", "("], "Invalid regular expression"],
    [["--seconds", "0"], '--seconds: expected a number above 0, got "0"'],
    [["--report", "/nowhere/report.html"], "no such file or directory"],
  ])("refuses %j in a line, without a stack trace", async (args, message) => {
    const { status, stderr } = await bench(...args);
    expect(status).not.toBe(0);
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/^ +at /m);
  });
});
