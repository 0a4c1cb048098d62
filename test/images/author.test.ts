import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Backend, startBackend } from "../integration/support/interactem-backend.ts";
import { type NatsServer, startNatsServer } from "../integration/support/nats-server.ts";
import { singleOperator } from "../integration/support/single-operator.ts";
import { imageOf, inspect, root, run, succeed } from "./support.ts";

/** A copy of the repository with what bake.sh needs, for the operators of an author. */
const copy = mkdtempSync(join(tmpdir(), "stemline-author-"));
const operators = join(copy, "operators");
const cli = join(root, "dist/cli/main.js");

beforeAll(() => {
  const needed = [
    "operators",
    "containers",
    "scripts",
    "dist",
    "prebuilds",
    "native",
    "pipelines",
    "build-images",
  ];
  for (const name of [...needed, "package.json", "package-lock.json", "binding.gyp", "LICENSE", "README.md"])
    cpSync(join(root, name), join(copy, name), { recursive: true });
});
afterAll(() => rmSync(copy, { recursive: true, force: true }));

const stemline = (...args: string[]) => succeed("node", [cli, ...args]);

function makeOperator(name: string, flags: readonly string[]): void {
  stemline("operator", "new", "--name", name, ...flags, "--yes", "--bake", "--output-dir", operators);
}

/** Loads the operator that an image holds, and prints the names of its ports, parameters and triggers. */
function lookInside(image: string): Record<string, string[]> {
  const program = `import { loadOperator } from "/opt/stemline/dist/operator/load-operator.js";
    const { inputs = [], outputs = [], triggers = [], parameters = {} } = await loadOperator("/app/run.ts");
    console.log(JSON.stringify({ inputs, outputs, triggers, parameters: Object.keys(parameters) }));`;
  const node = ["--entrypoint=node", image, "--input-type=module", "--eval", program];
  return JSON.parse(succeed("docker", ["run", "--rm", "--read-only", "--network=none", ...node]));
}

const ports = [
  { inputs: ["in"], outputs: ["out"] },
  { inputs: ["in"], outputs: [] },
  { inputs: [], outputs: ["out"] },
  { inputs: ["first", "second"], outputs: ["left", "right"] },
  { inputs: [], outputs: [] },
];
const triggers = [["once"], ["all:drain"], ["once", "all:drain"]];
const parameters = [
  [
    "text:str:a b",
    "count:int:3",
    "scale:float:0.5",
    "on:bool:true",
    "data:mount:~/data",
    "kind:str-enum:box|disk",
  ],
  ["text:str:"],
  ["count:int:-1"],
  ["scale:float:1e-3"],
  ["on:bool:false"],
  ["data:mount:~/data"],
  ["kind:str-enum:box|disk"],
  [],
];

/** Each of the lists with all of its members, in as many operators as the longest has. */
const made = parameters.map((parameter, index) => ({
  name: `made-${index}`,
  base: index % 2 === 0 ? "interactem-operator" : "distiller-streaming",
  parameter,
  trigger: index % 5 === 4 ? triggers[0]! : (triggers[index % 4] ?? []),
  ...ports[index % 5]!,
}));
const nameOf = (text: string) => text.split(":", 1)[0]!;

describe("operator new", () => {
  test("makes operators of every kind that are checked, built and loaded as they are", () => {
    for (const { name, base, parameter, trigger, inputs, outputs } of made) {
      makeOperator(name, [
        ...["--base-image", base],
        ...inputs.flatMap((port) => ["--input", `${port}:bytes`]),
        ...outputs.flatMap((port) => ["--output", `${port}:bytes`]),
        ...trigger.flatMap((text) => ["--trigger", text]),
        ...parameter.flatMap((text) => ["--parameter", text]),
      ]);
    }
    stemline("operator", "check", ...made.map(({ name }) => join(operators, name)));
    succeed(join(operators, "bake.sh"), ["--push-local"]);
    for (const { name, base, parameter, trigger, inputs, outputs } of made) {
      const found = lookInside(imageOf(name));
      expect(found, name).toEqual({
        inputs,
        outputs,
        triggers: trigger.map(nameOf),
        parameters: parameter.map(nameOf),
      });
      const spec = JSON.parse(readFileSync(join(operators, name, "operator.json"), "utf8"));
      expect(inspect("docker", imageOf(name)).Config.Labels["interactem.operator.spec"]).toBe(
        JSON.stringify(spec),
      );
      expect(
        succeed("docker", ["history", "--format={{.CreatedBy}}", imageOf(name)]).includes(
          "/distiller-streaming/",
        ),
      ).toBe(base === "distiller-streaming");
    }
  });

  test("has npm packages installed from the cache that the build is given, by bake and by podman", () => {
    makeOperator("with-package", ["--input", "in:bytes", "--dependency", "is-number@7.0.0"]);
    const file = join(operators, "with-package/run.ts");
    const text = readFileSync(file, "utf8");
    writeFileSync(
      file,
      `import isNumber from "is-number";\nif (!isNumber(5)) throw new Error("no");\n${text}`,
    );
    succeed(join(operators, "bake.sh"), [
      "--build-base",
      "--push-local",
      "--pull-local",
      "--target",
      "with-package",
    ]);
    expect(lookInside(imageOf("with-package"))).toMatchObject({ inputs: ["in"] });
    expect(inspect("docker", imageOf("with-package")).Config.User).toBe("1000:0");
    const cache = `npm-cache=${join(copy, "build-images/npm-cache")}`;
    const tag = "--tag=localhost/with-package";
    succeed("podman", [
      "build",
      "--network=none",
      "--build-context",
      cache,
      tag,
      join(operators, "with-package"),
    ]);
    const look = [
      "run",
      "--rm",
      "--network=host",
      "--entrypoint=ls",
      "localhost/with-package",
      "/app/node_modules",
    ];
    expect(succeed("podman", look).split("\n")).toContain("is-number");
  });

  test("is a short way from nothing to a running image", async () => {
    const server: NatsServer = await startNatsServer({ auth: "creds" });
    const backend: Backend = await startBackend(server);
    try {
      const { deployment, view, bindSource, connectSink } = singleOperator(server, backend);
      const started = performance.now();
      makeOperator("passed-on", ["--input", "in:bytes", "--output", "out:bytes"]);
      succeed(join(operators, "bake.sh"), ["--push-local", "--pull-local", "--target", "passed-on"]);
      const built = performance.now();
      const { image } = JSON.parse(readFileSync(join(operators, "passed-on/operator.json"), "utf8"));
      const source = await bindSource();
      // In the agent's group, as the credentials of a deployment are.
      const credentials = server.environment.NATS_CREDS_FILE!;
      run("chmod", ["0640", credentials]);
      const process = await deployment.startContainer(view, { engine: "podman", image, credentials });
      await process.status("running");
      const seconds = (ms: number) => (ms / 1000).toFixed(1);
      console.log(
        `operator new to a built image: ${seconds(built - started)} s, to running: ${seconds(performance.now() - started)} s`,
      );
      const sink = await connectSink();
      await source.send([JSON.stringify({ subject: "bytes", meta: { n: 1 }, tracking: null }), "data"]);
      const [header, data] = await sink.receive();
      expect(JSON.parse(String(header))).toMatchObject({ subject: "bytes", meta: { n: 1 } });
      expect(String(data)).toBe("data");
      expect((await process.stop()).code).toBe(0);
    } finally {
      await backend.close();
      await server.close();
    }
  });
});
