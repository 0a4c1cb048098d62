import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bases, operators, registry, run, succeed } from "./support.ts";

const bake = (...args: string[]) => run("operators/bake.sh", args);

/** What bake prints as its plan. */
function plan(...args: string[]) {
  const { code, stdout, stderr } = bake("--dry-run", ...args);
  expect({ code, problems: stderr.match(/error.*/i) }).toEqual({ code: 0, problems: null });
  const end = stdout.lastIndexOf("\n}") + 2;
  return { ...JSON.parse(stdout.slice(0, end)), rest: stdout.slice(end).trim() };
}

describe("operators/bake.sh", () => {
  test("--help says what there is", () => {
    const { code, stdout } = bake("--help");
    expect(code).toBe(0);
    for (const flag of [
      "--build-base",
      "--push-local",
      "--pull-local",
      "--push-remote",
      "--target",
      "--dry-run",
    ])
      expect(stdout).toContain(`  ${flag}`);
  });

  test.each([
    [["--push"], 'unknown argument "--push"; --help lists what there is'],
    [["center-of-mass-partial"], 'unknown argument "center-of-mass-partial"'],
    [["--target"], "--target: expected a name, got nothing"],
    [["--target", ""], "--target: expected a name, got nothing"],
    [["--push-local", "--push-remote"], "expected --push-local or --push-remote, got both"],
    [["--pull-local"], "--pull-local pulls what --push-local pushes: give both"],
    [["--pull-local", "--push-remote"], "--pull-local pulls what --push-local pushes: give both"],
    [
      ["--dry-run", "--target", "no-such"],
      /--target: expected one of .*center-of-mass-partial.*, got "no-such"/,
    ],
    [["--dry-run", "--target", "common"], /--target: expected one of .*, got "common"/],
  ])("refuses %j", (args, text) => {
    const { code, stdout, stderr } = bake(...args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(text);
  });

  test("without a push leaves images in Docker's store, under the names of everybody", () => {
    const { target, group } = plan();
    expect(group.default.targets).toEqual(["operators"]);
    expect(target["center-of-mass-reduce"].tags).toEqual([
      "ghcr.io/nersc/interactem/center-of-mass-reduce:latest",
    ]);
    expect(target["center-of-mass-reduce"].contexts).toEqual({
      "distiller-streaming": "target:distiller-streaming",
    });
  });

  test("--push-remote builds for amd64 and arm64", () => {
    const { target } = plan("--build-base", "--push-remote");
    for (const name of [...bases, ...operators, "stemline-package"])
      expect(target[name].platforms, name).toEqual(["linux/amd64", "linux/arm64"]);
  });

  test("--target names one image; --pull-local says how podman will call it", () => {
    const { target, group, rest } = plan("--push-local", "--pull-local", "--target", "center-of-mass-plot");
    expect(group.default.targets).toEqual(["center-of-mass-plot"]);
    expect(Object.keys(target)).not.toContain("center-of-mass-reduce");
    const pushed = `${registry}/center-of-mass-plot:latest`;
    expect(rest.split("\n")).toContain(
      `podman pull --tls-verify=false ${pushed}, then called ghcr.io/nersc/interactem/center-of-mass-plot`,
    );
  });

  test("REGISTRY, TAG and CI_CACHE are taken from the environment", () => {
    const env = { REGISTRY: "registry.example/team", TAG: "v1.2", CI_CACHE: "1" };
    const planned = JSON.parse(run("operators/bake.sh", ["--dry-run", "--push-remote"], env).stdout).target;
    expect(planned["center-of-mass-plot"].tags).toEqual(["registry.example/team/center-of-mass-plot:v1.2"]);
    expect(planned["center-of-mass-plot"]["cache-from"]).toEqual(["type=gha"]);
    expect(planned["center-of-mass-plot"]["cache-to"]).toEqual(["type=gha,mode=max"]);
    expect(plan("--push-remote").target["center-of-mass-plot"]).not.toHaveProperty("cache-from");
  });
});

describe("where something is missing", () => {
  test("a registry that does not answer is named, with how to start one", () => {
    const { code, stderr } = run("operators/bake.sh", ["--push-local"], { REGISTRY: "localhost:9/team" });
    expect(code).toBe(1);
    expect(stderr).toContain("no registry answers at localhost:9; start one: docker run");
  });

  const folder = mkdtempSync(join(tmpdir(), "stemline-tools-"));
  const PATH = folder;
  beforeAll(() => {
    for (const tool of [
      "bash",
      "sh",
      "node",
      "make",
      "dirname",
      "env",
      "git",
      "grep",
      "mkdir",
      "cat",
      "find",
    ])
      symlinkSync(succeed("which", [tool]).trim(), join(folder, tool));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function withDocker(script: string): void {
    writeFileSync(join(folder, "docker"), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, "docker"), 0o755);
  }

  test.each([
    ["operators/bake.sh", ["--push-local"]],
    ["make", ["--silent", "setup"]],
    ["make", ["--silent", "operators"]],
    ["make", ["--silent", "operator", "target=center-of-mass-plot"]],
  ])("%s %j says what to install", (command, args) => {
    rmSync(join(folder, "docker"), { force: true });
    const { code, stderr } = run(command, args, { PATH });
    expect(code).not.toBe(0);
    expect(stderr).toContain("docker is not installed. Debian: apt-get install docker.io");
  });

  test("docker without buildx, docker without an engine, and no podman are told apart", () => {
    withDocker("exit 1");
    expect(run("scripts/container-tools.sh", ["docker"], { PATH }).stderr).toContain("docker has no buildx");
    withDocker('[ "$1" = buildx ]');
    expect(run("scripts/container-tools.sh", ["docker"], { PATH }).stderr).toContain(
      "docker does not answer",
    );
    withDocker("exit 0");
    const { code, stderr } = run("scripts/container-tools.sh", ["docker", "podman"], { PATH });
    expect(code).toBe(1);
    expect(stderr).toContain("podman is not installed. Debian: apt-get install podman");
  });
});

test("make operator asks for a name", () => {
  const { code, stderr } = run("make", ["--silent", "operator"]);
  expect(code).toBe(2);
  expect(stderr).toContain("expected a name, as in: make operator target=center-of-mass-partial");
});

test("shellcheck has nothing to say about any script", () => {
  const scripts = succeed("git", ["ls-files"])
    .split("\n")
    .filter((path) => path.endsWith(".sh") || path === ".ci/run");
  expect(scripts.length).toBeGreaterThanOrEqual(10);
  expect(run("shellcheck", scripts)).toMatchObject({ code: 0, stdout: "" });
});
