import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type NewCommandOptions, newCommand } from "../../../src/cli/new-command.ts";
import { StemlineError } from "../../../src/errors.ts";
import { checkOperator } from "../../../src/operator/check.ts";
import { checkContainer } from "../../../src/operator/check-container.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));

type Flags = Partial<NewCommandOptions>;

const make = (outputDir: string, flags: Flags) =>
  newCommand({ description: "Does something.", outputDir, ...flags }, false);

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "stemline-new-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

async function failure(result: Promise<unknown>): Promise<Pick<StemlineError, "code" | "message">> {
  const error = await result.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StemlineError);
  const { code, message } = error as StemlineError;
  return { code, message };
}

const parameters = [
  'title:str:it\'s a "title"',
  "crop-to:int:-3",
  "gain:float:1e30",
  "_fill:bool:yes",
  "data:mount:~/data:2",
  "shape:str-enum:box|disk|it's",
];

const ports: Record<string, Flags> = {
  none: {},
  in: { input: ["in:BatchedFrames"] },
  out: { output: ["out:image"] },
  both: { input: ["in:com"], output: ["out:com"] },
  many: { input: ["in:com", "second-in:com"], output: ["out:com", "class:com", "constructor:a b"] },
};
const triggers: Record<string, string[]> = {
  none: [],
  single: ["go"],
  drain: ["read_now:drain"],
  both: ["go:single", "read-now:drain"],
};

/** Every combination of ports and triggers with all parameters and with none, and every set of parameter types. */
function combinations(): Record<string, Flags> {
  const made: Record<string, Flags> = {};
  const kinds = Object.entries(ports).flatMap(([portKind, portFlags]) =>
    Object.entries(triggers).map(([kind, trigger]) => ({
      kind: `${portKind}-${kind}`,
      ...portFlags,
      trigger,
    })),
  );
  for (const { kind, ...flags } of kinds) {
    made[`bare-${kind}`] = flags;
    made[`all-${kind}`] = {
      ...flags,
      parameter: parameters,
      parallel: "embarrassing",
      tag: ["gpu", "a:b:c"],
    };
  }
  for (let set = 1; set < 2 ** parameters.length - 1; set += 1) {
    const { kind, ...flags } = kinds[set % kinds.length]!;
    made[`set-${set}-${kind}`] = { ...flags, parameter: parameters.filter((_, bit) => set & (1 << bit)) };
  }
  const long = (count: number) => Array.from({ length: count }, (_, index) => `choice${index}`).join("|");
  const texts = ["a*/b", "`${", "\\d", "it's", '"q"', "\"'", "é🙂", "//", ""];
  return {
    ...made,
    "many-ports": {
      input: Array.from({ length: 12 }, (_, index) => `input_number_${index}:bytes`),
      trigger: Array.from({ length: 3 }, (_, index) => `trigger_${"x".repeat(30)}_${index}:drain`),
    },
    layouts: {
      output: ["out:bytes"],
      parameter: [5, 6, 7, 8, 9, 10, 11, 12, 20].map((count) => `choice_${count}:str-enum:${long(count)}`),
    },
    widths: {
      input: ["in:bytes"],
      parameter: Array.from({ length: 24 }, (_, index) => `text_${index}:str:${"x".repeat(60 + index)}`),
    },
    "enum-widths": {
      input: ["in:bytes"],
      parameter: Array.from({ length: 33 }, (_, index) => `e${index}:str-enum:${"x".repeat(55 + index)}|y`),
    },
    texts: {
      input: ["in:bytes"],
      description: 'Ends /* a */ comment, `x` and "quotes".',
      label: "L'\"",
      parameter: [
        ...texts.map((text, index) => `text_${index}:str:${text}`),
        ...texts.filter((text) => text !== "").map((text, index) => `choice_${index}:str-enum:${text}|other`),
      ],
    },
    numbers: {
      output: ["out:bytes"],
      trigger: ["go"],
      parameter: ["nan", "inf", "-inf", "-0", "1e21", "1e-9", "0.1", "5", "1_000.5"].map(
        (value, index) => `f${index}:float:${value}`,
      ),
    },
    "long-name": { input: ["in:bytes"], parameter: [`${"x".repeat(60)}:int:1`] },
    words: {
      input: ["in:bytes"],
      parameter: [
        "class",
        "default",
        "constructor",
        "toString",
        "trigger",
        "bytes",
        "number",
        "log",
        "a-",
        "_",
      ].map((name) => `${name}:int:1`),
    },
    packages: { input: ["in:bytes"], dependency: ["ml-matrix@6.12.1", "@scope/name"] },
    streaming: { input: ["in:bytes"], baseImage: "distiller-streaming" },
    other: { input: ["in:bytes"], baseImage: "ghcr.io/me/base:1.2@sha256:ab" },
  };
}

describe("what is made", () => {
  let operators = "";
  const made = combinations();
  const folderOf = (name: string) => join(operators, "operators", name);
  const textOf = (name: string, file: string) => readFileSync(join(folderOf(name), file), "utf8");

  beforeAll(async () => {
    operators = mkdtempSync(join(tmpdir(), "stemline-made-"));
    mkdirSync(join(operators, "operators"));
    writeFileSync(
      join(operators, "operators/docker-bake.hcl"),
      'group "operators" {\n  targets = [\n  ]\n}\n',
    );
    for (const [name, flags] of Object.entries(made)) {
      await make(join(operators, "operators"), { name, bake: true, yes: true, ...flags });
    }
    writeFileSync(join(operators, "package.json"), '{ "type": "module" }');
  });
  afterAll(() => rmSync(operators, { recursive: true }));

  test("passes operator check, every combination of ports, triggers and parameter types", async () => {
    expect(Object.keys(made).length).toBeGreaterThan(100);
    for (const name of Object.keys(made)) {
      const { spec, problems } = await checkOperator(folderOf(name));
      expect({ name, problems }).toEqual({ name, problems: [] });
      expect({ name, problems: await checkContainer(folderOf(name), spec) }).toEqual({ name, problems: [] });
    }
  });

  test("type-checks in strict mode, with parameters of the right types", () => {
    writeFileSync(
      join(operators, "proof.ts"),
      `import operator from "./operators/all-both-none/run.ts";
       type Values = Parameters<typeof operator.run>[1]["parameters"];
       type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
       export const proof: Same<Values, {
         readonly title: string; readonly "crop-to": number; readonly gain: number; readonly _fill: boolean;
         readonly data: string; readonly shape: "box" | "disk" | "it's";
       }> = true;
       // @ts-expect-error No such parameter.
       export type None = Values["none"];\n`,
    );
    writeFileSync(
      join(operators, "tsconfig.json"),
      JSON.stringify({
        extends: join(root, "tsconfig.json"),
        compilerOptions: {
          typeRoots: [join(root, "node_modules/@types")],
          paths: { stemline: [join(root, "src/index.ts")] },
        },
        include: ["operators/*/*.ts", "proof.ts"],
      }),
    );
    expect(tool("typescript/bin/tsc", "-p", operators)).toBe("");
  });

  test("is formatted and free of what the linter finds", () => {
    const {
      vcs: _vcs,
      $schema: _schema,
      ...config
    } = JSON.parse(readFileSync(join(root, "biome.json"), "utf8"));
    writeFileSync(join(operators, "biome.json"), JSON.stringify({ ...config, root: true }));
    const output = tool("@biomejs/biome/bin/biome", "check", "--max-diagnostics=20", "operators");
    expect(output).toMatch(/^Checked \d+ files in .* No fixes applied\.\n$/);
  });

  /** What a tool prints, run in the folder of all that was made. */
  function tool(path: string, ...args: string[]): string {
    try {
      return execFileSync(process.execPath, [join(root, "node_modules", path), ...args], {
        cwd: operators,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      });
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string };
      return `${stdout}${stderr}`;
    }
  }

  test("is short", () => {
    const length = (name: string) => textOf(name, "run.ts").trimEnd().split("\n").length;
    expect(length("bare-both-none")).toBe(8);
    expect(length("bare-out-drain")).toBe(14);
    expect(length("set-1-none-single")).toBe(13);
  });

  test("has the Containerfile of its base image and packages", () => {
    expect(readdirSync(folderOf("streaming")).sort()).toEqual(["Containerfile", "operator.json", "run.ts"]);
    expect(textOf("streaming", "Containerfile")).toBe(
      "FROM distiller-streaming\n\nCOPY run.ts /app/run.ts\n",
    );
    expect(textOf("other", "Containerfile")).toMatch(/^FROM ghcr\.io\/me\/base:1\.2@sha256:ab\n/);
    expect(textOf("packages", "Containerfile")).toBe(`FROM interactem-operator

# Packages come from npm's cache, which the build is given as a context: no network.
USER root
COPY package.json package-lock.json* /app/
RUN --mount=type=bind,from=npm-cache,target=/npm-cache,rw \\
    npm install --prefix /app --omit=dev --ignore-scripts --offline --no-audit --no-fund --cache /npm-cache
USER 1000:0
COPY run.ts /app/run.ts
`);
    expect(JSON.parse(textOf("packages", "package.json"))).toEqual({
      private: true,
      type: "module",
      dependencies: { "ml-matrix": "6.12.1", "@scope/name": "*" },
    });
  });

  test("has the operator.json that was asked for", () => {
    expect(JSON.parse(textOf("all-both-both", "operator.json"))).toMatchObject({
      image: "ghcr.io/nersc/interactem/all-both-both",
      label: "All Both Both",
      description: "Does something.",
      inputs: [{ name: "in", label: "In", type: "com" }],
      outputs: [{ name: "out", label: "Out", type: "com" }],
      parameters: [
        { name: "title", type: "str", default: 'it\'s a "title"' },
        { name: "crop-to", label: "Crop To", type: "int", default: -3 },
        { name: "gain", type: "float", default: 1e30 },
        { name: "_fill", label: "Fill", type: "bool", default: true },
        { name: "data", type: "mount", default: "~/data:2" },
        { name: "shape", type: "str-enum", default: "box", options: ["box", "disk", "it's"] },
      ],
      tags: [
        { value: "gpu", description: null },
        { value: "a", description: "b:c" },
      ],
      parallel_config: { type: "embarrassing" },
      triggers: [
        { name: "go", mode: "single" },
        { name: "read-now", label: "Read Now", mode: "drain" },
      ],
    });
    expect(textOf("numbers", "run.ts")).toContain("f2: float({ default: Number.NEGATIVE_INFINITY })");
  });
});

test("says what to do next", async () => {
  const folder = temporaryFolder();
  const directory = join(folder, "operators/my-op");
  expect(await make(join(folder, "operators"), { name: "my-op", input: ["in:bytes"] })).toBe(
    [
      `${directory}: run.ts, operator.json, Containerfile.`,
      "Next:",
      `  check     npx stemline operator check ${directory}`,
      `  run here  npx stemline operator dev ${directory} --input FILE`,
      `  build     podman build --format docker --tag ghcr.io/nersc/interactem/my-op ${directory}`,
    ].join("\n"),
  );
});

describe("what cannot be made", () => {
  test("a folder that exists stays as it is", async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "taken"));
    writeFileSync(join(folder, "taken/run.ts"), "mine");
    const { code, message } = await failure(make(folder, { name: "taken", yes: true }));
    expect({ code, message }).toEqual({
      code: "STEMLINE_NEW_EXISTS",
      message: `${join(folder, "taken")} exists already; nothing was written`,
    });
    // At a terminal it is said before anything is asked.
    const asked = await failure(newCommand({ name: "taken", outputDir: folder }, true));
    expect(asked.code).toBe("STEMLINE_NEW_EXISTS");
    expect(readdirSync(join(folder, "taken"))).toEqual(["run.ts"]);
    expect(readFileSync(join(folder, "taken/run.ts"), "utf8")).toBe("mine");
  });

  test("flags that nobody can be asked for are named", async () => {
    const folder = temporaryFolder();
    const { code, message } = await failure(newCommand({ outputDir: folder }, false));
    expect(code).toBe("STEMLINE_NEW_FLAGS");
    expect(message).toBe(
      "Nothing can be asked without a terminal, and flags are missing:\n  --name\n  --description\n" +
        "  --input, --output or --trigger\nWith --yes, what is not given takes its default; only --name is needed.",
    );
    const named = await failure(make(folder, { yes: true }));
    expect(named.message).toBe("Nothing can be asked with --yes, and flags are missing:\n  --name");
  });

  test("every problem is in one message", async () => {
    const folder = temporaryFolder();
    const { code, message } = await failure(
      make(folder, {
        name: "MyOp",
        label: "two\nlines",
        registry: "ghcr.io/",
        baseImage: "a b",
        parallel: "yes",
        input: ["in", "2nd:a", "a.b:c", "in:a", "in:b"],
        parameter: [
          "x",
          "x:int",
          "x:number:1",
          "x:int:1.5",
          "y:int:99999999999999999999",
          "x:float:much",
          "x:bool:maybe",
          "x:str-enum:a||b",
          "x:str-enum:a|a",
          "__proto__:int:1",
          `${"x".repeat(61)}:int:1`,
          "z:int:1",
          "z:str:1",
        ],
        trigger: ["go:often", "go", "go:drain"],
        tag: [""],
        dependency: ["Not A Package", "left-pad@1", "left-pad"],
      }),
    );
    expect(code).toBe("STEMLINE_NEW_ANSWERS");
    const name = "expected a name of up to 60 letters, digits, _ and - that starts with a letter or _";
    expect(message.split("\n")).toEqual([
      "The operator cannot be made as described:",
      '  --name: expected kebab-case as in center-of-mass, got "MyOp"',
      '  --label: expected text without line breaks, got "two\\nlines"',
      '  --registry: expected a registry as in ghcr.io/nersc/interactem, got "ghcr.io/"',
      '  --base-image: expected the name of an image, got "a b"',
      '  --parallel: expected one of "none", "embarrassing", got "yes"',
      "  --input in: expected name:type as in frames:BatchedFrames",
      `  --input 2nd:a: ${name}, got "2nd"`,
      `  --input a.b:c: ${name}, got "a.b"`,
      "  --parameter x: expected name:type:default as in crop:int:128",
      "  --parameter x:int: expected name:type:default as in crop:int:128",
      '  --parameter x:number:1: type: expected one of "str", "int", "float", "bool", "mount", "str-enum", got "number"',
      '  --parameter x:int:1.5: default: expected a value of type int, got "1.5"',
      '  --parameter y:int:99999999999999999999: default: expected an integer of at most 2^53 - 1, got "99999999999999999999"',
      '  --parameter x:float:much: default: expected a value of type float, got "much"',
      '  --parameter x:bool:maybe: default: expected a value of type bool, got "maybe"',
      '  --parameter x:str-enum:a||b: choices: expected different ones as in box|disk, got "a||b"',
      '  --parameter x:str-enum:a|a: choices: expected different ones as in box|disk, got "a|a"',
      `  --parameter __proto__:int:1: ${name}, got "__proto__"`,
      `  --parameter ${"x".repeat(61)}:int:1: ${name}, got "${"x".repeat(60)}..."`,
      "  --tag : expected value or value:description as in gpu",
      "  --trigger go:often: expected name or name:drain as in read_now:drain",
      "  --dependency Not A Package: expected package or package@range as in ml-matrix@6.12.1",
      '  --input: expected different names, got "in" again',
      '  --parameter: expected different names, got "z" again',
      '  --trigger: expected different names, got "go" again',
      '  --dependency: expected different names, got "left-pad" again',
    ]);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("a folder that cannot be written", async () => {
    const { code, message } = await failure(make("/dev/null/operators", { name: "my-op", yes: true }));
    expect(code).toBe("STEMLINE_FILE_WRITE");
    expect(message).toMatch(/^Cannot write \/dev\/null\/operators\/my-op: /);
  });
});

describe("--bake", () => {
  const file = `# Groups.
group "operators" {
  targets = [
    "alpha", # "beta" is not here
    "gamma"
  ]
}

/* target "beta" {} */
target "alpha" {
  inherits = ["operator"]
}
`;

  test("inserts the name in its place and appends the block", async () => {
    const operators = join(temporaryFolder(), "operators");
    mkdirSync(operators);
    const path = join(operators, "docker-bake.hcl");
    writeFileSync(path, file);
    await make(operators, { name: "beta", yes: true, bake: true, baseImage: "distiller-streaming" });
    const block = `
target "beta" {
  inherits = ["on-distiller-streaming"]
  context  = "operators/beta"
  tags     = ["\${REGISTRY}/beta:\${TAG}"]
}
`;
    const withBeta = `${file.replace("is not here\n", 'is not here\n    "beta",\n')}${block}`;
    expect(readFileSync(path, "utf8")).toBe(withBeta);

    await make(operators, { name: "a", yes: true, bake: true, baseImage: "node:22" });
    await make(operators, { name: "zeta", yes: true, bake: true, dependency: ["ml-matrix"] });
    const all = readFileSync(path, "utf8");
    expect(all).toContain('  targets = [\n    "a",\n    "alpha", #');
    expect(all).toContain('    "gamma",\n    "zeta",\n  ]');
    expect(all).toContain('target "a" {\n  inherits = ["operator"]\n');
    expect(all).toContain('target "zeta" {\n  inherits = ["on-interactem-operator", "npm-cache"]\n');
    for (const name of ["a", "beta", "zeta"]) {
      const { spec } = await checkOperator(join(operators, name));
      expect(await checkContainer(join(operators, name), spec)).toEqual([]);
    }
  });

  test.each([
    { title: "no file", text: null, code: "STEMLINE_BAKE_FILE", says: /there is no such file/ },
    {
      title: "no group",
      text: 'group "all" {}',
      code: "STEMLINE_BAKE_FILE",
      says: /expected group "operators"/,
    },
    {
      title: "a list in one line",
      text: 'group "operators" {\n  targets = ["a", "z"]\n}\n',
      code: "STEMLINE_BAKE_FILE",
      says: /one name a line/,
    },
    {
      title: "a name that is listed",
      text: 'group "operators" {\n  targets = [\n    "beta",\n  ]\n}\n',
      code: "STEMLINE_BAKE_FILE",
      says: /without "beta"/,
    },
    {
      title: "a block that does not end",
      text: 'x = 1\ntarget "alpha" {',
      code: "STEMLINE_BAKE_FILE",
      says: /docker-bake\.hcl: line 2: the block "target" does not end/,
    },
    {
      title: "a target that is there",
      text: `${file}target "beta" {}\n`,
      code: "STEMLINE_BAKE_TARGET",
      says: /docker-bake\.hcl: line 13: the target "beta" exists already/,
    },
  ])("refuses $title, and writes nothing", async ({ text, code, says }) => {
    const folder = temporaryFolder();
    if (text !== null) writeFileSync(join(folder, "docker-bake.hcl"), text);
    const error = await failure(make(folder, { name: "beta", yes: true, bake: true }));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(says);
    expect(readdirSync(folder)).toEqual(text === null ? [] : ["docker-bake.hcl"]);
    if (text !== null) expect(readFileSync(join(folder, "docker-bake.hcl"), "utf8")).toBe(text);
  });
});
