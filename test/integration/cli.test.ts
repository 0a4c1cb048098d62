import { randomUUID } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import {
  compileCudaLibrary,
  compileStandIn,
  cudaHeaders,
  currentVersion,
  devicesFunction,
  twoDevices,
} from "../unit/native/cuda-library.ts";
import { cli, type Result, startCommand } from "./support/command.ts";
import { startNatsServer } from "./support/nats-server.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const fixtures = fileURLToPath(new URL("fixtures/operators", import.meta.url));

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "stemline-cli-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const start = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  startCommand(folder, process.execPath, [cli, ...args], env);

const stemline = (...args: string[]) => start(args).result;
const stemlineWith = (env: NodeJS.ProcessEnv, ...args: string[]) => start(args, env).result;

interface Json {
  [member: string]: unknown;
}

/** Canonical pipeline of fixture operators, each feeding the next; `change` may break it. */
function writePipeline(
  names: readonly string[],
  change: (pipeline: Record<string, Json[]>) => void = () => {},
): string {
  const nodes = names.map((name) => {
    const spec = JSON.parse(readFileSync(join(fixtures, name, "operator.json"), "utf8"));
    const id = randomUUID();
    const ports = (type: string): Json[] =>
      (spec[`${type}s`] ?? []).map((port: Json) => ({
        id: randomUUID(),
        port_type: type,
        canonical_operator_id: id,
        portkey: port.name,
      }));
    return { spec, id, inputs: ports("input"), outputs: ports("output") };
  });
  const pipeline = {
    id: randomUUID(),
    revision_id: 1,
    operators: nodes.map(({ spec, id, inputs, outputs }) => ({
      ...spec,
      id,
      spec_id: spec.id,
      inputs: inputs.map((port) => port.id),
      outputs: outputs.map((port) => port.id),
      parallelism: null,
    })),
    ports: nodes.flatMap(({ inputs, outputs }) => [...inputs, ...outputs]),
    edges: nodes.slice(1).map(({ inputs }, index) => ({
      input_id: nodes[index]!.outputs[0]!.id,
      output_id: inputs[0]!.id,
    })),
  };
  change(pipeline as unknown as Record<string, Json[]>);
  const file = join(folder, "pipeline.json");
  writeFileSync(file, JSON.stringify(pipeline));
  return file;
}

const counting = () => writePipeline(["count-source", "picture-maker"]);
const run = (file: string, ...args: string[]) => stemline("run", file, "--operators", fixtures, ...args);
const set = (...settings: string[]) => settings.flatMap((setting) => ["--set", setting]);

describe("run", () => {
  test("writes what leaves the pipeline and prints a table", async () => {
    const { code, stdout, stderr } = await run(counting(), "--out", "pictures");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(readdirSync(join(folder, "pictures")).sort()).toEqual([
      "picture-maker-1.png",
      "picture-maker-99.png",
    ]);
    expect(stdout).toMatch(
      /^operator +replicas +in +out +bytes in +bytes out +frames +busy +frames\/s +detector$/m,
    );
    expect(stdout).toMatch(/^Count Source +1 +0 +5 +0 B +5\.0 kB +5 /m);
    expect(stdout).toMatch(/^Picture Maker +4 +5 +9 +5\.0 kB +72 B +5 /m);
    expect(stdout).toMatch(/^Finished after .*: 5 frames, .* frames\/s, .* x the detector's 87,000\.$/m);
    expect(stdout).toMatch(
      /^2 files written:\n {2}pictures\/picture-maker-1\.png\n {2}pictures\/picture-maker-99\.png$/m,
    );
    expect([...stdout].filter((character) => character === "\r" || character === "\u001b")).toEqual([]);
  });

  test("sets parameters by slug, label, image or id, and the number of replicas", async () => {
    const file = counting();
    const { operators } = JSON.parse(readFileSync(file, "utf8")) as { operators: { id: string }[] };
    const names = ["count-source", "Count Source", "example.org/count-source", operators[0]!.id];
    for (const name of names) {
      const { code, stdout } = await run(
        file,
        ...set(`${name}.count=7`, "picture-maker.refuse=none"),
        "--parallelism",
        "2",
      );
      expect(code).toBe(0);
      expect(stdout).toMatch(/^Picture Maker +2 +7 +9 /m);
    }
  });

  test("prints lines of JSON for programs", async () => {
    const { code, stdout, stderr } = await run(
      counting(),
      "--json",
      ...set("count-source.count=200", "count-source.delay_ms=6"),
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Json);
    expect(events[0]).toMatchObject({ event: "progress", expectedFrames: 200 });
    expect(events.at(-1)).toMatchObject({
      event: "summary",
      exitCode: 0,
      outcome: "finished",
      failure: null,
      frames: 200,
      operators: [
        { label: "Count Source", messagesOut: 200 },
        { label: "Picture Maker", messagesIn: 200 },
      ],
      files: ["out/picture-maker-1.png", "out/picture-maker-99.png"],
    });
  });

  test("says what was lost, and does not call that success", async () => {
    const file = counting();
    const odd = await run(file, ...set("picture-maker.refuse=odd"));
    expect(odd.code).toBe(1);
    expect(odd.stderr).toBe(
      "warning: Picture Maker: value 1 is refused\nwarning: Picture Maker: value 3 is refused\n",
    );
    expect(odd.stdout).toContain("Picture Maker: 2 calls failed; first error: value 1 is refused");
    const events = (await run(file, "--json", ...set("picture-maker.refuse=odd"))).stdout.trim().split("\n");
    expect(JSON.parse(events[0]!)).toEqual({
      event: "warning",
      operator: "Picture Maker",
      message: "value 1 is refused",
    });
  });

  test("ends after ten failures in a row, without a stack trace", async () => {
    const { code, stdout, stderr } = await run(
      counting(),
      ...set("picture-maker.refuse=all", "count-source.count=1000000"),
    );
    expect(code).toBe(1);
    expect(stderr).toContain("warning: Picture Maker: value 0 is refused\n");
    expect(stderr).toContain("Further warnings of Picture Maker are only counted.\n");
    expect(stderr).toContain("error: Picture Maker failed 10 times in a row: value 0 is refused\n");
    expect(stderr).not.toMatch(/^ +at /m);
    expect(stdout).toMatch(/^Failed after /m);
  });

  test("shows stacks when debugging", async () => {
    const args = ["run", counting(), "--operators", fixtures, ...set("picture-maker.refuse=odd")];
    const { stderr } = await start(args, { STEMLINE_DEBUG: "1" }).result;
    expect(stderr).toMatch(/^RangeError: value 1 is refused\n +at .*picture-maker\/run\.ts/m);
  });

  test("prints a progress line every few seconds when nobody watches", async () => {
    const { code, stderr } = await run(
      counting(),
      ...set("count-source.count=40", "count-source.delay_ms=100"),
    );
    expect(code).toBe(0);
    expect(stderr).toMatch(/^\d+ of 40 frames \(\d+%\), \d+ frames\/s, \d+ s left\n$/);
  });
});

describe("stopping", () => {
  const endless = () => [
    "run",
    counting(),
    "--operators",
    fixtures,
    ...set("count-source.count=1000000", "count-source.delay_ms=5"),
  ];
  const started = async () => {
    while (!existsSync(join(folder, "out/picture-maker-1.png"))) await sleep(20);
  };

  test.each(["SIGINT", "SIGTERM"] as const)(
    "%s finishes what is in flight and writes results",
    async (signal) => {
      const child = start(endless());
      await started();
      child.kill(signal);
      const { code, stdout, stderr } = await child.result;
      expect(code).toBe(130);
      expect(stderr).toContain("Interrupted: finishing what is in flight.");
      expect(stdout).toMatch(/^Interrupted after /m);
      expect(existsSync(join(folder, "out/picture-maker-99.png"))).toBe(true);
      const [, sent] = /^Count Source +1 +0 +([\d,]+) /m.exec(stdout)!;
      expect(stdout).toMatch(new RegExp(`^Picture Maker +4 +${sent} `, "m"));
    },
  );

  test("a second signal gives up at once", async () => {
    const child = start([...endless(), "--parallelism", "1", ...set("picture-maker.hang=true")]);
    const says = async (text: string) => {
      while (!child.text.stderr.includes(text)) await sleep(20);
    };
    await says("hangs");
    child.kill("SIGINT");
    await says("Interrupted");
    child.kill("SIGINT");
    const { code, stdout } = await child.result;
    expect(code).toBe(130);
    expect(stdout).toMatch(/^Given up after /m);
    expect(existsSync(join(folder, "out/picture-maker-99.png"))).toBe(false);
  });
});

describe("what cannot be done", () => {
  const expectUsage = async (result: Promise<Result>, stderr: string | RegExp) => {
    const { code, stdout, stderr: got } = await result;
    expect(got).toMatch(stderr);
    expect(got).not.toMatch(/^ +at /m);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  };

  test("a pipeline file that is missing or broken", async () => {
    const file = join(folder, "none.json");
    await expectUsage(run(file), `error: Cannot read ${file}: there is no such file or folder\n`);
    writeFileSync(file, "{");
    await expectUsage(run(file), /^error: .*none\.json is not JSON: /);
    writeFileSync(file, "{}");
    await expectUsage(
      run(file),
      /^error: The pipeline is not valid:\n {2}id: expected a UUID, got nothing\n {2}revision_id: /,
    );
  });

  test("a pipeline with several problems lists them all", async () => {
    const file = writePipeline(["count-source", "picture-maker"], ({ operators, edges }) => {
      operators![0]!.image = "example.org/none";
      operators![1]!.parallel_config = null;
      (operators![1]!.parameters as Json[])[0]!.name = "reject";
      edges!.pop();
    });
    for (const result of [run(file), stemline("pipeline", "validate", file, "--operators", fixtures)]) {
      await expectUsage(
        result,
        /^error: The pipeline is not valid:\n {2}operators\[0\]\.image: .*\n {2}ports\[1\]: nothing feeds input "in" of "Picture Maker"\n {2}operators\[1\]\.parameters\[0\]\.name: .*\n$/,
      );
    }
  });

  test("settings that name something unknown or do not fit, all at once", async () => {
    const settings = ["reader.count=1", "count-source.speed=1", "count-source.count=many", "count"];
    await expectUsage(
      run(counting(), ...set(...settings)),
      [
        "error: Cannot apply --set:",
        '  reader.count=1: the pipeline has no operator "reader"; it has count-source, picture-maker',
        '  count-source.speed=1: "Count Source" has no parameter "speed"; it has count, delay_ms, folder',
        '  count-source.count=many: Parameter "count": expected an integer, got "many"',
        "  count: expected operator.parameter=value\n",
      ].join("\n"),
    );
  });

  test("a name that several operators have", async () => {
    const file = writePipeline(["count-source", "picture-maker"], ({ operators }) => {
      operators!.push({ ...operators![1]!, id: randomUUID(), inputs: [], outputs: [] });
    });
    await expectUsage(
      run(file, ...set("Picture Maker.refuse=all")),
      '"Picture Maker" is the name of several operators; write one of picture-maker, picture-maker-2',
    );
  });

  test("a mount that is not there", async () => {
    await expectUsage(
      run(counting(), ...set("count-source.folder=~/no/such/folder")),
      /operators\[0\]\.parameters\.folder: "Count Source": \/.*\/no\/such\/folder does not exist/,
    );
  });

  test("operators that are not there or broken", async () => {
    await expectUsage(
      stemline("run", counting(), "--operators", join(folder, "none")),
      /^error: Cannot read operators from .*none: there is no such file or folder\n$/,
    );
  });

  test("options and commands that do not exist", async () => {
    await expectUsage(run(counting(), "--outt", "x"), /^error: unknown option '--outt'/);
    await expectUsage(
      run(counting(), "--parallelism", "0"),
      "error: --parallelism: expected an integer from 1 to 128",
    );
    await expectUsage(stemline("runn"), /^error: unknown command 'runn'/);
    await expectUsage(stemline("run"), /^error: missing required argument 'pipeline'/);
  });

  test("is told to programs too", async () => {
    const { code, stdout, stderr } = await run(join(folder, "none.json"), "--json");
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ event: "error", code: "STEMLINE_CLI_FILE", problems: [] });
    expect(stderr).toMatch(/^error: Cannot read /);
  });

  test("an output folder that cannot be made", async () => {
    const { code, stderr } = await run(counting(), "--out", "/dev/null/out");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: Cannot write \/dev\/null\/out: /);
  });
});

describe("pipeline and operator", () => {
  test("validate says what is there", async () => {
    const file = counting();
    const { code, stdout } = await stemline("pipeline", "validate", file, "--operators", fixtures);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${file} is valid: 2 operators, 1 edge.\n` });
  });

  test("expand prints the runtime pipeline", async () => {
    const expand = async (...args: string[]) =>
      JSON.parse((await stemline("pipeline", "expand", counting(), ...args)).stdout);
    expect((await expand()).operators).toHaveLength(5);
    expect((await expand("--parallelism", "2")).operators).toHaveLength(3);
  });

  test("the operators of this package are sound", async () => {
    const folders = readdirSync(join(root, "operators"), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => join(root, "operators", name));
    expect(folders.length).toBeGreaterThan(3);
    for (const command of ["validate", "check"]) {
      const { code, stdout, stderr } = await stemline("operator", command, ...folders);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout.trim().split("\n")).toHaveLength(folders.length);
    }
  });

  test("check takes a folder of the README's three files, in no package, that finds this package by its name", async () => {
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(root, join(folder, "node_modules/stemline"));
    const spec = readFileSync(join(root, "test/integration/fixtures/operators/count-source/operator.json"));
    writeFileSync(join(folder, "operator.json"), spec);
    const run = readFileSync(join(root, "test/integration/fixtures/operators/count-source/run.ts"));
    writeFileSync(join(folder, "run.ts"), run);
    writeFileSync(join(folder, "Containerfile"), "FROM interactem-operator\nCOPY run.ts /app/run.ts\n");
    expect(await stemline("operator", "check", folder)).toMatchObject({ code: 0, stderr: "" });
  });

  test("check lists what is wrong", async () => {
    writeFileSync(join(folder, "operator.json"), "{}");
    const { code, stderr } = await stemline("operator", "check", folder);
    expect(code).toBe(2);
    expect(stderr).toContain("operator.json: id: expected a UUID, got nothing");
    expect(stderr).toContain("run.ts");
  });

  test("--help and --version are no errors", async () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    expect(await stemline("--version")).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
    const help = await stemline("--help");
    expect(help.code).toBe(0);
    expect(help.stdout).toMatch(/^Usage: stemline /);
  });
});

describe("the centre of mass pipeline", () => {
  const pipeline = join(root, "pipelines/center-of-mass.json");

  test("is valid", async () => {
    expect(await stemline("pipeline", "validate", pipeline)).toMatchObject({ code: 0, stderr: "" });
  });

  test("draws the centre of mass of a simulated scan", async () => {
    const simulated = await stemline("simulate", "scan.h5", "--scan", "24x32", "--seed", "1");
    expect(simulated).toMatchObject({ code: 0, stderr: "" });
    const { code, stdout, stderr } = await stemline(
      "run",
      pipeline,
      ...set(`counted-data-reader.raw_data_dir=${folder}`, "counted-data-reader.filename=scan.h5"),
    );
    expect(code).toBe(0);
    // A slow machine takes long enough for lines of progress.
    expect(stderr).toMatch(/^(\d+ of 768 frames .*\n)*$/);
    expect(readdirSync(join(folder, "out")).sort()).toEqual([
      "center-of-mass-rtheta-1.png",
      "center-of-mass-xy-1.png",
    ]);
    expect(stdout).toMatch(/^Counted Data Reader +1 +0 +\d+ +0 B +\S+ \S+ +768 /m);
    expect(stdout).toMatch(/^Partial Center of Mass +2 +\d+ +\d+ .* 768 /m);
  });

  test("says which data file is missing", async () => {
    const { code, stderr } = await stemline(
      "run",
      pipeline,
      ...set(`counted-data-reader.raw_data_dir=${folder}`, "counted-data-reader.filename=none.h5"),
    );
    expect(code).toBe(1);
    expect(stderr).toContain("error: Counted Data Reader failed in trigger read_now: ");
    expect(stderr).toContain("none.h5");
    expect(stderr).not.toMatch(/^ +at /m);
  });
});

describe("doctor", () => {
  interface Report {
    readonly version: string;
    readonly sound: boolean;
    readonly findings: readonly { readonly subject: string; readonly state: string; readonly text: string }[];
  }
  /** Without what the surroundings of the tests say. */
  const bare = { NATS_SERVER_URL: undefined, NATS_CREDS_FILE: undefined, NKEYS_SEED_STR: undefined };

  async function report(env: NodeJS.ProcessEnv = {}): Promise<Report & { readonly code: number | null }> {
    const { code, stdout, stderr } = await stemlineWith({ ...bare, ...env }, "doctor", "--json");
    expect(stderr).toBe("");
    return { code, ...(JSON.parse(stdout) as Report) };
  }

  const about = ({ findings }: Report, subject: string) =>
    findings.find((entry) => entry.subject === subject)!;

  test("says what is there, for people and for programs", async () => {
    const { code, ...json } = await report();
    const subjects = [
      "Node",
      "System",
      "CPU features",
      "Memory",
      "Addon",
      "Backend",
      "CUDA",
      "libzmq",
      "NATS",
    ];
    expect({ code, sound: json.sound, subjects: json.findings.map(({ subject }) => subject) }).toEqual({
      code: 0,
      sound: true,
      subjects,
    });
    expect(about(json, "Node").text).toContain(process.version);
    expect(about(json, "Addon").text).toMatch(/stemline\.node$/);
    expect(about(json, "libzmq").text).toMatch(/^4\.\d+\.\d+$/);
    expect(about(json, "NATS")).toMatchObject({ state: "note" });
    expect(about(json, "CUDA").state).not.toBe("bad");

    const plain = await stemlineWith(bare, "doctor");
    expect(plain.code).toBe(0);
    for (const { subject, text } of json.findings) {
      const line = plain.stdout.split("\n").find((candidate) => candidate.includes(`  ${subject} `))!;
      expect(line).toContain(text.split("\n")[0]);
    }
  });

  test("finds an addon that cannot be loaded, and says what was tried", async () => {
    const found = await report({ STEMLINE_ADDON: "/nowhere/stemline.node" });
    expect(found).toMatchObject({ code: 1, sound: false });
    expect(about(found, "Addon")).toMatchObject({ state: "bad" });
    expect(about(found, "Addon").text).toContain("/nowhere/stemline.node: no such file");
    expect(about(found, "CUDA")).toMatchObject({
      state: "note",
      text: expect.stringMatching(/^not looked for, the addon is not loaded; /),
    });
  });

  test("lists GPUs and the versions that matter", async () => {
    const library = compileCudaLibrary(folder, twoDevices);
    const found = await report({ STEMLINE_CUDA_LIBRARY: library });
    // They are a stub that cannot be started.
    expect(about(found, "CUDA")).toMatchObject({ state: "bad" });
    const [first, ...devices] = about(found, "CUDA").text.split("\n");
    expect(first).toMatch(/, CUDA 13\.0; driver for CUDA up to 12\.4, .*NVIDIA kernel module/);
    expect(first!.startsWith(library)).toBe(true);
    expect(devices).toEqual([
      "First GPU, compute capability 9.0, 79.6 GiB, 0000:3b:00.0, chosen",
      "Second GPU, compute capability 8.6, 23.7 GiB, 0001:af:00.0",
      `kernels run on the CPU: ${library}: this device is a stub`,
    ]);
  });

  const headers = cudaHeaders();
  test.skipIf(headers === null)("shows what computes, and the figures behind it", async () => {
    const library = compileStandIn(folder, headers!);
    const lines = async (backend: string) => {
      const found = await report({ STEMLINE_CUDA_LIBRARY: library, STEMLINE_BACKEND: backend });
      expect(about(found, "CUDA")).toMatchObject({ state: "ok" });
      return about(found, "CUDA").text.split("\n");
    };
    const device = "host emulation, compute capability 9.0, 4.0 GiB, 0000:00:00.0";
    const [, chosen, summary, ...compared] = await lines("auto");
    expect(chosen).toBe(`${device}, chosen`);
    expect(summary).toMatch(
      /^kernels run (where they are faster; started in \d+ ms, compared in|on the CPU: .*faster at everything)/,
    );
    expect(compared.map((line) => line.split(",")[0])).toEqual(
      ["no-crop", "fixed-crop", "own-center-crop", "analysis"].map((operation) => `  ${operation}`),
    );
    for (const line of compared)
      expect(line).toMatch(/: 16,384 events \d+\.\d\d\/\d+\.\d\d C(PU|UDA); .*; 4,194,304 events [^;]+$/);
    expect((await lines("cuda")).slice(1)).toEqual([
      `${device}, chosen`,
      expect.stringMatching(
        /^kernels run on the GPU wherever they can: STEMLINE_BACKEND says so; started in \d+ ms$/,
      ),
    ]);
    expect((await lines("scalar")).slice(1)).toEqual([
      device,
      "kernels run on the CPU: STEMLINE_BACKEND says so",
    ]);
  });

  test("says why there is no GPU to use: what is not there is noted, what does not fit is bad", async () => {
    const broken = join(folder, "broken.so");
    writeFileSync(broken, "no library\n");
    const missing = join(folder, "none.so");
    const [withoutDriver, foreign] = ["without-driver", "foreign"].map((name) => join(folder, name));
    mkdirSync(withoutDriver!);
    mkdirSync(foreign!);
    const another = compileCudaLibrary(foreign!, "uint32_t stemline_cuda_abi_version(void) { return 7; }");
    const noDriver = compileCudaLibrary(
      withoutDriver!,
      currentVersion +
        devicesFunction('strcpy(reason, "no driver here"); return STEMLINE_CUDA_DRIVER_MISSING;'),
    );
    for (const [library, state, text] of [
      [missing, "note", `${missing}: no such file; `],
      [noDriver, "note", `${noDriver}: no driver here; `],
      [broken, "note", `${broken}: cannot be loaded: `],
      [another, "bad", `${another}: expected interface version 2, got 7; `],
    ] as const) {
      const found = await report({ STEMLINE_CUDA_LIBRARY: library });
      expect(about(found, "CUDA")).toMatchObject({
        state,
        text: expect.stringContaining(`kernels run on the CPU: ${text}`),
      });
      expect(about(found, "CUDA").text).toMatch(
        /; (no NVIDIA kernel module is loaded|NVIDIA kernel module \d+\.)/,
      );
      expect(found.code).toBe(state === "bad" ? 1 : 0);
    }
  });

  test("looks for NATS as an operator would", async () => {
    const server = await startNatsServer();
    onTestFinished(() => server.close());
    const reached = await report({ ...server.environment });
    expect(about(reached, "NATS")).toMatchObject({ state: "ok" });
    expect(about(reached, "NATS").text).toMatch(
      /^nats:\/\/127\.0\.0\.1:\d+ \(nats-server 2\.\d+\.\d+\), messages up to 1048576 bytes$/,
    );

    const seed = { NATS_SECURITY_MODE: "nkeys", NKEYS_SEED_STR: "SUAMNOSEED" };
    for (const [env, text] of [
      [{ ...server.environment, NATS_SERVER_URL: "nats://127.0.0.1:9" }, /could not be reached/],
      [{ ...server.environment, ...seed }, /seed is malformed/],
      [
        { NATS_SERVER_URL: "nats://127.0.0.1:9" },
        /NATS_CREDS_FILE: expected a file that exists, got nothing/,
      ],
    ] as const) {
      const found = await report(env);
      expect(found).toMatchObject({ code: 1, sound: false });
      expect(about(found, "NATS")).toMatchObject({ state: "bad", text: expect.stringMatching(text) });
    }
  });
});
