import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { checkContainer } from "../../../src/operator/check-container.ts";
import { parseOperatorSpec } from "../../../src/spec/operator-spec.ts";

const spec = parseOperatorSpec({
  id: "70dd71a7-5ebf-4515-8bf9-941d1284328c",
  label: "L",
  description: "D",
  image: "localhost:5000/mine/averager:latest",
});

const soundContainerfile = "FROM distiller-streaming\n\nCOPY run.ts /app/run.ts\n";
const soundBake = `group "operators" {
  targets = [
    "averager",
  ]
}

target "averager" {
  inherits = ["on-distiller-streaming"]
  context  = "operators/averager"
  tags     = ["\${REGISTRY}/averager:\${TAG}"]
}
`;

/** Problems of the folder operators/averager, as lines. */
async function problemsOf(files: Readonly<Record<string, string>>): Promise<string[]> {
  const root = mkdtempSync(join(tmpdir(), "stemline-container-"));
  onTestFinished(() => rmSync(root, { recursive: true }));
  const folder = join(root, "operators/averager");
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries({ "run.ts": "", ...files }))
    writeFileSync(join(folder, name), text);
  return (await checkContainer(folder, spec)).map(({ path, message }) => `${path}: ${message}`);
}

describe("Containerfile", () => {
  const check = (text: string, files: Readonly<Record<string, string>> = {}) =>
    problemsOf({ Containerfile: text, ...files });
  const manifest = { "package.json": "{}" };

  test.each([
    soundContainerfile,
    "# syntax=docker/dockerfile:1\nARG BASE=node\nFROM $BASE AS base\ncopy --chown=1000:0 ./run.ts /app/\n",
    'FROM node\nCOPY ["run.ts", "/app/run.ts"]\n',
    "FROM node\nWORKDIR /app\nCOPY run.ts .\n",
    "FROM node\nWORKDIR /app\nCOPY . .\n",
    "FROM node\r\nCOPY *.ts /app\r\n",
    "FROM node\nCOPY \\\n  # The one file.\n  run.ts \\\n  /app/run.ts\n",
    "FROM node AS build\nCOPY run.ts /src/\nFROM node\nCOPY --from=build /src/run.ts /app/run.ts\n",
    'FROM node\nRUN <<EOF\nFORM nothing\nEOF\nCOPY run.ts /app/run.ts\nCMD ["x"]',
  ])("%j is sound", async (text) => {
    expect(await check(text)).toEqual([]);
  });

  test.each(["import { Com } from", "import {\n  Com,\n} from", "export * from"])(
    "must start from distiller-streaming where run.ts says %j what it has from stemline/distiller",
    async (words) => {
      const files = { "run.ts": `// What.\n${words} "stemline/distiller";\n` };
      const text = "FROM interactem-operator\nCOPY run.ts /app/run.ts\n";
      expect(await check(text, files)).toEqual([
        "Containerfile: line 1: expected FROM distiller-streaming, since run.ts imports stemline/distiller, got interactem-operator",
      ]);
      expect(await check(text, { "run.ts": '// No "stemline/distiller".\nimport "stemline";\n' })).toEqual(
        [],
      );
      expect(await check(soundContainerfile, files)).toEqual([]);
    },
  );

  test("must be there", async () => {
    expect(await problemsOf({})).toEqual(["Containerfile: there is no such file"]);
  });

  test.each([
    ["", ["Containerfile: expected FROM with a base image, got none"]],
    [
      "FORM node\nCOPY run.ts /app/run.ts",
      [
        'Containerfile: line 1: expected an instruction such as FROM or COPY, got "FORM"',
        "Containerfile: expected FROM with a base image, got none",
      ],
    ],
    [
      "COPY run.ts /app/run.ts\nFROM node\nCOPY run.ts /app/run.ts",
      ['Containerfile: line 1: expected FROM as first instruction, got "COPY"'],
    ],
    ["FROM\nCOPY run.ts /app/run.ts", ["Containerfile: line 1: FROM: expected a base image, got nothing"]],
    ["FROM node", ["Containerfile: expected COPY run.ts /app/run.ts in the last stage, got none"]],
    [
      "FROM node\n# COPY run.ts /app/run.ts\nRUN true \\\n  && COPY run.ts /app/run.ts",
      ["Containerfile: expected COPY run.ts /app/run.ts in the last stage, got none"],
    ],
    [
      "FROM node\n\nCOPY run.ts \\\n  /run.ts",
      ['Containerfile: line 3: run.ts: expected /app/run.ts as its place in the image, got "/run.ts"'],
    ],
    [
      "FROM node AS build\nCOPY run.ts /app/run.ts\nFROM node",
      ["Containerfile: expected COPY run.ts /app/run.ts in the last stage, got none"],
    ],
    [
      "FROM node\nCOPY run.ts helper.ts /app/",
      ["Containerfile: line 2: copies helper.ts, which is not in the folder"],
    ],
  ])("%j: %s", async (text, problems) => {
    expect(await check(text)).toEqual(problems);
  });

  test("copies and installs what package.json names", async () => {
    const installs = "RUN npm ci --prefix /app\n";
    const copies = "COPY package.json package-lock.json* /app/\n";
    expect(await check(soundContainerfile + copies + installs, manifest)).toEqual([]);
    expect(await check(soundContainerfile + installs, manifest)).toEqual([
      "Containerfile: expected a COPY of package.json, which stands beside run.ts",
    ]);
    expect(await check(soundContainerfile + copies, manifest)).toEqual([
      "Containerfile: expected a RUN of npm that installs what package.json names",
    ]);
    expect(await check(soundContainerfile + copies + installs)).toEqual([
      "Containerfile: line 4: copies package.json, which is not in the folder",
    ]);
  });
});

describe("docker-bake.hcl", () => {
  const check = (bake: string, files: Readonly<Record<string, string>> = {}) =>
    problemsOf({ Containerfile: soundContainerfile, "../docker-bake.hcl": bake, ...files });

  test.each([
    soundBake,
    // What is commented out, in texts, in templates or nested does not count.
    `/* target "averager" { */ // group "operators" {}\n# "\nvariable "TAG" { default = "}" }\n${soundBake}`,
    soundBake.replace('    "averager",', '    "other", # "x" ]\n    /* ] */ "averager" // }'),
    soundBake.replace("inherits", 'args = { context = "wrong" }\n  # inherits = ["operator"]\n  inherits'),
    soundBake.replace(`\${REGISTRY}/`, `\${REGISTRY == "" ? "" : "\${REGISTRY}/"}`),
    soundBake.replace('"operators/averager"', '"./operators/averager/"'),
    soundBake.replace('inherits = ["on-', 'inherits = ["common", "on-'),
    `function "f" {\n  params = [a]\n  result = <<EOT\ntarget "averager" {\nEOT\n}\n${soundBake}`,
  ])("sound %#", async (bake) => {
    expect(await check(bake)).toEqual([]);
  });

  test.each([
    [
      'group "operators" {\n  targets = []\n}\n# target "averager" {}\n',
      ['docker-bake.hcl: group "operators" lacks "averager"', 'docker-bake.hcl: lacks target "averager"'],
    ],
    [
      soundBake.replace('    "averager"', '    # "averager"'),
      ['docker-bake.hcl: group "operators" lacks "averager"'],
    ],
    [
      soundBake.replace("operators/averager", "operators/average"),
      [
        'docker-bake.hcl: line 9: context: expected this folder as in "operators/averager", got "operators/average"',
      ],
    ],
    [
      soundBake.replace("/averager:", "/average:"),
      [
        `docker-bake.hcl: line 10: tags: expected image name "averager" as in operator.json, got "\${REGISTRY}/average:\${TAG}"`,
      ],
    ],
    [
      soundBake.replace("on-distiller-streaming", "on-interactem-operator"),
      [
        `docker-bake.hcl: line 8: inherits: expected "on-distiller-streaming" for the Containerfile's FROM distiller-streaming, got "on-interactem-operator"`,
      ],
    ],
    [
      soundBake.replace('"on-distiller-streaming"', '"on-distiller-streaming", "on-interactem-operator"'),
      [
        `docker-bake.hcl: line 8: inherits: expected no "on-interactem-operator" for the Containerfile's FROM distiller-streaming`,
      ],
    ],
    [
      'group "operators" {\n  targets = ["averager"]\n}\ntarget "averager" {\n}\n',
      [
        'docker-bake.hcl: line 4: context: expected this folder as in "operators/averager", got nothing',
        'docker-bake.hcl: line 4: tags: expected image name "averager" as in operator.json, got nothing',
        `docker-bake.hcl: line 4: inherits: expected "on-distiller-streaming" for the Containerfile's FROM distiller-streaming, got nothing`,
      ],
    ],
    ['\ntarget "averager" {', ['docker-bake.hcl: line 2: the block "target" does not end']],
  ])("%#: %j", async (bake, problems) => {
    expect(await check(bake)).toEqual(problems);
  });

  test("names the parents that base image and package.json need", async () => {
    const other = { Containerfile: soundContainerfile.replace("distiller-streaming", "node:22") };
    expect(await check(soundBake, other)).toEqual([
      `docker-bake.hcl: line 8: inherits: expected "operator" for the Containerfile's FROM node:22, got "on-distiller-streaming"`,
    ]);
    const packages = {
      "package.json": "{}",
      Containerfile: `${soundContainerfile}COPY package.json /app/\nRUN npm install\n`,
    };
    expect(await check(soundBake, packages)).toEqual([
      'docker-bake.hcl: line 8: inherits: expected "npm-cache" for package.json, got "on-distiller-streaming"',
    ]);
    const fed = soundBake.replace('streaming"]', 'streaming", "npm-cache"]');
    expect(await check(fed, packages)).toEqual([]);
    // The stage that run.ts goes to says the base.
    const stages = {
      Containerfile: `FROM node AS build\nFROM distiller-streaming AS base\nFROM base\nCOPY run.ts /app/run.ts\n`,
    };
    expect(await check(soundBake, stages)).toEqual([]);
  });
});
