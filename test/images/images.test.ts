import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseOperatorSpec } from "../../src/spec/operator-spec.ts";
import { chain, type Demo, prepareDemo } from "../integration/support/demo.ts";
import { until } from "../integration/support/deployment.ts";
import { type Backend, startBackend } from "../integration/support/interactem-backend.ts";
import { type NatsServer, startNatsServer } from "../integration/support/nats-server.ts";
import { bases, imageOf, inspect, operators, readText, run, succeed } from "./support.ts";

const engines = ["docker", "podman"] as const;
const version = JSON.parse(readText("package.json")).version;
const source = "https://example.org/stemline";
const makeAll = ["--build-base", "--push-local", "--pull-local"];
const bakeEnvironment = { BUILDKIT_PROGRESS: "plain", SOURCE: source };

let firstBuild: string;
let secondBuild: string;
let idsOfFirst: readonly string[];
const allIds = () => [...bases, ...operators].map((name) => inspect("docker", imageOf(name)).Id);

beforeAll(() => {
  const bake = (...args: string[]) => {
    const { code, stdout, stderr } = run("operators/bake.sh", args, bakeEnvironment);
    if (code !== 0) throw new Error(`bake.sh ended with ${code}\n${stdout}\n${stderr}`);
    return `${stdout}\n${stderr}`;
  };
  firstBuild = bake(...makeAll);
  idsOfFirst = allIds();
  secondBuild = bake("--build-base", "--push-local");
});

describe("bake", () => {
  test("builds every image and gives podman each by the name in operator.json", () => {
    for (const name of operators)
      expect(firstBuild).toContain(
        `podman has ${JSON.parse(readText(`operators/${name}/operator.json`)).image}`,
      );
    expect(operators.length).toBeGreaterThanOrEqual(4);
  });

  test("builds nothing a second time", () => {
    const steps = [...secondBuild.matchAll(/^#(\d+) \[[^\]]+ \d+\/\d+\] (?:COPY|RUN|WORKDIR).*$/gm)];
    expect(steps.length).toBeGreaterThan(operators.length);
    for (const [line, number] of steps)
      expect(secondBuild, line).toMatch(new RegExp(`^#${number} CACHED$`, "m"));
    expect(allIds()).toEqual(idsOfFirst);
  });

  test.each([...bases, ...operators])(
    "gives %s its labels, the same in docker, registry and podman",
    (name) => {
      const byDocker = inspect("docker", imageOf(name));
      const byPodman = inspect("podman", imageOf(name));
      const { Labels: labels } = byDocker.Config;
      expect(byPodman.Config.Labels).toMatchObject(labels);
      expect(byPodman.Id).toBe(byDocker.Id);
      // The digest is that of the registry.
      const [digest] = byDocker.RepoDigests.filter((text) =>
        text.startsWith(imageOf(name).replace(/:latest$/, "@")),
      );
      expect(digest).toMatch(/@sha256:[0-9a-f]{64}$/);
      expect(byPodman.RepoDigests).toContain(digest);
      expect(labels).toMatchObject({
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.revision": succeed("git", ["rev-parse", "HEAD"]).trim(),
        "org.opencontainers.image.source": source,
        "org.opencontainers.image.licenses": "BSD-3-Clause",
      });
      expect(labels["org.opencontainers.image.title"]).toBeTruthy();
    },
  );

  test.each(operators)("puts the specification of %s into its label, compact", (name) => {
    const label = inspect("podman", imageOf(name)).Config.Labels["interactem.operator.spec"]!;
    const spec = JSON.parse(readText(`operators/${name}/operator.json`));
    expect(label).toBe(JSON.stringify(spec));
    expect(parseOperatorSpec(JSON.parse(label)).image).toBe(spec.image);
    expect(inspect("podman", spec.image).Id).toBe(inspect("docker", imageOf(name)).Id);
  });

  test("a folder alone is built by podman upon the bases that it pulled", () => {
    succeed("podman", [
      "build",
      "--format=docker",
      "--network=none",
      "--tag=localhost/alone",
      "operators/center-of-mass-plot",
    ]);
    const { User, Entrypoint, Healthcheck } = inspect("podman", "localhost/alone").Config;
    expect(Healthcheck?.Test).toEqual(["CMD", "/opt/stemline/healthcheck.sh"]);
    expect([User, Entrypoint]).toEqual([
      "1000:0",
      ["/opt/stemline/init.sh", "stemline", "operator", "start"],
    ]);
    succeed("podman", ["rmi", "localhost/alone"]);
  });
});

test("the files of the images for arm64 work on an emulated one: NEON kernels, libzmq, pictures", () => {
  const folder = mkdtempSync(join(tmpdir(), "stemline-arm64-"));
  try {
    const set = (value: string) => ["--set", `stemline-package.${value}`];
    succeed("docker", [
      ...["buildx", "bake", "--file=operators/docker-bake.hcl", "stemline-package"],
      ...set("platform=linux/arm64"),
      ...set(`output=type=local,dest=${folder}`),
    ]);
    for (const image of ["interactem-operator", "distiller-streaming"])
      cpSync(join(folder, image), join(folder, "root"), { recursive: true, verbatimSymlinks: true });
    const node = succeed("scripts/install-node.sh", ["24", "arm64"]).trim();
    const stemline = join(folder, "root/opt/stemline");
    const emulated = (...args: string[]) =>
      succeed("qemu-aarch64", ["-L", "/usr/aarch64-linux-gnu", node, ...args], { STEMLINE_BACKEND: "" });
    const { findings } = JSON.parse(emulated(join(stemline, "dist/cli/main.js"), "doctor", "--json"));
    const found = Object.fromEntries(
      findings.map(({ subject, text }: Record<string, string>) => [subject, text]),
    );
    expect(found.Addon).toBe(join(stemline, "prebuilds/linux-arm64/stemline.node"));
    expect(found.Backend).toMatch(/^neon /);
    expect(found.libzmq).toMatch(/^4\./);
    const draw = `import sharp from "${stemline}/node_modules/sharp/dist/index.mjs";
      const image = sharp({ create: { width: 4, height: 4, channels: 3, background: "red" } });
      console.log((await image.png().toBuffer()).subarray(1, 4).toString());`;
    expect(emulated("--input-type=module", "--eval", draw)).toBe("PNG\n");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

describe.each(engines)("in %s", (engine) => {
  const inContainer = (...args: string[]) =>
    run(engine, ["run", "--rm", "--network=host", "--read-only", ...args]);
  const image = imageOf("center-of-mass-partial");

  test("operators have no rights, no compiler, and nothing of theirs can be written to", () => {
    const look =
      "id -u; id -g; for p in cc gcc g++ c++ make cmake python3; do command -v $p; done; touch /app/x /opt/stemline/x";
    const { stdout, stderr } = inContainer("--entrypoint=sh", image, "-c", look);
    expect(stdout).toBe("1000\n0\n");
    expect(stderr).toMatch(/\/app\/x.*Read-only file system/);
    const writable = run(engine, [
      "run",
      "--rm",
      "--entrypoint=sh",
      image,
      "-c",
      "touch /app/x /opt/stemline/x",
    ]);
    expect(writable.stderr).toMatch(
      /\/app\/x.*Permission denied[\s\S]*\/opt\/stemline\/x.*Permission denied/,
    );
  });

  test("what is missing in the environment is said on standard error", () => {
    const { code, stderr } = inContainer(image);
    expect(code).toBe(2);
    expect(stderr).toContain("INTERACTEM_AGENT_ID: expected a UUID, got nothing");
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  test.each([image, imageOf("interactem-operator")])("doctor finds all that %s needs", (name) => {
    const { stdout } = inContainer("--entrypoint=stemline", name, "doctor", "--json");
    expect(JSON.parse(stdout)).toMatchObject({ version, sound: true });
  });

  test("a base without the 4D Camera utilities says which one an operator with kernels needs", () => {
    const file = fileURLToPath(new URL("../../operators/center-of-mass-partial/run.ts", import.meta.url));
    const program = `import { loadOperator } from "/opt/stemline/dist/operator/load-operator.js";
      await loadOperator("/app/run.ts").catch(({ message }) => console.log(message));`;
    const args = ["--volume", `${file}:/app/run.ts:ro`, "--entrypoint=node", imageOf("interactem-operator")];
    const { stdout } = inContainer(...args, "--input-type=module", "--eval", program);
    expect(stdout).toMatch(
      /This image lacks stemline\/distiller: its Containerfile needs FROM distiller-streaming\.\n$/,
    );
  });

  test("the libraries of files and pictures are there", () => {
    const script = `import { centerOfMassFigure, simulate } from "/opt/stemline/dist/distiller/index.js";
      await simulate({ path: "/tmp/scan.h5", scanShape: [4, 4] }); console.log(typeof centerOfMassFigure);`;
    const args = ["--tmpfs=/tmp", "--entrypoint=node", imageOf("distiller-streaming")];
    expect(inContainer(...args, "--input-type=module", "--eval", script).stdout).toBe("function\n");
  });
});

describe("in a deployment", () => {
  const folder = mkdtempSync(join(tmpdir(), "stemline-images-"));
  const replicas = 2;
  let server: NatsServer;
  let backend: Backend;
  let demo: Demo;
  let credentials: string;
  beforeAll(async () => {
    server = await startNatsServer({ auth: "creds" });
    backend = await startBackend(server);
    demo = await prepareDemo(server, backend, replicas);
    credentials = join(folder, "operator.creds");
    copyFileSync(server.environment.NATS_CREDS_FILE!, credentials);
    // The operators' user is in root's group, which is that of an agent's user in a rootless podman.
    chmodSync(credentials, 0o640);
    for (const name of ["core", "operators", "logs"]) mkdirSync(join(folder, name));
  });
  afterAll(async () => {
    demo.close();
    await backend.close();
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** What an agent with MOUNT_LOCAL_REPO and logs mounts into every operator. */
  const mounts = {
    "/interactem/core/interactem/core": join(folder, "core"),
    "/interactem/operators/interactem/operators": join(folder, "operators"),
    "/interactem/logs": join(folder, "logs"),
  };

  test.each(engines)(
    "%s runs partial and reduce: same array as the local run, nothing lost, SIGTERM ends it",
    async (engine) => {
      await demo.withDeployment(async (deployed) => {
        const { deployment, collected, processes } = deployed;
        const names = [null, "center-of-mass-partial", "center-of-mass-reduce", null];
        for (const [index, { label, runFile }] of chain.entries()) {
          const name = names[index];
          for (const view of deployment.views(label)) {
            processes[index]!.push(
              name == null
                ? await deployment.start(view, runFile, { COLLECTOR_FOLDER: collected })
                : await deployment.startContainer(view, {
                    engine,
                    image: imageOf(name),
                    credentials,
                    mounts,
                  }),
            );
          }
        }
        expect(processes.map(({ length }) => length)).toEqual([1, replicas, 1, 1]);
        await Promise.all(processes.flat().map((process) => process.status("running")));
        await Promise.all(
          processes
            .slice(1)
            .flat()
            .map((process) => process.logged("connected")),
        );
        if (engine === "docker") await expectHealth(processes[1]![0]!.id);
        await demo.readNow(deployment);
        await demo.expectLocalResult(deployed);
      });
    },
  );

  async function expectHealth(operatorId: string): Promise<void> {
    const container = `operator-${operatorId}`;
    const check = () => run("docker", ["exec", container, "/opt/stemline/healthcheck.sh"]);
    expect(check()).toMatchObject({ code: 0, stdout: expect.stringMatching(/written [0-9] s ago/) });
    await until("a healthy container", () => {
      const state = succeed("docker", ["inspect", "--format={{.State.Health.Status}}", container]).trim();
      return state === "healthy" ? state : null;
    });
    // A process that hangs; the time is not waited for. Docker's own signal would reach the first process, a shell, alone.
    const signalNode = (signal: string) =>
      `for process in /proc/[0-9]*; do
         case $(readlink $process/exe) in */node) kill -${signal} \${process##*/} ;; esac
       done`;
    const inside = (script: string) => succeed("docker", ["exec", container, "sh", "-c", script]);
    inside(`${signalNode("STOP")}; touch --date="20 seconds ago" /dev/shm/stemline-${operatorId}`);
    expect(check()).toMatchObject({ code: 1, stdout: expect.stringMatching(/written 2[0-9] s ago/) });
    inside(signalNode("CONT"));
  }

  test("credentials that its user may not read are named with their rights", async () => {
    await demo.withDeployment(async ({ deployment }) => {
      const secret = join(folder, "secret.creds");
      copyFileSync(credentials, secret);
      chmodSync(secret, 0o600);
      const view = deployment.view("Reduce Center of Mass");
      const image = imageOf("center-of-mass-reduce");
      const process = await deployment.startContainer(view, { engine: "docker", image, credentials: secret });
      expect(await process.exit).toBe(2);
      expect(process.stderr()).toContain(
        "NATS_CREDS_FILE: expected a file that user 1000 of group 0 may read, got /operator.creds with mode 0600, user 0, group 0",
      );
    });
  });

  test.each([0, 50, 150, 400, 1000])("a container that is stopped early (%s ms) ends at once", async (ms) => {
    await demo.withDeployment(async ({ deployment }) => {
      const view = deployment.view("Reduce Center of Mass");
      const image = imageOf("center-of-mass-reduce");
      const process = await deployment.startContainer(view, { engine: "docker", image, credentials });
      const container = `operator-${view.operator.id}`;
      await until("a started container", () =>
        run("docker", ["inspect", "--format={{.State.Running}}", container]).stdout === "true\n"
          ? true
          : null,
      );
      await sleep(ms);
      const asked = performance.now();
      run("docker", ["stop", "--time=20", container]);
      // 143: before there was anything to end in good order.
      expect([0, 143]).toContain(await process.exit);
      expect(performance.now() - asked).toBeLessThan(10_000);
    });
  });
});

test("the sources of the images are those of this repository", () => {
  const listed = succeed("operators/bake.sh", ["--dry-run", "--build-base"]);
  const { group } = JSON.parse(listed.slice(listed.indexOf("{")));
  expect(group.operators.targets).toEqual([...operators].sort());
  expect(group.bases.targets).toEqual([...bases]);
});
